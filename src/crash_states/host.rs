//! A machine without processes: a restart is a new boot id, systemd has one unit, and that one is
//! the daemon.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::sync::Notify;

use super::files::{is_of, write_file};
use super::updater::Updater;
use crate::component::command::carry_out;
use crate::disk::recording::{Moment, Start};
use crate::host::modelled::Host;

/// What a unit that fails has logged.
pub(crate) const LAST_WORDS: &str = "I hang";

/// The machine.
#[derive(Debug)]
pub(crate) struct ModelHost {
    /// Where the kernel shows boot id, uptime and executables.
    directory: PathBuf,
    /// What the unit runs.
    program: PathBuf,
    /// A program in which these words stand is the new one, of which something is to be seen.
    new: Option<&'static str>,
    state: Mutex<State>,
    killed: Notify,
    /// Where another updater works, and the disk there.
    updater: OnceLock<Updater>,
}

#[derive(Debug)]
struct State {
    moment: Moment,
    /// Starts of the unit so far; the last one is the process id.
    starts: u32,
    /// Whether restarts come when they are asked for.
    restarts: bool,
    /// Whether the daemon runs and is the unit: a restart ends it.
    daemon_runs: bool,
    /// Whether a restart of the unit is refused.
    refuses: bool,
}

impl ModelHost {
    /// One at this moment.
    pub(crate) fn new(
        directory: &Path,
        program: PathBuf,
        new: Option<&'static str>,
        restarts: bool,
        moment: &Moment,
    ) -> Self {
        let state = State {
            moment: moment.clone(),
            starts: 0,
            restarts,
            daemon_runs: false,
            refuses: false,
        };
        let host = Self {
            directory: directory.to_owned(),
            program,
            new,
            state: Mutex::new(state),
            killed: Notify::new(),
            updater: OnceLock::new(),
        };
        write_file(&host.boot_id(), &moment.boot);
        host
    }

    /// There is another updater, too.
    pub(crate) fn has(&self, updater: Updater) {
        self.updater.set(updater).expect("one at most");
    }

    pub(crate) fn boot_id(&self) -> PathBuf {
        self.directory.join("boot_id")
    }

    pub(crate) fn uptime(&self) -> PathBuf {
        self.directory.join("uptime")
    }

    pub(crate) fn moment(&self) -> Moment {
        self.with(|state| state.moment.clone())
    }

    /// Restarts come from now on, and another updater works.
    pub(crate) fn repair(&self) {
        self.with(|state| state.restarts = true);
        if let Some(updater) = self.updater.get() {
            updater.works.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the unit runs the new program.
    pub(crate) fn runs_new(&self) -> bool {
        self.moment().start.is_some_and(|start| start.is_new)
    }

    /// The unit's process was started before, and runs this.
    pub(crate) fn runs(&self, program: &[u8]) {
        let pid = self.with(|state| {
            state.starts += 1;
            state.starts
        });
        write_file(&self.executable(pid), program);
    }

    /// Whether systemd refuses a restart from now on.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.with(|state| state.refuses = refuses);
    }

    /// What the unit runs.
    pub(crate) fn running(&self) -> Option<Vec<u8>> {
        let (runs, pid) = self.with(|state| (state.moment.start.is_some(), state.starts));
        runs.then(|| fs::read(self.executable(pid)).unwrap())
    }

    /// Starts the unit with what lies at the path.
    pub(crate) fn start_unit(&self) {
        // Where there is none, what is wrong is said by whoever looks at the path.
        let program = fs::read(&self.program).unwrap_or_default();
        let is_new = self.new.is_some_and(|words| is_of(&program, words));
        let pid = self.with(|state| {
            state.starts += 1;
            let invocation = state.moment.start.as_ref().map_or_else(
                || state.moment.boot.clone(),
                |before| format!("{}+", before.invocation),
            );
            state.moment.start = Some(Start { invocation, is_new });
            state.starts
        });
        write_file(&self.executable(pid), &program);
    }

    /// Lets the daemon live; `None` if its unit is restarted meanwhile.
    pub(crate) async fn life<T>(
        &self,
        is_unit: bool,
        daemon: impl Future<Output = T>,
    ) -> Option<T> {
        self.with(|state| state.daemon_runs = is_unit);
        let done = tokio::select! {
            () = self.killed.notified() => None,
            done = daemon => Some(done),
        };
        self.with(|state| state.daemon_runs = false);
        done
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn reboot(&self) -> bool {
        self.with(|state| {
            if state.restarts {
                state.moment.boot.push('+');
                write_file(&self.boot_id(), &state.moment.boot);
            }
            state.restarts
        })
    }

    fn show(&self) -> String {
        let (start, pid) = self.with(|state| (state.moment.start.clone(), state.starts));
        let invocation = start.map(|start| start.invocation).unwrap_or_default();
        format!(
            "LoadState=loaded\nActiveState=active\nMainPID={pid}\nInvocationID={invocation}\nNRestarts=0\n"
        )
    }
}

impl Host for ModelHost {
    fn output(&self, program: &str, arguments: &[&str]) -> Option<Output> {
        let said = |said: String| {
            Some(Output { status: ExitStatus::default(), stdout: said.into(), stderr: Vec::new() })
        };
        match (program, arguments) {
            ("reboot", []) if self.reboot() => said(String::new()),
            ("reboot", []) => Some(Output {
                status: ExitStatus::from_raw(1 << 8),
                stdout: Vec::new(),
                stderr: Vec::new(),
            }),
            ("systemctl", ["show", ..]) => said(self.show()),
            ("systemctl", ["--no-block", "restart", ..]) if self.with(|state| state.refuses) => {
                Some(Output {
                    status: ExitStatus::from_raw(1 << 8),
                    stdout: Vec::new(),
                    stderr: Vec::new(),
                })
            }
            ("systemctl", ["--no-block", "restart", ..]) => {
                self.start_unit();
                if self.with(|state| state.daemon_runs) {
                    self.killed.notify_one();
                    return None;
                }
                said(String::new())
            }
            ("systemctl", ["--no-block", "start" | "stop", ..] | ["reset-failed", ..]) => {
                said(String::new())
            }
            ("journalctl", _) => said(format!("{{\"MESSAGE\":\"{LAST_WORDS}\"}}\n")),
            _ => panic!("nobody asks for {program} {arguments:?}"),
        }
    }

    fn executable(&self, pid: u32) -> PathBuf {
        self.directory.join(format!("exe-{pid}"))
    }

    /// At once, as far as the daemon can tell.
    fn change(&self, directory: &Path, job: &str) -> io::Result<()> {
        let updater = self.updater.get().expect("nobody asks another updater");
        let done = carry_out(&*updater.disk, directory, job, || Ok(()), |job, _| updater.run(job));
        done.map_err(io::Error::other)
    }
}
