//! A terminal of any size, and what a person sees on it.

use std::fs::File;
use std::io::Read as _;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use vt100::{Color, Parser};

use super::running::Running;

/// More than anything here prints, so that nothing leaves the screen.
const ROWS: u16 = 400;

/// What a program has left on a terminal.
pub(crate) struct Seen {
    pub(crate) status: ExitStatus,
    screen: Parser,
    /// Rows of the screen that ran over into the next one, at any time.
    wrapped: Vec<String>,
}

/// Runs a program on a terminal of so many columns, to its end.
pub(crate) fn run(command: &mut Command, columns: u16) -> Seen {
    run_with(command, columns, ROWS, || ())
}

/// [`run`], on a terminal of so many rows, with something else to do once it has started.
pub(crate) fn run_with(
    command: &mut Command,
    columns: u16,
    rows: u16,
    meanwhile: impl FnOnce(),
) -> Seen {
    let (controller, terminal) = open(columns, rows);
    let end = || terminal.try_clone().unwrap();
    command.stdin(end()).stdout(end()).stderr(end());
    command.env("TERM", "xterm-256color");
    let mut process = Running::start(command);
    // Whoever reads sees the end once nobody has the terminal open any more.
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    drop(terminal);
    let reader = std::thread::spawn(move || read(File::from(controller), columns, rows));
    meanwhile();
    let status = process.wait().unwrap();
    let (screen, wrapped) = reader.join().unwrap();
    Seen { status, screen, wrapped }
}

/// Both ends of a new one, ours first. No child has them: one that is still there when ours is closed would keep
/// the line from hanging up.
pub(crate) fn pair() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let controller = openpt(flags).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let terminal = ioctl_tiocgptpeer(&controller, flags).unwrap();
    (controller, terminal)
}

fn open(columns: u16, rows: u16) -> (OwnedFd, OwnedFd) {
    let (controller, terminal) = pair();
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal, size).unwrap();
    (controller, terminal)
}

fn read(mut controller: File, columns: u16, rows: u16) -> (Parser, Vec<String>) {
    let size = |number| NonZero::new(number).unwrap();
    let mut screen = Parser::new(size(rows), size(columns), 0);
    let mut wrapped = Vec::new();
    let mut buffer = [0; 4096];
    // A terminal that nobody has open is an error (EIO), not an end.
    while let Ok(length @ 1..) = controller.read(&mut buffer) {
        screen.process(&buffer[..length]);
        let seen = screen.screen();
        let runs_over = (0..rows).filter(|row| seen.row_wrapped(*row)).map(|row| line(seen, row));
        wrapped.extend(runs_over);
        wrapped.dedup();
    }
    (screen, wrapped)
}

/// Rows and columns.
fn size(screen: &vt100::Screen) -> (u16, u16) {
    let (rows, columns) = screen.size();
    (rows.get(), columns.get())
}

fn line(screen: &vt100::Screen, row: u16) -> String {
    let (_, columns) = size(screen);
    screen.rows(0, columns).nth(row.into()).unwrap_or_default().trim_end().to_owned()
}

impl Seen {
    /// The rows, without the empty ones at the end.
    pub(crate) fn rows(&self) -> Vec<String> {
        let screen = self.screen.screen();
        let mut rows: Vec<String> = (0..size(screen).0).map(|row| line(screen, row)).collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }

    /// The rows as one text.
    pub(crate) fn text(&self) -> String {
        self.rows().join("\n")
    }

    /// Rows that the terminal had to break, because the program did not.
    pub(crate) fn wrapped(&self) -> &[String] {
        &self.wrapped
    }

    /// Colour of the place where this text stands first, and whether it is bold.
    #[track_caller]
    pub(crate) fn look_of(&self, text: &str) -> (Color, bool) {
        let places = self.rows().into_iter().enumerate();
        let place =
            places.filter_map(|(row, line)| Some((row, line[..line.find(text)?].chars().count())));
        let (row, column) = place.min().unwrap_or_else(|| panic!("no {text:?}: {}", self.text()));
        let (row, column) = (u16::try_from(row).unwrap(), u16::try_from(column).unwrap());
        let cell = self.screen.screen().cell(row, column).unwrap();
        (cell.fgcolor(), cell.bold())
    }

    /// Whether anything is coloured or bold.
    pub(crate) fn is_plain(&self) -> bool {
        let screen = self.screen.screen();
        let (rows, columns) = size(screen);
        let cells = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        cells
            .filter_map(|(row, column)| screen.cell(row, column))
            .all(|cell| cell.fgcolor() == Color::Default && !cell.bold())
    }
}
