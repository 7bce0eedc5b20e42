"""The machine as a payload: what uplift says in it, and what lies at the program's path. Knows nothing of upgrades' stories."""

import json
import time

from .firmware import FIRMWARE, digest
from .machine import Machine
from .talk import Silent

CONFIGURATION = "/etc/uplift/uplift.toml"
PROGRAM = "/usr/local/bin/psdk_demo"
SETTLED = ("idle", "concluded")
# A trial of two minutes, a boot, and an emulated processor.
UPGRADE = 600


class Payload(Machine):
    """A machine with uplift in it."""

    def status(self):
        """What `uplift status --json` says."""
        return json.loads(self.shell("uplift status --json"))

    def history(self):
        """The reports, oldest first."""
        return json.loads(self.shell("uplift history --json"))[::-1]

    def wait_for_status(self, wanted, patience=UPGRADE):
        """Waits until the status is as wanted, through any number of boots."""
        deadline = time.monotonic() + patience
        last = None
        while True:
            try:
                last = self.status()
                if wanted(last):
                    return last
            except Silent:
                self.wait_for_agent(max(1, deadline - time.monotonic()))
            except RuntimeError as error:
                last = error
            if time.monotonic() > deadline:
                raise RuntimeError(f"the payload is not as wanted after {patience} s: {last}")
            time.sleep(0.5)  # through restarts of daemon and machine no one event leads

    def wait_until_settled(self, patience=UPGRADE):
        """Waits until no upgrade is under way."""
        return self.wait_for_status(lambda status: status["phase"] in SETTLED, patience)

    def take(self, path):
        """A file from outside, as a path inside."""
        self.shell("mountpoint -q /mnt || mount -t 9p -o ro,trans=virtio outside /mnt")
        return f"/mnt/{path.relative_to(FIRMWARE)}"

    def configuration(self):
        """The daemon's configuration."""
        return self.shell(f"cat {CONFIGURATION}")

    def configure(self, text):
        """Gives the daemon another one, from now on."""
        self.shell(f"cat >{CONFIGURATION} <<'END'\n{text}\nEND\nsystemctl restart uplift")
        self.wait_until_settled()

    def digest_at_path(self):
        """SHA-256 of the program at the path."""
        return self.shell(f"sha256sum {PROGRAM}").split()[0]

    def digest_of_process(self, unit="psdk-demo.service"):
        """SHA-256 of what the unit's main process runs."""
        return self.of_process(unit, "sha256sum", "exe").split()[0]

    def memory_of_process(self, unit):
        """KiB of the memory of the unit's main process, what it shares with others counted by its share (PSS): in all, and without
        the pages of files that the kernel can drop."""
        rollup = dict(line.split()[:2] for line in self.of_process(unit, "cat", "smaps_rollup").splitlines() if line.endswith(" kB"))
        return f"{rollup['Pss:']} KiB, {rollup['Pss_Anon:']} of them its own"

    def of_process(self, unit, command, file):
        """What a command says of a file of the kernel's about the unit's main process."""
        return self.shell(f"{command} /proc/$(systemctl show --value --property=MainPID {unit})/{file}")

    def runs(self, firmware):
        """Whether this firmware is at the path, and is what runs."""
        return self.digest_at_path() == self.digest_of_process() == digest(firmware)

    def keep_artefacts(self):
        """Writes the journal and the status beside the console's log, for whoever looks why something failed."""
        for name, script in [("journal.log", "journalctl --no-pager -o short-precise -b all"), ("status.txt", "uplift status; uplift history; ls -la /usr/local/bin /usr/local/bin/.uplift /var/lib/uplift")]:
            try:
                self.wait_for_agent()
                said = self.run("/bin/sh", "-c", f"{script} 2>&1")
                (self.directory / name).write_text(said.out)
            except (Silent, RuntimeError, OSError) as error:
                (self.directory / name).write_text(f"{error}\n")
