//! The demonstration: the main job in a sandbox, through a given `uplift`: a payload, its daemon
//! and FTP server, and a simulated aircraft with Assistant 2 that upgrades it over FTP and then
//! over DCFTP, with sealed files.

use std::fmt;
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
use super::sandbox::{Sandbox, free_address, wait_for_file};
use super::signer::Signer;
use super::version::Version;

/// Speed of the simulated serial line in bits a second; the fastest that is usual.
const BAUD: u32 = 921_600;

/// One upgrade of the demonstration.
struct Round {
    via: Via,
    name: &'static str,
    version: [u8; 4],
    size: u64,
}

/// FTP takes megabytes in no time; the serial line takes three seconds for a quarter of one.
const ROUNDS: [Round; 2] = [
    Round { via: Via::Ftp, name: "FTP", version: [2, 0, 0, 0], size: 32 << 20 },
    Round {
        via: Via::Dcftp,
        name: "DCFTP, over a serial line of 921600 baud",
        version: [3, 0, 0, 0],
        size: 192 << 10,
    },
];

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

/// Runs the demonstration of this `uplift`. Asked to end by a signal, it removes its sandbox and
/// ends the process as a shell expects.
pub fn run(uplift: &Path) -> anyhow::Result<()> {
    let (sender, events) = channel();
    let told = sender.clone();
    // Nobody listens any more: then it ends already.
    let interrupt = Interrupt::listen(move || drop(told.send(Event::Interrupted)))?;
    let shown = Demonstration::new(uplift, events, sender).and_then(Demonstration::show);
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
        say(format_args!(
            "\nThe payload runs {} now. How long each part took, in seconds:",
            self.sandbox.reported_version()?
        ))?;
        print_times(&verdicts)?;
        say("\nThe daemon's history:")?;
        let history = self.sandbox.command(&["history"]).output()?;
        String::from_utf8_lossy(&history.stdout)
            .lines()
            .try_for_each(|line| say(format_args!("  {line}")))?;
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
        let sections =
            format!("[package]\nseal = \"required\"\n{}{link}", self.signer.trusted_section());
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
            say(format_args!("\nUpgrade to {version} by {}", round.name))?;
            let verdict = self.upgrade(round, version)?;
            ensure!(verdict.is_success(), "the upgrade to {version} failed: {}", verdict.message);
            verdicts.push((version, verdict));
        }
        Ok(verdicts)
    }

    fn upgrade(&mut self, round: &Round, version: Version) -> anyhow::Result<Verdict> {
        let firmware = self.sandbox.firmware(version, Some(round.size))?;
        self.signer.seal_file(&firmware)?;
        // The aircraft can't see the daemon's choice in advance: without the FTP server DCFTP is
        // what the daemon offers.
        if round.via == Via::Dcftp {
            self.sandbox.kill_ftp_server();
        }
        self.fly(Options { via: round.via, ..Options::new(firmware) })?;
        self.await_restart_request();
        loop {
            match self.events.recv().context("nothing more can happen")? {
                Event::RestartRequested(requested) => {
                    requested.and_then(|()| self.sandbox.reboot())?;
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
