"""An upgrade with a daemon that answers, late or with a refusal."""

import os
import struct
import time

from peers import (BUSY, CHECK, CHECKED, DATA, END, ENTER, ENTERED, FAILED, FINISH, FINISHED, FTP,
                   INVALID, OUT_OF_RANGE, PATIENCE_S, PUSH, START, STARTED, SYSTEM, WINDOW, WRITTEN,
                   WRONG_STATE, Case, md5, welcome)


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
        self.application.begin("patiently enter")
        link.expect(ENTER)
        link.send(ENTERED, struct.pack("<BH", 1, 0), (link.number + 1) % 256)
        link.send(STARTED, struct.pack("<BI", 1, 0), link.number)
        link.send(CHECKED, b"\1", link.number)
        link.answer(ENTERED, struct.pack("<BH", 0, 65535))
        self.assertEqual(self.application.answer(None), 0)
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
        self.application.begin("patiently file 3 67")
        self.assertEqual(link.expect(START), struct.pack("<IIH", 3, 0, 1) + b"g")
        # What the daemon still says of the other file is no word about this one.
        link.send(WRITTEN, struct.pack("<I", 3))
        link.send(FAILED, b"old")
        link.answer(STARTED, struct.pack("<BI", 0, 0))
        self.assertEqual(self.application.answer(None), 0)
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
            began = time.monotonic()
            self.assertEqual(self.application.chunk(b"x" * 10), BUSY)
            self.assertGreater(time.monotonic() - began, 0.05, "the host is held up, and repeats the less")
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
        self.assertEqual(self.application.call("check"), WRONG_STATE)
        link.silent()
        self.complete_file(link)

    def test_a_check_without_a_file_is_refused_at_once(self):
        link = self.start()
        self.enter(link)
        for begins in (lambda: None, lambda: self.begin_file(link, 3)):
            begins()
            self.assertEqual(self.application.call("check"), WRONG_STATE)
            self.assertEqual(self.application.call("go"), WRONG_STATE)
        link.silent()

    def test_a_new_process_hears_whether_there_is_something_to_check(self):
        link = self.start()
        self.application.begin("check")
        link.expect(CHECK)
        link.answer(CHECKED, b"\1")
        self.assertEqual(self.application.answer(), SYSTEM)

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

    def test_finish_refused(self):
        link = self.start()
        self.entered_file(link, 3)
        self.send_chunk(link, 0, b"abc")
        code, _ = self.ask(f"finish {md5(b'abc').hex()}", link, FINISH, FINISHED, b"\1")
        self.assertEqual(code, SYSTEM)
        self.complete_file(link)

    def test_finish_refused_late(self):
        link = self.start()
        self.entered_file(link, 3)
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


class Gathered(Case):
    """Chunks wait for the next ones: here until there are enough, however long that takes."""
    command = [os.environ["APPLICATION_HOLD"]]

    def take(self, data, size):
        for at in range(0, len(data), size):
            self.assertEqual(self.application.chunk(data[at:at + size]), 0)

    def comes(self, link, offset, data, least=None, most=2):
        """At least so many bytes of it, by default all, in so many messages: the bridge's thread may still be at work with the one before,
        and sends all that is there. What has come."""
        came = messages = 0
        while came < (len(data) if least is None else least):
            body = link.expect(DATA)
            part = data[came:came + len(body) - 4]
            self.assertEqual(body, struct.pack("<I", offset + came) + part)
            came, messages = came + len(part), messages + 1
        self.assertLessEqual(messages, most)
        return came

    def test_small_chunks_are_sent_together(self):
        link = self.start()
        data = os.urandom(100 + 2 * 4096 + 1000)
        self.entered_file(link, len(data))
        # The first one says that the file comes.
        self.send_chunk(link, 0, data[:100])
        self.take(data[100:8292], 256)
        # Whatever was sent before there were enough, there were enough once.
        came = self.comes(link, 100, data[100:8292], least=4096, most=3)
        # And nothing waits at the file's end.
        self.take(data[8292:], 250)
        self.comes(link, 100 + came, data[100 + came:], most=4)
        code, _ = self.ask(f"finish {md5(data).hex()}", link, FINISH, FINISHED, b"\0")
        self.assertEqual(code, 0)

    def test_what_waits_is_sent_before_the_finish(self):
        link = self.start()
        self.entered_file(link, 1000)
        self.send_chunk(link, 0, b"a" * 100)
        self.take(b"b" * 200, 50)
        self.assertEqual(self.application.finish(md5(b"another file")), SYSTEM)
        self.comes(link, 100, b"b" * 200)
        link.expect(FINISH)

    def test_what_waits_goes_with_the_daemon_s_next_word(self):
        link = self.start()
        self.entered_file(link, 1000)
        self.send_chunk(link, 0, b"a" * 100)
        self.take(b"b" * 200, 50)
        link.send(WRITTEN, struct.pack("<I", 100))
        self.comes(link, 100, b"b" * 200)
