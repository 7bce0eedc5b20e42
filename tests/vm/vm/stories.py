"""What must go well on a real machine, one story a function. Each is given a payload that is on and idle."""

from .aircraft import Aircraft
from .checks import equal, holds
from .firmware import digest, firmware

OLD, NEW = "V01.00.00.00", "V02.00.00.00"
STORIES = {}


def story(function):
    """A function that is a story, under its own name."""
    STORIES[function.__name__.replace("_", "-")] = function
    return function


@story
def ftp(payload):
    """An upgrade over FTP, a reboot, the report after it, the new version running."""
    succeeds(payload, "ftp")


@story
def dcftp(payload):
    """The same over DCFTP."""
    succeeds(payload, "dcftp", size=64 << 10)


def succeeds(payload, via, size=4 << 20):
    new, boot_id = firmware(NEW, size), payload.boot_id()
    verdict = Aircraft(payload, new, "--via", via, "--link-wait", "120s", "--pause", "version=6s").verdict()
    equal("the aircraft's verdict", (verdict["result"], verdict["version_after"]), ("success", NEW), verdict["message"])
    equal("the transfer", verdict["transfer"], via)
    holds("the machine restarted", payload.boot_id() != boot_id)
    holds("the new version runs", payload.runs(new))
    reported(payload, NEW, "succeeded", digest(new))


def reported(payload, version, outcome, program_digest):
    """The last report in the history is this one."""
    report = payload.history()[-1]
    equal("the report", (report["package"]["version"], report["outcome"]), (version, outcome), report)
    equal("the digest in the report", report["package"]["program_digest"], program_digest)
    return report
