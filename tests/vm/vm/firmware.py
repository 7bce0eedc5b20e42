"""Firmware files: real programs in several versions, compiled from payload.c, and the example application. Knows nothing of how they
are installed."""

import hashlib
import random

from .computer import COMPUTER
from .places import REPOSITORY, SOURCES, WORK, run

PRODUCT = "PSDK_APPALIAS"
# What lies here can be read inside the machine.
FIRMWARE = WORK / "firmware"


def firmware(version, size=4 << 20, crashes=False, product=PRODUCT):
    """A firmware file of that version, about so large; made once."""
    source = SOURCES / "payload.c"
    recipe = hashlib.sha256(source.read_bytes() + repr((COMPUTER.compiler, version, size, crashes, product)).encode()).hexdigest()[:12]
    directory = FIRMWARE / recipe
    path = directory / f"{product}_{version}.bin"
    if path.exists():
        return path
    directory.mkdir(parents=True, exist_ok=True)
    ballast, unfinished = directory / "ballast", directory / "unfinished"
    ballast.write_bytes(random.Random(version).randbytes(size))
    run(COMPUTER.compiler, "-static", "-O1", "-s", f'-DBALLAST="{ballast}"', f'-DVERSION="{version}"', f"-DCRASHES={int(crashes)}",
        "-o", unfinished, source)
    ballast.unlink()
    unfinished.rename(path)
    return path


def application(version, *definitions):
    """The example application with the bridge, linked to the stand-in for the vendor's library, as a firmware file."""
    example, *others = (REPOSITORY / name for name in ("examples/psdk-app", "tests/bridge/stand-in", "bridge"))
    files = [file for place in (example, *others) for file in sorted(place.rglob("*")) if file.is_file()]
    recipe = hashlib.sha256(b"".join(file.read_bytes() for file in files) + repr((version, definitions)).encode()).hexdigest()[:12]
    directory = FIRMWARE / recipe
    path = directory / f"{PRODUCT}_{version}.bin"
    if path.exists():
        return path
    build = directory / "build"
    run("cmake", "-S", example, "-B", build, "-DPSDK_STAND_IN=ON", f"-DAPP_VERSION={version[1:]}", f"-DAPP_PRODUCT={PRODUCT}",
        f"-DCMAKE_C_FLAGS={' '.join(f'-D{word}' for word in definitions)}", "-DCMAKE_EXE_LINKER_FLAGS=-static")
    run("cmake", "--build", build)
    (build / "psdk-app").rename(path)
    return path


def digest(path):
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
