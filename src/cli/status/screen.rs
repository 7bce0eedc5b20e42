//! A terminal that is drawn over in place: nothing flickers, and what stood above stays.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::cli::fold::width;
use crate::cli::paint;
use crate::cli::view::Size;

/// The size of the terminal at the standard output, now, but for the last column: a cursor that
/// waits there would erase what it stands on together with the rest of its row.
pub(super) fn size() -> Size {
    let size = Size::of(&std::io::stdout());
    Size { columns: size.columns.saturating_sub(1), ..size }
}

/// The screen, and what is on it.
#[derive(Debug, Default)]
pub(super) struct Screen {
    /// Width of each line that was drawn last.
    drawn: Vec<usize>,
}

impl Screen {
    /// Draws these lines over those before. None may be longer than a row.
    pub(super) fn draw(&mut self, lines: &[String], size: Size) -> std::io::Result<()> {
        let mut frame = String::new();
        // Where the terminal has become narrower since, the old lines take more rows.
        let rows: usize =
            self.drawn.iter().map(|width| width.div_ceil(size.columns.max(1)).max(1)).sum();
        if rows > 0 {
            // Writing to a String can't fail.
            let _ = write!(frame, "\x1b[{rows}A");
        }
        // Without automatic margins what is too long all the same is cut and not wrapped.
        frame.push_str("\r\x1b[?7l");
        for line in lines {
            let _ = writeln!(frame, "{}\x1b[K", paint::shown(line, &std::io::stdout()));
        }
        frame.push_str("\x1b[J\x1b[?7h");
        self.drawn = lines.iter().map(|line| width(line)).collect();
        let mut out = std::io::stdout().lock();
        out.write_all(frame.as_bytes())?;
        out.flush()
    }
}
