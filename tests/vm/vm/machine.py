"""The machine: qemu with a disk, a network, a USB serial adapter, a monitor, and an agent inside that runs programs for us.

Knows nothing of uplift.
"""

import base64
import itertools
import secrets
import signal
import subprocess
import threading
import time
from dataclasses import dataclass

from .computer import COMPUTER
from .firmware import FIRMWARE
from .talk import Line, Silent

# An emulated processor on a busy one. Nobody waits so long but for what will never come.
BOOT = 300
COMMAND = 120
FTP_PORTS = [21, *range(40000, 40008)]
# What tests/vm/initrd-init says on the console.
DISK_MOUNTED = "the disk is mounted"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Done:
    """How a program inside ended, and what it said."""
    code: int
    out: str
    err: str


class Machine:
    """A machine that is on, or off. Its disk, sockets and logs lie in `directory`."""

    def __init__(self, image, directory, disk):
        self.image, self.directory, self.disk = image, directory, disk
        # An address of its own, so that the well-known port is free and every port inside has the same number outside.
        self.address = f"127.77.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"
        self.serial = directory / "serial.sock"
        self.console = directory / "console.log"
        self._qemu = None
        self._monitor = Line(directory / "monitor.sock")
        self._agent = Line(directory / "agent.sock")

    def __enter__(self):
        try:
            self.power_on()
        except BaseException:
            self.power_cut()
            raise
        return self

    def __exit__(self, *_):
        self.power_cut()

    def power_on(self, log=None):
        """Starts it, and returns when the agent inside answers. `log` is a file for every write to the disk."""
        self._start(log)
        try:
            self.wait_for_agent()
        except Silent:
            # Seen once: an emulated machine that never said a word. Where its disk was mounted, what came after that is what is
            # tested here, and is not tried again.
            if DISK_MOUNTED in self.console.read_text(errors="replace"):
                raise
            print(f"the emulator stood still before the disk was mounted, and is started again; see {self.directory}", flush=True)
            self.power_cut()
            self._start(log)
            self.wait_for_agent()

    def _start(self, log):
        forwards = "".join(f",hostfwd=tcp:{self.address}:{port}-:{port}" for port in FTP_PORTS)
        disk = f"driver=file,filename={self.disk}"
        if log:
            log.write_bytes(b"")
            disk = f"driver=blklogwrites,file.driver=file,file.filename={self.disk},log.driver=file,log.filename={log}"
        command = [
            "setpriv", "--pdeathsig", "KILL", "--",
            *COMPUTER.emulator, "-nodefaults", "-no-user-config", "-display", "none", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "512",
            "-kernel", self.image.kernel, "-initrd", self.image.initrd,
            "-append", f"console={COMPUTER.console} quiet root=/dev/vda rw mitigations=off systemd.show_status=no",
            "-serial", f"file:{self.console}",
            "-blockdev", f"{disk},node-name=disk", "-device", "virtio-blk-pci,drive=disk",
            "-device", "virtio-rng-pci",
            "-netdev", f"user,id=net{forwards}", "-device", "virtio-net-pci,netdev=net,romfile=",
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=agent,path={self.directory / 'agent.sock'},server=on,wait=off",
            "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
            "-virtfs", f"local,path={FIRMWARE},mount_tag=outside,security_model=none,readonly=on",
            "-device", "qemu-xhci,id=usb",
            "-chardev", f"socket,id=serial,path={self.serial},server=on,wait=off",
            "-device", "usb-serial,chardev=serial,always-plugged=on,id=adapter,bus=usb.0",
            "-qmp", f"unix:{self.directory / 'monitor.sock'},server=on,wait=off",
            "-qmp", f"unix:{self.directory / 'events.sock'},server=on,wait=off",
        ]
        log_file = open(self.directory / "qemu.log", "ab")
        with log_file:
            self._qemu = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log_file, stderr=log_file)
        deadline = time.monotonic() + 30
        self._monitor.open(deadline)
        self._monitor.hear(deadline)
        self.monitor("qmp_capabilities")

    def power_cut(self):
        """Kills the emulator: what the machine had not written to its disk is lost."""
        if self._qemu:
            self._qemu.send_signal(signal.SIGKILL)
            self._qemu.wait()
        self._monitor.close()
        self._agent.close()
        self._qemu = None

    def power_off(self):
        """An orderly end, after which the disk is complete."""
        self.shell("systemctl --no-block poweroff")
        self._qemu.wait(BOOT)
        self.power_cut()

    def on_reset(self, tell):
        """Has `tell` called when the machine starts again, on a thread of its own, for as long as it is on."""
        events = Line(self.directory / "events.sock")
        events.open(time.monotonic() + COMMAND)
        events.say({"execute": "qmp_capabilities"})

        def listen():
            try:
                while True:
                    if events.hear(time.monotonic() + 24 * 3600).get("event") == "RESET":
                        tell()
            except Silent:
                events.close()

        threading.Thread(target=listen, daemon=True).start()

    def monitor(self, command, **arguments):
        """Has qemu do something."""
        self._monitor.say({"execute": command, "arguments": arguments})
        while True:
            answer = self._monitor.hear(time.monotonic() + COMMAND)
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']}")
            if "return" in answer:
                return answer["return"]

    def unplug(self):
        """Pulls the serial adapter out."""
        self.monitor("device_del", id="adapter")

    def plug_in(self):
        """Puts it back."""
        self.monitor("device_add", driver="usb-serial", chardev="serial", id="adapter", bus="usb.0", **{"always-plugged": True})

    def wait_for_agent(self, patience=BOOT):
        """Waits until programs can be run inside."""
        deadline = time.monotonic() + patience
        while True:
            if self._qemu.poll() is not None:
                raise RuntimeError(f"the emulator ended with {self._qemu.returncode}; see {self.directory / 'qemu.log'}")
            # Another one each time: an answer to an earlier question may come late.
            number = next(_numbers)
            try:
                self._agent.open(deadline)
                self._agent.say({"execute": "guest-sync", "arguments": {"id": number}})
                while self._agent.hear(min(deadline, time.monotonic() + 2)).get("return") != number:
                    pass
                return
            except Silent:
                if time.monotonic() > deadline:
                    raise

    def _ask_agent(self, command, deadline, **arguments):
        self._agent.say({"execute": command, "arguments": arguments})
        answer = self._agent.hear(deadline)
        if "error" in answer:
            raise RuntimeError(f"{command}: {answer['error']}")
        return answer["return"]

    def run(self, *command, patience=COMMAND):
        """Runs a program inside to its end. One that a restart of the machine ends is `Silent`."""
        deadline = time.monotonic() + patience
        pid = self._ask_agent("guest-exec", deadline, path=command[0], arg=list(command[1:]), **{"capture-output": True})["pid"]
        while True:
            status = self._ask_agent("guest-exec-status", deadline, pid=pid)
            if status["exited"]:
                text = [base64.b64decode(status.get(name, "")).decode(errors="replace") for name in ("out-data", "err-data")]
                return Done(status.get("exitcode", -status.get("signal", 0)), *text)
            if time.monotonic() > deadline:
                raise Silent(f"{' '.join(command)} has not ended")
            time.sleep(0.1)  # the agent can only be asked

    def shell(self, script, patience=COMMAND):
        """What a script inside prints; one that fails is an error."""
        done = self.run("/bin/sh", "-ec", script, patience=patience)
        if done.code != 0:
            raise RuntimeError(f"inside, `{script}` ended with {done.code}:\n{done.out}{done.err}")
        return done.out

    def boot_id(self):
        """The kernel's name of this boot."""
        return self.shell("cat /proc/sys/kernel/random/boot_id").strip()
