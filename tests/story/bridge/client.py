"""A payload's application of a few lines: hands a firmware file over the bridge and follows the upgrade to its end (docs/wire/bridge.md).

    client.py SOCKET FILE
"""

import hashlib
import os
import socket
import struct
import sys
import time

HELLO, STATE, ENTER, START, DATA, FINISH, CHECK, END, READY = 0x01, 0x02, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16
WELCOME, ENTERED, STARTED, WRITTEN, FINISHED, CHECKED = 0x81, 0x90, 0x91, 0x92, 0x94, 0x95
GONE, FAILED, PUSH, RESTARTING, REPORT = 0x83, 0x93, 0xA0, 0xA1, 0xA2
STAGES = {3: "ongoing", 4: "end", 6: "reboot"}
DCFTP = 2
CHUNK = 1005


class Bridge:
    """A connection. A daemon that restarts loses it, and nothing else."""

    def __init__(self, path):
        self.path, self.number = path, 0
        self.connect()

    def connect(self):
        while True:
            try:
                self.socket = socket.socket(socket.AF_UNIX)
                self.socket.connect(self.path)
                self.ask(HELLO, b"UPBR" + struct.pack("<HHB", 1, 1, 9) + b"client.py", WELCOME)
                return self.say(STATE, b"\x03")
            except OSError:
                time.sleep(0.05)

    def say(self, kind, body=b""):
        self.number = self.number % 255 + 1
        self.socket.sendall(struct.pack("<BBH", kind, self.number, len(body)) + body)

    def hear(self):
        kind, number, length = struct.unpack("<BBH", self.exactly(4))
        return kind, number, self.exactly(length)

    def exactly(self, length):
        data = self.socket.recv(length, socket.MSG_WAITALL) if length else b""
        if len(data) < length:
            raise ConnectionResetError
        return data

    def ask(self, kind, body, answer):
        self.say(kind, body)
        while True:
            heard, number, body = self.hear()
            if (heard, number) == (answer, self.number):
                return body
            if heard in (GONE, FAILED):
                sys.exit(body.decode())


def hand_over(bridge, path):
    """The file, and what the callbacks of the library would be told of it."""
    content, name = open(path, "rb").read(), os.path.basename(path).encode()
    if bridge.ask(ENTER, bytes([DCFTP]), ENTERED)[0] != 0:
        sys.exit("refused")
    start = struct.pack("<IIH", len(content), 0, len(name)) + name
    if bridge.ask(START, start, STARTED)[0] != 0:
        sys.exit("the file was refused")
    for offset in range(0, len(content), CHUNK):
        bridge.say(DATA, struct.pack("<I", offset) + content[offset : offset + CHUNK])
    if bridge.ask(FINISH, hashlib.md5(content).digest(), FINISHED)[0] != 0:
        sys.exit("the file did not arrive whole")
    if bridge.ask(CHECK, b"", CHECKED)[0] != 0:
        sys.exit("the check failed")


def follow(bridge):
    """What the daemon has pushed, over its restarts; the code of the end."""
    while True:
        try:
            kind, _, body = bridge.hear()
            if kind == RESTARTING:
                bridge.say(READY)
            elif kind == PUSH:
                print(STAGES[body[0]], body[1], flush=True)
                if body[0] == 4:
                    bridge.say(END)
                    return body[1]
        except OSError:
            bridge.connect()


if __name__ == "__main__":
    connected = Bridge(sys.argv[1])
    hand_over(connected, sys.argv[2])
    sys.exit(0 if follow(connected) == 1 else 1)
