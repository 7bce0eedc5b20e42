"""Where things lie, and how programs of the outside are run. Knows nothing of the machine."""

import fcntl
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

from .computer import COMPUTER

REPOSITORY = Path(__file__).resolve().parents[3]
SOURCES = REPOSITORY / "tests/vm"
WORK = REPOSITORY / "target/vm"


def run(*command, **options):
    """Runs a program to its end; one that fails is an error that shows what it said."""
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def packages():
    """Builds the packages, unpacks them for the programs in them, and gives that of uplift."""
    # Always the same date, so that a commit that changes nothing in them asks for no new image.
    build = REPOSITORY / "packaging/build", *dict.fromkeys(("amd64", COMPUTER.debian))
    run(*build, env={"UPLIFT_PROFILE": "ci", "SOURCE_DATE_EPOCH": "1700000000", **os.environ})
    built = REPOSITORY / "target/packages"
    for name in ("uplift", "uplift-sim"):
        (package,) = built.glob(f"{name}_*_amd64.deb")
        run("dpkg-deb", "-x", package, WORK / "packaged")
    return next(built.glob(f"uplift_*_{COMPUTER.debian}.deb"))


def run_in(root, *command):
    """Runs a program in the machine's own file system."""
    return run(*COMPUTER.foreign, "chroot", root, *command, cwd=REPOSITORY)


@contextmanager
def alone():
    """Nobody else builds meanwhile."""
    WORK.mkdir(parents=True, exist_ok=True)
    with open(WORK / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def program(name):
    """A program of the packages, such as `uplift-sim`."""
    return WORK / "packaged/usr/bin" / name
