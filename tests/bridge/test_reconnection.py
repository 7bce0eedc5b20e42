"""What a new connection makes of an upgrade: docs/wire/bridge.md section 4."""

import os
import random
import struct
import time

from peers import (BUSY, CHECK, CUTS, DATA, END, ENTER, ENTERED, FINISH, FINISHED, FTP, GONE,
                   NOTHING, PATIENCE_S, PUSH, REPORTED, ROOM_MS, RUNNING, START, STARTED, SYSTEM,
                   WAITING, WINDOW, WRITTEN, WRONG_STATE, Case, Serving, md5, welcome)


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
        link.answer(STARTED, struct.pack("<BI", 0, 9))
        link.expect(FINISH)
        link.expect(CHECK)

    def test_what_was_written_and_never_told_leaves_room(self):
        link = self.start()
        self.entered_file(link, 2 * WINDOW)
        for at in range(0, WINDOW, 4096):
            self.send_chunk(link, at, bytes(4096))
        self.assertEqual(self.application.chunk(b"x"), BUSY)
        link = self.again(link, WAITING)
        self.assertEqual(link.expect(START)[4:8], bytes(4), "nothing was told to be written")
        link.answer(STARTED, struct.pack("<BI", 0, WINDOW // 2))
        for at in range(WINDOW // 2, WINDOW, 4096):
            self.assertEqual(link.expect(DATA), struct.pack("<I", at) + bytes(4096))
        # A daemon has less than it writes at once, so it says nothing.
        self.send_chunk(link, WINDOW, b"y" * 4096)
        link = self.again(link, WAITING)
        self.assertEqual(link.expect(START)[4:8], struct.pack("<I", WINDOW // 2))

    def test_a_file_that_was_taken_before_the_answer_to_enter(self):
        link = self.start()
        self.assertEqual(self.application.call("enter"), 0)
        link.expect(ENTER)
        self.begin_file(link, 3)
        self.send_chunk(link, 0, b"abc")
        link = self.again(link, WAITING)
        link.expect(START)

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

    def test_a_file_that_the_daemon_never_heard_of_begins_anew(self):
        link = self.start()
        self.enter(link)
        self.daemon.leave()
        self.assertEqual(self.application.file(6, b"f"), 0)
        self.assertEqual(self.application.chunk(b"abc"), 0)
        self.listen()
        link = self.daemon.accept()
        link.greet(welcome(NOTHING))
        link.expect(ENTER)
        link.answer(ENTERED, bytes(3))
        self.assertEqual(link.expect(START), struct.pack("<IIH", 6, 0, 1) + b"f")
        link = self.again(link, REPORTED)
        link.expect(ENTER)
        link.expect(START)
        link.answer(STARTED, bytes(5))
        self.assertEqual(link.expect(DATA), struct.pack("<I", 0) + b"abc")
        self.send_chunk(link, 3, b"def")
        link = self.again(link, NOTHING)
        self.application.event("log 1 The daemon was restarted and has forgotten the upgrade")

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
            if stage == NOTHING:
                # No report would tell the host, who believes that it has started.
                link.expect(ENTER)
            if stage in (NOTHING, WAITING):
                link.expect(CHECK)
            link.silent()
            self.assertEqual(self.application.call("go"), 0)
            self.application.call("stop", None)

    def test_a_report_of_before_is_not_the_end_of_an_upgrade_that_nobody_heard_of(self):
        link = self.start(welcome(transfer=FTP))
        self.assertEqual(self.application.call("enter"), 0)
        self.assertEqual(self.application.call("check"), 0)
        link = self.again(link, REPORTED)
        link.expect(ENTER)
        link.expect(CHECK)

    def test_a_file_that_was_checked_and_never_heard_of_begins_anew(self):
        link = self.start()
        self.enter(link)
        self.daemon.leave()
        self.assertEqual(self.application.file(3, b"f"), 0)
        self.assertEqual(self.application.chunk(b"abc"), 0)
        self.assertEqual(self.application.finish(md5(b"abc")), 0)
        self.assertEqual(self.application.call("check"), 0)
        self.listen()
        link = self.daemon.accept()
        link.greet(welcome(NOTHING))
        link.expect(ENTER)
        self.assertEqual(link.expect(START), struct.pack("<IIH", 3, 0, 1) + b"f")
        link.answer(STARTED, bytes(5))
        self.assertEqual(link.expect(DATA), struct.pack("<I", 0) + b"abc")
        self.assertEqual(link.expect(FINISH), md5(b"abc"))
        link.expect(CHECK)

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

    def test_an_end_that_the_daemon_lost(self):
        link = self.start()
        self.upgrade(link)
        link = self.again(link, REPORTED)
        link.expect(END)
        self.enter(link)
        link = self.again(link, REPORTED)
        link.expect(ENTER)

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
        self.application.begin("patiently enter")
        began = time.monotonic()
        link = self.daemon.accept()
        self.assertLess(time.monotonic() - began, 0.1 + ROOM_MS / 1000)
        link.greet()
        link.expect(ENTER)
        link.answer(ENTERED, bytes(3))
        self.assertEqual(self.application.answer(None), 0)

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
