//! From a container to its program: every piece of the stream is proved, then decoded by a helper
//! without rights, and what comes out is counted.
//!
//! Knows no rules of a payload. What comes out is for the caller to hash.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::thread;

use super::choice::Choice;
use crate::digest::BUFFER_SIZE;
use crate::host::command::Isolation;
use crate::host::helper::Helper;
use crate::model::{Failure, FailureKind};
use crate::seal::LARGEST_SEAL;
use crate::seal::container::{ContainerError, Found, Front, HEADER_SIZE, PIECE_SIZE, Piece};

/// The subcommand of `uplift` that decodes.
const SUBCOMMAND: &str = "decode";
/// How the helper ends where the stream is wrong (EX_DATAERR): then it says what is.
pub(crate) const WRONG_STREAM: i32 = 65;

/// The front of a file that is a container; `None` for any other file. `seal-invalid` for one that
/// begins like a container and is none.
pub fn front_of(file: &File) -> Result<Option<Front>, Failure> {
    let mut head = vec![0; LARGEST_SEAL];
    let read = read_up_to(file, &mut head).map_err(unreadable)?;
    let front = match Front::find(&head[..read])? {
        Found::None => return Ok(None),
        // Of what is shorter than a header others have a better word.
        Found::Unknown if read < HEADER_SIZE => return Ok(None),
        Found::Unknown => return Err(cut_off()),
        Found::Front(front) => *front,
    };
    let (expected, found) = (front.file_size()?, file.metadata().map_err(unreadable)?.len());
    match found == expected {
        true => Ok(Some(front)),
        false => Err(ContainerError::Size { found, expected }.into()),
    }
}

/// Unpacks the program of a container: `take` is given all of its bytes, and not one more than the
/// manifest says. Its digest is the caller's to prove. The stream is the one of the choice. The helper
/// is isolated as it is said: by a unit of its own, or with `never` by itself. Blocks.
pub fn unpack(
    file: &File,
    front: &Front,
    choice: Choice,
    isolation: Isolation,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Choice { number, codec, old } = choice;
    let stream = front.manifest.streams.get(number).ok_or_else(other_container)?;
    let pieces = pieces_of(file, front, number)?;
    let size = front.manifest.size;
    let mut arguments = vec![SUBCOMMAND.to_owned(), codec.to_string()];
    arguments.extend([stream.window.to_string(), size.to_string()]);
    arguments.extend(stream.base.as_ref().map(|base| base.size.to_string()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (mut helper, feed) = Helper::start(&arguments, old, isolation)
        .map_err(|error| broken_helper().because(error))?;
    let (fed, taken) = thread::scope(|scope| {
        let feeder = scope.spawn(|| feed_pieces(file, &pieces, feed));
        let taken = drain(&mut helper, size, &mut take);
        if taken.is_err() {
            helper.kill(); // who feeds it would wait for ever
        }
        let died = |_| Failure::new(FailureKind::Internal, "a thread of the daemon died");
        (feeder.join().map_err(died), taken)
    });
    // Bytes that are not right are the reason for whatever else went wrong.
    fed??;
    let found = taken?;
    let (status, words) = helper.end().map_err(no_helper)?;
    match status.code() {
        Some(0) if found == size => Ok(()),
        Some(WRONG_STREAM) => {
            let sentence = format!("the container can't be unpacked: {words}");
            Err(Failure::new(FailureKind::SealInvalid, sentence)
                .with_hint("pack the program again with `uplift pack --compress`, or without"))
        }
        _ => {
            let how = format!("it ended ({status}) behind {found} of {size} bytes");
            let said = if words.is_empty() { how } else { format!("{how}: {words}") };
            Err(broken_helper().because(io::Error::other(said)))
        }
    }
}

/// The pieces of one of the streams.
fn pieces_of(file: &File, front: &Front, stream: usize) -> Result<Vec<Piece>, Failure> {
    // The file has as many bytes, or it is no container.
    let mut list = vec![0; usize::try_from(front.list_size()).map_err(|_| other_container())?];
    file.read_exact_at(&mut list, front.size).map_err(unreadable)?;
    let mut streams = front.pieces(&list)?;
    match stream < streams.len() {
        true => Ok(streams.swap_remove(stream)),
        false => Err(other_container()),
    }
}

/// Feeds what is proved. A decoder that wants no more says why itself.
fn feed_pieces(file: &File, pieces: &[Piece], mut feed: impl io::Write) -> Result<(), Failure> {
    let mut buffer = vec![0; PIECE_SIZE];
    for piece in pieces {
        let bytes = &mut buffer[..piece.size];
        file.read_exact_at(bytes, piece.start).map_err(unreadable)?;
        piece.prove(bytes)?;
        if feed.write_all(bytes).is_err() {
            break;
        }
    }
    Ok(())
}

/// Takes what comes of it: how many bytes.
fn drain(
    helper: &mut Helper,
    size: u64,
    take: &mut impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let mut buffer = vec![0; BUFFER_SIZE];
    let mut found = 0u64;
    loop {
        let n = helper.read(&mut buffer).map_err(no_helper)?;
        if n == 0 {
            return Ok(found);
        }
        found = found.saturating_add(n as u64);
        if found > size {
            let sentence =
                format!("more than the {size} bytes of its program come of the container");
            return Err(Failure::new(FailureKind::SealInvalid, sentence));
        }
        take(&buffer[..n])?;
    }
}

fn read_up_to(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    loop {
        match file.read_at(&mut buffer[read..], read as u64) {
            Ok(0) => return Ok(read),
            Ok(n) => read += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl From<ContainerError> for Failure {
    fn from(error: ContainerError) -> Self {
        let kind = match error {
            ContainerError::Piece(_) | ContainerError::List => FailureKind::DigestMismatch,
            ContainerError::Size { .. } => FailureKind::Truncated,
            _ => FailureKind::SealInvalid,
        };
        Self::new(kind, "the container is not as it was packed").because(error)
    }
}

fn cut_off() -> Failure {
    Failure::new(FailureKind::Truncated, "the container ends inside of its manifest")
}

fn other_container() -> Failure {
    Failure::new(FailureKind::Internal, "the stream was chosen of another container")
}

fn unreadable(error: io::Error) -> Failure {
    Failure::new(FailureKind::Internal, "the file can't be read").because(error)
}

fn no_helper(error: io::Error) -> Failure {
    broken_helper().because(error)
}

fn broken_helper() -> Failure {
    let sentence = "the helper that unpacks the container does not work";
    Failure::new(FailureKind::InstallFailed, sentence).with_hint(
        "where systemd runs it is a unit of a user of its own, who must be able to reach the program uplift itself; `isolate_commands` of the component says otherwise",
    )
}
