//! Makes `docs/demo.svg`: runs `uplift demo` on a terminal of 80 by 24, and draws what is seen there, at
//! its own pace. `packaging/record-demo` calls it.
//!
//! Each row is drawn once for each text that it has in turn, and shown for its time (SMIL). The lines
//! are rows of one long screen, which is moved up where a terminal would scroll. Whoever does not
//! animate shows the end.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use vt100::{Cell, Color, Parser, Screen};

const COLUMNS: u16 = 80;
const ROWS: u16 = 24;
/// Rows of the long screen: more than is printed.
const LONG: u16 = 300;
/// Seconds between two looks: bars move faster than anybody reads.
const LOOK: f64 = 0.3;
/// Seconds for which the end stays.
const END: f64 = 8.0;
/// Largest file.
const MOST: usize = 60_000;

const FONT: u32 = 14;
const HEIGHT: u32 = 18;
/// Of a character, in tenths.
const WIDTH: u32 = 86;
const MARGIN: u32 = 12;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let (uplift, to) = arguments.next().zip(arguments.next()).context("recording UPLIFT FILE")?;
    let (controller, terminal) = open()?;
    let end = || terminal.try_clone().map(Stdio::from);
    let mut command = Command::new(uplift);
    command.arg("demo").env("TERM", "xterm-256color").env_remove("NO_COLOR");
    // Started by nobody's Cargo, which would show itself and its paths.
    command.env_remove("CARGO_PKG_NAME");
    let mut demo = command.stdin(end()?).stdout(end()?).stderr(end()?).spawn()?;
    // The end is seen once nobody has the terminal open any more.
    drop((command, terminal));
    let film = Film::of(File::from(controller))?;
    ensure!(demo.wait()?.success(), "the demonstration failed");
    let drawn = film.draw()?;
    ensure!(drawn.len() <= MOST, "{} bytes; the limit is {MOST}", drawn.len());
    #[allow(clippy::disallowed_methods, reason = "a page need not survive a power cut")]
    std::fs::write(to, drawn)?;
    Ok(())
}

fn open() -> anyhow::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let controller = openpt(flags)?;
    grantpt(&controller)?;
    unlockpt(&controller)?;
    let terminal = ioctl_tiocgptpeer(&controller, flags)?;
    let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal, size)?;
    Ok((controller, terminal))
}

/// What was seen, and when, in seconds.
#[derive(Default)]
struct Film {
    /// The texts of each row in turn.
    rows: Vec<Vec<(f64, String)>>,
    /// So many rows have left the terminal.
    scrolled: Vec<(f64, u32)>,
    length: f64,
}

impl Film {
    fn of(mut controller: File) -> anyhow::Result<Self> {
        let size = |number| NonZero::new(number).context("a size");
        let mut screen = Parser::new(size(LONG)?, size(COLUMNS)?, 0);
        let (mut film, began, mut buffer) = (Self::default(), Instant::now(), [0; 4096]);
        film.rows.resize(LONG.into(), Vec::new());
        // A terminal that nobody has open is an error (EIO), not an end.
        while let Ok(length @ 1..) = controller.read(&mut buffer) {
            let now = began.elapsed().as_secs_f64();
            if now - film.length >= LOOK {
                film.look(screen.screen(), now);
            }
            screen.process(&buffer[..length]);
        }
        film.look(screen.screen(), began.elapsed().as_secs_f64());
        film.length += END;
        Ok(film)
    }

    fn look(&mut self, screen: &Screen, now: f64) {
        self.length = now;
        let mut last = 0;
        for (number, texts) in (0..).zip(&mut self.rows) {
            let text = drawn(screen, number);
            if !text.is_empty() {
                last = number;
            }
            if texts.last().map_or("", |(_, before)| before) != text {
                texts.push((now, text));
            }
        }
        let scrolled = u32::from((last + 1).saturating_sub(ROWS - 1));
        if self.scrolled.last().map_or(0, |(_, before)| *before) < scrolled {
            self.scrolled.push((now, scrolled));
        }
    }

    fn draw(&self) -> Result<String, std::fmt::Error> {
        let (width, height) = (u32::from(COLUMNS) * WIDTH / 10, u32::from(ROWS) * HEIGHT);
        let (outer, tall) = (width + 2 * MARGIN, height + 2 * MARGIN);
        let mut svg = String::new();
        writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {outer} {tall}\" width=\"{outer}\" height=\"{tall}\">\n\
             <title>uplift demo: three upgrades, the last of which fails and comes back</title>\n\
             <style>text{{font:{FONT}px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;fill:#d6dbe3;white-space:pre}}\
             .b{{font-weight:bold}}.g{{fill:#7fd18b}}.r{{fill:#ff8d86}}.y{{fill:#e8c66a}}.c{{fill:#6cc7d6}}</style>\n\
             <rect width=\"{outer}\" height=\"{tall}\" rx=\"8\" fill=\"#1b1f27\"/>\n\
             <svg x=\"{MARGIN}\" y=\"{MARGIN}\" width=\"{width}\" height=\"{height}\"><g transform=\"translate(0 -{})\">",
            self.scrolled.last().map_or(0, |(_, rows)| rows * HEIGHT)
        )?;
        self.draw_scrolling(&mut svg)?;
        for (number, texts) in (0..).zip(&self.rows) {
            for (index, (from, text)) in texts.iter().enumerate() {
                if !text.is_empty() {
                    let until = texts.get(index + 1).map(|(next, _)| *next);
                    self.draw_row(&mut svg, number, text, *from, until)?;
                }
            }
        }
        svg += "</g></svg></svg>\n";
        Ok(svg)
    }

    fn draw_scrolling(&self, svg: &mut String) -> std::fmt::Result {
        let (mut values, mut times) = ("0 0".to_owned(), "0".to_owned());
        for (when, rows) in &self.scrolled {
            write!(values, ";0 -{}", rows * HEIGHT)?;
            write!(times, ";{}", self.part(*when))?;
        }
        writeln!(
            svg,
            "<animateTransform attributeName=\"transform\" type=\"translate\" calcMode=\"discrete\" \
             dur=\"{:.1}s\" repeatCount=\"indefinite\" values=\"{values}\" keyTimes=\"{times}\"/>",
            self.length
        )
    }

    fn draw_row(
        &self,
        svg: &mut String,
        number: u32,
        text: &str,
        from: f64,
        until: Option<f64>,
    ) -> std::fmt::Result {
        let base = if until.is_some() { " visibility=\"hidden\"" } else { "" };
        let (gone, end) = match until {
            Some(until) => (";hidden", format!(";{}", self.part(until))),
            None => ("", String::new()),
        };
        writeln!(
            svg,
            "<text y=\"{}\"{base} xml:space=\"preserve\">{text}<animate attributeName=\"visibility\" \
             calcMode=\"discrete\" dur=\"{:.1}s\" repeatCount=\"indefinite\" values=\"hidden;visible{gone}\" \
             keyTimes=\"0;{}{end}\"/></text>",
            number * HEIGHT + FONT,
            self.length,
            self.part(from)
        )
    }

    /// A moment as a part of the whole.
    fn part(&self, when: f64) -> String {
        format!("{:.4}", when / self.length)
    }
}

/// A row with its colours, without the blanks at its end.
fn drawn(screen: &Screen, row: u16) -> String {
    let cells = (0..COLUMNS).filter_map(|column| screen.cell(row, column));
    let mut runs: Vec<(&'static str, String)> = Vec::new();
    for cell in cells {
        let (class, text) = (class(cell), if cell.has_contents() { cell.contents() } else { " " });
        match runs.last_mut() {
            Some((last, run)) if *last == class => run.push_str(text),
            _ => runs.push((class, text.to_owned())),
        }
    }
    if let Some((_, last)) = runs.last_mut() {
        last.truncate(last.trim_end().len());
    }
    let draw = |(class, text): &(&str, String)| {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        if class.is_empty() { text } else { format!("<tspan class=\"{class}\">{text}</tspan>") }
    };
    runs.iter().map(draw).collect()
}

fn class(cell: &Cell) -> &'static str {
    match (cell.fgcolor(), cell.bold()) {
        (Color::Idx(1), _) => "r",
        (Color::Idx(2), _) => "g",
        (Color::Idx(3), _) => "y",
        (Color::Idx(6), _) => "c",
        (_, true) => "b",
        _ => "",
    }
}
