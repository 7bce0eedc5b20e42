//! The last line of a terminal while something goes on: how far it has come, or what is waited for.
//! Nothing where there is no terminal.

use std::io::{self, IsTerminal as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::view;
use crate::model::Progress;

/// Between two drawings.
const REDRAW: Duration = Duration::from_millis(100);
/// A rate over less than this is noise.
const SHORTEST_TIME: Duration = Duration::from_millis(500);

/// A line where errors go, drawn over in place until this is dropped.
pub(super) struct Bar(Arc<Mutex<Option<Line>>>);

/// What the line says, since when.
struct Line {
    what: What,
    since: Instant,
}

enum What {
    /// This is done to so many bytes.
    Bytes(&'static str, Progress),
    /// This is waited for.
    Wait(String),
}

impl Bar {
    /// Tells how far `what` has come with so many bytes, unless it is `hidden`.
    pub(super) fn of_bytes(what: &'static str, total: u64, hidden: bool) -> Self {
        Self::new(What::Bytes(what, Progress { done: 0, total }), hidden)
    }

    /// Tells what is waited for, unless it is `hidden`.
    pub(super) fn of_wait(message: &str, hidden: bool) -> Self {
        Self::new(What::Wait(message.to_owned()), hidden)
    }

    fn new(what: What, hidden: bool) -> Self {
        let is_shown = !hidden && io::stderr().is_terminal();
        let bar =
            Self(Arc::new(Mutex::new(is_shown.then(|| Line { what, since: Instant::now() }))));
        if is_shown {
            let line = Arc::clone(&bar.0);
            // Where no thread can be started, nothing is shown.
            let _ = thread::Builder::new().name("bar".into()).spawn(move || {
                loop {
                    thread::sleep(REDRAW);
                    let Some(line) = &*lock(&line) else { return };
                    line.draw();
                }
            });
        }
        bar
    }

    /// Whether nothing is shown.
    pub(super) fn is_hidden(&self) -> bool {
        lock(&self.0).is_none()
    }

    /// So many bytes are done.
    pub(super) fn set_done(&self, bytes: u64) {
        if let Some(Line { what: What::Bytes(_, progress), .. }) = &mut *lock(&self.0) {
            progress.done = bytes;
        }
    }

    /// From now on this is waited for.
    pub(super) fn wait_for(&self, message: String) {
        if let Some(line) = &mut *lock(&self.0) {
            *line = Line { what: What::Wait(message), since: Instant::now() };
        }
    }

    /// What is waited for is told in other words; its time goes on.
    pub(super) fn reword(&self, message: String) {
        if let Some(line) = &mut *lock(&self.0) {
            line.what = What::Wait(message);
        }
    }

    /// Prints something above the line.
    pub(super) fn print_above(&self, print: impl FnOnce()) {
        let line = lock(&self.0);
        if line.is_some() {
            erase();
        }
        print();
        if let Some(line) = &*line {
            line.draw();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if lock(&self.0).take().is_some() {
            erase();
        }
    }
}

fn lock(line: &Mutex<Option<Line>>) -> MutexGuard<'_, Option<Line>> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    fn draw(&self) {
        // One that fills its row would wrap.
        let columns = view::Size::of(&io::stderr()).columns.saturating_sub(1);
        let text = self.text(self.since.elapsed());
        eprint!("\r{}\x1b[K", cut(&text, columns));
    }

    fn text(&self, elapsed: Duration) -> String {
        match &self.what {
            What::Bytes(what, progress) => {
                format!("{what} {}{}", view::progress(*progress), left(*progress, elapsed))
            }
            What::Wait(message) => format!("{message} ({})", view::seconds(elapsed.as_secs())),
        }
    }
}

/// As many clauses as have room, or else words.
fn cut(text: &str, columns: usize) -> &str {
    let Some((end, next)) = text.char_indices().nth(columns) else { return text };
    // A word is whole that a blank follows.
    let place = match text[..end].rfind(", ") {
        None if next == ' ' => Some(end),
        None => text[..end].rfind(' '),
        clause => clause,
    };
    &text[..place.unwrap_or(end)]
}

/// Rate and time left, once they are known.
fn left(progress: Progress, elapsed: Duration) -> String {
    let done = u128::from(progress.done) * 1000;
    match done.checked_div(elapsed.as_millis()).and_then(|rate| u64::try_from(rate).ok()) {
        Some(rate) if rate > 0 && elapsed >= SHORTEST_TIME => {
            let left = progress.total.saturating_sub(progress.done).div_ceil(rate);
            format!(", {}, {} left", view::rate(rate), view::seconds(left))
        }
        _ => String::new(),
    }
}

fn erase() {
    eprint!("\r\x1b[K");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_a_rate_and_a_time_left_and_a_wait_has_a_time() {
        let text =
            |what, seconds| Line { what, since: Instant::now() }.text(Duration::from_secs(seconds));
        let sending =
            |done: u64| What::Bytes("sending", Progress { done: done << 20, total: 64 << 20 });
        let half = text(sending(32), 4);
        assert!(
            half.starts_with("sending [")
                && half.ends_with("] 50 %, 32.0 MiB of 64.0 MiB, 8.0 MiB/s, 4 s left"),
            "{half}"
        );
        assert!(text(sending(1), 0).ends_with(", 1.0 MiB of 64.0 MiB"));
        assert!(text(sending(0), 9).ends_with(", 0 B of 64.0 MiB"));
        assert_eq!(text(What::Wait("on trial".into()), 3), "on trial (3 s)");
    }

    #[test]
    fn what_has_no_room_is_left_out_by_clauses_or_words() {
        let text = "sending [###] 50 %, 3 MiB of 6 MiB, 4 s left";
        assert_eq!(cut(text, 80), text);
        assert_eq!(cut(text, 40), "sending [###] 50 %, 3 MiB of 6 MiB");
        assert_eq!(cut(text, 20), "sending [###] 50 %");
        assert_eq!(cut(text, 12), "sending");
        assert_eq!(cut(text, 3), "sen");
    }

    #[test]
    fn where_there_is_no_terminal_nothing_is_shown() {
        let bar = Bar::of_bytes("hashing", 3, true);
        bar.set_done(1);
        bar.wait_for("nobody".into());
        bar.reword("nothing".into());
        assert!(bar.is_hidden());
        let mut printed = false;
        bar.print_above(|| printed = true);
        assert!(printed);
    }
}
