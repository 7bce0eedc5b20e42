"""What kind of computer the machine is: `UPLIFT_VM_ARCH`, amd64 or arm64. Knows nothing of disks and stories."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Computer:
    """Its names for Debian, the compiler and the emulator."""
    debian: str
    compiler: str
    emulator: tuple[str, ...]
    console: str
    # What runs its programs here, where this machine does not.
    foreign: tuple[str, ...]
    packages: tuple[str, ...]


COMPUTERS = {
    "amd64": Computer("amd64", "gcc", ("qemu-system-x86_64",), "ttyS0", (), ("qemu-system-x86",)),
    "arm64": Computer(
        "arm64", "aarch64-linux-gnu-gcc", ("qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a72"), "ttyAMA0",
        ("tests/emulated", "aarch64"), ("qemu-system-arm", "qemu-user-static", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross")),
}
COMPUTER = COMPUTERS[os.environ.get("UPLIFT_VM_ARCH", "amd64")]
