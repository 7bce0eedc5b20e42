"""Lines of JSON on a UNIX socket: qemu's monitor, and the agent inside the machine. Knows nothing of what is said."""

import json
import socket
import time


class Silent(Exception):
    """Nothing came in time, or nobody is there."""


class Line:
    """One end of a conversation."""

    def __init__(self, path):
        self._path = path
        self._socket = None
        self._received = b""

    def open(self, deadline):
        """Connects, as soon as somebody listens."""
        self.close()
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(self._path))
                self._socket = connection
                return
            except OSError as error:
                connection.close()
                if time.monotonic() > deadline:
                    raise Silent(f"{self._path}: {error}") from error
                time.sleep(0.05)  # a socket that is not there yet has no event

    def close(self):
        """Hangs up."""
        if self._socket:
            self._socket.close()
        self._socket, self._received = None, b""

    def say(self, message):
        """Sends an object."""
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def hear(self, deadline):
        """The next object."""
        while True:
            line, found, rest = self._received.partition(b"\n")
            if found:
                self._received = rest
                # The agent marks the beginning of an answer with a byte that is never part of one.
                line = line.rpartition(b"\xff")[2]
                if line.strip():
                    return json.loads(line)
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                raise Silent(f"{self._path}: no answer in time")
            self._socket.settimeout(left)
            try:
                received = self._socket.recv(1 << 16)
            except TimeoutError:
                continue
            except OSError as error:
                raise Silent(f"{self._path}: {error}") from error
            if not received:
                raise Silent(f"{self._path}: closed")
            self._received += received
