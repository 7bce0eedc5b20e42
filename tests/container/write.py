#!/usr/bin/env python3
"""Writes a container as docs/wire/container.md says, with Debian's zstd and minisign:
write.py PROGRAM OUT VERSION MACHINE SECRET-KEY KEY-ID [OLD OLD-VERSION]. The product is in PROGRAM's name."""

import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile
import zlib

from delta import delta

PIECE = 256 * 1024
WINDOW_LOG = 22


def sha256(data):
    return hashlib.sha256(data)


def compressed(program):
    command = ["zstd", "-q", "-19", f"--zstd=wlog={WINDOW_LOG}", "--no-check", "-c", program]
    return subprocess.run(command, check=True, capture_output=True).stdout


def signature(manifest, secret_key):
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "manifest")
        with open(path, "wb") as file:
            file.write(manifest)
        subprocess.run(["minisign", "-S", "-s", secret_key, "-m", path], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        with open(path + ".minisig", "rb") as file:
            return file.read()


def front(manifest, signed):
    begin = b"\x89UPL\r\n\x1a\n" + struct.pack("<III", 2, len(manifest), len(signed))
    checksum = zlib.crc32(manifest + signed + begin)
    return begin + struct.pack("<IQ", checksum, 0) + manifest + signed


def described(program):
    return {"size": len(program), "sha256": sha256(program).hexdigest()}


def main(path, out, version, machine, secret_key, key_id, old=None, old_version=None):
    with open(path, "rb") as file:
        program = file.read()
    stream, described_stream = compressed(path), {"codec": "zstd"}
    if old:
        with open(old, "rb") as file:
            base = file.read()
        stream = delta(base, program)
        described_stream = {"codec": "delta", "base": {"version": old_version, **described(base)}}
    pieces = [stream[at:at + PIECE] for at in range(0, len(stream), PIECE)]
    digests = b"".join(sha256(piece).digest() for piece in pieces)
    described_stream |= {"window": 1 << WINDOW_LOG, "size": len(stream), "pieces": sha256(digests).hexdigest()}
    manifest = json.dumps({
        "product": os.path.basename(path).rsplit("_", 1)[0],
        "version": version,
        "machine": machine,
        **described(program),
        "created": "2026-01-02T03:04:05Z",
        "key_id": key_id,
        "place": "before",
        "streams": [described_stream],
    }, indent=2).encode()
    with open(out, "wb") as file:
        file.write(front(manifest, signature(manifest, secret_key)) + digests + stream)


main(*sys.argv[1:])
