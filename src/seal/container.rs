//! The container: a program on its way, as streams that are smaller than it, behind a manifest that
//! says what comes of them. docs/wire/container.md has its bytes.
//!
//! The front (header, manifest, signature) comes first, so that a file is refused before the rest
//! is there; then the digests of all pieces, then the streams. [`Front::find`] is the one place
//! that decides whether a file is a container. Nothing here decodes a stream, or knows which keys
//! are trusted.

use sha2::Digest as _;

use super::frame::{self, Parts};
use super::{Manifest, Place, Seal, SealError, Signature, Stream};
use crate::model::FileDigest;

/// Bytes of the header.
pub const HEADER_SIZE: usize = frame::SIZE;
/// Bytes of a piece of a stream; the last one may have fewer. Each is proved before it is decoded.
pub const PIECE_SIZE: usize = 256 * 1024;
/// The largest window that a stream may ask its decoder for, in bytes.
pub const LARGEST_WINDOW: u64 = 4 * 1024 * 1024;
/// The smallest one that zstd has.
const SMALLEST_WINDOW: u64 = 1024;
/// Most streams of a container.
pub const MOST_STREAMS: usize = 16;
/// Bytes of the digest of a piece.
const DIGEST_SIZE: u64 = 32;

/// What a container begins with: who says what of the program, and of the streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Front {
    /// What is said; it has one stream at least.
    pub manifest: Manifest,
    /// The manifest as it is stored, which is what is signed.
    pub manifest_text: Vec<u8>,
    /// Who says it, where somebody signed.
    pub signature: Option<Signature>,
    /// Its bytes in the file: header, manifest and signature.
    pub size: u64,
}

/// What the beginning of a file says of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The file is none.
    None,
    /// More bytes must be there before that can be said.
    Unknown,
    /// It is one.
    Front(Box<Front>),
}

/// Why a container is not to be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each is its documentation")]
pub enum ContainerError {
    #[error("its front is damaged")]
    Front(#[from] SealError),
    #[error("it has {0} streams, and may have 1 to {MOST_STREAMS}")]
    Streams(usize),
    #[error("a stream of it has no bytes, or too many to be counted")]
    StreamSize,
    #[error(
        "a stream of it asks for a window of {0} bytes, and may for a power of two from {SMALLEST_WINDOW} to {LARGEST_WINDOW}"
    )]
    Window(u64),
    #[error("it has a key without a signature")]
    NotSigned,
    #[error("its manifest says that it stands behind the program")]
    Place,
    #[error("it has {found} bytes instead of {expected}")]
    Size { found: u64, expected: u64 },
    #[error("the list of its pieces' digests has another SHA-256 than its manifest says")]
    List,
    #[error("its bytes from {0} on have another SHA-256 than it says of them")]
    Piece(u64),
}

/// A piece of a stream: where it lies, and what it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins in the file.
    pub start: u64,
    /// Its bytes, at most [`PIECE_SIZE`].
    pub size: usize,
    digest: [u8; 32],
}

impl Front {
    /// What a file is that begins with `head`: [`super::LARGEST_SEAL`] bytes of it are enough, and
    /// fewer may be.
    pub fn find(head: &[u8]) -> Result<Found, ContainerError> {
        let magic = &frame::HEADER_MAGIC;
        if !head.starts_with(&magic[..magic.len().min(head.len())]) {
            return Ok(Found::None);
        }
        match frame::format_of(head) {
            None => return Ok(Found::Unknown),
            Some(frame::CONTAINER) => {}
            Some(_) => return Ok(Found::None),
        }
        let Some(header) = head.first_chunk() else { return Ok(Found::Unknown) };
        if head.len() < frame::size_before(header, frame::CONTAINER)? {
            return Ok(Found::Unknown);
        }
        let parts = Parts::behind_header(head, frame::CONTAINER)?;
        Self::of(parts).map(|front| Found::Front(Box::new(front)))
    }

    fn of(parts: Parts<'_>) -> Result<Self, ContainerError> {
        let manifest = Manifest::parse(parts.manifest).map_err(SealError::from)?;
        let signature = match (parts.signature, manifest.key_id) {
            ([], None) => None,
            ([], Some(_)) => return Err(ContainerError::NotSigned),
            (text, _) => Some(Signature::parse(text).map_err(SealError::from)?),
        };
        if let Some(signature) = &signature {
            manifest.is_by(signature)?;
        }
        if manifest.place != Place::Before {
            return Err(ContainerError::Place);
        }
        if !(1..=MOST_STREAMS).contains(&manifest.streams.len()) {
            return Err(ContainerError::Streams(manifest.streams.len()));
        }
        manifest.streams.iter().try_for_each(Stream::check)?;
        let size = parts.size() as u64;
        let front = Self { manifest_text: parts.manifest.to_vec(), manifest, signature, size };
        front.file_size().map(|_| front)
    }

    /// The front's bytes from a manifest and the text of a signature over it, which is empty where
    /// nobody signs. They are read back before they are given out.
    pub fn to_bytes(manifest_text: &[u8], signature_text: &str) -> Result<Vec<u8>, ContainerError> {
        let parts = Parts { manifest: manifest_text, signature: signature_text.as_bytes() };
        let bytes = parts.with_header(frame::CONTAINER).ok_or(SealError::Lengths)?;
        match Self::find(&bytes)? {
            Found::Front(_) => Ok(bytes),
            Found::None | Found::Unknown => Err(SealError::Lengths.into()),
        }
    }

    /// The seal that it is, of a program of `size` bytes that came of it; `None` where nobody
    /// signed.
    pub fn seal(&self, size: u64) -> Option<Seal> {
        self.signature.as_ref().map(|signature| Seal {
            manifest: self.manifest.clone(),
            manifest_text: self.manifest_text.clone(),
            signature: signature.clone(),
            payload: 0..size,
        })
    }

    /// Bytes of the list of all pieces' digests, which follows the front.
    pub fn list_size(&self) -> u64 {
        self.manifest.streams.iter().map(|stream| stream.pieces_count() * DIGEST_SIZE).sum()
    }

    /// Bytes of the whole file.
    pub fn file_size(&self) -> Result<u64, ContainerError> {
        let sizes = self.manifest.streams.iter().map(|stream| stream.size);
        sizes
            .chain([self.list_size(), self.size])
            .try_fold(0u64, u64::checked_add)
            .ok_or(ContainerError::StreamSize)
    }

    /// The pieces of each stream, by the list of their digests, which must be the one that the
    /// manifest speaks of.
    pub fn pieces(&self, list: &[u8]) -> Result<Vec<Vec<Piece>>, ContainerError> {
        if list.len() as u64 != self.list_size() {
            return Err(ContainerError::List);
        }
        let (mut list, mut start) = (list, self.size + self.list_size());
        let mut streams = Vec::with_capacity(self.manifest.streams.len());
        for stream in &self.manifest.streams {
            let size = usize::try_from(stream.pieces_count() * DIGEST_SIZE);
            let (own, rest) = size
                .ok()
                .and_then(|size| list.split_at_checked(size))
                .ok_or(ContainerError::List)?;
            if sha256(own) != stream.pieces.0 {
                return Err(ContainerError::List);
            }
            streams.push(stream.cut(own, start));
            (list, start) = (rest, start + stream.size);
        }
        Ok(streams)
    }
}

impl Stream {
    fn check(&self) -> Result<(), ContainerError> {
        let windows = SMALLEST_WINDOW..=LARGEST_WINDOW;
        if !self.window.is_power_of_two() || !windows.contains(&self.window) {
            return Err(ContainerError::Window(self.window));
        }
        // Sixteen of them, and their lists, are counted in 64 bits then.
        if self.size == 0 || self.size > u64::MAX >> 5 {
            return Err(ContainerError::StreamSize);
        }
        Ok(())
    }

    const fn pieces_count(&self) -> u64 {
        self.size.div_ceil(PIECE_SIZE as u64)
    }

    /// The pieces of the stream that begins at `start`, by their digests.
    fn cut(&self, digests: &[u8], start: u64) -> Vec<Piece> {
        let (digests, _) = digests.as_chunks::<{ DIGEST_SIZE as usize }>();
        let starts = (0..self.size).step_by(PIECE_SIZE);
        let piece = |(at, digest): (u64, &[u8; 32])| Piece {
            start: start + at,
            size: usize::try_from(self.size - at).unwrap_or(PIECE_SIZE).min(PIECE_SIZE),
            digest: *digest,
        };
        starts.zip(digests).map(piece).collect()
    }
}

impl Piece {
    /// Whether these are its bytes.
    pub fn prove(&self, bytes: &[u8]) -> Result<(), ContainerError> {
        match bytes.len() == self.size && sha256(bytes) == self.digest {
            true => Ok(()),
            false => Err(ContainerError::Piece(self.start)),
        }
    }
}

/// The digests of a stream's pieces while it is written: what its manifest says of them, and its
/// part of the list.
#[derive(Debug, Clone, Default)]
pub struct PieceList {
    digests: Vec<u8>,
    begun: sha2::Sha256,
    size: u64,
}

impl PieceList {
    /// The next bytes of the stream.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let filled = self.size % PIECE_SIZE as u64;
            let room = PIECE_SIZE - usize::try_from(filled).unwrap_or_default();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.begun.update(now);
            self.size += now.len() as u64;
            if now.len() == room {
                self.end_piece();
            }
            bytes = later;
        }
    }

    fn end_piece(&mut self) {
        let piece = std::mem::take(&mut self.begun);
        self.digests.extend_from_slice(&piece.finalize());
    }

    /// The stream's bytes in number, the digest of the list, and the list.
    pub fn finish(mut self) -> (u64, FileDigest, Vec<u8>) {
        if !self.size.is_multiple_of(PIECE_SIZE as u64) {
            self.end_piece();
        }
        (self.size, FileDigest(sha256(&self.digests)), self.digests)
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(bytes).into()
}

/// What a file is, of which the bytes are seen one after the other, and whether that is right so
/// far.
#[derive(Debug, Clone, Default)]
pub struct Arriving {
    state: State,
}

/// How far it is.
#[derive(Debug, Clone)]
enum State {
    /// These bytes begin it.
    Beginning(Vec<u8>),
    /// The list of digests comes.
    List { front: Box<Front>, list: Vec<u8> },
    /// The pieces come.
    Pieces(Pieces),
    /// It is no container, it is a wrong one, or all of it was seen.
    Over,
}

/// The pieces that are still to come.
#[derive(Debug, Clone)]
struct Pieces {
    /// The last one first.
    left: Vec<Piece>,
    /// The bytes of the next one that are there, and how many these are.
    hashed: sha2::Sha256,
    filled: usize,
}

impl Default for State {
    fn default() -> Self {
        Self::Beginning(Vec::new())
    }
}

impl Arriving {
    /// Takes the next bytes; `judge` hears of the front once it is there. Whether it is a container
    /// still of which more is to come.
    pub fn update<E: From<ContainerError>>(
        &mut self,
        mut bytes: &[u8],
        judge: &mut impl FnMut(&Front) -> Result<(), E>,
    ) -> Result<bool, E> {
        while !bytes.is_empty() {
            let taken = self.step(bytes, judge)?;
            bytes = &bytes[taken..];
            if matches!(self.state, State::Over) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes some of the bytes: how many. What is wrong is over.
    fn step<E: From<ContainerError>>(
        &mut self,
        bytes: &[u8],
        judge: &mut impl FnMut(&Front) -> Result<(), E>,
    ) -> Result<usize, E> {
        let (state, taken) = match std::mem::replace(&mut self.state, State::Over) {
            State::Beginning(head) => begin(head, bytes, judge)?,
            State::List { front, list } => take_list(front, list, bytes)?,
            State::Pieces(pieces) => pieces.take(bytes)?,
            State::Over => (State::Over, bytes.len()),
        };
        self.state = state;
        Ok(taken)
    }
}

/// The front, of which `head` is there.
fn begin<E: From<ContainerError>>(
    mut head: Vec<u8>,
    bytes: &[u8],
    judge: &mut impl FnMut(&Front) -> Result<(), E>,
) -> Result<(State, usize), E> {
    let before = head.len();
    let taken = bytes.len().min(super::LARGEST_SEAL.saturating_sub(before));
    head.extend_from_slice(&bytes[..taken]);
    match Front::find(&head)? {
        Found::Unknown if taken > 0 => Ok((State::Beginning(head), taken)),
        // No front is larger.
        Found::Unknown | Found::None => Ok((State::Over, bytes.len())),
        Found::Front(front) => {
            judge(&front)?;
            // What stands behind it came with its last bytes.
            let taken = usize::try_from(front.size).map_or(taken, |size| size - before);
            Ok((State::List { front, list: Vec::new() }, taken))
        }
    }
}

fn take_list(
    front: Box<Front>,
    mut list: Vec<u8>,
    bytes: &[u8],
) -> Result<(State, usize), ContainerError> {
    let missing = front.list_size().saturating_sub(list.len() as u64);
    let taken = usize::try_from(missing).map_or(bytes.len(), |missing| missing.min(bytes.len()));
    list.extend_from_slice(&bytes[..taken]);
    if (list.len() as u64) < front.list_size() {
        return Ok((State::List { front, list }, taken));
    }
    let mut left = front.pieces(&list)?.concat();
    left.reverse();
    Ok((State::Pieces(Pieces { left, hashed: sha2::Sha256::new(), filled: 0 }), taken))
}

impl Pieces {
    fn take(mut self, bytes: &[u8]) -> Result<(State, usize), ContainerError> {
        let Some(piece) = self.left.last().copied() else {
            return Ok((State::Over, bytes.len()));
        };
        let taken = bytes.len().min(piece.size - self.filled);
        self.hashed.update(&bytes[..taken]);
        self.filled += taken;
        if self.filled == piece.size {
            let hashed = std::mem::take(&mut self.hashed);
            if <[u8; 32]>::from(hashed.finalize()) != piece.digest {
                return Err(ContainerError::Piece(piece.start));
            }
            self.filled = 0;
            self.left.pop();
        }
        Ok((State::Pieces(self), taken))
    }
}

#[cfg(test)]
mod tests;
