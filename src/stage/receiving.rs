//! A reception: bytes in any pieces go in, are gathered into large ones, written and hashed.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

use super::part::{Keeper, Turn, whole_blocks};
use super::staged::{Reception, Staged};
use super::write_back::{PART_SIZE, WriteBack};
use super::{Announced, unwritable};
use crate::digest::hashing::Hashing;
use crate::digest::{BUFFER_SIZE, Beside, Digests};
use crate::disk::Operation;
use crate::model::{AnnouncedDigests, Failure, FailureKind, Md5Digest};

/// Called with the number of bytes received so far.
pub type Observer = Box<dyn FnMut(u64) + Send>;

/// Looks at a file's bytes while they arrive, so that one that is wrong ends early.
pub trait Watch: Send {
    /// The next bytes; whether more of them are to be seen.
    fn update(&mut self, bytes: &[u8]) -> Result<bool, Failure>;

    /// It begins anew.
    fn restart(&mut self);
}

/// A file that is being received. Dropped unfinished, it leaves nothing behind.
pub struct Receiving {
    announced: Announced,
    reception: Reception,
    file: File,
    buffer: Vec<u8>,
    hashing: Hashing,
    received: u64,
    /// Of them, those that are in the file.
    written: u64,
    write_back: Option<WriteBack>,
    bytes_to_part: u64,
    observer: Observer,
    /// Hears how many bytes are durable, where they outlive restarts.
    keeper: Option<Box<(Keeper, Turn)>>,
    watch: Option<Box<dyn Watch>>,
}

impl Receiving {
    pub(super) fn new(
        announced: Announced,
        reception: Reception,
        file: File,
        observer: Observer,
    ) -> Self {
        let hashing = hashing_of(&announced);
        Self {
            announced,
            reception,
            file,
            buffer: Vec::with_capacity(BUFFER_SIZE),
            hashing,
            received: 0,
            written: 0,
            write_back: None,
            bytes_to_part: PART_SIZE,
            observer,
            keeper: None,
            watch: None,
        }
    }

    /// The reception, which `watch` sees from its first byte on, also where some are there already.
    pub(crate) fn watched_by(mut self, watch: Box<dyn Watch>) -> Result<Self, Failure> {
        self.watch = Some(watch);
        self.show_again()?;
        Ok(self)
    }

    /// Shows what is in the file to who watches.
    fn show_again(&mut self) -> Result<(), Failure> {
        let Some(watch) = &mut self.watch else { return Ok(()) };
        watch.restart();
        let mut file = &self.file;
        let mut left = self.received;
        let mut buffer = Vec::new();
        file.rewind().map_err(unwritable)?;
        while left > 0 {
            buffer.clear();
            let most = left.min(BUFFER_SIZE as u64);
            let n = file.take(most).read_to_end(&mut buffer).map_err(unwritable)? as u64;
            if n == 0 || !watch.update(&buffer)? {
                break;
            }
            left -= n;
        }
        // What comes is written behind what is there.
        file.seek(SeekFrom::Start(self.received)).map_err(unwritable)?;
        Ok(())
    }

    /// The reception, of which `keeper` hears how much is durable.
    pub(super) fn kept_by(self, keeper: Keeper, turn: Turn) -> Self {
        Self { keeper: Some(Box::new((keeper, turn))), ..self }
    }

    /// Its first `size` bytes are there already, and are hashed.
    pub(super) fn behind(mut self, size: u64) -> io::Result<Self> {
        let mut file = &self.file;
        file.rewind()?;
        let mut left = size;
        while left > 0 {
            let most = left.min(BUFFER_SIZE as u64);
            let n = file.take(most).read_to_end(&mut self.buffer)? as u64;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.hashing.update(&mut self.buffer)?;
            left -= n;
        }
        (self.received, self.written) = (size, size);
        (self.observer)(size);
        Ok(self)
    }

    /// What came is durable, and written down where it is kept; the rest may come another time.
    pub(crate) fn put_down(mut self) -> Result<(), Failure> {
        self.flush()?;
        self.end_write_back()?;
        self.reception.disk().apply(Operation::Sync { file: &self.file }).map_err(unwritable)?;
        self.keep(whole_blocks(self.received))
    }

    /// What came is in the file, durable or not; where it is kept, that is written down.
    pub(crate) fn settle(&mut self) -> Result<(), Failure> {
        self.flush()?;
        let Some((keeper, turn)) = self.keeper.as_deref() else { return Ok(()) };
        turn.write(|| (keeper.written)(self.written)).map_err(unwritable)
    }

    fn keep(&self, size: u64) -> Result<(), Failure> {
        let Some((keeper, turn)) = self.keeper.as_deref() else { return Ok(()) };
        turn.write(|| (keeper.durable)(size)).map_err(unwritable)
    }

    /// What was announced.
    pub fn announced(&self) -> &Announced {
        &self.announced
    }

    /// The file that is being received.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Its peer gives the file another name.
    pub(crate) fn rename(&mut self, file_name: &str) {
        self.announced.file_name = Some(file_name.to_owned());
    }

    /// Bytes received so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Takes the next bytes. More than announced is `transfer-failed`, and where nothing was, more
    /// than fits is `too-large` or `no-space`; none of them is taken.
    ///
    /// Blocks while the disk is slower than the peer.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let received = self.check_more(bytes.len())?;
        if let Some(watch) = &mut self.watch {
            watch.update(bytes)?;
        }
        self.gather(bytes)?;
        self.received = received;
        (self.observer)(received);
        Ok(())
    }

    /// Takes the next bytes from whoever appends them to the buffer, at most as many as he is told
    /// that there is room for: how many. As [`Receiving::write`], and nothing is copied.
    pub(crate) fn write_by(
        &mut self,
        append: impl FnOnce(&mut Vec<u8>, usize) -> Result<usize, Failure>,
    ) -> Result<usize, Failure> {
        let before = self.buffer.len();
        let count = append(&mut self.buffer, BUFFER_SIZE - before)?;
        let received = self.check_more(count).inspect_err(|_| self.buffer.truncate(before))?;
        if let Some(watch) = &mut self.watch {
            watch.update(&self.buffer[before..])?;
        }
        if self.buffer.len() >= BUFFER_SIZE {
            self.flush()?;
        }
        self.received = received;
        (self.observer)(received);
        Ok(count)
    }

    /// What is received with so many more.
    fn check_more(&self, count: usize) -> Result<u64, Failure> {
        let received = self.received.saturating_add(count as u64);
        match self.announced.size {
            Some(size) if received > size => {
                let sentence =
                    format!("the peer sent more than the {size} bytes that it announced");
                Err(Failure::new(FailureKind::TransferFailed, sentence))
            }
            Some(_) => Ok(received),
            None => self.reception.stage().check_size(received).map(|()| received),
        }
    }

    /// Goes back to the first `size` bytes, which are hashed again. More than was received is
    /// `transfer-failed`.
    pub(crate) fn cut(mut self, size: u64) -> Result<Self, Failure> {
        if size == self.received {
            return Ok(self);
        }
        if size > self.received {
            let sentence =
                format!("the peer goes on behind {size} bytes, and {} came", self.received);
            return Err(Failure::new(FailureKind::TransferFailed, sentence));
        }
        self.flush()?;
        self.end_write_back()?;
        self.hash_again(size).map_err(unwritable)?;
        (self.received, self.written) = (size, size);
        self.show_again()?;
        (self.observer)(size);
        Ok(self)
    }

    fn hash_again(&mut self, size: u64) -> io::Result<()> {
        let resize = Operation::Resize { file: &self.file, size };
        self.reception.disk().apply(resize)?;
        self.hashing = hashing_of(&self.announced);
        self.buffer.clear();
        let mut file = &self.file;
        file.rewind()?;
        while file.take(BUFFER_SIZE as u64).read_to_end(&mut self.buffer)? > 0 {
            self.hashing.update(&mut self.buffer)?;
        }
        Ok(())
    }

    /// Ends the reception: exactly the announced size (`truncated` otherwise), the MD5 given, if one
    /// is, and the strongest of the digests announced (`digest-mismatch` otherwise); then the data is
    /// durable.
    pub fn finish(mut self, md5: Option<Md5Digest>) -> Result<Staged, Failure> {
        if let Some(size) = self.announced.size.filter(|size| self.received < *size) {
            let sentence =
                format!("the peer sent {} of the {size} bytes that it announced", self.received);
            return Err(Failure::new(FailureKind::Truncated, sentence));
        }
        self.flush()?;
        self.end_write_back()?;
        let hashing = std::mem::replace(&mut self.hashing, Hashing::start(0, Beside::default()));
        let digests = hashing.finish().map_err(unwritable)?;
        compare(md5, &digests)?;
        compare_announced(&self.announced.digests, &digests)?;
        self.reception.disk().apply(Operation::Sync { file: &self.file }).map_err(unwritable)?;
        self.keep(self.received)?;
        let Some(file) = self.reception.reopen(&self.file).map_err(unwritable)? else {
            return Err(Failure::new(
                FailureKind::Interrupted,
                "the staging area was emptied while the file was received",
            ));
        };
        self.reception.is_whole();
        Ok(Staged {
            file_name: self.announced.file_name,
            size: self.received,
            digests,
            reception: self.reception,
            file,
        })
    }

    fn gather(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(bytes.len().min(BUFFER_SIZE - self.buffer.len()));
            self.buffer.extend_from_slice(piece);
            bytes = rest;
            if self.buffer.len() == BUFFER_SIZE {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.announced.size.is_none() {
            // Nothing was allocated, and what else lies on this file system must not suffer.
            let stage = self.reception.stage();
            stage.check_space(self.buffer.len() as u64, "the next part of the file has")?;
        }
        self.write_buffer().map_err(unwritable)
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        let write = Operation::Write { file: &self.file, bytes: &self.buffer };
        match self.keeper.as_deref() {
            Some((_, turn)) => turn.write(|| self.reception.disk().apply(write))?,
            None => self.reception.disk().apply(write)?,
        }
        self.written += self.buffer.len() as u64;
        self.bytes_to_part = self.bytes_to_part.saturating_sub(self.buffer.len() as u64);
        self.hashing.update(&mut self.buffer)?;
        if self.bytes_to_part > 0 {
            return Ok(());
        }
        self.bytes_to_part = PART_SIZE;
        self.write_back_part()
    }

    fn write_back_part(&mut self) -> io::Result<()> {
        let write_back = match self.write_back.take() {
            Some(write_back) => write_back,
            None => {
                let disk = Arc::clone(self.reception.disk());
                WriteBack::start(
                    disk,
                    &self.file,
                    self.keeper.as_deref().map(|(keeper, _)| keeper.clone()),
                )?
            }
        };
        if !write_back.part_finished(self.written) {
            return write_back.finish();
        }
        self.write_back = Some(write_back);
        Ok(())
    }

    fn end_write_back(&mut self) -> Result<(), Failure> {
        self.write_back.take().map_or(Ok(()), WriteBack::finish).map_err(unwritable)
    }
}

fn hashing_of(announced: &Announced) -> Hashing {
    let mut beside = Beside::of(&announced.digests);
    beside.md5 |= announced.with_md5;
    Hashing::start(announced.size.unwrap_or(u64::MAX), beside)
}

/// MD5 is computed only for a peer that gives one (`Announced::with_md5`).
fn compare(given: Option<Md5Digest>, digests: &Digests) -> Result<(), Failure> {
    match (given, digests.md5) {
        (None, _) => Ok(()),
        (Some(given), Some(computed)) if given == computed => Ok(()),
        (Some(given), Some(computed)) => {
            let sentence = format!(
                "the sender gave the MD5 {given}, but the file that arrived has {computed}"
            );
            Err(Failure::new(FailureKind::DigestMismatch, sentence))
        }
        (Some(_), None) => Err(Failure::new(
            FailureKind::Internal,
            "the sender gave an MD5 that it had not announced",
        )),
    }
}

/// The strongest of what was announced decides; [`Beside::of`] sees to it that it was computed.
fn compare_announced(announced: &AnnouncedDigests, digests: &Digests) -> Result<(), Failure> {
    let differs = |name: &str, announced: String, computed: String| {
        let sentence =
            format!("{name} {announced} was announced, but the file that arrived has {computed}");
        Err(Failure::new(FailureKind::DigestMismatch, sentence))
    };
    match (announced.sha256, announced.sha1.zip(digests.sha1), announced.md5.zip(digests.md5)) {
        (Some(sha256), _, _) if sha256 != digests.file => {
            differs("the SHA-256", sha256.to_string(), digests.file.to_string())
        }
        (None, Some((sha1, computed)), _) if sha1 != computed => {
            differs("the SHA-1", sha1.to_string(), computed.to_string())
        }
        (None, None, Some((md5, computed))) if md5 != computed => {
            differs("the MD5", md5.to_string(), computed.to_string())
        }
        _ => Ok(()),
    }
}

impl fmt::Debug for Receiving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiving")
            .field("announced", &self.announced)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}
