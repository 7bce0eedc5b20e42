"""What the bootloader starts in qemu: qemu.py BOOTLOADER APPLICATION"""
import pathlib
import subprocess
import sys
import tempfile

from layout import APPLICATION, BASE, RECORD, ROOM, STORE, flash, record

boot, application = (pathlib.Path(name).read_bytes() for name in sys.argv[1:])
application += b"\xff" * (-len(application) % 4)
wrong = bytearray(application)
wrong[-1] ^= 1
small = application[:4] + (0x08080001).to_bytes(4, "little") + application[8:]

# Stack pointer, VTOR, PRIMASK, CONTROL, IPSR.
RUNS = "20010000 08010000 00000000 00000000 00000000 "
CASES = [
    ("ST-17: no record", [(APPLICATION, application)], RUNS),
    ("ST-17: nothing at all", [], None),
    ("ST-17: an entry outside of the area", [(APPLICATION, small)], None),
    ("ST-20: copied, and right", [(APPLICATION, application), (RECORD, record(application, copied=0))], RUNS),
    ("ST-20: copied, and another", [(APPLICATION, wrong), (RECORD, record(application, copied=0))], None),
    ("ST-18: another in the store", [(APPLICATION, application), (STORE, wrong), (RECORD, record(application))], RUNS),
    ("ST-17: a size beyond the area", [(APPLICATION, application), (RECORD, record(application, size=ROOM + 4, copied=0))], RUNS),
    ("ST-19: flash that can't be written", [(APPLICATION, wrong), (STORE, application), (RECORD, record(application))], None),
]


def line(parts):
    """What the application says; None if nothing starts within some seconds."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(flash((BASE, boot), *parts))
        file.flush()
        command = ["qemu-system-arm", "-M", "netduinoplus2", "-display", "none", "-monitor", "none"]
        process = subprocess.Popen(command + ["-serial", "stdio", "-kernel", file.name], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        try:
            return process.communicate(timeout=4)[0]
        except subprocess.TimeoutExpired as timeout:
            said = timeout.stdout
        finally:
            process.kill()
            process.wait()
        return said.decode().strip("\n") if said else None


failed = 0
for name, parts, wanted in CASES:
    found = line(parts)
    print(f"{name}: {'waits' if found is None else found}")
    failed += found != wanted
sys.exit(f"{failed} of {len(CASES)} are wrong" if failed else 0)
