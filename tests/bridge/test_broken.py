"""Daemons that are absent, hang, die, or speak nonsense."""

import itertools
import os
import socket
import struct
import time
import unittest

from peers import (BUSY, CHECK, CHECKED, DATA, END, ENTER, ENTERED, FAILED, FINISH, FINISHED, FTP,
                   GONE, OUT_OF_RANGE, PATIENCE_S, PUSH, REPORT, RESTARTING, START, STARTED, STATE,
                   SYSTEM, VERSION, WAITING, WELCOME, WRITTEN, WRONG_STATE, Case, Serving, md5,
                   welcome)


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

    def test_an_absent_daemon_is_not_waited_for(self):
        self.start_alone()
        times = []
        for _ in range(10):
            self.assertEqual(self.application.call("enter"), SYSTEM)
            times.append(self.application.took_ms)
        self.assertLess(min(times), 80)

    def test_a_connection_that_ends_before_the_bridge_sees_it(self):
        link = self.start()
        self.entered_file(link, 100)
        self.application.call("restart_ms 500")
        link.send(RESTARTING, bytes(2))
        self.application.event("restarting")
        link.close()
        for _ in range(3):
            self.assertEqual(self.application.chunk(b"abc"), 0)
        link = self.daemon.accept()
        link.greet(welcome(WAITING))
        link.expect(START)

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
            # Over FTP the check comes without a file.
            link = self.start(welcome(transfer=FTP))
            if command != "enter":
                self.ask("enter", link, ENTER, ENTERED, bytes(3))
            time.sleep(1.1)  # A connection that lasted is followed by another one at once.
            self.application.begin("patiently " + command)
            link.expect(kind)
            link.close()
            link = self.daemon.accept()
            link.greet(welcome(stage=WAITING))
            link.expect(kind)
            link.answer(answer_kind, answer)
            self.assertEqual(self.application.answer(None), 0)
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
        self.assertEqual(self.application.call("check"), WRONG_STATE)
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
            self.assertIn(kind, (DATA, END, STATE, FINISH))
            if kind == DATA:
                self.assertEqual(struct.unpack("<I", body[:4])[0], len(data))
                data += body[4:]
            ends += kind == END
        self.assertEqual(data, b"".join(bytes([n]) * 1000 for n in range(32)))
        self.assertGreater(ends, 10)
        self.upgrade(link)

    def test_what_did_not_fit_follows_by_itself(self):
        link = self.start()
        for _ in range(3000):
            self.assertEqual(self.application.call("end"), 0)
        self.assertEqual(self.application.call("check"), 0)
        kind = END
        while kind in (END, STATE):
            kind, _, _ = link.message()
        self.assertEqual(kind, CHECK)

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
            self.application.begin("patiently enter")  # It does not wait for its next attempt.
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

    @unittest.skipIf("NO_CANCEL" in os.environ, "the tool itself fails at a thread that is cancelled")
    def test_threads_that_are_cancelled(self):
        self.daemon = Serving(self.path)
        self.begin_start()
        self.assertEqual(self.application.answer(None), 0)
        self.application.call("enter")
        self.application.call("file 100000 66")
        self.assertEqual(self.application.call("cancel", None), 0)
        self.application.call("end")
        self.whole_upgrade()
