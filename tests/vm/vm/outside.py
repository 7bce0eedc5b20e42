"""A payload's file system without its machine: mounted after a power cut, and started again in a chroot.

The programs are those of the image: the rescue, the payload's own program and the daemon, with the configuration of the image.
Only systemd is a script, and the boot id a file. Runs as root in mount and process namespaces of its own. Knows nothing of cuts.
"""

import json
import os
import signal
import socket
import subprocess
import time

from .places import SOURCES, run

PROGRAM = "usr/local/bin/psdk_demo"
PATIENCE = 120


class Outside:
    """A mounted disk, on which boots are played."""

    def __init__(self, disk, root):
        self.root, self._boots, self._processes = root, 0, []
        root.mkdir(exist_ok=True)
        # This is what puts the file system's journal in order.
        run("mount", "-o", "loop", disk, root)
        for kind, target in (("tmpfs", "run"), ("proc", "proc"), ("tmpfs", "tmp"), ("devtmpfs", "dev")):
            run("mount", "-t", kind, kind, root / target)
        for directory in ("run/systemd-script", "run/uplift"):
            (root / directory).mkdir()
        script = root / "run/systemd-script/systemctl"
        script.write_bytes((SOURCES / "systemctl").read_bytes())
        script.chmod(0o755)

    def close(self):
        """Ends everything and lets go of the disk."""
        self._end()
        for target in ("dev", "tmp", "proc", "run", ""):
            run("umount", self.root / target)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def start(self, *command):
        """Starts a program of the image."""
        environment = {"PATH": "/run/systemd-script:/usr/bin:/usr/sbin", "UPLIFT_LOG": "uplift=info"}
        log = open(self.root.parent / "outside.log", "ab")
        with log:
            process = subprocess.Popen(["chroot", self.root, *command], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._processes.append(process)
        return process

    def _end(self):
        for process in self._processes:
            process.kill()
            process.wait()
        self._processes = []

    def boot(self):
        """Plays a boot: the rescue, then the program, then the daemon."""
        self._end()
        self._boots += 1
        for name in ("asked", "uplift/control.sock"):
            (self.root / "run" / name).unlink(missing_ok=True)
        (self.root / "run/boot_id").write_text(f"outside-boot-{self._boots}\n")
        rescue = self.start("/usr/bin/uplift-rescue", "boot", "--boot-id", "/run/boot_id")
        rescue.wait(PATIENCE)
        program = self.start(f"/{PROGRAM}")
        (self.root / "run/pid").write_text(f"{program.pid}\n")
        self.start("/usr/bin/uplift", "daemon", "--config", "/run/uplift.toml")

    def configure(self, text):
        """The daemon's configuration from now on."""
        (self.root / "run/uplift.toml").write_text(text)

    def asked_for_reboot(self):
        """Whether the daemon or the rescue has asked systemd for one."""
        asked = self.root / "run/asked"
        return asked.exists() and "reboot" in asked.read_text().split()

    def settle(self):
        """Boots, as often as it is asked for, until no upgrade is under way. The status then."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self.boot()
            status = self.wait(deadline)
            if status:
                return status
        raise RuntimeError("the payload does not settle")

    def wait(self, deadline):
        """The status when no upgrade is under way; nothing when a reboot is asked for."""
        for answer in self.watch({"request": "watch"}, deadline):
            if answer["status"]["phase"] in ("idle", "concluded"):
                return answer["status"]
            if answer["status"]["phase"] == "restarting" and self._reboot_comes(deadline):
                return None
        raise RuntimeError("the daemon ended")

    def _reboot_comes(self, deadline):
        while not self.asked_for_reboot():
            if time.monotonic() > deadline:
                raise RuntimeError("no reboot is asked for")
            time.sleep(0.01)  # a file that a script makes
        return True

    def connect(self, deadline):
        """A connection to the daemon, as soon as it listens."""
        while True:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(PATIENCE)
            try:
                connection.connect(str(self.root / "run/uplift/control.sock"))
                return connection
            except OSError:
                connection.close()
                if time.monotonic() > deadline or self._processes[-1].poll() is not None:
                    raise
                time.sleep(0.01)

    def watch(self, request, deadline):
        """What the daemon answers to a request, one at a time."""
        with self.connect(deadline) as connection, connection.makefile("rwb") as lines:
            lines.write(json.dumps(request).encode() + b"\n")
            lines.flush()
            for line in lines:
                yield json.loads(line)

    def history(self):
        """The reports, oldest first."""
        return next(self.watch({"request": "history"}, time.monotonic() + PATIENCE))["reports"]

    def upgrade(self, firmware):
        """Upgrades as a person at the shell does. The report."""
        deadline = time.monotonic() + PATIENCE
        with self.connect(deadline) as connection, connection.makefile("rwb") as lines:
            lines.write(json.dumps({"request": "install", "file_name": firmware.name, "size": firmware.stat().st_size}).encode() + b"\n")
            lines.flush()
            for line in lines:
                answer = json.loads(line)
                if answer["answer"] == "send":
                    lines.write(firmware.read_bytes())
                    lines.flush()
                elif answer["answer"] in ("failure", "report"):
                    return answer.get("report") or answer["failure"]
                elif answer["status"]["phase"] == "restarting" and self._reboot_comes(deadline):
                    break
        self.settle()
        return self.history()[-1]
