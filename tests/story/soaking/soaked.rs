//! A payload in a sandbox, which takes sealed files only, and the aircraft at the other end of its
//! line.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use uplift::model::{Report, Status};
use uplift_sim::Version;
use uplift_sim::aircraft::{self, Options, Patience, Step, Verdict};
use uplift_sim::line::{Line, LineOptions, Port, PtyLine};
use uplift_sim::sandbox::PRODUCT;
use uplift_sim::signer::Signer;

use super::usage::{Process, Usage, left_in};
use crate::world::payload::Payload;
use crate::world::watched::Watched as _;

/// Bytes of a program: more than one write, and a moment on a line without a pace.
const SIZE: u64 = 60_000;
/// How long a process may take to let go of what it used: idle threads of the runtime live for ten
/// seconds.
const SETTLING: Duration = Duration::from_secs(30);
const TRIAL: &str = "window = \"0s\"\ndeadline = \"1s\"\nhealth_command = [\"test\", \"!\", \"-e\", \"ROOT/run/sick\"]";
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// How a payload lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Upgraded over FTP; daemon and FTP server go on all the time.
    Ftp,
    /// Upgraded over DCFTP; the daemon goes on all the time.
    Dcftp,
    /// Upgraded over FTP; all is killed at each restart, and the daemon in between.
    Killed,
}

impl Life {
    pub(crate) const ALL: [Self; 3] = [Self::Ftp, Self::Dcftp, Self::Killed];
}

/// A payload, what it is upgraded with, and how it lives.
pub(crate) struct Soaked {
    pub(crate) payload: Payload,
    pub(crate) life: Life,
    pub(crate) signer: Signer,
    line: PtyLine,
    /// Number of the newest version that a file was made of.
    newest: u32,
    /// What runs.
    pub(crate) runs: Version,
}

/// When the daemon is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kill {
    Never,
    /// As soon as a part of the file was handed over.
    AtTransfer,
    /// After the swap, before the restart that it asked for.
    AtRestart,
}

/// Somebody with a key of their own.
pub(crate) fn signer() -> Signer {
    Signer::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap()
}

/// Number 1 is V01.00.00.01, number 100 V01.00.01.00.
fn version(number: u32) -> Version {
    let digits = |place: u32| u8::try_from(number / place % 100).unwrap();
    Version([1, digits(10_000), digits(100), digits(1)])
}

impl Soaked {
    pub(crate) fn new(life: Life) -> Self {
        let signer = signer();
        let sections = format!("[package]\nseal = \"required\"\n{}", signer.trusted_section());
        let setup = Payload::setup()
            .link("921600", None)
            .trial(TRIAL)
            .sections(&sections)
            .with_program_running()
            .ftp_server(life != Life::Dcftp);
        let mut payload = setup.stopped();
        let line = PtyLine::new(payload.root().join("run/ttyPayload")).unwrap();
        setup.run(&mut payload);
        Self { payload, life, signer, line, newest: 0, runs: version(0) }
    }

    /// A file of a version that was never there, for this product, without a seal.
    pub(crate) fn unsealed(&mut self) -> (PathBuf, Version) {
        self.newest += 1;
        let version = version(self.newest);
        (self.payload.firmware(version, Some(SIZE)).unwrap(), version)
    }

    /// The same with a seal.
    pub(crate) fn sealed(&mut self) -> (PathBuf, Version) {
        let (firmware, version) = self.unsealed();
        self.signer.seal_file(&firmware).unwrap();
        (firmware, version)
    }

    /// Has a program on trial fail its health command, or not.
    pub(crate) fn set_sick(&self, sick: bool) {
        let path = self.payload.root().join("run/sick");
        if sick { drop(fs::File::create(path).unwrap()) } else { fs::remove_file(path).unwrap() }
    }

    /// The aircraft does its upgrade, and the payload restarts as often as it asks for it; the file
    /// goes.
    pub(crate) fn upgrade(&mut self, options: Options, kill: Kill) -> Verdict {
        let firmware = options.firmware.clone();
        // The daemon says itself whether it is quiet; a second of listening each time would be most
        // of the upgrade.
        let patience = Patience { quiet: Duration::from_millis(100), ..Patience::default() };
        let options = Options { patience, ..options };
        let line = Line::new(Port::made(self.line.clone()), &LineOptions::default());
        let (steps, transferred) = mpsc::channel();
        let (go_on, gone_on) = mpsc::channel::<()>();
        let aircraft = thread::spawn(move || {
            aircraft::run(&options, line, &mut |step| {
                if matches!(step, Step::Transferred { .. }) && kill == Kill::AtTransfer {
                    let _ = steps.send(());
                    let _ = gone_on.recv(); // at once after the first time: nobody is left to say it
                }
            })
        });
        let mut go_on = Some(go_on);
        let mut killed = false;
        while !aircraft.is_finished() {
            if self.payload.restart_requested() {
                killed |= kill == Kill::AtRestart;
                self.restart(killed);
            } else if !killed && transferred.try_recv().is_ok() {
                killed = true;
                self.payload.restart_daemon();
                go_on = None;
            }
            thread::sleep(LOOK_INTERVAL);
        }
        drop(go_on);
        fs::remove_file(firmware).unwrap();
        aircraft.join().unwrap()
    }

    /// Carries out a restart: of the program alone where the daemon goes on.
    fn restart(&mut self, daemon_was_killed: bool) {
        if self.life != Life::Killed {
            return self.payload.restart_program().unwrap();
        }
        if daemon_was_killed {
            self.payload.restart_daemon();
        }
        self.payload.reboot();
    }

    /// The status when nothing is going on and every report was acknowledged.
    pub(crate) fn quiet(&self) -> Status {
        let quiet = |status: &Status| {
            status.phase == uplift::model::Phase::Idle && status.unacknowledged.is_empty()
        };
        self.payload.wait_for_status(quiet).unwrap()
    }

    pub(crate) fn last_report(&self) -> Option<Report> {
        self.payload.status().unwrap().last
    }

    /// What the payload uses now.
    pub(crate) fn usage(&self) -> Usage {
        let root = self.payload.root();
        Usage {
            daemon: Process::read(self.payload.daemon_pid().expect("the daemon runs")),
            ftp_server: self.payload.ftp_server_pid().map(Process::read),
            stage: left_in(&self.payload.stage()),
            state: left_in(&self.payload.state()),
            uploads: left_in(&self.payload.upload_area()),
            programs: left_in(&root.join("bin")),
            files: left_in(root),
        }
    }

    /// The least that it uses in a second: not what is in use in passing.
    pub(crate) fn usage_at_rest(&self) -> Usage {
        (0..10).fold(self.usage(), |least, _| {
            thread::sleep(Duration::from_millis(100));
            self.usage().or_less(&least)
        })
    }

    /// What it uses when it has let go of what it used in passing, or else what it still uses after
    /// a while.
    pub(crate) fn usage_like(&self, first: &Usage) -> Usage {
        let end = Instant::now() + SETTLING;
        loop {
            let usage = self.usage();
            if usage.growth_since(first).is_empty() || Instant::now() > end {
                return usage;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The name of a file of another product.
pub(crate) fn foreign_name(version: Version) -> String {
    format!("NOT_{PRODUCT}_{version}.bin")
}
