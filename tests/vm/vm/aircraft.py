"""The aircraft at the other end of the serial adapter: `uplift-sim aircraft`, outside. Knows nothing of the machine's inside."""

import json
import subprocess
import threading

from .places import program


class Aircraft:
    """Upgrades the payload, beside us."""

    def __init__(self, machine, firmware, *arguments, tell=lambda line: None):
        command = [program("uplift-sim"), "aircraft", "--port", f"unix:{machine.serial}", "--firmware", firmware, "--ftp-host", machine.address,
                   "--json", *arguments]
        self._told, self._tell = [], tell
        self._news = threading.Condition()
        self._process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE, text=True)
        self._log = open(machine.directory / "aircraft.log", "a", encoding="utf-8")
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self._process.stderr:
            with self._news:
                self._told.append(line.strip())
                self._log.write(line)
                self._log.flush()
                self._news.notify_all()
            self._tell(line)
        with self._news:
            self._told.append(None)
            self._news.notify_all()

    def wait_until_told(self, words, patience=300):
        """Waits for a line that holds these words."""
        def told():
            return any(line is None or words in line for line in self._told)
        with self._news:
            if not self._news.wait_for(told, patience):
                raise RuntimeError(f"the aircraft has not told \"{words}\" in {patience} s, but {self._told}")
            if not any(line and words in line for line in self._told):
                raise RuntimeError(f"the aircraft ended without \"{words}\": {self._told}")

    def verdict(self, patience=600):
        """How it ended, when it has."""
        self._process.wait(patience)
        out = self._process.stdout.read()
        self._log.write(out)
        return json.loads(out.splitlines()[-1])

    def end(self):
        """Goes away."""
        self._process.kill()
        self._process.wait()


def upgrade(machine, firmware):
    """Upgrades as a person does, who begins again when a machine that is still starting offers the slow transfer. The verdict."""
    for _ in range(3):
        verdict = Aircraft(machine, firmware, "--via", "ftp", "--link-wait", "120s", "--pause", "version=6s").verdict()
        if "offers another transfer" not in verdict["message"]:
            break
    return verdict
