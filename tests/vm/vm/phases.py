"""The phases of an upgrade as they are seen from outside: by what the aircraft tells, and by the machine's reset."""

# What the aircraft tells, and the phase that begins with it.
BEGINNINGS = {
    "is in upgrade mode": "receiving",
    "has the whole file": "checking and swap",
    "the payload restarts": "shutting down",
    "reports the end": "report told",
}
RESET = "boot and trial"
PHASES = ["receiving", "checking and swap", "shutting down", RESET, "report told"]


def phase_of(line):
    """The phase that begins with this line, if one does."""
    return next((phase for words, phase in BEGINNINGS.items() if words in line), None)
