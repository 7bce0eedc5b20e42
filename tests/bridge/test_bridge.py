"""The bridge's C side against a daemon that is written from docs/bridge.md alone.

APPLICATION is the command that runs application.c; ROOM_MS is how much later than its deadline a
callback may return because the machine is busy or the program is watched by a tool.
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


class Case(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.directory.name, "bridge.sock")
        self.daemon = None
        self.application = Application()

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
        """A callback that the daemon answers at once. Returns its code and what was sent."""
        self.application.begin(command)
        body = link.expect(kind)
        link.answer(answer_kind, answer)
        return self.application.answer(), body

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


class Beginning(Case):
    def test_the_library_is_told_what_the_daemon_says(self):
        self.listen()
        self.begin_start()
        link = self.daemon.accept()
        self.assertEqual(link.greet(), b"UPBR" + struct.pack("<HHB", 1, 1, 6) + b"puppet")
        self.assertEqual(self.application.answer(None), 0)
        self.assertEqual(self.application.event("init"), "init 1.2.3.4 1 2121")
        self.assertEqual(self.application.event("version"), "version 1.2.3.4")
        self.application.event("handler")
        self.application.event("enable")
        link.expect_fact(1)
        self.assertEqual(link.facts, 1)
        for _ in range(5):
            self.assertEqual(self.application.call("seen"), 0)
        self.assertEqual(link.expect(STATE), b"\3")
        link.silent()

    def test_the_first_callback_shows_the_aircraft(self):
        link = self.start()
        self.application.begin("end")
        self.assertEqual(link.expect(STATE), b"\3")
        link.expect(END)
        self.application.answer()

    def test_an_aircraft_seen_before_the_start_is_told(self):
        self.application.call("seen")
        self.listen()
        self.begin_start()
        link = self.daemon.accept()
        link.greet()
        link.expect_fact(1)
        self.assertEqual(link.facts, 3)
        self.application.answer(None)

    def test_a_later_version_is_told_again(self):
        link = self.start()
        link.send(VERSION, bytes([2, 0, 0, 1]))
        self.application.event("init 2.0.0.1 1 2121")
        self.application.event("version 2.0.0.1")
        link.send(VERSION, bytes([2, 0, 0, 1]))
        link.send(PUSH, b"\6\x1e")
        self.assertEqual(self.application.event(""), "push 6 30")

    def test_without_a_daemon_the_fallback_is_told_and_later_the_truth(self):
        self.start_alone()
        self.application.event("init 9.8.7.6 1 2020")
        self.listen()
        link = self.daemon.accept()
        # FTP suits, but the library was told DCFTP, and that stands.
        link.greet(welcome(transfer=FTP))
        self.application.event("init 1.2.3.4 1 2020")
        link.expect(STATE)
        self.enter(link)

    def test_a_daemon_that_knows_no_version(self):
        self.start(welcome(version=None))
        self.application.event("init 9.8.7.6")

    def test_a_daemon_that_accepts_and_hangs(self):
        self.listen()
        self.begin_start(wait=100)
        self.assertEqual(self.application.answer(1000), 0)
        self.application.event("init 9.8.7.6")
        self.assertEqual(self.application.call("enter"), SYSTEM)

    def test_transfers(self):
        for transfer, suits, told in ((0, FTP, "0 2121"), (0, DCFTP, "1 2121"), (1, FTP, "1 2121"),
                                      (2, DCFTP, "0 2121")):
            link = self.start(welcome(transfer=suits), transfer)
            self.application.event(f"init 1.2.3.4 {told}")
            code, body = self.ask("enter", link, ENTER, ENTERED, struct.pack("<BH", 0, 0))
            self.assertEqual((code, body[0]), (0, FTP if told[0] == "0" else DCFTP))
            self.application.call("stop", None)
        self.daemon.leave()
        self.begin_start(transfer=2, wait=50)
        self.application.answer(None)
        self.application.event("init 9.8.7.6 0 2020")

    def test_a_library_that_refuses_is_never_pushed_to(self):
        self.application.call("init_code 0x10000000e3")
        self.listen()
        self.begin_start()
        link = self.daemon.accept()
        link.greet()
        self.assertEqual(self.application.answer(None), 0x10000000E3)
        self.assertEqual(link.expect(STATE), b"\0")
        link.send(PUSH, b"\4\1")
        link.send(RESTARTING, struct.pack("<H", 100), 9)
        link.expect(READY)
        self.assertFalse([e for e in self.application.all_events() if e.startswith("push")])
        self.application.call("init_code 0")
        self.begin_start()
        self.assertEqual(self.application.answer(None), 0)
        self.assertEqual(link.expect(STATE), b"\1")
        link.send(PUSH, b"\4\1")
        self.application.event("push 4 1")

    def test_starting_again_changes_nothing(self):
        link = self.start()
        for _ in range(5):
            self.begin_start()
            self.assertEqual(self.application.answer(None), 0)
        link.silent()
        self.assertEqual(len([e for e in self.application.all_events() if e.startswith("init")]), 1)

    def test_parameters(self):
        self.start()
        self.assertEqual(self.application.call("nulls"), 0)
        self.application.call("stop", None)
        self.application.begin(f"start /{'x' * 107} 1.1.1.1 0 0 10")
        self.assertEqual(self.application.answer(None), INVALID)
        self.application.begin(f"start {self.path} 1.1.1.1 3 0 10")
        self.assertEqual(self.application.answer(None), INVALID)

    def test_stop_refuses_everything_and_start_begins_anew(self):
        link = self.start()
        self.enter(link)
        self.application.call("stop", None)
        link.ended()
        for command in ("enter", "file 1 66", "chunk 00", "finish 00", "check", "go", "end"):
            self.assertEqual(self.application.call(command), WRONG_STATE)
        self.application.call("stop", None)
        self.upgrade(self.start())

    def test_stop_from_the_bridges_own_thread(self):
        link = self.start()
        self.application.call("stop_at_restart")
        link.send(RESTARTING, struct.pack("<H", 1), 1)
        link.ended()
        self.assertEqual(self.application.call("enter"), WRONG_STATE)
        self.application.call("stop", None)


class Upgrade(Case):
    def test_from_enter_to_finish_twice(self):
        link = self.start()
        self.upgrade(link)
        self.upgrade(link)

    def test_ftp(self):
        link = self.start(welcome(transfer=FTP))
        code, body = self.ask("enter", link, ENTER, ENTERED, struct.pack("<BH", 0, 0))
        self.assertEqual((code, body), (0, b"\1"))
        self.assertEqual(self.ask("check", link, CHECK, CHECKED, b"\0")[0], 0)
        self.assertEqual(self.application.call("go"), 0)

    def test_everything_five_times(self):
        link = self.start()
        for _ in range(5):
            self.enter(link)
        for _ in range(5):
            self.begin_file(link, 3)
        self.send_chunk(link, 0, b"abc")
        for _ in range(5):
            code, _ = self.ask(f"finish {md5(b'abc').hex()}", link, FINISH, FINISHED, b"\0")
            self.assertEqual(code, 0)
        for _ in range(5):
            self.assertEqual(self.ask("check", link, CHECK, CHECKED, b"\0")[0], 0)
            self.assertEqual(self.application.call("go"), 0)
        self.assertEqual(self.application.finish(md5(b"abc")), 0)
        for _ in range(5):
            self.assertEqual(self.application.call("end"), 0)
            link.expect(END)

    def test_enter_refused(self):
        link = self.start()
        code, _ = self.ask("enter", link, ENTER, ENTERED, struct.pack("<BH", 1, 0))
        self.assertEqual(code, SYSTEM)
        self.assertEqual(self.application.file(5), SYSTEM)
        self.upgrade(link)

    def test_enter_answered_late(self):
        link = self.start()
        self.assertEqual(self.application.call("enter"), 0)
        self.assertEqual(self.application.extra, "7")
        link.expect(ENTER)
        link.answer(ENTERED, struct.pack("<BH", 0, 1))
        self.begin_file(link, 5)

    def test_enter_refused_late_fails_start(self):
        link = self.start()
        self.assertEqual(self.application.call("enter"), 0)
        link.expect(ENTER)
        link.answer(ENTERED, struct.pack("<BH", 1, 0))
        self.application.event("log 1 The daemon takes no upgrade now")
        self.assertEqual(self.application.file(5), SYSTEM)
        link.silent()
        self.upgrade(link)

    def test_an_answer_to_something_older_is_passed_over(self):
        link = self.start()
        self.application.begin("enter")
        link.expect(ENTER)
        link.send(ENTERED, struct.pack("<BH", 1, 0), (link.number + 1) % 256)
        link.send(STARTED, struct.pack("<BI", 1, 0), link.number)
        link.send(CHECKED, b"\1", link.number)
        link.answer(ENTERED, struct.pack("<BH", 0, 65535))
        self.assertEqual(self.application.answer(), 0)
        self.assertEqual(self.application.extra, "65535")

    def test_start_refused(self):
        link = self.start()
        self.enter(link)
        code, _ = self.ask("file 5 66", link, START, STARTED, struct.pack("<BI", 1, 0))
        self.assertEqual(code, SYSTEM)
        self.assertEqual(self.application.chunk(b"x"), SYSTEM)
        self.assertEqual(self.application.finish(md5(b"x")), SYSTEM)
        self.begin_file(link, 5)

    def test_start_refused_late_fails_transfer_and_finish(self):
        link = self.start()
        self.enter(link)
        self.assertEqual(self.application.file(5), 0)
        link.expect(START)
        self.assertEqual(self.application.chunk(b"ab"), 0)
        link.answer(STARTED, struct.pack("<BI", 1, 0))
        self.application.event("log 1 The daemon does not take this file")
        self.assertEqual(self.application.chunk(b"cde"), SYSTEM)
        self.assertEqual(self.application.finish(md5(b"ab")), SYSTEM)
        link.silent()

    def test_start_answered_late(self):
        link = self.start()
        self.enter(link)
        self.assertEqual(self.application.file(4), 0)
        link.expect(START)
        self.assertEqual(self.application.chunk(b"ab"), 0)
        self.assertEqual(self.application.chunk(b"cd"), 0)
        link.silent()
        link.answer(STARTED, struct.pack("<BI", 0, 0))
        self.assertEqual(link.expect(DATA), struct.pack("<I", 0) + b"abcd")

    def test_a_start_in_the_middle_begins_the_file_anew(self):
        link = self.start()
        self.entered_file(link, 6)
        self.send_chunk(link, 0, b"abc")
        self.application.begin("file 3 67")
        self.assertEqual(link.expect(START), struct.pack("<IIH", 3, 0, 1) + b"g")
        # What the daemon still says of the other file is no word about this one.
        link.send(WRITTEN, struct.pack("<I", 3))
        link.send(FAILED, b"old")
        link.answer(STARTED, struct.pack("<BI", 0, 0))
        self.assertEqual(self.application.answer(), 0)
        self.send_chunk(link, 0, b"xyz")
        code, _ = self.ask(f"finish {md5(b'xyz').hex()}", link, FINISH, FINISHED, b"\0")
        self.assertEqual(code, 0)

    def test_names(self):
        link = self.start()
        self.enter(link)
        for name in (b"", b"n" * 255, b"\xff\xc3\x28"):
            self.begin_file(link, 1, name)
        code, body = self.ask(
            "file 1 " + (b"m" * 256).hex(), link, START, STARTED, struct.pack("<BI", 0, 0))
        self.assertEqual((code, body[10:]), (0, b"m" * 255))

    def test_sizes_of_chunks(self):
        link = self.start()
        chunks = [os.urandom(n) for n in (1, 256, 1005, 4096)]
        self.entered_file(link, 1 << 20)
        offset = 0
        for chunk in chunks:
            self.send_chunk(link, offset, chunk)
            offset += len(chunk)
        link.send(WRITTEN, struct.pack("<I", offset))
        self.assertEqual(self.application.chunk(b""), INVALID)
        self.assertEqual(self.application.chunk(bytes(WINDOW + 1)), OUT_OF_RANGE)
        self.assertEqual(self.application.chunk(bytes(65535)), OUT_OF_RANGE)
        whole = os.urandom(WINDOW)
        self.until_taken(whole)
        for at in range(0, WINDOW, 4096):
            self.assertEqual(link.expect(DATA),
                             struct.pack("<I", offset + at) + whole[at:at + 4096])

    def until_taken(self, data):
        until = time.monotonic() + PATIENCE_S
        while (code := self.application.chunk(data)) == BUSY and time.monotonic() < until:
            pass
        self.assertEqual(code, 0)

    def test_a_full_window_fails_the_chunk_and_nothing_else(self):
        link = self.start()
        self.entered_file(link, 2 * WINDOW)
        for at in range(0, WINDOW, 4096):
            self.send_chunk(link, at, bytes(4096))
        for _ in range(5):
            self.assertEqual(self.application.chunk(b"x" * 10), BUSY)
        self.application.event("log 1 The daemon is slower than the host")
        link.send(WRITTEN, struct.pack("<I", 4096))
        self.until_taken(b"y" * 4096)
        self.assertEqual(link.expect(DATA), struct.pack("<I", WINDOW) + b"y" * 4096)
        self.assertEqual(self.application.chunk(b"z"), BUSY)
        # Said again, and something older.
        link.send(WRITTEN, struct.pack("<I", 4096))
        link.send(WRITTEN, struct.pack("<I", 10))
        self.assertEqual(self.application.chunk(b"z"), BUSY)

    def test_a_failed_reception(self):
        link = self.start()
        self.entered_file(link, 10)
        self.send_chunk(link, 0, b"12345")
        link.send(FAILED, "no room \x1b[1m\n".encode() + b"\xff" * 1000)
        text = self.application.event("log 1 The reception failed")
        self.assertIn("no room ?[1m?", text)
        for _ in range(5):
            self.assertEqual(self.application.chunk(b"6"), SYSTEM)
            self.assertEqual(self.application.finish(md5(b"12345")), SYSTEM)
        link.silent()
        self.assertEqual(self.application.call("check"), 0)
        link.expect(CHECK)
        self.complete_file(link)

    def test_a_wrong_md5(self):
        link = self.start()
        self.entered_file(link, 3)
        self.send_chunk(link, 0, b"abc")
        for _ in range(5):
            self.assertEqual(self.application.finish(bytes(16)), SYSTEM)
        self.assertEqual(link.expect(FINISH), bytes(16))
        link.answer(FINISHED, b"\1")
        self.assertEqual(self.application.call("check"), SYSTEM)
        self.assertEqual(self.application.finish(md5(b"abc")), WRONG_STATE)
        self.begin_file(link, 3)

    def test_sizes_that_lie(self):
        link = self.start()
        self.entered_file(link, 4)
        self.send_chunk(link, 0, b"abc")
        self.assertEqual(self.application.chunk(b"de"), OUT_OF_RANGE)
        self.assertEqual(self.application.finish(md5(b"abc")), SYSTEM)
        link.expect(FINISH)
        self.begin_file(link, 0)
        self.assertEqual(self.application.chunk(b"a"), OUT_OF_RANGE)
        code, _ = self.ask(f"finish {md5(b'').hex()}", link, FINISH, FINISHED, b"\0")
        self.assertEqual(code, 0)
        self.begin_file(link, 0xFFFFFFFF)
        self.send_chunk(link, 0, b"abc")

    def test_md5_of_many_lengths(self):
        link = self.start()
        self.enter(link)
        for size in list(range(0, 130)) + [1000, 4096]:
            data = os.urandom(size)
            self.begin_file(link, size)
            if size > 0:
                self.send_chunk(link, 0, data[:size // 2 + 1])
            if data[size // 2 + 1:]:
                self.send_chunk(link, size // 2 + 1, data[size // 2 + 1:])
            code, _ = self.ask(f"finish {md5(data).hex()}", link, FINISH, FINISHED, b"\0")
            self.assertEqual(code, 0)

    def test_finish_refused_at_once_and_late(self):
        link = self.start()
        self.entered_file(link, 3)
        self.send_chunk(link, 0, b"abc")
        code, _ = self.ask(f"finish {md5(b'abc').hex()}", link, FINISH, FINISHED, b"\1")
        self.assertEqual(code, SYSTEM)
        self.begin_file(link, 3)
        self.send_chunk(link, 0, b"abc")
        self.assertEqual(self.application.finish(md5(b"abc")), 0)
        link.expect(FINISH)
        link.answer(FINISHED, b"\1")
        self.application.event("log 1 The daemon found the size or the MD5")
        self.assertEqual(self.application.finish(md5(b"abc")), SYSTEM)
        self.assertEqual(self.application.call("check"), SYSTEM)

    def test_what_check_and_start_answer(self):
        link = self.start()
        for answer, check, go in ((b"\0", 0, 0), (b"\1", SYSTEM, SYSTEM), (b"\2", 0, SYSTEM),
                                  (b"\x63", SYSTEM, SYSTEM)):
            self.complete_file(link)
            self.assertEqual(self.ask("check", link, CHECK, CHECKED, answer)[0], check)
            self.assertEqual(self.application.call("go"), go)
            self.application.call("end")
            link.expect(END)

    def test_a_check_that_takes_longer(self):
        link = self.start()
        self.complete_file(link)
        for _ in range(2):
            self.assertEqual(self.application.call("check"), 0)
            self.assertEqual(self.application.call("go"), 0)
            link.expect(CHECK)
        link.answer(CHECKED, b"\1")
        self.application.event("log 1 The upgrade failed at its check or start")
        link.send(PUSH, b"\4\2")
        self.application.event("push 4 2")

    def test_finish_upgrade_in_the_middle_harms_nothing(self):
        link = self.start()
        self.entered_file(link, 3)
        self.application.call("end")
        link.expect(END)
        self.send_chunk(link, 0, b"abc")


class Telling(Case):
    def test_pushes(self):
        link = self.start()
        for body, text in ((b"\3\0", "3 0"), (b"\3\x64", "3 100"), (b"\6\xff", "6 255"),
                           (b"\4\1", "4 1"), (b"\4\2", "4 2")):
            link.send(PUSH, body)
            self.assertEqual(self.application.event("push"), "push " + text)
        for body in (b"\0\0", b"\3\x65", b"\4\0", b"\4\3", b"\5\1", b"\xff\xff"):
            link.send(PUSH, body)
        link.send(PUSH, b"\3\7")
        self.assertEqual(self.application.event("push"), "push 3 7")

    def test_restarting(self):
        link = self.start()
        self.application.call("restart_ms 300")
        link.send(RESTARTING, struct.pack("<H", 5000), 77)
        self.application.event("restarting 5000")
        # The bridge's thread is busy; the library's is not held for longer than otherwise.
        self.assertEqual(self.application.call("enter"), 0)
        link.expect(ENTER)
        link.expect(READY)
        self.assertEqual(link.number, 77)

    def test_reports(self):
        link = self.start()
        self.assertEqual(self.application.call("report"), 1)
        head = bytes([1, 1, 0, 0, 0, 2, 5, 0, 9])
        link.send(REPORT, head + b"All is well")
        self.application.event("log 2 The last upgrade's report: All is well")
        self.assertEqual(self.application.call("report"), 0)
        self.assertEqual(self.application.extra, "1 1 2.5.0.9 All is well")
        link.send(REPORT, bytes([3]) + bytes(8) + ("ä" * 300).encode())
        self.application.event("log 2")
        self.application.call("report")
        self.assertEqual(self.application.extra, "3 0 0.0.0.0 " + "ä" * 127)
        link.send(REPORT, bytes([9]) + bytes(8) + b"unknown outcome")
        link.send(REPORT, bytes([2]) + bytes(8) + b"\n\0\x7f")
        self.application.event("log 2")
        self.application.call("report")
        self.assertEqual(self.application.extra, "2 0 0.0.0.0 ???")

    def test_repeated_lines_are_rare(self):
        link = self.start()
        self.entered_file(link, 1)
        for _ in range(200):
            self.assertEqual(self.application.chunk(b"xy"), OUT_OF_RANGE)
        lines = [e for e in self.application.all_events() if "more bytes" in e]
        self.assertLessEqual(len(lines), 1 + ROOM_MS // 300)


class Broken(Case):
    """Whatever the daemon does, a callback returns in time."""

    COMMANDS = ["enter", "file 6 66", "chunk 616263", f"finish {md5(b'abcabc').hex()}", "check",
                "go", "end"]

    def test_every_order_of_callbacks_with_a_daemon_that_is_absent(self):
        self.start_alone()
        for commands in itertools.product(self.COMMANDS, repeat=3):
            for command in commands:
                self.assertIn(self.application.call(command),
                              (0, SYSTEM, WRONG_STATE, OUT_OF_RANGE))
        self.assertEqual(self.application.call("enter"), SYSTEM)
        self.listen()
        link = self.daemon.accept()
        link.greet()
        self.upgrade(link)

    def test_every_order_of_callbacks_with_a_daemon_that_serves(self):
        self.daemon = Serving(self.path)
        self.begin_start()
        self.assertEqual(self.application.answer(None), 0)
        for commands in itertools.product(self.COMMANDS, repeat=3):
            for command in commands:
                self.assertIn(self.application.call(command),
                              (0, SYSTEM, WRONG_STATE, OUT_OF_RANGE))
        self.whole_upgrade()

    def whole_upgrade(self):
        for command in (self.COMMANDS[0], self.COMMANDS[6], *self.COMMANDS[:3], self.COMMANDS[2],
                        *self.COMMANDS[3:]):
            self.assertEqual(self.application.call(command), 0, command)

    def test_a_daemon_that_hangs_at_each_callback(self):
        link = self.start()
        self.enter(link)
        for command in self.COMMANDS * 2:
            self.application.call(command)
        # It wakes up, reads everything, and knows an order in it that makes sense.
        kinds = []
        link.peer.settimeout(0.3)
        try:
            while True:
                kinds.append(link.message()[0])
        except TimeoutError:
            link.peer.settimeout(PATIENCE_S)
        self.assertEqual([k for k in kinds if k != STATE],
                         [ENTER, START, END] * 2)
        self.upgrade(link)

    def test_a_daemon_that_is_killed_at_each_callback(self):
        expected = {"enter": SYSTEM}
        for command in ("enter", "file 3 66", f"finish {md5(b'abc').hex()}", "check"):
            link = self.start()
            if command != "enter":
                self.enter(link)
            if command.startswith("finish"):
                self.begin_file(link, 3)
                self.send_chunk(link, 0, b"abc")
            if command == "check":
                self.complete_file(link)
            self.application.begin(command)
            kind, _, _ = link.message()
            while kind == STATE:
                kind, _, _ = link.message()
            self.daemon.leave()
            self.assertEqual(self.application.answer(), expected.get(command, 0), command)
            self.assertEqual(self.application.call("go"), 0 if command == "check" else WRONG_STATE)
            self.application.call("stop", None)
            self.daemon = None

    def test_a_daemon_that_restarts_at_each_callback(self):
        for command, kind, answer_kind, answer in (
                ("enter", ENTER, ENTERED, struct.pack("<BH", 0, 5)),
                ("file 3 66", START, STARTED, struct.pack("<BI", 0, 0)),
                ("check", CHECK, CHECKED, b"\2")):
            link = self.start()
            if command != "enter":
                self.enter(link)
            time.sleep(1.1)  # A connection that lasted is followed by another one at once.
            self.application.begin(command)
            link.expect(kind)
            link.close()
            link = self.daemon.accept()
            link.greet(welcome(stage=WAITING))
            link.expect(kind)
            link.answer(answer_kind, answer)
            self.assertEqual(self.application.answer(), 0)
            if command == "check":
                self.assertEqual(self.application.call("go"), SYSTEM)
            self.application.call("stop", None)

    def test_a_daemon_that_does_not_read(self):
        link = self.start()
        link.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        self.entered_file(link, 1 << 20)
        codes = [self.application.chunk(bytes([n]) * 1000) for n in range(40)]
        self.assertEqual(codes, [0] * 32 + [BUSY] * 8)
        for _ in range(2000):
            self.assertEqual(self.application.call("end"), 0)
        self.assertEqual(self.application.call("check"), 0)
        self.assertEqual(self.application.finish(md5(b"")), SYSTEM)
        # Now it reads, byte by byte, and every message is whole.
        stream = b""
        link.peer.settimeout(1)
        try:
            while True:
                stream += link.exactly(1)
        except TimeoutError:
            link.peer.settimeout(PATIENCE_S)
        data = b""
        ends = 0
        while stream:
            kind, _, length = struct.unpack("<BBH", stream[:4])
            body, stream = stream[4:4 + length], stream[4 + length:]
            self.assertIn(kind, (DATA, END, CHECK, STATE, FINISH))
            if kind == DATA:
                self.assertEqual(struct.unpack("<I", body[:4])[0], len(data))
                data += body[4:]
            ends += kind == END
        self.assertEqual(data, b"".join(bytes([n]) * 1000 for n in range(32)))
        self.assertGreater(ends, 10)
        self.upgrade(link)

    def test_a_daemon_that_speaks_byte_by_byte(self):
        link = self.start()

        def slowly(kind, body=b"", number=0):
            for byte in struct.pack("<BBH", kind, number, len(body)) + body:
                link.peer.sendall(bytes([byte]))
                time.sleep(0.001)

        link.send = slowly
        self.upgrade(link)

    def test_many_messages_in_one_write(self):
        link = self.start()
        push = struct.pack("<BBH", PUSH, 0, 2) + b"\3\x0b"
        link.peer.sendall(push * 500 + push[:3])
        for _ in range(500):
            self.application.event("push 3 11")
        link.peer.sendall(push[3:])
        self.application.event("push 3 11")

    def test_damaged_messages_end_the_connection(self):
        damaged = [struct.pack("<BBH", 0x7F, 0, 1025), struct.pack("<BBH", REPORT, 0, 65535)]
        for kind, least in ((VERSION, 4), (ENTERED, 3), (STARTED, 5), (WRITTEN, 4), (FINISHED, 1),
                            (CHECKED, 1), (PUSH, 2), (RESTARTING, 2), (REPORT, 9), (WELCOME, 11)):
            damaged.append(struct.pack("<BBH", kind, 0, least - 1) + bytes(least - 1))
        link = self.start()
        self.enter(link)
        for message in damaged:
            link.peer.sendall(message)
            link.ended()
            self.application.begin("enter")  # It does not wait for its next attempt.
            link = self.daemon.accept()
            link.greet()
            self.assertEqual(link.expect(ENTER), b"\2")
            link.answer(ENTERED, bytes(3))
            self.application.answer(None)
        self.upgrade(link)

    def test_bytes_confirmed_that_were_not_sent(self):
        link = self.start()
        self.entered_file(link, 10)
        self.send_chunk(link, 0, b"abc")
        link.send(WRITTEN, struct.pack("<I", 4))
        link.ended()

    def test_an_offset_that_is_not_kept(self):
        for offset in (3, 7):
            link = self.start()
            self.entered_file(link, 10)
            self.send_chunk(link, 0, b"abcdef")
            link.send(WRITTEN, struct.pack("<I", 4))
            link.send(PUSH, b"\3\1")
            self.application.event("push")
            link.close()
            link = self.daemon.accept()
            link.greet(welcome(WAITING))
            self.assertEqual(link.expect(START)[4:8], struct.pack("<I", 4))
            link.answer(STARTED, struct.pack("<BI", 0, offset))
            self.application.event("log 1 The daemon does not take this file")
            self.assertEqual(self.application.chunk(b"g"), SYSTEM)
            self.application.call("stop", None)

    def test_later_protocols_are_passed_over(self):
        link = self.start(welcome() + b"more fields")
        plain = link.send

        def later(kind, body=b"", number=0):
            plain(0x7E, os.urandom(1024), 3)
            plain(0x01, b"")
            text = kind in (FAILED, GONE, REPORT)
            plain(kind, body if text else body + os.urandom(900), number)

        link.send = later
        self.upgrade(link)

    def test_nothing_counts_before_the_welcome(self):
        self.listen()
        self.begin_start()
        link = self.daemon.accept()
        link.send(PUSH, b"\4\1")
        link.send(REPORT, bytes([1]) + bytes(8) + b"early")
        link.send(RESTARTING, b"\1\1", 1)
        link.greet()
        self.assertEqual(self.application.answer(None), 0)
        self.enter(link)
        self.assertEqual(self.application.call("report"), 1)
        self.assertFalse([e for e in self.application.all_events() if e.startswith(("push", "rest"))])

    def test_threads_that_are_cancelled(self):
        self.daemon = Serving(self.path)
        self.begin_start()
        self.assertEqual(self.application.answer(None), 0)
        self.application.call("enter")
        self.application.call("file 100000 66")
        self.assertEqual(self.application.call("cancel", None), 0)
        self.application.call("end")
        self.whole_upgrade()


class Reconnection(Case):
    def again(self, link, stage):
        link.close()
        link = self.daemon.accept()
        link.greet(welcome(stage))
        return link

    def test_entered(self):
        link = self.start()
        self.enter(link)
        for stage in (NOTHING, REPORTED):
            link = self.again(link, stage)
            link.expect(ENTER)
            link.answer(ENTERED, bytes(3))
        link = self.again(link, WAITING)
        link.silent()
        self.begin_file(link, 1)
        self.enter(link)
        link = self.again(link, RUNNING)
        link.silent()

    def test_entered_and_not_answered(self):
        link = self.start()
        self.assertEqual(self.application.call("enter"), 0)
        link = self.again(link, WAITING)
        link.expect(ENTER)

    def test_a_file_goes_on(self):
        link = self.start()
        self.entered_file(link, 9)
        self.send_chunk(link, 0, b"abcdef")
        link.send(WRITTEN, struct.pack("<I", 2))
        link.send(PUSH, b"\3\1")
        self.application.event("push")
        link.close()
        self.assertEqual(self.application.chunk(b"ghi"), 0)
        link = self.daemon.accept()
        link.greet(welcome(WAITING))
        self.assertEqual(link.expect(START), struct.pack("<IIH", 9, 2, 1) + b"f")
        link.silent()
        link.answer(STARTED, struct.pack("<BI", 0, 5))
        self.assertEqual(link.expect(DATA), struct.pack("<I", 5) + b"fghi")
        code, _ = self.ask(f"finish {md5(b'abcdefghi').hex()}", link, FINISH, FINISHED, b"\0")
        self.assertEqual(code, 0)
        link = self.again(link, WAITING)
        link.expect(START)
        link.answer(STARTED, struct.pack("<BI", 0, 9))
        self.assertEqual(link.expect(FINISH), md5(b"abcdefghi"))
        link.answer(FINISHED, b"\0")
        self.assertEqual(self.application.call("check"), 0)
        link.expect(CHECK)
        link = self.again(link, WAITING)
        link.expect(START)
        link.answer(STARTED, struct.pack("<BI", 0, 2))
        self.assertEqual(link.expect(DATA), struct.pack("<I", 2) + b"cdefghi")
        link.expect(FINISH)
        link.expect(CHECK)

    def test_a_file_is_lost(self):
        for stage in (NOTHING, REPORTED):
            link = self.start()
            self.entered_file(link, 9)
            self.send_chunk(link, 0, b"abc")
            link = self.again(link, stage)
            self.application.event("log 1 The daemon was restarted and has forgotten the upgrade")
            self.assertEqual(self.application.chunk(b"d"), SYSTEM)
            self.assertEqual(self.application.finish(md5(b"abc")), SYSTEM)
            link.silent()
            self.application.call("stop", None)

    def test_what_has_started_is_forgotten(self):
        link = self.start()
        self.entered_file(link, 9)
        link = self.again(link, RUNNING)
        link.silent()
        self.assertEqual(self.application.chunk(b"d"), WRONG_STATE)

    def test_a_check_is_forgotten_or_asked_again(self):
        for stage in (NOTHING, RUNNING, REPORTED, WAITING):
            link = self.start(welcome(transfer=FTP))
            self.ask("enter", link, ENTER, ENTERED, bytes(3))
            self.assertEqual(self.application.call("check"), 0)
            link.expect(CHECK)
            link = self.again(link, stage)
            if stage == WAITING:
                link.expect(CHECK)
            link.silent()
            self.assertEqual(self.application.call("go"), 0)
            self.application.call("stop", None)

    def test_an_end_that_nobody_heard(self):
        for stage in (NOTHING, WAITING, RUNNING, REPORTED):
            self.start().close()
            self.daemon.leave()
            self.application.event("log 1 The connection")
            self.application.call("end")
            self.listen()
            link = self.daemon.accept()
            link.greet(welcome(stage))
            if stage == REPORTED:
                link.expect(END)
            link.silent()
            self.application.call("stop", None)

    def test_the_first_attempt_comes_at_once(self):
        link = self.start()
        time.sleep(1.1)
        began = time.monotonic()
        link.close()
        self.daemon.accept()
        self.assertLess(time.monotonic() - began, 0.1 + ROOM_MS / 1000)

    def test_who_was_replaced_comes_back_late_unless_it_is_needed(self):
        link = self.start()
        began = time.monotonic()
        link.send(GONE, b"another application has the link")
        self.application.event("log 1 The daemon closed the connection: another application")
        link.ended()
        link = self.daemon.accept()
        self.assertGreater(time.monotonic() - began, 1.4)
        link.greet()
        link.send(GONE, b"")
        link.ended()
        self.application.begin("enter")
        began = time.monotonic()
        link = self.daemon.accept()
        self.assertLess(time.monotonic() - began, 0.1 + ROOM_MS / 1000)
        link.greet()
        self.application.answer()

    def test_files_over_connections_that_are_cut_anywhere(self):
        for seed in range(CUTS):
            with self.subTest(seed=seed):
                self.one_cut_file(random.Random(seed))

    def one_cut_file(self, chance):
        content = chance.randbytes(chance.choice((50000, 200000, 400000)))
        source = os.path.join(self.directory.name, "file")
        with open(source, "wb") as file:
            file.write(content)
        self.daemon = Serving(self.path, chance)
        self.begin_start()
        self.assertEqual(self.application.answer(None), 0)
        self.assertEqual(self.application.call("enter"), 0)
        self.assertEqual(self.application.file(len(content)), 0)
        self.daemon.cutting = True
        chunk = chance.choice((256, 1005, 4096))
        self.assertEqual(self.application.call(f"send {source} {chunk} 20", None), 0)
        self.assertEqual(self.application.finish(md5(content)), 0)
        self.assertEqual(self.application.call("check"), 0)
        self.assertEqual(self.application.call("go"), 0)
        until = time.monotonic() + PATIENCE_S
        while not self.daemon.checked and time.monotonic() < until:
            time.sleep(0.01)
        self.assertTrue(self.daemon.checked)
        self.assertEqual(self.daemon.file, content)
        self.application.call("stop", None)
        self.daemon.leave()
        self.daemon = None


class Versions(unittest.TestCase):
    """Applications that are older or newer than the daemon, built by macros."""

    def versions_of(self, variable):
        with tempfile.TemporaryDirectory() as directory:
            daemon = Daemon(os.path.join(directory, "s"))
            application = Application(shlex.split(os.environ[variable]))
            application.begin(f"start {daemon.path} 1.0.0.0 0 0 1000")
            link = daemon.accept()
            hello = link.expect(HELLO)
            yield struct.unpack("<HH", hello[4:8])
            yield application, link
            application.leave()
            daemon.leave()

    def test_a_newer_application_takes_the_older_version(self):
        run = self.versions_of("APPLICATION_1_2")
        self.assertEqual(next(run), (1, 2))
        application, link = next(run)
        link.answer(WELCOME, welcome(protocol=1))
        self.assertEqual(application.answer(None), 0)
        application.event("init 1.2.3.4")
        list(run)

    def test_no_version_in_common(self):
        run = self.versions_of("APPLICATION_2_2")
        self.assertEqual(next(run), (2, 2))
        application, link = next(run)
        link.answer(GONE, b"no version in common")
        link.close()
        application.event("log 1 The daemon closed the connection: no version in common")
        self.assertEqual(application.answer(None), 0)
        application.event("init 1.0.0.0")
        list(run)

    def test_a_version_that_was_not_offered(self):
        run = self.versions_of("APPLICATION_1_2")
        next(run)
        application, link = next(run)
        link.answer(WELCOME, welcome(protocol=3))
        link.ended()
        application.event("log 0 The daemon chose a version")
        self.assertEqual(application.answer(None), 0)
        list(run)


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


if __name__ == "__main__":
    unittest.main()
