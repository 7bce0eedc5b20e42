//! The demonstration: the main job in a sandbox, through a given `uplift`: a payload, its daemon
//! and FTP server, and a simulated aircraft with Assistant 2 that upgrades it over FTP and then
//! over DCFTP, with sealed files; and then, by a file that has only what changes, to a version that
//! does not work. Or, of a payload with a microcontroller, the job of that.

mod motor;

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};

use super::aircraft::narrator::Narrator;
use super::aircraft::{self, Options, Verdict, Via};
use super::interrupt::Interrupt;
use super::line::{Line, LineOptions, Port, PtyLine};
use super::ports::free_address;
use super::sandbox::{Sandbox, wait_for_file};
use super::signer::Signer;
use super::version::Version;

/// Speed of the simulated serial line in bits a second; the fastest that is usual.
const BAUD: u32 = 921_600;

/// One upgrade of the demonstration.
struct Round {
    via: Via,
    name: &'static str,
    version: [u8; 4],
    /// Nothing but the program, and [`ALIKE`] bytes that are the same in each version, without it.
    size: Option<u64>,
    file: Kind,
    ends: Ends,
}

/// What the file of a round has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The program and its seal.
    Whole,
    /// What changes the program that runs, in a sealed container.
    Change,
}

/// How an upgrade has to end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Well,
    /// The payload is found ill, and the version before runs again.
    RolledBack,
}

/// FTP takes megabytes in no time; the serial line takes three seconds for a quarter of one.
const ROUNDS: [Round; 3] = [
    Round {
        via: Via::Ftp,
        name: "FTP",
        version: [2, 0, 0, 0],
        size: Some(32 << 20),
        file: Kind::Whole,
        ends: Ends::Well,
    },
    Round {
        via: Via::Dcftp,
        name: "DCFTP, over a serial line of 921600 baud",
        version: [3, 0, 0, 0],
        size: None,
        file: Kind::Whole,
        ends: Ends::Well,
    },
    Round {
        via: Via::Dcftp,
        name: "DCFTP, as a change of V03.00.00.00",
        version: BAD,
        size: None,
        file: Kind::Change,
        ends: Ends::RolledBack,
    },
];

/// Bytes behind the programs that go over the serial line.
const ALIKE: usize = 192 << 10;
/// The version with which the payload is ill.
const BAD: [u8; 4] = [4, 0, 0, 0];
/// How long after the restart the payload may be ill. What is well shows so at once.
const TRIAL: &str = "window = \"1s\"\ndeadline = \"6s\"";

/// What the demonstration waits for. All of it comes one way, so that none is waited for while
/// another is there.
enum Event {
    RestartRequested(anyhow::Result<()>),
    /// `None` when the aircraft crashed.
    Judged(Option<Verdict>),
    Interrupted,
}

/// The sandbox and what comes of it.
struct Demonstration {
    // First, because fields go in order: the processes and the directory must be gone before
    // anything else.
    sandbox: Sandbox,
    signer: Signer,
    events: Receiver<Event>,
    sender: Sender<Event>,
}

/// Which story is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Story {
    /// The payload's program.
    Program,
    /// A microcontroller beside its computer.
    Motor,
}

/// Runs the demonstration of this `uplift`. Asked to end by a signal, it removes its sandbox and
/// ends the process as a shell expects.
pub fn run(uplift: &Path, story: Story) -> anyhow::Result<()> {
    let (sender, events) = channel();
    let told = sender.clone();
    // Nobody listens any more: then it ends already.
    let interrupt = Interrupt::listen(move || drop(told.send(Event::Interrupted)))?;
    let shown = Demonstration::new(uplift, events, sender).and_then(|one| match story {
        Story::Program => one.show(),
        Story::Motor => one.show_motor(),
    });
    // The sandbox is gone by now. What failed on the way may only be what the same ^C did to its
    // processes.
    if let Some(ending) = interrupt.caught() {
        let _ = writeln!(io::stderr(), "ended by {ending}; the sandbox is removed");
        std::process::exit(ending.exit_code());
    }
    shown
}

impl Demonstration {
    fn new(uplift: &Path, events: Receiver<Event>, sender: Sender<Event>) -> anyhow::Result<Self> {
        Ok(Self { sandbox: Sandbox::new(uplift)?, signer: Signer::new(uplift)?, events, sender })
    }

    fn show(mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        self.introduce()?;
        self.set_up()?;
        let verdicts = self.upgrades()?;
        let version = self.sandbox.reported_version()?;
        say(format_args!(
            "\n{} did not work, so {version} came back, and the aircraft was told.",
            Version(BAD)
        ))?;
        say(format_args!("The payload runs {version} now. How long each part took, in seconds:"))?;
        print_times(&verdicts)?;
        self.end(began)
    }

    fn end(self, began: Instant) -> anyhow::Result<()> {
        say("\nThe daemon's history, newest first:")?;
        // It knows best how it looks where this goes.
        self.sandbox.command(&["history"]).status()?;
        say(format_args!(
            "\nAll of it took {:.1} s; the sandbox is removed again.",
            began.elapsed().as_secs_f64()
        ))?;
        Ok(())
    }

    fn introduce(&self) -> io::Result<()> {
        say(format_args!("A payload in {}:", self.sandbox.root().display()))?;
        say("program V01.00.00.00, daemon, FTP server, a pseudo-terminal for the serial line.")?;
        say(format_args!("It takes files only that are sealed by key {}.", self.signer.id()))
    }

    fn set_up(&mut self) -> anyhow::Result<()> {
        let sandbox = &mut self.sandbox;
        let link = sandbox.link_sections(&BAUD, free_address()?);
        let sections = format!(
            "[package]\nseal = \"required\"\n{}{link}[trial]\n{TRIAL}\n{}",
            self.signer.trusted_section(),
            health(&sandbox.program())
        );
        sandbox.install_by_hand(Version([1, 0, 0, 0]))?;
        sandbox.configure(&sandbox.restart_line(), &sections)?;
        sandbox.start_program()?;
        sandbox.start_ftp_server()?;
        sandbox.start_daemon()
    }

    fn upgrades(&mut self) -> anyhow::Result<Vec<(Version, Verdict)>> {
        let mut verdicts = Vec::new();
        for round in &ROUNDS {
            let version = Version(round.version);
            let how = match round.ends {
                Ends::Well => "",
                Ends::RolledBack => "; it does not work",
            };
            say(format_args!("\nUpgrade to {version} by {}{how}", round.name))?;
            let verdict = self.upgrade(round, version)?;
            let is_well = verdict.is_success();
            ensure!(
                is_well == (round.ends == Ends::Well),
                "the upgrade to {version} ended otherwise: {}",
                verdict.message
            );
            verdicts.push((version, verdict));
        }
        Ok(verdicts)
    }

    fn upgrade(&mut self, round: &Round, version: Version) -> anyhow::Result<Verdict> {
        let firmware = self.sandbox.firmware(version, round.size)?;
        if round.size.is_none() {
            let mut random = fastrand::Rng::with_seed(1);
            let alike: Vec<u8> = (0..ALIKE).map(|_| random.u8(..)).collect();
            OpenOptions::new().append(true).open(&firmware)?.write_all(&alike)?;
        }
        let program = self.sandbox.program();
        match round.file {
            Kind::Whole => self.signer.seal_file(&firmware)?,
            Kind::Change => {
                let running = self.sandbox.reported_version()?;
                self.signer.change(&firmware, (&running, &program), true)?;
            }
        }
        // The aircraft can't see the daemon's choice in advance: without the FTP server DCFTP is
        // what the daemon offers.
        match round.via {
            Via::Dcftp => self.sandbox.kill_ftp_server(),
            _ if self.sandbox.ftp_server_pid().is_none() => self.sandbox.start_ftp_server()?,
            _ => {}
        }
        self.fly(Options { via: round.via, ..Options::new(firmware) })?;
        // To the new program, and from one that is rolled back.
        let mut restarts = if round.ends == Ends::Well { 1 } else { 2 };
        self.await_restart_request();
        loop {
            match self.events.recv().context("nothing more can happen")? {
                Event::RestartRequested(requested) => {
                    requested.and_then(|()| self.sandbox.reboot())?;
                    restarts -= 1;
                    if restarts > 0 {
                        self.await_restart_request();
                    }
                }
                Event::Judged(verdict) => return verdict.context("the simulated aircraft crashed"),
                Event::Interrupted => bail!("interrupted"),
            }
        }
    }

    /// Has the aircraft upgrade the payload, on a thread of its own.
    fn fly(&self, options: Options) -> anyhow::Result<()> {
        let port = PtyLine::new(self.sandbox.root().join("run/ttyPayload"))
            .context("no pseudo-terminal can be made")?;
        let line = Line::new(
            Port::made(port),
            &LineOptions { baud: Some(BAUD), ..LineOptions::default() },
        );
        let sender = self.sender.clone();
        let aircraft = thread::spawn(move || {
            let mut narrator = Narrator::of_demonstration();
            aircraft::run(&options, line, &mut |step| narrator.tell(step))
        });
        // Another thread, because one that crashes tells nobody.
        thread::spawn(move || sender.send(Event::Judged(aircraft.join().ok())));
        Ok(())
    }

    /// Has the daemon's wish for a restart come as an event.
    fn await_restart_request(&self) {
        let (request, sender) = (self.sandbox.restart_request(), self.sender.clone());
        thread::spawn(move || {
            let requested = wait_for_file(&request).context("the daemon did not ask for a restart");
            sender.send(Event::RestartRequested(requested))
        });
    }
}

/// The line of `[trial]` by which the payload is ill with the bad version.
fn health(program: &Path) -> String {
    let (program, bad) = (program.display(), Version(BAD));
    let command = format!("test \"$('{program}' --version)\" != {bad}");
    format!("health_command = [\"/bin/sh\", \"-c\", {command:?}]\n")
}

/// Prints a line. An error, where `println!` would panic, when whoever reads has seen enough.
fn say(line: impl fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn print_times(verdicts: &[(Version, Verdict)]) -> io::Result<()> {
    let Some((_, first)) = verdicts.first() else { return Ok(()) };
    let versions: String = verdicts.iter().map(|(version, _)| format!("{version:>15}")).collect();
    say(format_args!("  {:<10}{versions}", ""))?;
    for phase in &first.phases {
        let name = format!("{:?}", phase.stage).to_lowercase();
        let times = verdicts.iter().filter_map(|(_, verdict)| verdict.time_of(phase.stage));
        let times: String = times.map(|time| format!("{:>15.3}", time.as_secs_f64())).collect();
        say(format_args!("  {name:<10}{times}"))?;
    }
    Ok(())
}
