"""A network channel of a few lines: hands a firmware file over to the daemon and follows it to its report (docs/wire/hand-over.md).

    client.py SOCKET CHANNEL FILE
"""

import json
import os
import socket
import struct
import sys

PIECE = 256 << 10


class Conversation:
    """Requests and answers, one JSON object a line."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.answers = self.socket.makefile("rb")

    def ask(self, request, **fields):
        self.socket.sendall(json.dumps({"request": request, **fields}).encode() + b"\n")
        return self.answer()

    def answer(self):
        answer = json.loads(self.answers.readline())
        if answer["answer"] == "failure":
            sys.exit(answer["failure"]["sentence"])
        return answer

    def hand_over(self, upgrade, path):
        name, size = os.path.basename(path), os.path.getsize(path)
        offset = self.ask("receive", upgrade=upgrade, file={"name": name, "size": size})["offset"]
        with open(path, "rb") as file:
            file.seek(offset)
            while piece := file.read(PIECE):
                self.socket.sendall(struct.pack(">I", len(piece)) + piece)
        self.socket.sendall(struct.pack(">I", 0))
        return self.answer()


def main(path, channel, firmware):
    daemon = Conversation(path)
    upgrade = daemon.ask("begin", channel=channel, requester="a client in Python", reference="ticket 7")["upgrade"]
    daemon.hand_over(upgrade, firmware)
    print("checked", daemon.ask("check", upgrade=upgrade)["package"]["version"], flush=True)
    daemon.ask("start", upgrade=upgrade)
    watch = Conversation(path)
    own = watch.ask("watch", channel=channel)
    while not own["reports"]:
        own = watch.answer()
    [report] = own["reports"]
    assert report["request"]["reference"] == "ticket 7", report
    Conversation(path).ask("acknowledge", channel=channel)
    print(report["outcome"], flush=True)


main(*sys.argv[1:])
