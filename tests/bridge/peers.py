"""What the tests of the bridge's C side share: the application under test, and a daemon at the
other end of its socket that is written from docs/wire/bridge.md alone.

APPLICATION is the command that runs application.c; ROOM_MS is how much later than its deadline a
callback may return because the machine is busy or a tool watches the program.
"""


import hashlib
import itertools
import os
import queue
import random
import shlex
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

APPLICATION = shlex.split(os.environ["APPLICATION"])
ROOM_MS = int(os.environ.get("ROOM_MS", "300"))
CUTS = int(os.environ.get("CUTS", "6"))
CALLBACK_MS = 150
PATIENCE_S = 20

HELLO, STATE, ENTER, START, DATA, FINISH, CHECK, END, READY = 1, 2, 16, 17, 18, 19, 20, 21, 22
WELCOME, VERSION, GONE = 0x81, 0x82, 0x83
ENTERED, STARTED, WRITTEN, FAILED, FINISHED, CHECKED = 0x90, 0x91, 0x92, 0x93, 0x94, 0x95
PUSH, RESTARTING, REPORT = 0xA0, 0xA1, 0xA2
NOTHING, WAITING, RUNNING, REPORTED = 0, 1, 2, 3
FTP, DCFTP = 1, 2

INVALID, WRONG_STATE, SYSTEM, OUT_OF_RANGE, BUSY = 0xE3, 0xE4, 0xEC, 0x101, 0x102
WINDOW = 32768


def md5(data):
    return hashlib.md5(data).digest()


def welcome(stage=NOTHING, version=(1, 2, 3, 4), transfer=DCFTP, port=2121, protocol=1):
    known = 0 if version is None else 1
    return struct.pack("<HBB4BBH", protocol, stage, known, *(version or (0,) * 4), transfer, port)


class Application:
    def __init__(self, command=None):
        self.process = subprocess.Popen(
            command or APPLICATION, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, errors="replace")
        self.answers = queue.Queue()
        self.events = queue.Queue()
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            kind, text = line.rstrip("\n").split(" ", 1)
            (self.answers if kind == "=" else self.events).put(text)

    def begin(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def answer(self, limit_ms=CALLBACK_MS):
        code, microseconds, extra = self.answers.get(timeout=PATIENCE_S * 3).split(" ", 2)
        self.took_ms = int(microseconds) / 1000
        if limit_ms is not None:
            assert self.took_ms <= limit_ms + ROOM_MS, f"took {self.took_ms} ms"
        self.extra = extra
        return int(code, 16)

    def call(self, command, limit_ms=CALLBACK_MS):
        self.begin(command)
        return self.answer(limit_ms)

    def file(self, size, name=b"PAYLOAD_V01.02.03.04.bin"):
        return self.call(f"file {size} {name.hex()}")

    def chunk(self, data):
        return self.call(f"chunk {data.hex()}")

    def finish(self, digest):
        return self.call(f"finish {digest.hex()}")

    def event(self, beginning, timeout=PATIENCE_S):
        """The next event that begins so; others before it are passed over."""
        until = time.monotonic() + timeout
        while True:
            text = self.events.get(timeout=max(0.01, until - time.monotonic()))
            if text.startswith(beginning):
                return text

    def all_events(self):
        found = []
        while not self.events.empty():
            found.append(self.events.get())
        return found

    def leave(self):
        self.process.stdin.close()
        code = self.process.wait(timeout=PATIENCE_S * 3)
        self.reader.join()
        self.process.stdout.close()
        assert code == 0, f"the application ended with {code}"


class Link:
    """One connection, at the daemon's end."""

    def __init__(self, peer):
        self.peer = peer
        self.peer.settimeout(PATIENCE_S)
        self.number = 0
        self.facts = None

    def exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.peer.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def message(self):
        kind, number, length = struct.unpack("<BBH", self.exactly(4))
        assert length <= 4100
        return kind, number, self.exactly(length)

    def expect(self, wanted):
        """The next message, which must be of this kind; STATE is noted and passed over."""
        while True:
            kind, self.number, body = self.message()
            if kind == STATE:
                self.facts = body[0]
            if kind == wanted:
                return body
            assert kind == STATE, f"{kind:#x} came in place of {wanted:#x}"

    def expect_fact(self, fact):
        while self.facts is None or not self.facts & fact:
            self.expect(STATE)

    def silent(self, seconds=0.15):
        """Nothing but STATE comes for so long."""
        self.peer.settimeout(seconds)
        try:
            while True:
                kind, _, _ = self.message()
                assert kind == STATE, f"{kind:#x} came"
        except TimeoutError:
            pass
        finally:
            self.peer.settimeout(PATIENCE_S)

    def send(self, kind, body=b"", number=0):
        self.peer.sendall(struct.pack("<BBH", kind, number, len(body)) + body)

    def answer(self, kind, body):
        self.send(kind, body, self.number)

    def greet(self, body=None):
        hello = self.expect(HELLO)
        self.answer(WELCOME, welcome() if body is None else body)
        return hello

    def ended(self):
        """The application closes; what it sent before is passed over."""
        try:
            while self.peer.recv(4096):
                pass
        except ConnectionResetError:
            pass

    def close(self):
        self.peer.close()


class Daemon:
    def __init__(self, path):
        self.path = path
        self.listener = None
        self.links = []
        self.listen()

    def listen(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(8)
        self.listener.settimeout(PATIENCE_S)

    def accept(self):
        link = Link(self.listener.accept()[0])
        self.links.append(link)
        return link

    def leave(self):
        if self.listener is not None:
            self.listener.close()
            self.listener = None
            os.unlink(self.path)
        for link in self.links:
            link.close()


class Serving:
    """A daemon that takes upgrades, and that may die at any byte. What is in `file` survives."""

    def __init__(self, path, chance=None):
        self.chance = chance or random.Random(0)
        self.cutting = False
        self.stage = NOTHING
        self.file = b""
        self.size = None
        self.checked = False
        self.left = False
        self.link = None
        self.daemon = Daemon(path)
        self.daemon.listener.settimeout(0.05)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def leave(self):
        if self.left:
            return
        self.left = True
        if self.link is not None:
            try:
                self.link.peer.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.thread.join()
        self.daemon.leave()

    def run(self):
        while not self.left:
            try:
                self.link = self.daemon.accept()
                self.serve(self.link)
            except (EOFError, OSError):
                pass
            if self.link is not None:
                self.link.close()

    def serve(self, link):
        link.greet(welcome(self.stage))
        pending = b""  # Received, and lost with this life of the daemon.
        flowing = False
        messages = self.chance.randrange(3, 120)
        while True:
            if self.cutting:
                messages -= 1
                if messages == 0:
                    link.exactly(self.chance.randrange(1, 40))
                    return
            kind, link.number, body = link.message()
            if kind == ENTER:
                self.stage, self.file, self.size, pending, flowing = WAITING, b"", None, b"", False
                self.checked = False
                link.answer(ENTERED, bytes(3))
            elif kind == START:
                size, offset, length = struct.unpack("<IIH", body[:10])
                assert len(body) == 10 + length
                good = self.stage == WAITING and offset <= len(self.file)
                if good and offset == 0:
                    self.file, pending = b"", b""
                self.size, flowing = size, good
                link.answer(STARTED, struct.pack("<BI", not good, len(self.file)))
            elif kind == DATA and flowing:
                offset = struct.unpack("<I", body[:4])[0]
                assert offset == len(self.file) + len(pending), "bytes are missing"
                pending += body[4:]
                if self.chance.random() < 0.3:
                    self.file, pending = self.file + pending, b""
                    link.send(WRITTEN, struct.pack("<I", len(self.file)))
            elif kind == FINISH:
                self.file, pending = self.file + pending, b""
                good = flowing and len(self.file) == self.size and md5(self.file) == body
                if flowing:
                    link.send(WRITTEN, struct.pack("<I", len(self.file)))
                link.answer(FINISHED, bytes([not good]))
            elif kind == CHECK:
                good = self.stage == RUNNING or (self.stage == WAITING and
                                                 self.size == len(self.file))
                if good:
                    self.stage, self.checked = RUNNING, True
                link.answer(CHECKED, bytes([not good]))
            elif kind == END and self.stage == RUNNING:
                self.stage = NOTHING


class Case(unittest.TestCase):
    # That runs the application, where it is another than APPLICATION.
    command = None

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.directory.name, "bridge.sock")
        self.daemon = None
        self.application = Application(self.command)

    def tearDown(self):
        self.application.leave()
        if self.daemon is not None:
            self.daemon.leave()
        self.directory.cleanup()

    def listen(self):
        self.daemon = Daemon(self.path)

    def begin_start(self, transfer=0, wait=10000):
        self.application.begin(f"start {self.path} 9.8.7.6 {transfer} 2020 {wait}")

    def start(self, body=None, transfer=0):
        """A started application with a connection that was greeted."""
        if self.daemon is None:
            self.listen()
        self.begin_start(transfer)
        link = self.daemon.accept()
        link.greet(body)
        self.assertEqual(self.application.answer(None), 0)
        link.expect_fact(1)
        return link

    def start_alone(self):
        self.begin_start(wait=50)
        self.assertEqual(self.application.answer(None), 0)

    def ask(self, command, link, kind, answer_kind, answer):
        """A callback that waits for the daemon's answer. Returns its code and what was sent."""
        self.application.begin("patiently " + command)
        body = link.expect(kind)
        link.answer(answer_kind, answer)
        return self.application.answer(None), body

    def enter(self, link):
        code, body = self.ask("enter", link, ENTER, ENTERED, struct.pack("<BH", 0, 5))
        self.assertEqual((code, self.application.extra, body), (0, "5", b"\2"))

    def begin_file(self, link, size, name=b"f"):
        code, body = self.ask(
            f"file {size} {name.hex()}", link, START, STARTED, struct.pack("<BI", 0, 0))
        self.assertEqual(body, struct.pack("<IIH", size, 0, len(name)) + name)
        self.assertEqual(code, 0)

    def entered_file(self, link, size, name=b"f"):
        self.enter(link)
        self.begin_file(link, size, name)

    def send_chunk(self, link, offset, data):
        self.assertEqual(self.application.chunk(data), 0)
        self.assertEqual(link.expect(DATA), struct.pack("<I", offset) + data)

    def complete_file(self, link, data=b"content"):
        self.entered_file(link, len(data))
        self.send_chunk(link, 0, data)
        code, body = self.ask(
            f"finish {md5(data).hex()}", link, FINISH, FINISHED, b"\0")
        self.assertEqual((code, body), (0, md5(data)))

    def upgrade(self, link):
        """Everything from Enter to Finish."""
        self.complete_file(link)
        code, _ = self.ask("check", link, CHECK, CHECKED, b"\0")
        self.assertEqual(code, 0)
        self.assertEqual(self.application.call("go"), 0)
        link.send(PUSH, b"\3\x32")
        self.assertEqual(self.application.event("push"), "push 3 50")
        link.send(PUSH, b"\4\1")
        self.assertEqual(self.application.event("push"), "push 4 1")
        self.assertEqual(self.application.call("end"), 0)
        link.expect(END)
