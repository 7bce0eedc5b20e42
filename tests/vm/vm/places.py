"""Where things lie, and how programs of the outside are run. Knows nothing of the machine."""

import subprocess
from pathlib import Path

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


def simulator():
    """The simulated peers."""
    return REPOSITORY / "target/release/uplift-sim"
