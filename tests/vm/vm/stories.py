"""What must go well on a real machine, one story a function. Each is given a payload that is on and idle."""

import json

from .aircraft import Aircraft
from .checks import equal, holds
from .cloud import Hawkbit
from .firmware import FIRMWARE, application, digest, firmware
from .payload import CONFIGURATION
from .places import REPOSITORY, program, run

OLD, NEW = "V01.00.00.00", "V02.00.00.00"
# A file that goes over the line itself is small.
SMALL = 64 << 10
# A person at Assistant 2 takes some seconds to choose a file.
PERSON = ["--link-wait", "120s", "--pause", "version=6s"]
STORIES = {}


def story(function):
    """A function that is a story, under its own name."""
    STORIES[function.__name__.replace("_", "-")] = function
    return function


@story
def ftp(payload):
    """An upgrade over FTP straight through, a reboot, the report after it, the new version running."""
    succeeds(payload, "ftp")
    told = payload.shell("journalctl --no-pager --unit=uplift-ftp.service")
    holds("the upload went straight to the daemon", "straight to the daemon" in told, told)


@story
def dcftp(payload):
    """The same over DCFTP, by a payload that offers nothing else."""
    payload.configure(payload.configuration().replace("[channel.psdk]", '[channel.psdk]\ntransfer = "dcftp"'))
    succeeds(payload, "dcftp", SMALL)


@story
def crash(payload):
    """A version that crashes at its start is rolled back, reported as failed, and refused from then on."""
    bad = firmware(NEW, crashes=True)
    verdict = Aircraft(payload, bad, "--via", "ftp", *PERSON).verdict()
    equal("the aircraft's verdict", (verdict["result"], verdict["version_after"]), ("failure", OLD), verdict["message"])
    holds("the old version runs again", payload.runs(firmware(OLD)))
    report = reported(payload, NEW, "rolled-back", digest(bad))
    equal("the reason", report["failure"]["kind"], "unhealthy", report)
    holds("the report has the program's last words", any("no sensor" in line for line in report["program_log"]), report["program_log"])
    again = payload.run("/usr/bin/uplift", "install", payload.take(bad))
    holds("the same program is refused", again.code == 1 and "rolled back here before" in again.err, f"{again}")


@story
def hawkbit(payload):
    """A hawkBit server upgrades it, while the power is cut once during the download and once during the trial."""
    # More than what a power cut may cost of a download, and slow enough for a cut in its middle.
    new, size = firmware(NEW, 40 << 20), 40 << 20
    with Hawkbit(payload, new, "--rate", str(2 << 20)) as server:
        text = payload.configuration().replace('window = "5s"', 'window = "30s"')
        payload.configure(f'{text}\n[channel.hawkbit]\nserver = "{server.url}"\ncontroller_id = "PAYLOAD0001"\nspread = "0s"\nunsealed = "lab"')
        payload.wait_for_status(lambda status: (status["upgrade"] or {}).get("progress", {}).get("done", 0) > size // 2)
        cut(payload)
        payload.wait_for_status(lambda status: status["phase"] == "trial")
        cut(payload)
        ended = server.wait(600)
        events = server.events()
        holds("the server heard of a success", ended, events[-20:])
        payload.wait_for_status(lambda status: status["phase"] == "idle" and not status["unacknowledged"])
    report = reported(payload, NEW, "succeeded", digest(new))
    equal("the channel in the report", report["request"]["channel"], "hawkbit")
    equal("reports", len(payload.history()), 1)
    holds("the new version runs", payload.runs(new))
    downloads = [event["from"] for event in events if event.get("event") == "download"]
    holds("the second download went on in the middle", len(downloads) == 2 and 0 in downloads and max(downloads) >= 16 << 20, downloads)


def cut(payload):
    """Cuts the power, and gives it back."""
    payload.power_cut()
    payload.power_on()


@story
def bridge(payload):
    """The payload's own application has the serial port; it is upgraded through the bridge, over a reboot, and reports that itself."""
    become_application(payload)
    new, boot_id = application(NEW), payload.boot_id()
    verdict = Aircraft(payload, new, "--via", "dcftp", *PERSON).verdict()
    equal("the aircraft's verdict", (verdict["result"], verdict["version_after"]), ("success", NEW), verdict["message"])
    holds("the machine restarted", payload.boot_id() != boot_id)
    report = reported(payload, NEW, "succeeded", digest(new))
    equal("what the program showed", report["evidence"]["bridge"], "aircraft", report)
    holds("the caller is told", report["request"]["caller"].startswith("psdk-app 01.00.00.00, process "), report)
    holds("the application has the port, and the daemon has not", "psdk_demo" in (holder := port_holders(payload)) and "uplift" not in holder, holder)


@story
def bridge_mute(payload):
    """A new application that the bridge does not understand: the old one is back, and reports that."""
    become_application(payload)
    mute = application(NEW, "UPLIFT_PSDK_PROTOCOL_LOWEST=7U", "UPLIFT_PSDK_PROTOCOL_HIGHEST=7U")
    verdict = Aircraft(payload, mute, "--via", "dcftp", *PERSON).verdict()
    equal("the aircraft's verdict", (verdict["result"], verdict["version_after"]), ("failure", OLD), verdict["message"])
    report = reported(payload, NEW, "rolled-back", digest(mute))
    holds("the reason", "at the bridge" in report["failure"]["sentence"], report)
    equal("what the unit runs", payload.digest_of_process("psdk-demo.service"), digest(application(OLD)))


@story
def daemon(payload):
    """The daemon is upgraded through itself: it runs from /usr/local/bin, swaps itself, and its successor concludes."""
    become_own_program(payload)
    new = other_daemon(payload)
    done = payload.run("/usr/bin/uplift", "install", payload.take(new), patience=300)
    equal("the exit code of `uplift install`", done.code, 0, f"{done}")
    payload.wait_until_settled()
    reported(payload, "V00.02.00.00", "succeeded", digest(new))
    equal("what the unit runs", payload.digest_of_process("uplift.service"), digest(new))


@story
def daemon_crash(payload):
    """A daemon that crashes at its start is put back by the rescue, which needs none; the old one reports it."""
    become_own_program(payload)
    old = payload.digest_of_process("uplift.service")
    bad = firmware("V00.03.00.00", crashes=True, product="UPLIFT")
    payload.run("/usr/bin/uplift", "install", payload.take(bad), patience=300)
    payload.wait_for_status(lambda status: status["phase"] == "idle" and status["last"])
    report = reported(payload, "V00.03.00.00", "rolled-back", digest(bad))
    equal("the reason", report["failure"]["kind"], "unhealthy", report)
    equal("what the unit runs", payload.digest_of_process("uplift.service"), old)


@story
def unplugged(payload):
    """The adapter is pulled out and put back during the upload, and once more during the restart."""
    new = firmware(NEW)
    aircraft = Aircraft(payload, new, "--via", "ftp", *PERSON, "--pause", "transfer=8s")
    aircraft.wait_until_told("transfer")
    replug(payload)
    aircraft.wait_until_told("the payload restarts")
    payload.unplug()
    payload.wait_for_status(lambda status: status["phase"] == "trial" or status["unacknowledged"])
    equal("the link without an adapter", payload.status()["link"]["state"], "waiting")
    payload.plug_in()
    verdict = aircraft.verdict()
    equal("the aircraft's verdict", (verdict["result"], verdict["version_after"]), ("success", NEW), verdict["message"])
    reported(payload, NEW, "succeeded", digest(new))


def replug(payload):
    """Pulls the adapter out, sees that the daemon has noticed, and puts it back under the same name."""
    payload.unplug()
    payload.wait_for_status(lambda status: status["link"]["state"] == "waiting")
    payload.plug_in()
    payload.wait_for_status(lambda status: status["link"]["state"] == "linked")
    equal("the adapters", payload.shell("ls /dev/ttyUSB*").split(), ["/dev/ttyUSB0"])


@story
def vsftpd(payload):
    """The upload goes to vsftpd, set up by the recipe of docs/use/ftp-servers.md, and is pulled from it."""
    recipe = (REPOSITORY / "docs/use/ftp-servers.md").read_text(encoding="utf-8").split("## With vsftpd instead")[1].split("```")[1]
    # It is in the image; and qemu forwards but some ports.
    recipe = recipe.replace("apt-get install vsftpd\n", "").replace("listen=YES\n", "listen=YES\npasv_min_port=40000\npasv_max_port=40007\n")
    payload.shell(recipe)
    holds("vsftpd listens", "vsftpd" in payload.shell("systemctl is-active vsftpd && echo vsftpd"))
    succeeds(payload, "ftp")


@story
def vfat(payload):
    """A program or a state on vfat: `config check` names it, a notice tells it, and nothing is installed there."""
    payload.shell("truncate -s 64M /var/fat && busybox mkdosfs /var/fat && mkdir /fat && mount -o loop /var/fat /fat && mkdir /fat/state && cp /usr/local/bin/psdk_demo /fat")
    configuration, before = payload.configuration(), payload.shell("sha256sum /fat/psdk_demo")
    for field, text in [("component.program.path", configuration.replace("[component.program]", '[component.program]\npath = "/fat/psdk_demo"').replace('name = "psdk_demo"\n', "")),
                        ("paths.state", configuration + '\n[paths]\nstate = "/fat/state"\n')]:
        payload.shell(f"cat >{CONFIGURATION} <<'END'\n{text}\nEND\nuplift config sandbox --write && systemctl daemon-reload")
        payload.configure(text)
        checked = payload.run("/usr/bin/uplift", "config", "check")
        holds(f"`config check` names {field}", checked.code == 1 and f"error: {field}: /fat" in checked.out and "is on vfat" in checked.out, f"{checked}")
        holds("a notice says so", any("is on vfat" in notice for notice in payload.status()["notices"]), payload.status())
        installed = payload.run("/usr/bin/uplift", "install", payload.take(firmware(NEW)))
        holds("nothing is installed", installed.code == 1 and "is on vfat" in installed.err and "hint: " in installed.err, f"{installed}")
    equal("the program on vfat", payload.shell("sha256sum /fat/psdk_demo"), before)


@story
def person(payload):
    """A person without root installs a file, watches, and finds in the journal what the fields promise."""
    payload.shell("useradd --create-home --groups uplift person")
    # Whoever follows an upgrade sees its end, where the machine goes on.
    payload.configure(payload.configuration().replace("version_command", 'restart = "unit"\nversion_command'))
    new, boot_id = firmware(NEW), payload.boot_id()
    payload.shell("systemd-run --quiet --unit=watch --uid=person --setenv=TERM=xterm script -qefc 'uplift status --watch' /home/person/seen")
    installed = payload.run("/usr/sbin/runuser", "-u", "person", "--", "uplift", "install", payload.take(new), patience=300)
    equal("the exit code of `uplift install`", installed.code, 0, f"{installed}")
    holds("the machine goes on", payload.boot_id() == boot_id)
    reported(payload, NEW, "succeeded", digest(new))
    payload.shell("systemctl stop watch")
    seen = payload.shell("cat /home/person/seen")
    holds("the live view showed the trial and the end", "stable" in seen and "succeeded" in seen, seen)
    refused = payload.run("/usr/sbin/runuser", "-u", "person", "--", "uplift", "install", payload.take(firmware(OLD)))
    holds("a downgrade is refused with its hint", refused.code == 1 and "--force" in refused.err, f"{refused}")
    entries = journal(payload, "UPLIFT_KIND=downgrade")
    holds("the journal finds the downgrade by its field", entries and all("UPLIFT_UPGRADE_ID" in entry for entry in entries), f"{entries}")
    phases = [entry["UPLIFT_PHASE"] for entry in journal(payload) if "UPLIFT_PHASE" in entry]
    wanted = ["preparing", "receiving", "checking", "ready", "installing", "restarting", "trial", "concluded"]
    equal("the phases in the journal", list(dict.fromkeys(phase for phase in phases if phase in wanted)), wanted)
    # No bar: what it counts hangs on the build, and on what else the machine runs.
    print(f"the idle daemon's memory, by its share (PSS): {payload.memory_of_process('uplift.service')}", flush=True)


def journal(payload, *matches):
    """Entries of the daemon's journal."""
    said = payload.shell(f"journalctl --no-pager -o json -u uplift {' '.join(matches)}")
    return [json.loads(line) for line in said.splitlines()]


def succeeds(payload, via, size=4 << 20):
    """An upgrade by the aircraft that goes well."""
    new, boot_id = firmware(NEW, size), payload.boot_id()
    verdict = Aircraft(payload, new, "--via", via, *PERSON).verdict()
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


def become_application(payload):
    """The payload's program is the example application, by its own unit's words, and has the serial port."""
    unit = (REPOSITORY / "examples/psdk-app/psdk-app.service").read_text(encoding="utf-8").replace("psdk-app --", "psdk_demo --")
    credentials = "app_name = vm\napp_id = 1\napp_key = k\napp_license = l\naccount = vm@example.org\n"
    payload.shell("systemctl stop psdk-demo uplift && mkdir -p /etc/psdk-app")
    payload.shell(f"install -m 755 {payload.take(application(OLD))} /usr/local/bin/psdk_demo")
    payload.shell(f"cat >/etc/systemd/system/psdk-demo.service <<'END'\n{unit}\nEND\nprintf '{credentials}' >/etc/psdk-app/credentials")
    payload.shell("chmod 600 /etc/psdk-app/credentials && systemctl daemon-reload")
    text = payload.configuration().replace('device = "/dev/ttyUSB0"', 'door = "bridge"')
    payload.configure(text.replace("[trial]", '[trial]\nhealth = "bridge"\naircraft = true'))
    payload.shell("systemctl start psdk-demo")


def port_holders(payload):
    """The programs that have the serial port open."""
    return payload.shell("for fd in /proc/[0-9]*/fd/*; do [ \"$(readlink $fd)\" != /dev/ttyUSB0 ] || readlink ${fd%/fd/*}/exe; done; true")


def become_own_program(payload):
    """Sets the daemon up as its own program, by the packaged example."""
    payload.shell("install -m 755 /usr/bin/uplift /usr/local/bin/uplift && install -D -m 644 "
                  "/usr/share/doc/uplift/examples/uplift.service.d/self-upgrade.conf /etc/systemd/system/uplift.service.d/self-upgrade.conf "
                  "&& systemctl daemon-reload")
    payload.configure('[component.program]\npath = "/usr/local/bin/uplift"\nproduct = "UPLIFT"\nunit = "uplift.service"\nrestart = "unit"\n'
                      'version = "V00.01.00.00"\nrestart_deadline = "30s"\n[trial]\nwindow = "5s"\ndeadline = "40s"\n')


def other_daemon(payload):
    """The daemon with a section more: another program that does the same."""
    path = FIRMWARE / "UPLIFT_V00.02.00.00.bin"
    section = path.with_suffix(".section")
    section.write_text("another build\n")
    run("objcopy", "--add-section", f".note.uplift={section}", program("uplift"), path)
    section.unlink()
    return path


@story
def measured(payload):
    """What the daemon needs: memory, start, wake-ups while it is linked and idle, and an upgrade. Prints, and judges the upgrade alone."""
    unit = "uplift.service"
    payload.shell("systemctl restart uplift")
    payload.wait_until_settled()
    new = firmware(NEW)
    # A person who takes their time: linked and idle until then.
    aircraft = Aircraft(payload, new, "--via", "ftp", "--link-wait", "120s", "--pause", "version=150s")
    payload.wait_for_status(lambda status: status["link"]["state"] == "linked")
    stamps = payload.shell(f"systemctl show --property=ExecMainStartTimestampMonotonic,ActiveEnterTimestampMonotonic {unit}")
    began, ready = sorted(int(line.split("=")[1]) for line in stamps.split())
    switches = "cat /proc/$(systemctl show --value --property=MainPID uplift)/task/*/status | awk '/ctxt_switches/ { n += $2 } END { print n }'"
    before = int(payload.shell(switches))
    # Over a minute, in which nobody asks anything.
    payload.shell("sleep 60")
    woken = int(payload.shell(switches)) - before
    print(f"memory, linked and idle, by its share (PSS): {payload.memory_of_process(unit)}", flush=True)
    print(f"started to ready, by systemd's stamps: {(ready - began) / 1000:.0f} ms", flush=True)
    print(f"changes of context in a minute, linked and idle: {woken}", flush=True)
    verdict = aircraft.verdict()
    equal("the aircraft's verdict", (verdict["result"], verdict["version_after"]), ("success", NEW), verdict["message"])
    reported(payload, NEW, "succeeded", digest(new))
    print(f"memory after an upgrade and its restart, linked: {payload.memory_of_process(unit)}", flush=True)
