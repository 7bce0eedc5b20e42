//! A payload whose program is a unit, for the parts that look at what a restart costs. systemd is the script
//! of tests/world, so its own time, and a program's to stop, are not in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use uplift_fixtures::systemd;
use uplift_sim::Version;
use uplift_sim::sandbox::Sandbox;

const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// A payload whose program is a unit.
pub(crate) struct Unit {
    pub(crate) sandbox: Sandbox,
    size: u64,
    /// Where the script keeps its unit.
    systemd: PathBuf,
}

/// An upgrade that was begun at the shell.
pub(crate) struct Upgrade {
    client: Child,
    firmware: PathBuf,
}

impl Unit {
    /// With a program of `size` bytes, and a trial of this window.
    pub(crate) fn new(uplift: &Path, size: u64, window: &str) -> Result<Self> {
        let mut sandbox = Sandbox::new(uplift)?;
        let firmware = sandbox.firmware(version(1), Some(size))?;
        sandbox.install_by_hand(version(1))?;
        std::io::copy(&mut fs::File::open(firmware)?, &mut fs::File::create(sandbox.program())?)?;
        let unit = "unit = \"payload.service\"\nrestart = \"unit\"";
        sandbox.configure(unit, &format!("[trial]\nwindow = \"{window}\"\ndeadline = \"30s\""))?;
        as_it_knows(uplift, &sandbox.config())?;
        let directory = sandbox.root().join("systemd");
        systemd::lay(&directory)?;
        let environment = systemd::environment(&directory, &sandbox.program());
        environment.iter().for_each(|(name, value)| sandbox.set_environment(name, value));
        let mut payload = Self { sandbox, size, systemd: directory };
        let mut systemctl = Command::new(payload.systemd.join("systemctl"));
        let started = systemctl.args(["restart", "payload.service"]).envs(environment).status()?;
        ensure!(started.success(), "the unit did not start");
        payload.sandbox.start_daemon()?;
        Ok(payload)
    }

    fn write(&self, name: &str, content: &str) -> Result<()> {
        use std::io::Write as _;
        Ok(fs::File::create(self.systemd.join(name))?.write_all(content.as_bytes())?)
    }

    /// The next time that the new version starts, it fails.
    pub(crate) fn fails_from_now_on(&self, version: Version) -> Result<()> {
        self.write("fails", &format!("{version}\n"))
    }

    /// Begins an upgrade at the shell to this version, of the same size.
    pub(crate) fn begin(&self, version: Version) -> Result<Upgrade> {
        let firmware = self.sandbox.firmware(version, Some(self.size))?;
        let mut install = self.sandbox.command(&["install"]);
        let client = install
            .args(["--json"])
            .arg(&firmware)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Upgrade { client, firmware })
    }

    /// Waits until the script has the unit in this state.
    pub(crate) fn wait_for(&self, state: &str) -> Result<Instant> {
        let end = Instant::now() + PATIENCE;
        while fs::read_to_string(self.systemd.join("state"))?.trim() != state {
            ensure!(Instant::now() < end, "the unit did not become {state}");
            thread::sleep(LOOK_INTERVAL);
        }
        Ok(Instant::now())
    }
}

impl Upgrade {
    /// Waits for its report, and clears its file.
    pub(crate) fn end(self, outcome: &str) -> Result<()> {
        let said = String::from_utf8(self.client.wait_with_output()?.stdout)?;
        ensure!(said.contains(&format!("\"{outcome}\"")), "not {outcome}: {said}");
        Ok(fs::remove_file(self.firmware)?)
    }
}

/// A version from before components had names is configured in its own words.
fn as_it_knows(uplift: &Path, config: &Path) -> Result<()> {
    use std::io::Write as _;
    let check = Command::new(uplift).args(["config", "check", "--config"]).arg(config).output()?;
    let said = String::from_utf8_lossy(&[check.stdout, check.stderr].concat()).into_owned();
    if !said.contains("unknown field `component`") {
        return Ok(());
    }
    let text = fs::read_to_string(config)?
        .replace("[component.program]", "[program]")
        .replace("isolate_commands = \"never\"\n", "");
    Ok(fs::File::create(config)?.write_all(text.as_bytes())?)
}

impl Drop for Unit {
    fn drop(&mut self) {
        let pid = fs::read_to_string(self.systemd.join("pid"))
            .ok()
            .and_then(|pid| pid.trim().parse().ok())
            .filter(|pid| *pid > 0);
        if let Some(pid) = pid {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
    }
}

pub(crate) fn version(number: u8) -> Version {
    Version([number, 0, 0, 0])
}
