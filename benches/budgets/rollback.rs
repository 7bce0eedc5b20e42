//! From the end of a new program, on trial as a unit, until the one before runs again: seen,
//! judged, written down, swapped back, restarted. systemd is the script of tests/world, so
//! its own time, and a program's to stop, are not in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use uplift_sim::Version;
use uplift_sim::sandbox::Sandbox;

use super::payload::{MIB, shipped};
use super::statistics::median_time;
use super::table::Row;
use super::watched::Watched as _;

const SIZE: u64 = 10 * MIB;
const RUNS: u8 = 7;
const BAR: f64 = 2.0;
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

pub(crate) fn measure() -> Result<Vec<Row>> {
    let bench = Bench::new()?;
    let mut number = 1;
    let seconds = median_time(RUNS.into(), || {
        number += 1; // what was rolled back once is refused
        bench.rollback(number)
    })?;
    Ok(vec![Row::below(
        "unhealthy -> previous program runs, 10 MiB, restart of a unit",
        seconds,
        BAR,
        "s",
    )])
}

struct Bench {
    sandbox: Sandbox,
    /// Where the script keeps its unit.
    systemd: PathBuf,
}

impl Bench {
    fn new() -> Result<Self> {
        let mut sandbox = Sandbox::new(&shipped()?)?;
        let firmware = sandbox.firmware(version(1), Some(SIZE))?;
        sandbox.install_by_hand(version(1))?;
        std::io::copy(&mut fs::File::open(firmware)?, &mut fs::File::create(sandbox.program())?)?;
        let unit = "unit = \"payload.service\"\nrestart = \"unit\"";
        sandbox.configure(unit, "[trial]\nwindow = \"10s\"\ndeadline = \"30s\"")?;
        let systemd = sandbox.root().join("systemd");
        fs::create_dir(&systemd)?;
        for program in ["systemctl", "journalctl"] {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/world").join(program);
            std::os::unix::fs::symlink(script, systemd.join(program))?;
        }
        let bench_environment = [
            ("PATH", format!("{}:{}", systemd.display(), std::env::var("PATH")?)),
            ("FAKE_SYSTEMD", systemd.display().to_string()),
            ("PROGRAM", sandbox.program().display().to_string()),
        ];
        bench_environment.iter().for_each(|(name, value)| sandbox.set_environment(name, value));
        let mut bench = Self { sandbox, systemd };
        for (name, content) in [
            ("state", "inactive"),
            ("pid", "0"),
            ("invocation", ""),
            ("starts", "0"),
            ("restarts", "0"),
        ] {
            bench.write(name, content)?;
        }
        let mut systemctl = Command::new(bench.systemd.join("systemctl"));
        let started =
            systemctl.args(["restart", "payload.service"]).envs(bench_environment).status()?;
        ensure!(started.success(), "the unit did not start");
        bench.sandbox.start_daemon()?;
        Ok(bench)
    }

    fn write(&self, name: &str, content: &str) -> Result<()> {
        use std::io::Write as _;
        Ok(fs::File::create(self.systemd.join(name))?.write_all(content.as_bytes())?)
    }

    /// An upgrade whose program fails; the time from there until the unit is active again.
    fn rollback(&self, number: u8) -> Result<Duration> {
        let new = version(number);
        self.write("fails", &format!("{new}\n"))?;
        let firmware = self.sandbox.firmware(new, Some(SIZE))?;
        let mut install = self.sandbox.command(&["install"]);
        let mut client =
            install.arg(&firmware).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let failed = self.wait_for("failed")?;
        let active = self.wait_for("active")?;
        client.wait()?;
        let report = self.sandbox.status()?.last.context("there is no report")?;
        ensure!(
            report.outcome == uplift::model::Outcome::RolledBack,
            "not rolled back: {report:?}"
        );
        Ok(active - failed)
    }

    fn wait_for(&self, state: &str) -> Result<Instant> {
        let end = Instant::now() + PATIENCE;
        while fs::read_to_string(self.systemd.join("state"))?.trim() != state {
            ensure!(Instant::now() < end, "the unit did not become {state}");
            thread::sleep(LOOK_INTERVAL);
        }
        Ok(Instant::now())
    }
}

impl Drop for Bench {
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

fn version(number: u8) -> Version {
    Version([number, 0, 0, 0])
}
