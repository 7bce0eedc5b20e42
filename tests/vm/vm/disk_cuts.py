"""Power cuts of the second kind: the disk loses what was written after the last flush, or keeps any part of it.

One upgrade is played on a machine whose disk logs every write and flush. Then the disk is rebuilt as a cut at a point of the log
would leave it, and the payload is started again on it, outside or in the machine.
"""

import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from . import disk_log
from .aircraft import Aircraft, upgrade
from .firmware import digest, firmware
from .outside import PROGRAM, Outside
from .payload import Payload
from .phases import PHASES, RESET, phase_of
from .places import WORK, run
from .truth import BRICK, judge, judge_next

OLD, NEW, NEXT = "V01.00.00.00", "V02.00.00.00", "V03.00.00.00"
SIZE = 4 << 20


@dataclass(frozen=True)
class Recording:
    """An upgrade, as the disk saw it. `begins` says at which entry of the log each phase began."""
    image: object
    log: Path
    entries: list
    begins: dict
    end: int


@dataclass(frozen=True)
class Cut:
    """A power cut before the entry `at`; `kept` says whether some of what was not flushed survives."""
    number: int
    phase: str
    at: int
    kept: bool
    seed: int


@dataclass(frozen=True)
class Result:
    """What was found after a cut."""
    cut: Cut
    outcome: str
    pending: int
    wrong: list


def record(image, configuration):
    """Plays the upgrade and logs it."""
    directory = WORK / "cuts/recording"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    disk, log = directory / "disk", directory / "log"
    run("cp", "--sparse=always", image.disk, disk)
    configure(disk, configuration)
    untouched = directory / "untouched"
    run("cp", "--sparse=always", disk, untouched)
    payload, marks = Payload(image, directory, disk), {}

    def mark(phase):
        if phase and phase not in marks:
            marks[phase] = os.stat(log).st_size

    try:
        payload.power_on(log)
        payload.wait_until_settled()
        payload.on_reset(lambda: mark(RESET))
        aircraft = Aircraft(payload, firmware(NEW, SIZE), "--via", "ftp", "--link-wait", "120s", "--pause", "version=6s",
                            "--pause", "transfer=8s", tell=lambda line: mark(phase_of(line)))
        verdict = aircraft.verdict()
        if verdict["result"] != "success":
            payload.keep_artefacts()
            raise RuntimeError(f"the upgrade that was to be recorded failed: {verdict['message']}; see {directory}")
        payload.shell("sync")
        end = os.stat(log).st_size
    finally:
        payload.power_cut()
    disk.unlink()
    entries = disk_log.read(log)
    def index_of(size):
        return next((index for index, entry in enumerate(entries) if entry.at >= size), len(entries))
    return Recording(image, log, entries, {phase: index_of(size) for phase, size in marks.items()}, index_of(end))


def configure(disk, configuration):
    """Puts a configuration on a disk."""
    source = disk.with_name("uplift.toml")
    source.write_text(configuration)
    for command in ("rm /etc/uplift/uplift.toml", f"write {source} /etc/uplift/uplift.toml"):
        run("debugfs", "-w", "-R", command, disk)


def choose(recording, count, seed):
    """So many cuts, in the order of the log: from each phase in turn one that was not chosen before, while there is one."""
    chance = random.Random(seed)
    borders = [recording.begins[phase] for phase in PHASES] + [recording.end]
    left = []
    for phase, begin, end in zip(PHASES, borders, borders[1:]):
        left.append([(at, phase, kept) for at in range(begin + 1, max(begin + 1, end) + 1) for kept in (False, True)])
        chance.shuffle(left[-1])
    chosen = []
    while len(chosen) < count and any(left):
        chosen += [of_phase.pop() for of_phase in left if of_phase]
    return [Cut(number, phase, at, kept, seed=seed * 1000 + number) for number, (at, phase, kept) in enumerate(sorted(chosen[:count]), 1)]


class Rebuilding:
    """Rebuilds the disk for one cut after the other. One that is `lying` never did what a flush asks for: what it keeps of an upgrade
    is any part of it. No program survives that, so it shows that bricks are seen."""

    def __init__(self, recording, lying=False):
        self._recording, self._lying = recording, lying
        self._durable = recording.log.with_name("durable")
        run("cp", "--sparse=always", recording.log.with_name("untouched"), self._durable)
        self._replay = disk_log.Replay(recording.entries, recording.log, self._durable)
        self._replay.advance(min(recording.begins.values()))

    def disk(self, cut):
        """The disk after this cut, and how many writes were pending."""
        if self._lying:
            pending = self._recording.entries[min(self._recording.begins.values()):cut.at]
        else:
            pending = self._replay.advance(cut.at)
        disk = self._durable.with_name("rebuilt")
        run("cp", "--sparse=always", self._durable, disk)
        with open(disk, "r+b", buffering=0) as file:
            for entry, sectors in disk_log.some_of(pending, cut.seed) if cut.kept or self._lying else []:
                self._replay.apply(entry, file, sectors)
        return disk, sum(entry.is_write for entry in pending)

    def close(self):
        """Lets go of the files."""
        self._replay.close()
        self._durable.unlink()


def told_by(cut):
    """Whether the aircraft had been told of the success when the power went."""
    return cut.phase == "report told"


def look(disk, cut, pending, directory, configuration):
    """Starts the payload outside, on this disk, judges what it says, and upgrades it once more."""
    new, following = firmware(NEW, SIZE), firmware(NEXT, SIZE)
    olds = digest(firmware(OLD)), digest(new)
    try:
        payload = Outside(disk, directory / "root")
    except RuntimeError as error:
        return Result(cut, "not mountable", pending, [(BRICK, str(error).splitlines()[0])])
    with payload:
        path = payload.root / PROGRAM
        try:
            first = digest(path)
        except OSError as error:
            return Result(cut, "not readable", pending, [(BRICK, str(error))])
        payload.configure(configuration)
        try:
            payload.settle()
        except (RuntimeError, OSError) as error:
            return Result(cut, "does not settle", pending, judge(first, *olds, [], False) + [("no daemon", str(error))])
        reports = payload.history()
        # The program is judged before the daemon has run and after: neither may be a brick.
        wrong = judge(digest(path), *olds, reports, told_by(cut))
        wrong += [fault for fault in judge(first, *olds, reports, False) if fault[0] == BRICK]
        if not wrong:
            wrong = _next(payload, path, following)
    return Result(cut, outcome_of(reports), pending, wrong)


def _next(payload, path, following):
    report = payload.upgrade(following)
    return judge_next(digest(path), digest(following), report)


def outcome_of(reports):
    """How the upgrade ended, in a word."""
    if not reports:
        return "not begun"
    report = reports[-1]
    return report["outcome"] if report["outcome"] == "succeeded" else f"{report['outcome']} ({report['failure']['kind']})"


def outside_configuration(text):
    """The image's configuration for a payload that is looked at from outside: no link, and a boot id of our own."""
    kept, section = [], ""
    for line in text.splitlines():
        section = line if line.startswith("[") else section
        if section != "[channel.psdk]":
            kept.append(line)
    return "\n".join(kept) + '\n[paths]\nboot_id = "/run/boot_id"\n'


def boot(disk, cut, pending, image):
    """Boots a machine from this disk, judges what it says, and upgrades it once more."""
    directory = WORK / "cuts/booted"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    disk = Path(shutil.move(disk, directory / "disk"))
    new, following = firmware(NEW, SIZE), firmware(NEXT, SIZE)
    with Payload(image, directory, disk) as payload:
        payload.wait_until_settled()
        reports = payload.history()
        wrong = judge(payload.digest_at_path(), digest(firmware(OLD)), digest(new), reports, told_by(cut))
        if not wrong:
            upgrade(payload, following)
            wrong = judge_next(payload.digest_at_path(), digest(following), payload.history()[-1])
        if wrong:
            payload.keep_artefacts()
    return Result(cut, outcome_of(reports), pending, wrong)
