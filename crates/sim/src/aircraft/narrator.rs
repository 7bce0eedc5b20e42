//! Tells a person what the aircraft does: with a progress bar on a terminal, in plain lines
//! otherwise. Writes to stderr, so that stdout is left to the verdict; in the demonstration the
//! lines belong to what stdout tells.

use std::fmt;
use std::io::{IsTerminal, Write as _, stderr, stdout};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::{Step, Transfer};

/// Plain lines tell a progress at every so many percent.
const PLAIN_STRIDE: u64 = 25;
const REDRAW: Duration = Duration::from_millis(100);
const BYTES_BAR: &str = "  {msg:<12} [{bar:24}] {bytes}/{total_bytes} {binary_bytes_per_sec}";
const PERCENT_BAR: &str = "  {msg:<12} [{bar:24}] {percent} %";
const SPINNER: &str = "  {spinner} {msg} ({elapsed})";

/// Turns steps into what a person reads.
#[derive(Debug)]
pub struct Narrator {
    lines: Lines,
    terminal: bool,
    bar: Option<(Bar, ProgressBar)>,
    plain: Option<(Bar, u64)>,
}

/// Where lines go. Bars are on stderr alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lines {
    Stdout,
    Stderr,
}

/// What a bar shows; another thing is another bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bar {
    Transfer,
    Upgrade,
    Restart,
}

impl Default for Narrator {
    fn default() -> Self {
        Self { lines: Lines::Stderr, terminal: stderr().is_terminal(), bar: None, plain: None }
    }
}

impl Lines {
    fn print(self, line: &dyn fmt::Display) {
        // That nobody reads any more ends no upgrade.
        let _ = match self {
            Self::Stdout => writeln!(stdout(), "{line}"),
            Self::Stderr => writeln!(stderr(), "{line}"),
        };
    }
}

impl Narrator {
    /// Tells its part of the demonstration, between lines on stdout. Bars are for who sees both on
    /// a terminal: in a file or for the next program of a pipe, the story must be whole.
    #[must_use]
    pub fn of_demonstration() -> Self {
        Self {
            lines: Lines::Stdout,
            terminal: stdout().is_terminal() && stderr().is_terminal(),
            bar: None,
            plain: None,
        }
    }

    /// Tells one step.
    pub fn tell(&mut self, step: &Step) {
        match step {
            Step::Transferred { bytes, total } => self.progress(Bar::Transfer, *bytes, *total),
            Step::Progress { percent } => self.progress(Bar::Upgrade, (*percent).into(), 100),
            Step::Rebooting { timeout } => self.restart(*timeout),
            other => self.line(&Sentence(other)),
        }
    }

    fn line(&mut self, text: &dyn fmt::Display) {
        self.finish();
        self.lines.print(&format_args!("  {text}"));
    }

    fn progress(&mut self, kind: Bar, done: u64, total: u64) {
        if self.terminal {
            let bar = self.bar(kind, total);
            bar.set_position(done);
            return;
        }
        let percent = (done * 100).checked_div(total).unwrap_or(100);
        let mark = percent / PLAIN_STRIDE;
        if self.plain.replace((kind, mark)) != Some((kind, mark)) {
            self.lines.print(&format_args!("  {} {percent} %", kind.name()));
        }
    }

    fn restart(&mut self, timeout: u64) {
        let shown = self.bar.as_ref().map(|(bar, _)| *bar).or(self.plain.map(|(bar, _)| bar));
        if shown != Some(Bar::Restart) {
            self.line(&format_args!("the payload restarts, at most {timeout} s more"));
            self.plain = Some((Bar::Restart, 0));
        }
        if self.terminal {
            self.bar(Bar::Restart, 0).set_message(format!("at most {timeout} s more"));
        }
    }

    fn bar(&mut self, kind: Bar, total: u64) -> &ProgressBar {
        if self.bar.as_ref().is_some_and(|(shown, _)| *shown != kind) {
            self.finish();
        }
        &self.bar.get_or_insert_with(|| (kind, kind.make(total))).1
    }

    fn finish(&mut self) {
        self.plain = None;
        match self.bar.take() {
            Some((Bar::Transfer, bar)) => bar.abandon(),
            // What they told is over; the next sentence says how it ended.
            Some((Bar::Upgrade | Bar::Restart, bar)) => bar.finish_and_clear(),
            None => {}
        }
    }
}

impl Drop for Narrator {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Bar {
    const fn name(self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::Upgrade => "upgrade",
            Self::Restart => "restart",
        }
    }

    fn make(self, total: u64) -> ProgressBar {
        let template = match self {
            Self::Transfer => BYTES_BAR,
            Self::Upgrade => PERCENT_BAR,
            Self::Restart => SPINNER,
        };
        // The templates are constants; were one wrong, the default style still shows the progress.
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(total).with_style(style).with_message(self.name());
        if self == Self::Restart {
            bar.enable_steady_tick(REDRAW);
        }
        bar
    }
}

/// A step as a sentence.
struct Sentence<'a>(&'a Step);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Step::Waiting => write!(formatter, "waiting for a payload that looks for an aircraft"),
            Step::PortLost => write!(formatter, "the port has gone"),
            Step::PortOpened => write!(formatter, "the port is open"),
            Step::NotAnswered { from, to } => {
                write!(
                    formatter,
                    "a payload asks from {from} to {to}, which this aircraft does not answer"
                )
            }
            Step::Answered { from, to } => write!(
                formatter,
                "a payload asks from {from} to {to}, and is told which aircraft this is"
            ),
            Step::Linked { device } => write!(formatter, "a payload is there, as device {device}"),
            Step::Runs { version } => write!(formatter, "it runs {version}"),
            Step::Entered { transfer, wait: 0 } => {
                write!(formatter, "it is in upgrade mode and wants the file {transfer}")
            }
            Step::Entered { transfer, wait } => {
                write!(
                    formatter,
                    "it is in upgrade mode, wants the file {transfer}, and asks for {wait} s before"
                )
            }
            Step::Transferred { bytes, total } => {
                write!(formatter, "{bytes} of {total} bytes are handed over")
            }
            Step::UploadAgain { cause } => {
                write!(formatter, "the upload broke ({cause}); once more")
            }
            Step::Complete => write!(formatter, "it has the whole file; check and start"),
            Step::Started => write!(formatter, "it has started the upgrade"),
            Step::Progress { percent } => write!(formatter, "upgrade {percent} %"),
            Step::Rebooting { timeout } => {
                write!(formatter, "it restarts, at most {timeout} s more")
            }
            Step::Ended { reason } => write!(formatter, "it reports the end: {reason}"),
            Step::Acknowledged => write!(formatter, "it knows that the report has arrived"),
            Step::RunsNow { version } => write!(formatter, "it runs {version} now"),
        }
    }
}

impl fmt::Display for Transfer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Ftp => "by FTP",
            Self::Dcftp => "over the link (DCFTP)",
        })
    }
}
