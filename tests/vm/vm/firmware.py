"""Firmware files: real programs in several versions, compiled from payload.c, and the example application. Knows nothing of how they
are installed."""

import hashlib
import random

from .places import REPOSITORY, SOURCES, WORK, run

PRODUCT = "PSDK_APPALIAS"
# What lies here can be read inside the machine.
FIRMWARE = WORK / "firmware"


def firmware(version, size=4 << 20, crashes=False, product=PRODUCT):
    """A firmware file of that version, about so large; made once."""
    source = SOURCES / "payload.c"
    recipe = hashlib.sha256(source.read_bytes() + repr((version, size, crashes, product)).encode()).hexdigest()[:12]
    directory = FIRMWARE / recipe
    path = directory / f"{product}_{version}.bin"
    if path.exists():
        return path
    directory.mkdir(parents=True, exist_ok=True)
    ballast, unfinished = directory / "ballast", directory / "unfinished"
    ballast.write_bytes(random.Random(version).randbytes(size))
    run("gcc", "-static", "-O1", "-s", f'-DBALLAST="{ballast}"', f'-DVERSION="{version}"', f"-DCRASHES={int(crashes)}",
        "-o", unfinished, source)
    ballast.unlink()
    unfinished.rename(path)
    return path


def application(version, *definitions):
    """The example application with the bridge, linked to the stand-in for the vendor's library, as a firmware file."""
    example, stand_in, bridge = (REPOSITORY / name for name in ("examples/psdk-app", "tests/bridge/stand-in", "bridge"))
    sources = [example / f"{name}.c" for name in ("main", "credentials", "files", "osal", "uart", "link_serial")]
    sources += [*sorted((stand_in / "src").glob("*.c")), bridge / "uplift_psdk.c"]
    headers = [file for place in (example, stand_in, bridge) for file in sorted(place.rglob("*.h"))]
    content = b"".join(file.read_bytes() for file in [*sources, *headers])
    directory = FIRMWARE / hashlib.sha256(content + repr((version, definitions)).encode()).hexdigest()[:12]
    path = directory / f"{PRODUCT}_{version}.bin"
    if path.exists():
        return path
    directory.mkdir(parents=True, exist_ok=True)
    numbers = ",".join(str(int(number)) for number in version[1:].split("."))
    defined = ["_GNU_SOURCE", "HAVE_OSAL_RANDOM", "HAVE_UART_DEVICE_INFO", f'APP_PRODUCT="{PRODUCT}"', f"APP_VERSION={numbers}",
               f'APP_VERSION_TEXT="{version[1:]}"', *definitions]
    unfinished = directory / "unfinished"
    run("gcc", "-static", "-std=c11", "-O1", "-s", "-pthread", *(f"-D{word}" for word in defined), "-I", stand_in / "include", "-I", bridge,
        "-I", example, "-o", unfinished, *sources)
    unfinished.rename(path)
    return path


def digest(path):
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
