//! The command line of `uplift-sim module`: starts a module, prints what happens, and judges the end.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;

use super::quectel::{Ending, Event, Module as Quectel, Options, Plan, Stage, Watch};

/// Between two looks at whether the time is over.
const LOOK: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "Examples:
  uplift-sim module quectel --make-pty /tmp/ttyQuectel --component PAYLOAD \\
      --target 2_0_0_0 --firmware Sensor_V02.00.00.00.bin

  A module that hands the file out in pieces of 4 KiB and starts anew while it is read:
  uplift-sim module quectel --make-pty /tmp/ttyQuectel --component PAYLOAD \\
      --target 2_0_0_0 --firmware Sensor_V02.00.00.00.bin --piece 4096 --reset-in readable

Exit codes: 0 the plans ended as expected, 1 they did not, 2 wrong command line.";

/// Which module.
#[derive(Debug, Subcommand)]
pub(crate) enum Module {
    /// A Quectel module with the QuecThing platform behind it.
    #[command(after_help = EXAMPLES)]
    Quectel(Box<Arguments>),
}

/// A Quectel module.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Make a pseudo-terminal, and a link to the payload's end of it.
    #[arg(long, value_name = "LINK")]
    make_pty: PathBuf,
    /// Firmware file; may be given again, for a further plan.
    #[arg(long, value_name = "FILE", required = true)]
    firmware: Vec<PathBuf>,
    /// Component of each file.
    #[arg(long, value_name = "NAME", default_value = "PAYLOAD")]
    component: Vec<String>,
    /// Version of each file, as the platform writes it.
    #[arg(long, value_name = "VERSION", required = true)]
    target: Vec<String>,
    /// Version that must run [default: any].
    #[arg(long, value_name = "VERSION", default_value = "")]
    source: String,
    /// Least charge of the battery in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 30)]
    battery: u32,
    /// Weakest signal in dBm.
    #[arg(long, value_name = "DBM", default_value_t = -113, allow_hyphen_values = true)]
    least_signal: i32,
    /// Strength of the signal, 0 to 31 or 99: unknown.
    #[arg(long, value_name = "N", default_value_t = Options::default().strength)]
    strength: u32,
    /// Hold the pace of a serial line, ten bits a byte in each direction.
    #[arg(long, value_name = "BITS/S", value_parser = clap::value_parser!(u32).range(1..))]
    baud: Option<u32>,
    /// Do not repeat commands.
    #[arg(long)]
    no_echo: bool,
    /// Hand the file out in pieces of so many bytes [default: as one].
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    piece: Option<u64>,
    /// Most bytes of a read.
    #[arg(long, value_name = "BYTES", default_value_t = Options::default().most)]
    most: u32,
    /// Send events between commands and their answers, and before and after data.
    #[arg(long)]
    chatter: bool,
    /// Answer the N-th read with ERROR; may be given again.
    #[arg(long, value_name = "N")]
    failing_read: Vec<u32>,
    /// Give no more than so many bytes at a read.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..))]
    short_reads: Option<u32>,
    /// Lose the N-th answer; may be given again.
    #[arg(long, value_name = "N")]
    lost_answer: Vec<u32>,
    /// Multiply all times of the module.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    timers: f64,
    /// Tell no SHA-256.
    #[arg(long)]
    no_sha256: bool,
    /// Refuse to be asked for SHA-256.
    #[arg(long)]
    old: bool,
    /// Tell another MD5 than the file's.
    #[arg(long)]
    wrong_md5: bool,
    /// Tell another SHA-256 than the file's.
    #[arg(long)]
    wrong_sha256: bool,
    /// Upgrade the module itself before.
    #[arg(long)]
    own_upgrade: bool,
    /// Start anew, once, when this is reached.
    #[arg(long, value_enum, value_name = "STAGE")]
    reset_in: Option<Stage>,
    /// Fail, once, after so many reads.
    #[arg(long, value_name = "N")]
    fails_after_reads: Option<u32>,
    /// Say too early that the file is being installed.
    #[arg(long)]
    early: bool,
    /// How it should end.
    #[arg(long, value_enum, default_value = "success")]
    expect: Ending,
    /// Give up after this time, as in 5m [default: never].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Print each event as one line of JSON, and the verdict as the last.
    #[arg(long)]
    json: bool,
    /// Tell nothing but the verdict.
    #[arg(long)]
    quiet: bool,
}

impl Module {
    /// Whether the plans ended as they should.
    pub(crate) fn run(self) -> anyhow::Result<bool> {
        let Self::Quectel(arguments) = self;
        arguments.run()
    }
}

impl Arguments {
    fn run(self) -> anyhow::Result<bool> {
        let options = self.options()?;
        let plans = options.plans.len();
        let module = Quectel::start(&self.make_pty, options)
            .with_context(|| format!("no pseudo-terminal at {}", self.make_pty.display()))?;
        self.introduce()?;
        let (mut events, mut watch) = (module.events(), Watch::default());
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        let ending = loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let event = events.next(left.unwrap_or(LOOK).min(LOOK));
            if let Some(event) = &event {
                self.tell(event)?;
                watch.see(event, plans);
            }
            // A failure may be followed by a success.
            if watch.ending() == Some(self.expect) {
                break watch.ending();
            }
            if event.is_none() && left.is_some_and(|left| left.is_zero()) {
                break watch.ending();
            }
        };
        // The last answer is on its way.
        while let Some(event) = events.next(Duration::from_millis(200)) {
            self.tell(&event)?;
        }
        self.conclude(ending)
    }

    fn introduce(&self) -> anyhow::Result<()> {
        let path = self.make_pty.display();
        match self.json {
            true => say(&json!({ "event": "waiting", "port": path.to_string() }).to_string()),
            false => say(&format!("a module waits at {path}")),
        }
    }

    fn tell(&self, event: &Event) -> anyhow::Result<()> {
        match (self.json, self.quiet) {
            (true, _) => say(&serde_json::to_string(event)?),
            (false, true) => Ok(()),
            (false, false) => say(&event.to_string()),
        }
    }

    fn conclude(&self, ending: Option<Ending>) -> anyhow::Result<bool> {
        let is_good = ending == Some(self.expect);
        if self.json {
            let verdict = json!({ "event": "verdict", "ok": is_good, "ending": ending, "expected": self.expect });
            say(&verdict.to_string())?;
            return Ok(is_good);
        }
        let word = if is_good { "as it should" } else { "not as it should" };
        let text = |ending: Ending| {
            serde_json::to_value(ending).ok().and_then(|text| text.as_str().map(str::to_owned))
        };
        let ended = ending.and_then(text).unwrap_or_else(|| "no end within the time".to_owned());
        say(&format!("{word}: {ended}; expected: {}", text(self.expect).unwrap_or_default()))?;
        Ok(is_good)
    }

    fn options(&self) -> anyhow::Result<Options> {
        anyhow::ensure!(
            self.target.len() == self.firmware.len(),
            "each --firmware needs a --target; hint: repeat it"
        );
        let components = self.component.iter().cycle();
        let mut plans = Vec::new();
        for ((file, to), component) in self.firmware.iter().zip(&self.target).zip(components) {
            let content = std::fs::read(file).with_context(|| format!("{}", file.display()))?;
            plans.push(Plan {
                from: self.source.clone(),
                battery: self.battery,
                signal: self.least_signal,
                ..Plan::new(component, to, content)
            });
        }
        Ok(Options {
            plans,
            baud: self.baud,
            echo: !self.no_echo,
            piece: self.piece.unwrap_or(u64::MAX),
            most: self.most,
            chatter: self.chatter,
            failing_reads: self.failing_read.clone(),
            short_reads: self.short_reads,
            lost_answers: self.lost_answer.clone(),
            timers: self.timers,
            sha256: !self.no_sha256,
            knows_sha256: !self.old,
            wrong_md5: self.wrong_md5,
            wrong_sha256: self.wrong_sha256,
            own_upgrade: self.own_upgrade,
            reset_in: self.reset_in,
            fails_after_reads: self.fails_after_reads,
            early: self.early,
            strength: self.strength,
            ..Options::default()
        })
    }
}

/// Prints a line. An error, where `println!` would panic, when whoever reads has seen enough.
fn say(line: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
