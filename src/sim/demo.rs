//! The demonstration: the main job in a sandbox, through a given `uplift`: a payload, its daemon and FTP server, and a simulated
//! aircraft with Assistant 2 that upgrades it over FTP and then over DCFTP, with sealed files.

use std::fmt;
use std::io::{self, Write as _};
use std::path::Path;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};

use super::aircraft::narrator::Narrator;
use super::aircraft::{self, Options, Verdict, Via};
use super::line::{Line, LineOptions, Port, PtyLine};
use super::sandbox::{Sandbox, free_address};
use super::seal::Signer;
use crate::package::version::Version;

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
    Round { via: Via::Dcftp, name: "DCFTP, over a serial line of 921600 baud", version: [3, 0, 0, 0], size: 192 << 10 },
];

/// Runs the demonstration of this `uplift`.
pub fn run(uplift: &Path) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut sandbox = Sandbox::new(uplift)?;
    say(format_args!("A payload in {}:", sandbox.root().display()))?;
    say("program V01.00.00.00, daemon, FTP server, a pseudo-terminal for the serial line.")?;
    let signer = Signer::new()?;
    say(format_args!("It takes files only that are sealed by key {}.", signer.public().id()))?;
    set_up(&mut sandbox, &signer)?;
    let mut verdicts = Vec::new();
    for round in &ROUNDS {
        let version = Version::new(round.version).context("the rounds' versions are right")?;
        say(format_args!("\nUpgrade to {version} by {}", round.name))?;
        let verdict = upgrade(&mut sandbox, &signer, round, version)?;
        ensure!(verdict.is_success(), "the upgrade to {version} failed: {}", verdict.message);
        verdicts.push((version, verdict));
    }
    say(format_args!("\nThe payload runs {} now. How long each part took, in seconds:", sandbox.reported_version()?))?;
    print_times(&verdicts)?;
    say("\nThe daemon's history:")?;
    let history = sandbox.command(&["history"]).output()?;
    String::from_utf8_lossy(&history.stdout).lines().try_for_each(|line| say(format_args!("  {line}")))?;
    say(format_args!("\nAll of it took {:.1} s; the sandbox is removed again.", began.elapsed().as_secs_f64()))?;
    Ok(())
}

/// Prints a line. An error, where `println!` would panic, when whoever reads has seen enough.
fn say(line: impl fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn set_up(sandbox: &mut Sandbox, signer: &Signer) -> anyhow::Result<()> {
    let link = sandbox.link_sections(&BAUD, free_address()?);
    let sections = format!("[package]\nseal = \"required\"\n{}{link}", signer.trusted_section());
    sandbox.install_by_hand(Version::new([1, 0, 0, 0]).context("a version")?)?;
    sandbox.configure(&sandbox.restart_line(), &sections)?;
    sandbox.start_program()?;
    sandbox.start_ftp_server()?;
    sandbox.start_daemon()
}

fn upgrade(sandbox: &mut Sandbox, signer: &Signer, round: &Round, version: Version) -> anyhow::Result<Verdict> {
    let firmware = sandbox.firmware(version, Some(round.size))?;
    signer.seal_file(&firmware)?;
    let options = Options { via: round.via, ..Options::new(firmware) };
    let port = PtyLine::new(sandbox.root().join("run/ttyPayload")).context("no pseudo-terminal can be made")?;
    let line = Line::new(Port::made(port), &LineOptions { baud: Some(BAUD), ..LineOptions::default() });
    // The aircraft can't see the daemon's choice in advance: without the FTP server DCFTP is what the daemon offers.
    if round.via == Via::Dcftp {
        sandbox.kill_ftp_server();
    }
    let aircraft = thread::spawn(move || {
        let mut narrator = Narrator::default();
        aircraft::run(&options, line, &mut |step| narrator.tell(step))
    });
    let restarted = sandbox.wait_for_restart_request().and_then(|()| sandbox.reboot());
    let Ok(verdict) = aircraft.join() else { bail!("the simulated aircraft crashed") };
    restarted.with_context(|| format!("the aircraft says: {}", verdict.message))?;
    Ok(verdict)
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
