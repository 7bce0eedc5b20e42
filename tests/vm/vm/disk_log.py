"""What a disk was told, in order: the log of qemu's driver `blklogwrites`, in the format of the kernel's dm-log-writes.

From it the disk is rebuilt as it could be after a power cut at any point. Knows nothing of what is on the disk.
"""

import random
import struct
from dataclasses import dataclass

SECTOR = 512
MAGIC = 0x6A736677736872
HEADER = struct.Struct("<QQQQ")
FLUSH, FUA, DISCARD = 1, 2, 4


@dataclass(frozen=True)
class Entry:
    """A write, a flush, or both. `at` is where in the log its bytes lie."""
    sector: int
    sectors: int
    flags: int
    at: int

    @property
    def is_flush(self):
        """Whether everything before is durable once it is done."""
        return bool(self.flags & FLUSH)

    @property
    def is_write(self):
        """Whether it changes the disk."""
        return self.sectors > 0 and not self.flags & DISCARD


def read(path):
    """The entries of a log, up to where it was cut off."""
    entries, size = [], path.stat().st_size
    with open(path, "rb") as log:
        magic, version, _, sector_size = struct.unpack("<QQQL", log.read(28))
        if (magic, version, sector_size) != (MAGIC, 1, SECTOR):
            raise RuntimeError(f"{path} is not a log of writes")
        position = SECTOR
        while position + SECTOR <= size:
            log.seek(position)
            sector, sectors, flags, _ = HEADER.unpack(log.read(HEADER.size))
            position += SECTOR
            if not sectors and not flags:
                break
            length = 0 if flags & DISCARD else sectors * SECTOR
            if position + length > size:
                break
            entries.append(Entry(sector, sectors, flags, position))
            position += length
    return entries


class Replay:
    """Brings a disk forward along a log. `disk` holds what is durable: every write before the last flush."""

    def __init__(self, entries, log, disk):
        self.entries, self._log, self._disk = entries, open(log, "rb"), open(disk, "r+b", buffering=0)
        self._done = 0

    def close(self):
        """Lets go of the files."""
        self._log.close()
        self._disk.close()

    def advance(self, cut):
        """Makes durable what is before the last flush of the first `cut` entries. Only forward. Says which entries it left."""
        durable = max((index + 1 for index in range(self._done, cut) if self.entries[index].is_flush), default=self._done)
        for entry in self.entries[self._done:durable]:
            self.apply(entry, self._disk)
        self._done = durable
        return self.entries[durable:cut]

    def apply(self, entry, disk, sectors=None):
        """Does a write to a disk, or the first `sectors` of it."""
        if entry.is_write:
            self._log.seek(entry.at)
            disk.seek(entry.sector * SECTOR)
            disk.write(self._log.read((entry.sectors if sectors is None else sectors) * SECTOR))


def some_of(pending, seed):
    """What a power cut may keep of the writes after the last flush: any of them, and of one perhaps but a part."""
    chance = random.Random(seed)
    kept = []
    for entry in pending:
        if entry.flags & FUA:
            kept.append((entry, entry.sectors))
        elif entry.is_write and chance.random() < 0.5:
            kept.append((entry, entry.sectors if chance.random() < 0.8 else chance.randint(1, entry.sectors)))
    return kept
