"""The seed's map and the record, from docs/wire/stm32f4.md; nothing of the programs."""
import struct
import zlib

BASE, SIZE = 0x08000000, 0x100000
RECORD, APPLICATION, STORE = 0x08008000, 0x08010000, 0x08080000
ROOM = 448 * 1024
SECTORS = [0x4000] * 4 + [0x10000] + [0x20000] * 7


def sector(number):
    start = sum(SECTORS[:number])
    return slice(start, start + SECTORS[number])


def record(image, size=None, crc=None, copied=0xFFFFFFFF):
    size = len(image) if size is None else size
    crc = zlib.crc32(image) if crc is None else crc
    zeros = 64 - bin(size).count("1") - bin(crc).count("1")
    return struct.pack("<6I", 0x11223344, 1, size, crc, 0x55504C00 | zeros, copied)


def flash(*parts):
    """The whole flash, with these bytes at these addresses."""
    bytes_ = bytearray(b"\xff" * SIZE)
    for address, part in parts:
        bytes_[address - BASE : address - BASE + len(part)] = part
    return bytes_
