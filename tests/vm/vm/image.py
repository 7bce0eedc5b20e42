"""The disk of the payload: Debian 12 by debootstrap, then the package, installed as a user installs it.

In layers, each made afresh when what it is made from has changed: the system without uplift, its kernel, and the disk with
uplift. Knows nothing of how the machine is run.
"""

import gzip
import hashlib
import lzma
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .computer import COMPUTER
from .firmware import firmware
from .places import REPOSITORY, SOURCES, WORK, run, run_in

SUITE = "bookworm"
PACKAGES = ["systemd", "systemd-sysv", "udev", "dbus", "kmod", "iproute2", "vsftpd", "qemu-guest-agent", "busybox-static"]
# What finds the disk, and what the rest of the machine needs: the network, the guest agent's port, entropy, files from outside,
# and the adapter; then what systemd and udev load on every machine.
FIRST_MODULES = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"]
MODULES = ["virtio_net", "virtio_console", "virtio-rng", "9pnet_virtio", "9p", "xhci-pci", "ftdi_sio", "vfat", "nls_cp437", "nls_ascii", "loop", "fuse", "autofs4", "configfs"]
UNITS = [
    ("enable", "psdk-demo.service", "uplift.service", "systemd-networkd.service"),
    ("disable", "vsftpd.service", "systemd-networkd-wait-online.service", "e2scrub_reap.service"),
    # Nobody logs in, nothing is updated, and a timer would be but noise.
    ("mask", "getty@.service", "serial-getty@.service", "systemd-logind.service", "dev-hugepages.mount", "dev-mqueue.mount",
     "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer", "e2scrub_all.timer"),
]
FIRST_VERSION = "V01.00.00.00"
DISK_SIZE = "768M"


@dataclass(frozen=True)
class Image:
    """What a machine boots from. The disk is copied before it is used."""
    disk: Path
    kernel: Path
    initrd: Path


def image(package):
    """The image with this package installed."""
    base = _base()
    kernel = _kernel(base)
    files = sorted(path for path in (SOURCES / "files").rglob("*") if path.is_file())
    key = _key(kernel.name, Path(__file__), SOURCES / "payload.c", *files, package)
    disk = WORK / f"payload-{key}.ext4"
    if not disk.exists():
        _make_disk(base / "root", kernel / "modules", package, disk)
    return Image(disk, kernel / "vmlinux", kernel / "initrd")


def _key(*parts):
    key = hashlib.sha256()
    for part in parts:
        key.update(part.read_bytes() if isinstance(part, Path) else str(part).encode())
        key.update(b"\0")
    return key.hexdigest()[:12]


@contextmanager
def _made(directory):
    """A directory that gets its name when it is complete."""
    unfinished = directory.with_name(f"{directory.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    yield unfinished
    unfinished.rename(directory)


def _base():
    """The system without uplift, and the package of its kernel beside it."""
    base = WORK / f"base-{_key(SUITE, PACKAGES, COMPUTER.debian)}"
    if not base.exists():
        with _made(base) as unfinished:
            root = unfinished / "root"
            run(*COMPUTER.foreign, "debootstrap", f"--arch={COMPUTER.debian}", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE,
                root, cwd=REPOSITORY)
            newest = run_in(root, "apt-cache", "depends", f"linux-image-{COMPUTER.debian}").split("Depends: ")[1].split()[0]
            run_in(root, "sh", "-c", f"cd /tmp && apt-get -q download {newest} && mv linux-image-*.deb kernel.deb")
            run_in(root, "apt-get", "clean")
            (root / "tmp/kernel.deb").rename(unfinished / "kernel.deb")
    return base


def _kernel(base):
    """The packaged kernel with the modules that the machine has a use for, without the tools that prepare one for any machine."""
    kernel = WORK / f"kernel-{_key(base.name, MODULES, FIRST_MODULES, SOURCES / 'initrd-init', 'unpacked')}"
    if not kernel.exists():
        with _made(kernel) as unfinished:
            unpacked = unfinished / "unpacked"
            run("dpkg-deb", "-x", base / "kernel.deb", unpacked)
            packaged = next(unpacked.glob("boot/vmlinuz-*"))
            version = packaged.name.removeprefix("vmlinuz-")
            (unfinished / "vmlinux").write_bytes(_unpacked(packaged.read_bytes()))
            run("depmod", "-b", unpacked, version)
            _copy_modules(unpacked, version, FIRST_MODULES + MODULES, unfinished / "modules")
            _make_initrd(unpacked, version, base / "root/bin/busybox", unfinished)
            shutil.rmtree(unpacked)
    return kernel


def _unpacked(kernel):
    """The kernel as it is in memory. It would unpack itself at every start, which takes an emulated processor longer than the rest."""
    if kernel.startswith(b"MZ") and COMPUTER.debian == "arm64":
        return kernel
    if kernel.startswith(b"\x1f\x8b"):
        return gzip.decompress(kernel)
    return lzma.LZMADecompressor().decompress(kernel[kernel.index(b"\xfd7zXZ\0"):])


def _copy_modules(unpacked, version, names, to):
    """Copies modules and what they need, with the lists that tell what is built in."""
    source = unpacked / "lib/modules" / version
    wanted = {source / name for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order")}
    for name in names:
        needed = run("modprobe", "-d", unpacked, "-S", version, "--show-depends", "--ignore-install", name)
        wanted |= {Path(line.split()[1]) for line in needed.splitlines() if line.startswith("insmod ")}
    for path in wanted:
        copy = to / path.relative_to(unpacked)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    run("depmod", "-b", to, version)


def _make_initrd(unpacked, version, busybox, to):
    root = to / "initrd.root"
    _copy_modules(unpacked, version, FIRST_MODULES, root)
    (root / "bin").mkdir()
    shutil.copy(busybox, root / "bin/busybox")
    for applet in ("sh", "mkdir", "mount", "umount", "modprobe", "poweroff", "switch_root"):
        (root / "bin" / applet).symlink_to("busybox")
    shutil.copy(SOURCES / "initrd-init", root / "init")
    run("sh", "-c", "find . | cpio --quiet -o -H newc >../initrd", cwd=root)
    shutil.rmtree(root)


def _make_disk(base, modules, package, disk):
    """Installs the package into a copy of the system as a user does, then the payload's own program and configuration."""
    with _made(disk.with_suffix(".root")) as root:
        run("cp", "-a", f"{base}/.", root)
        run("cp", "-a", f"{modules}/lib/.", root / "usr/lib")
        shutil.copy(package, root / "tmp")
        run_in(root, "apt-get", "-q", "install", "-y", "--no-install-recommends", f"/tmp/{package.name}")
        (root / "tmp" / package.name).unlink()
        shutil.copytree(SOURCES / "files", root, dirs_exist_ok=True)
        program = root / "usr/local/bin/psdk_demo"
        shutil.copyfile(firmware(FIRST_VERSION), program)
        program.chmod(0o755)
        for verb, *units in UNITS:
            run(*COMPUTER.foreign, "systemctl", "--root", root, "--quiet", verb, *units, cwd=REPOSITORY)
        run("mke2fs", "-q", "-t", "ext4", "-d", root, f"{disk}.unfinished", DISK_SIZE)
    shutil.rmtree(disk.with_suffix(".root"))
    disk.with_name(f"{disk.name}.unfinished").rename(disk)
