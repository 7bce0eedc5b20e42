//! One stream of a container while it is made: it lies beside the file that it becomes a part of.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::num::NonZero;
use std::path::Path;

use anyhow::{Context as _, ensure};

use crate::cli::bar::Bar;
use crate::cli::old::Old;
use crate::cli::output::NewFile;
use crate::digest::{Beside, Hasher};
use crate::package::choice::OldProgram;
use crate::package::codec::{self, Codec};
use crate::seal::container::{LARGEST_WINDOW, PieceList};
use crate::seal::{Base, Stream};

/// Window of a change: of what it does not have of the old program little is further away, and the
/// payload needs the memory for more than that.
const DELTA_WINDOW: u64 = 2 << 20;
/// Mode of the stream as long as it lies there.
const STREAM_MODE: u32 = 0o600;

/// A stream, and what its container says of it.
pub(super) struct Packed {
    /// Removed when this is dropped.
    file: NewFile,
    pub(super) stream: Stream,
    pub(super) list: Vec<u8>,
    /// What it changes.
    pub(super) old: Option<OldProgram>,
}

impl Packed {
    /// The whole program of so many bytes, by all processors.
    pub(super) fn whole(mut program: &File, size: u64, path: &Path) -> anyhow::Result<Self> {
        let bar = Bar::of_bytes("compressing", size, false);
        let threads = u32::try_from(processors()).unwrap_or(1);
        program.rewind()?;
        let progress = |bytes| bar.set_done(bytes);
        Self::written(Codec::Zstd, None, &path.with_extension("whole"), |target| {
            codec::encode(LARGEST_WINDOW, size, threads, program, target, progress)
        })
    }

    /// What changes an old program into this one, by all processors.
    pub(super) fn delta(old: Old, base: Base, new: &[u8], path: &Path) -> anyhow::Result<Self> {
        let size = new.len() as u64;
        let bar = Bar::of_bytes("comparing", size, false);
        let progress = |thousandths| bar.set_done(size * thousandths / 1000);
        let OldProgram { file, size: old_size, digest } = &old.program;
        let mut bytes = bytes_of(file).context("the old program can't be read")?;
        bytes.truncate(usize::try_from(*old_size)?);
        let mut hasher = Hasher::new(Beside::default());
        hasher.update(&bytes);
        let found = hasher.finish().program;
        ensure!(found == *digest, "the old program was changed while it was read");
        // As many as there are old programs lie there at once.
        let beside = path.with_extension(format!("from-{}", base.sha256));
        let packed = Self::written(Codec::Delta, Some(base), &beside, |target| {
            uplift_delta::make(&bytes, new, DELTA_WINDOW, processors(), target, &progress)
                .map_err(io::Error::other)
        })?;
        Ok(Self { old: Some(old.program), ..packed })
    }

    fn written(
        codec: Codec,
        base: Option<Base>,
        beside: &Path,
        write: impl FnOnce(&mut Noted<'_>) -> io::Result<()>,
    ) -> anyhow::Result<Self> {
        let file = NewFile::create(beside, STREAM_MODE, true)?;
        let mut target = Noted { file: file.file(), list: PieceList::default() };
        write(&mut target).with_context(|| format!("{} can't be written", beside.display()))?;
        let (size, pieces, list) = target.list.finish();
        let window = if base.is_some() { DELTA_WINDOW } else { LARGEST_WINDOW };
        let codec = codec.to_string();
        let stream = Stream { codec, window, size, pieces, base };
        Ok(Self { file, stream, list, old: None })
    }

    /// Writes its bytes behind others.
    pub(super) fn copy_to(&self, mut target: &File) -> io::Result<()> {
        let mut file = self.file.file();
        file.rewind()?;
        io::copy(&mut file, &mut target).map(drop)
    }
}

/// All bytes of a program.
pub(super) fn bytes_of(mut program: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    program.rewind()?;
    program.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// A file of which the pieces are noted while it is written.
struct Noted<'a> {
    file: &'a File,
    list: PieceList,
}

impl io::Write for Noted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.list.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
