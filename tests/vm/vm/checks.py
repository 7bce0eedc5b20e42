"""What must hold, said so that a failure tells what was found. Python's own assertions can be switched off."""


class Violated(Exception):
    """Something that must hold does not."""


def holds(what, true, detail=""):
    """This must be true."""
    if not true:
        raise Violated(f"it does not hold that {what}" + (f": {detail}" if detail else ""))


def equal(what, found, wanted, detail=""):
    """These must be the same."""
    holds(f"{what} is {wanted}", found == wanted, f"it is {found}" + (f"; {detail}" if detail else ""))
