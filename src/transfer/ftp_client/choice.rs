//! Which of several files for this payload is meant. The link names none: where somebody else has
//! stored one too, only a trusted seal tells them apart.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use suppaftp::FtpError;

use crate::transfer::ftp_client::session::{Session, SessionError, explain};
use crate::transfer::ftp_client::watchdog::Watchdog;

/// Files whose ends are looked at, the last bytes and the first; of more, none is taken.
const MOST_JUDGED: usize = 8;

/// Whether the first bytes, or the last ones, of a file of this size tell that somebody who is
/// trusted made it.
type Trusts = dyn Fn(&[u8], &[u8], u64) -> bool + Send + Sync;

/// Who is trusted, and how many bytes at either end of a file tell so.
#[derive(Clone)]
pub(super) struct Trust {
    longest_end: u64,
    trusts: Arc<Trusts>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("longest_end", &self.longest_end).finish_non_exhaustive()
    }
}

/// Nobody.
impl Default for Trust {
    fn default() -> Self {
        Self::new(0, |_, _, _| false)
    }
}

impl Trust {
    pub(super) fn new(
        longest_end: u64,
        trusts: impl Fn(&[u8], &[u8], u64) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { longest_end, trusts: Arc::new(trusts) }
    }

    /// Those of `names` whose ends are trusted.
    ///
    /// Only the choice hangs on it: what is in the chosen file is proved when all of it is there.
    pub(super) fn trusted(
        &self,
        session: &mut Session,
        names: &[String],
        watchdog: &Watchdog,
    ) -> Result<Vec<String>, SessionError> {
        let mut trusted = Vec::new();
        if self.longest_end == 0 || names.len() > MOST_JUDGED {
            return Ok(trusted);
        }
        for name in names {
            if self.is_trusted(session, name, watchdog)? {
                trusted.push(name.clone());
            }
        }
        Ok(trusted)
    }

    /// Whether the ends of a file of this machine are trusted. One that can't be read is not.
    pub(super) fn is_trusted_here(&self, file: &File, size: u64) -> bool {
        let length = usize::try_from(size.min(self.longest_end)).unwrap_or_default();
        let (mut head, mut end) = (vec![0; length], vec![0; length]);
        let read = file
            .read_exact_at(&mut head, 0)
            .and_then(|()| file.read_exact_at(&mut end, size - length as u64));
        read.is_ok() && (self.trusts)(&head, &end, size)
    }

    fn is_trusted(
        &self,
        session: &mut Session,
        name: &str,
        watchdog: &Watchdog,
    ) -> Result<bool, SessionError> {
        let Some(file) = session.describe(name)? else { return Ok(false) };
        let size = file.size;
        let broken = |error| explain(FtpError::ConnectionError(error), watchdog, None);
        let mut download = session.download(name, size.saturating_sub(self.longest_end))?;
        let mut end = Vec::new();
        // One byte more shows a file that has grown meanwhile.
        (&mut download).take(self.longest_end + 1).read_to_end(&mut end).map_err(broken)?;
        session.finish(download)?;
        if end.len() as u64 != size.min(self.longest_end) {
            return Ok(false);
        }
        if size == end.len() as u64 {
            return Ok((self.trusts)(&end, &end, size));
        }
        if (self.trusts)(&[], &end, size) {
            return Ok(true);
        }
        let mut download = session.download(name, 0)?;
        let mut beginning = Vec::new();
        (&mut download).take(self.longest_end).read_to_end(&mut beginning).map_err(broken)?;
        session.stop(download)?;
        Ok((self.trusts)(&beginning, &end, size))
    }
}
