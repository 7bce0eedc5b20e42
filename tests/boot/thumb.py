"""The bootloader's Thumb code on a flash that behaves like NOR: thumb.py BOOTLOADER BOOTLOADER-WITH-TABLE"""
import pathlib
import random
import struct
import sys
import time

from unicorn import UC_ARCH_ARM, UC_HOOK_CODE, UC_HOOK_MEM_WRITE, UC_MODE_MCLASS, UC_MODE_THUMB, UC_PROT_ALL, Uc
from unicorn.arm_const import UC_ARM_REG_SP, UC_CPU_ARM_CORTEX_M4

from layout import APPLICATION, BASE, RECORD, ROOM, SECTORS, SIZE, STORE, flash, record, sector

RAM, RAM_SIZE = 0x20000000, 0x20000
KEYR, SR, CR = 0x04, 0x0C, 0x10
PG, SER, STRT, LOCK = 1, 2, 1 << 16, 1 << 31
TEARS = ["nothing", "all", "half", "random"]
UNTOUCHED = b"\xa5"
STACK = 256


def crc_table():
    """Of the chip's unit: the highest bit first."""
    for value in range(256):
        crc = value << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
        yield crc


CRC_TABLE = list(crc_table())


class Chip:
    """An F405 with flash, its registers, and a CRC unit."""

    def __init__(self, bytes_):
        self.flash = bytearray(bytes_)
        self.operations = self.cr = self.vtor = 0
        self.cr, self.crc, self.keys, self.pending = LOCK, 0xFFFFFFFF, [], None
        self.cut = self.failing = None
        self.error = 0

    def boot(self, cut=None, failing=None, tear="nothing", seed=0):
        """Resets; what starts, "waits", or "off" where the power failed at an operation."""
        self.operations, self.cut, self.failing, self.tear = 0, cut, failing, tear
        self.cr, self.keys, self.pending, self.error, self.off = LOCK, [], None, 0, False
        self.random = random.Random(seed)
        self.outcome = None
        uc = self.uc = Uc(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS)
        uc.ctl_set_cpu_model(UC_CPU_ARM_CORTEX_M4)
        uc.mem_map(BASE, SIZE, UC_PROT_ALL)
        uc.mem_write(BASE, bytes(self.flash))
        uc.mem_map(RAM, RAM_SIZE)
        uc.mem_write(RAM, UNTOUCHED * RAM_SIZE)
        uc.mmio_map(0x40000000, 0x4000, None, None, lambda *_: None, None)
        uc.mmio_map(0x40023000, 0x1000, self.read, None, self.write, None)
        uc.mmio_map(0xE000E000, 0x1000, lambda *_: 0, None, self.write_core, None)
        uc.hook_add(UC_HOOK_MEM_WRITE, self.program, begin=BASE, end=BASE + SIZE - 1)
        uc.hook_add(UC_HOOK_CODE, self.starts, begin=APPLICATION, end=BASE + SIZE - 1)
        for at in range(0, 0x8000, 2):
            if self.flash[at : at + 2] == b"\x30\xbf":  # wfi
                uc.hook_add(UC_HOOK_CODE, self.waits, begin=BASE + at, end=BASE + at)
        stack, entry = struct.unpack_from("<2I", self.flash)
        uc.reg_write(UC_ARM_REG_SP, stack)
        uc.emu_start(entry | 1, 0xFFFFFFFE)
        self.settle()
        self.flash = bytearray(uc.mem_read(BASE, SIZE))
        return self.outcome

    def starts(self, uc, address, *_):
        self.settle()
        entry = struct.unpack_from("<I", uc.mem_read(APPLICATION + 4, 4))[0] & ~1
        as_at_reset = self.vtor == APPLICATION and self.cr & LOCK and not self.clocks
        stack = struct.unpack_from("<I", uc.mem_read(APPLICATION, 4))[0]
        if address != entry or not as_at_reset or uc.reg_read(UC_ARM_REG_SP) != stack:
            raise SystemExit(f"ST-21: {address:#x}, VTOR {self.vtor:#x}, CR {self.cr:#x}")
        self.outcome = "runs"
        uc.emu_stop()

    def waits(self, uc, *_):
        self.outcome = "waits"
        uc.emu_stop()

    clocks = 0

    def read(self, uc, offset, _size, _data):
        if offset == 0xC00 + SR:
            self.settle()
            return self.error
        if offset == 0xC00 + CR:
            return self.cr
        if offset == 0x000:
            return self.crc
        return self.clocks if offset == 0x830 else 0

    def write(self, uc, offset, _size, value, _data):
        if offset == 0xC00 + KEYR:
            self.keys.append(value)
            if self.keys[-2:] == [0x45670123, 0xCDEF89AB]:
                self.cr &= ~LOCK
        elif offset == 0xC00 + SR:
            self.error &= ~value
        elif offset == 0xC00 + CR:
            if not self.cr & LOCK or value & LOCK:
                self.cr = value & ~STRT
                if value & (SER | STRT) == SER | STRT:
                    self.erase(value >> 3 & 15)
        elif offset == 0x008 and value & 1:
            self.crc = 0xFFFFFFFF
        elif offset == 0x000 and self.clocks & 1 << 12:
            for shift in 24, 16, 8, 0:
                index = self.crc >> 24 ^ value >> shift & 255
                self.crc = self.crc << 8 & 0xFFFFFFFF ^ CRC_TABLE[index]
        elif offset == 0x830:
            self.clocks = value

    def write_core(self, _uc, offset, _size, value, _data):
        if offset == 0xD08:
            self.vtor = value

    def erase(self, number):
        part = sector(number)
        before = bytes(self.uc.mem_read(BASE + part.start, SECTORS[number]))
        after = self.operate(before, b"\xff" * len(before))
        self.uc.mem_write(BASE + part.start, after)

    def program(self, uc, _access, address, size, value, _data):
        """Called before the emulator writes; what the flash makes of it is put right before anything is read."""
        if self.off:
            self.settle()
            return
        before = bytes(uc.mem_read(address, size))
        wanted = (value & 0xFFFFFFFF).to_bytes(4, "little")
        right = not self.cr & LOCK and self.cr & PG and self.cr >> 8 & 3 == 2 and size == 4 and not address % 4
        if not right:
            raise SystemExit(f"a write of {size} bytes at {address:#x} with CR {self.cr:#x}")
        after = bytes(old & new for old, new in zip(before, wanted))
        self.pending = address, self.operate(before, after)

    def settle(self):
        if self.pending:
            self.uc.mem_write(*self.pending)
            self.pending = None

    def operate(self, before, after):
        number, self.operations = self.operations, self.operations + 1
        if number == self.failing:
            self.error = 2
        if number == self.cut:
            self.outcome, self.off = "off", True
            self.uc.emu_stop()
        return self.torn(before, after) if number in (self.cut, self.failing) else after

    def torn(self, before, after):
        if self.tear == "nothing":
            return before
        if self.tear == "all":
            return after
        half = len(before) // 2
        if self.tear == "half":
            first = self.random.random() < 0.5
            return after[:half] + before[half:] if first else before[:half] + after[half:]
        mask = self.random.randbytes(len(before))
        return bytes(old ^ (old ^ new) & bits for old, new, bits in zip(before, after, mask))

    def stack(self):
        """How many bytes were written below the stack's beginning."""
        ram = bytes(self.uc.mem_read(RAM, RAM_SIZE))
        return len(ram) - next((at for at, byte in enumerate(ram) if byte != UNTOUCHED[0]), len(ram))


def image(size, seed):
    content = random.Random(seed).randbytes(size - 8)
    return struct.pack("<2I", 0x20010000, APPLICATION + 0x101) + content


def holds(chip, program):
    start = APPLICATION - BASE
    return chip.flash[start : start + len(program)] == program


class Judge:
    def __init__(self):
        self.runs = self.wrong = 0

    def expect(self, found, what):
        self.runs += 1
        if not found:
            self.wrong += 1
            print(f"WRONG: {what}")


def cuts(boot, judge):
    """ST-22: each operation in four ways, and some of them again."""
    old, new = image(1024, 1), image(1024, 2)
    start = flash((BASE, boot), (APPLICATION, old), (STORE, new), (RECORD, record(new)))
    chip = Chip(start)
    judge.expect(chip.boot() == "runs" and holds(chip, new), "no cut")
    operations = chip.operations
    copied = chip.flash[RECORD - BASE + 20 : RECORD - BASE + 24]
    judge.expect(copied == b"\0\0\0\0", "the word 'copied'")
    for at in range(operations):
        for tear in TEARS:
            chip = Chip(start)
            judge.expect(chip.boot(cut=at, tear=tear, seed=at) == "off", f"cut {at} {tear}")
            if at % 16 == 0:
                chip.boot(cut=at // 2, tear=tear, seed=at + 1)
            judge.expect(chip.boot() == "runs" and holds(chip, new), f"after cut {at} {tear}")
    print(f"cuts: {operations} operations, 4 tears")
    failures(start, operations, new, judge)


def failures(start, operations, new, judge):
    """ST-19: the chip says that an operation failed."""
    for at in range(0, operations, 5):
        for tear in TEARS:
            chip = Chip(start)
            found = chip.boot(failing=at, tear=tear, seed=at)
            judge.expect(found == "waits" or holds(chip, new), f"failure {at} {tear}: {found}")
            judge.expect(chip.boot() == "runs" and holds(chip, new), f"after failure {at} {tear}")


def stores(boot, judge):
    """ST-17, ST-18, ST-20: nothing but what is described is copied or run."""
    old, new = image(1024, 1), image(1024, 2)
    bit = bytearray(new)
    bit[512] ^= 4
    cases = [
        ("a bit", bytes(bit), record(new)),
        ("half blank", new[:512] + b"\xff" * 512, record(new)),
        ("size 0", new, record(new, size=0)),
        ("a size beyond the area", new, record(new, size=ROOM + 4)),
        ("no key", new, b"\xff" * 4 + record(new)[4:]),
    ]
    for name, store, order in cases:
        chip = Chip(flash((BASE, boot), (APPLICATION, old), (STORE, store), (RECORD, order)))
        judge.expect(chip.boot() == "runs" and holds(chip, old) and chip.operations == 0, name)
    chip = Chip(flash((BASE, boot), (APPLICATION, bytes(bit)), (RECORD, record(new, copied=0))))
    judge.expect(chip.boot() == "waits", "ST-20")
    chip = Chip(flash((BASE, boot)))
    judge.expect(chip.boot() == "waits", "nothing at all")


def whole(boot, judge):
    new = image(ROOM, 3)
    chip = Chip(flash((BASE, boot), (STORE, new), (RECORD, record(new))))
    began = time.monotonic()
    judge.expect(chip.boot() == "runs" and holds(chip, new), "448 KiB")
    stack = chip.stack()
    print(f"448 KiB: {chip.operations} operations in {time.monotonic() - began:.1f} s, {stack} bytes of stack")
    judge.expect(0 < stack <= STACK, f"more than {STACK} bytes of stack")


judge = Judge()
for name in sys.argv[1:]:
    boot = pathlib.Path(name).read_bytes()
    print(f"{pathlib.Path(name).name}:")
    stores(boot, judge)
    whole(boot, judge)
cuts(pathlib.Path(sys.argv[1]).read_bytes(), judge)
print(f"{judge.runs} runs, {judge.wrong} wrong")
sys.exit(1 if judge.wrong or judge.runs < 1000 else 0)
