"""Power cuts of the first kind: the emulator is killed, so that the machine loses everything that it had not written to its disk.

One payload goes through all of them: an upgrade that is cut, a boot, a look at the truth, and an upgrade that nothing disturbs.
"""

import random
import shutil
import threading
import time
from dataclasses import dataclass

from .aircraft import Aircraft, upgrade
from .disk_cuts import Cut, Result, configure, outcome_of
from .firmware import digest, firmware
from .payload import Payload
from .phases import PHASES, RESET, phase_of
from .places import WORK, run
from .truth import judge, judge_next

SIZE = 4 << 20
# How long each phase lasts at most before the cut comes, in seconds: about as long as the phase itself.
LENGTHS = {"receiving": 1.5, "checking and swap": 3.0, "shutting down": 12.0, RESET: 45.0, "report told": 3.0}


def version(number):
    """The version of the n-th firmware."""
    return f"V{number // 100 + 1:02}.{number % 100:02}.00.00"


class Clock:
    """Waits for a phase of an upgrade to begin."""

    def __init__(self):
        self._seen, self._news = {}, threading.Condition()

    def mark(self, phase):
        """This phase begins."""
        if phase:
            with self._news:
                self._seen.setdefault(phase, time.monotonic())
                self._news.notify_all()

    def wait(self, phase, patience=400):
        """Waits for it."""
        with self._news:
            if not self._news.wait_for(lambda: phase in self._seen, patience):
                raise RuntimeError(f"the upgrade does not come to \"{phase}\"")

    def has_seen(self, phase):
        """Whether it has begun."""
        return phase in self._seen


def guest_cuts(image, configuration, count, seed):
    """Cuts the power so often, and gives the results, one at a time."""
    directory = WORK / "cuts/guest"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    disk = directory / "disk"
    run("cp", "--sparse=always", image.disk, disk)
    configure(disk, configuration)
    chance = random.Random(seed)
    payload, installed = Payload(image, directory, disk), 0
    with payload:
        payload.wait_until_settled()
        for number in range(1, count + 1):
            phase = PHASES[(number - 1) % len(PHASES)]
            delay = chance.uniform(0, LENGTHS[phase])
            yield _round(payload, number, phase, delay, installed)
            installed += 2
    disk.unlink()


def _round(payload, number, phase, delay, installed):
    """An upgrade that is cut, and one that is not."""
    old, new, following = (firmware(version(installed + step), SIZE) for step in range(3))
    before = {report["id"] for report in payload.history()}
    clock = Clock()
    payload.on_reset(lambda: clock.mark(RESET))
    aircraft = Aircraft(payload, new, "--via", "ftp", "--link-wait", "120s", "--pause", "version=6s",
                        tell=lambda line: clock.mark(phase_of(line)))
    clock.wait(phase)
    time.sleep(delay)  # the random moment of the cut
    payload.power_cut()
    told = clock.has_seen("report told")
    aircraft.end()
    payload.power_on()
    payload.wait_until_settled()
    reports = [report for report in payload.history() if report["id"] not in before]
    wrong = judge(payload.digest_at_path(), digest(old), digest(new), reports, told)
    if not wrong and payload.digest_of_process() != payload.digest_at_path():
        wrong = [("wrong program", "the program that runs is not the one at the path")]
    if not wrong:
        verdict = upgrade(payload, following)
        wrong = judge_next(payload.digest_at_path(), digest(following), payload.history()[-1])
        wrong = wrong or [("wrong report", verdict["message"])] * (verdict["result"] != "success")
    if wrong:
        payload.keep_artefacts()
    return Result(Cut(number, phase, round(delay * 1000), False, 0), outcome_of(reports), 0, wrong)
