"""How the bridge starts and stops, and what it passes on besides an upgrade's steps."""

import os
import shlex
import struct
import tempfile
import unittest

from peers import (DCFTP, END, ENTER, ENTERED, FTP, GONE, HELLO, INVALID, OUT_OF_RANGE, PUSH, READY,
                   REPORT, RESTARTING, ROOM_MS, STATE, SYSTEM, VERSION, WELCOME, WRONG_STATE,
                   Application, Case, Daemon, welcome)


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
