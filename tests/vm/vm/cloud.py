"""A platform of the network: `uplift-sim cloud`, outside, where the machine reaches it. Knows nothing of the machine's inside."""

import json
import socket
import subprocess

from .places import program

# What qemu's network calls the machine that it runs on.
OUTSIDE = "10.0.2.2"


class Hawkbit:
    """A hawkBit server that offers a firmware file, beside us, until the device has ended what it was offered."""

    def __init__(self, machine, firmware, *arguments):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._listen = f"127.0.0.1:{free.getsockname()[1]}"
        self.url = f"http://{self._listen.replace('127.0.0.1', OUTSIDE)}"
        self._log = machine.directory / "cloud.log"
        command = [program("uplift-sim"), "cloud", "hawkbit", "--firmware", firmware, "--listen", self._listen, "--json", *arguments]
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()

    def wait(self, patience):
        """Waits until it is over; whether it ended as it should."""
        return self._process.wait(patience) == 0

    def events(self):
        """What it has seen so far; the last one is its verdict, when it has ended."""
        lines = self._log.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]
