//! The command line of `uplift-sim cloud`: starts a platform, prints what happens, and judges the end.

mod dji;
mod hawkbit;
mod luatos;
mod thingspanel;

use std::fmt;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::delivery::{Delivery, Framed, Ranges, Redirect, Tag};
use super::event::Events;

/// How long the last answer may take once all is over.
const LAST_ANSWER: Duration = Duration::from_secs(5);
/// Between two looks at whether the time is over.
const LOOK: Duration = Duration::from_secs(1);

/// Which platform.
#[derive(Debug, Subcommand)]
pub(crate) enum Cloud {
    /// A hawkBit server (Direct Device Integration), or another that speaks like one.
    #[command(after_help = hawkbit::EXAMPLES)]
    Hawkbit(Box<hawkbit::Hawkbit>),
    /// The LuatOS platform, in its older and its newer protocol.
    #[command(after_help = luatos::EXAMPLES)]
    Luatos(Box<luatos::Luatos>),
    /// DJI's Cloud API, at a broker of MQTT.
    #[command(after_help = dji::EXAMPLES)]
    Dji(Box<dji::Dji>),
    /// ThingsPanel, which pushes tasks over a broker of MQTT.
    #[command(after_help = thingspanel::EXAMPLES)]
    Thingspanel(Box<thingspanel::Thingspanel>),
}

impl Cloud {
    /// Whether the device ended as a device should.
    pub(crate) fn run(self) -> anyhow::Result<bool> {
        match self {
            Self::Hawkbit(hawkbit) => hawkbit.run(),
            Self::Luatos(luatos) => luatos.run(),
            Self::Dji(dji) => dji.run(),
            Self::Thingspanel(thingspanel) => thingspanel.run(),
        }
    }
}

/// What each platform is told.
#[derive(Debug, Args)]
struct Common {
    /// Where to listen; port 0 is any free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))]
    listen: SocketAddr,
    /// Print each event as one line of JSON, and the verdict as the last.
    #[arg(long)]
    json: bool,
    /// Tell nothing but the address and the verdict.
    #[arg(long)]
    quiet: bool,
    /// Give up after this time, as in 5m [default: never].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Go on after the end, until a signal comes or the time is over.
    #[arg(long)]
    keep: bool,
}

/// How a file is handed out.
#[derive(Debug, Args)]
#[command(next_help_heading = "How files are handed out")]
struct DeliveryArguments {
    /// What is done with a request for a range.
    #[arg(long, value_enum, default_value = "honoured")]
    ranges: Ranges,
    /// How the end of a file is told.
    #[arg(long, value_enum, default_value = "length")]
    framed: Framed,
    /// The tag of a file.
    #[arg(long, value_enum, default_value = "strong")]
    tag: Tag,
    /// Send requests for a file on: `elsewhere` (a second server, which notices a secret that is
    /// brought along), `loop`, or a Location as it is.
    #[arg(long, value_name = "WHERE")]
    redirect: Option<String>,
    /// Bytes a second.
    #[arg(long, value_name = "BYTES/S", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Wait before a file's first byte.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    delay: Option<Duration>,
    /// Cut a file after so many bytes.
    #[arg(long, value_name = "BYTES")]
    cut_after: Option<u64>,
    /// So often only; 0 is always.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "cut_after")]
    cuts: u32,
    /// Say that the file is compressed, which it is not.
    #[arg(long)]
    says_gzip: bool,
    /// Answer a request for a file with this status; again for the next one.
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(200..600))]
    file_status: Vec<u16>,
}

impl DeliveryArguments {
    fn delivery(&self) -> Delivery {
        Delivery {
            ranges: self.ranges,
            framed: self.framed,
            tag: self.tag,
            redirect: match self.redirect.as_deref() {
                None => Redirect::None,
                Some("elsewhere") => Redirect::Elsewhere,
                Some("loop") => Redirect::Loop,
                Some(location) => Redirect::To(location.to_owned()),
            },
            rate: self.rate,
            delay: self.delay.unwrap_or_default(),
            cut_after: self.cut_after,
            cuts: self.cuts,
            says_gzip: self.says_gzip,
            statuses: self.file_status.clone(),
        }
    }
}

/// How a platform's events are judged.
trait Judge<E>: Default {
    type Ending: Copy + Serialize;
    fn see(&mut self, event: &E);
    /// How it ended, and whether that is as it should be.
    fn ending(&self, expected: Self::Ending) -> Option<(Self::Ending, bool)>;
}

/// Prints what happens until it is over; whether it ended as it should.
fn watch<E, J>(common: &Common, mut events: Events<E>, expected: J::Ending) -> anyhow::Result<bool>
where
    E: Clone + Serialize + fmt::Display,
    J: Judge<E>,
{
    let mut judge = J::default();
    let deadline = common.timeout.map(|timeout| Instant::now() + timeout);
    let mut ended = None;
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let event = events.next(left.unwrap_or(LOOK).min(LOOK));
        if let Some(event) = &event {
            common.tell(event)?;
            judge.see(event);
            ended = judge.ending(expected);
        }
        let is_over = event.is_none() && left.is_some_and(|left| left.is_zero());
        if is_over || (ended.is_some() && !common.keep) {
            break;
        }
    }
    let is_good = ended.is_some_and(|(_, is_good)| is_good);
    common.conclude(ended.map(|(ending, _)| ending), expected, is_good)?;
    Ok(is_good)
}

impl Common {
    fn tell<E: Serialize + fmt::Display>(&self, event: &E) -> anyhow::Result<()> {
        if self.json {
            return say(&serde_json::to_string(event)?);
        }
        if self.quiet { Ok(()) } else { say(event) }
    }

    fn introduce(&self, url: &str, elsewhere: &str) -> anyhow::Result<()> {
        if self.json {
            let event = json!({ "event": "listening", "url": url, "elsewhere": elsewhere });
            return say(&event);
        }
        say(&format_args!("listening at {url}"))
    }

    fn conclude<T: Serialize>(
        &self,
        ending: Option<T>,
        expected: T,
        is_good: bool,
    ) -> anyhow::Result<()> {
        let (ending, expected) = (serde_json::to_value(ending)?, serde_json::to_value(expected)?);
        if self.json {
            let event = json!({ "event": "verdict", "ok": is_good, "ending": ending, "expected": expected });
            return say(&event);
        }
        let word = if is_good { "as it should" } else { "not as it should" };
        let ending = ending.as_str().unwrap_or("no end within the time");
        say(&format_args!("{word}: {ending}; expected: {}", expected.as_str().unwrap_or_default()))
    }
}

/// Prints a line. An error, where `println!` would panic, when whoever reads has seen enough.
fn say(line: &impl fmt::Display) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// The first line of a file with a secret, which stays out of the command line.
fn read_secret(path: &PathBuf) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    let line = text.lines().next().map(str::trim).filter(|line| !line.is_empty());
    line.map(str::to_owned).with_context(|| format!("{} has no first line", path.display()))
}
