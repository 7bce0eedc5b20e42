//! The daemon's side: what the clients of a socket may do, and no more.

use std::os::unix::net::UnixStream as StdStream;
use std::time::{Duration, SystemTime};

use tokio::net::{UnixListener, UnixStream};

use super::{Ended, LONGEST_LINE, UploadAnswer, UploadRequest, Uploaded, pieces};
use crate::model::{Failure, FailureKind};
use crate::transfer::through::{Arriving, Declined, Seen, Standing, Through};
use crate::wire::guests::{self, Conversation, Seats};
use crate::wire::lines::Lines;
use crate::wire::places::{Place, Standing as Seat};

/// An upload server has one connection for each of its sessions that asks, for a moment, and one
/// for the upload that comes.
const SEATS: Seats = Seats { socket: "socket of uploads", most: 16, kept_for_root: 0 };
/// How long an upload server may wait for its client's next bytes. It has a limit of its own, which
/// is shorter; this one is for a server that hangs.
const PIECE_DEADLINE: Duration = Duration::from_secs(15 * 60);

/// Answers upload servers until the task is dropped.
pub(crate) async fn serve_uploads(listener: UnixListener, through: Through) {
    let serve_one = |stream, place| -> Conversation {
        let through = through.clone();
        Box::pin(async move { converse(stream, &place, through).await })
    };
    guests::serve(listener, SEATS, serve_one).await;
}

async fn converse(stream: UnixStream, place: &Place<u32>, through: Through) -> anyhow::Result<()> {
    let mut lines = Lines::new(stream, LONGEST_LINE);
    while let Some(line) = lines.read().await? {
        match answer(&line, &mut lines, place, &through).await {
            Ok(answer) => lines.send(&answer).await?,
            Err(Ended::Failed(failure)) => {
                return lines.send(&UploadAnswer::Failure { failure }).await;
            }
            Err(Ended::BrokeOff(error)) => return Err(error),
        }
    }
    Ok(())
}

async fn answer(
    line: &[u8],
    lines: &mut Lines,
    place: &Place<u32>,
    through: &Through,
) -> Result<UploadAnswer, Ended> {
    Ok(match super::parse(line)? {
        UploadRequest::Upload { file_name, owner, offset } => {
            guests::stay(place)?;
            let uploaded = upload(lines, through, file_name, owner, offset).await?;
            place.stand(Seat::Idle);
            uploaded
        }
        UploadRequest::Look {} => UploadAnswer::Upload { upload: through.look().map(told) },
        UploadRequest::Rename { from, to } => {
            through.rename(&from, &to)?;
            UploadAnswer::Done
        }
        UploadRequest::Remove { file_name } => {
            remove(through, file_name).await?;
            UploadAnswer::Done
        }
    })
}

/// One upload, from the question to its end.
async fn upload(
    lines: &mut Lines,
    through: &Through,
    file_name: String,
    owner: String,
    offset: u64,
) -> Result<UploadAnswer, Ended> {
    let through = through.clone();
    let begin = move || through.begin(&file_name, &owner, offset);
    let begun = tokio::task::spawn_blocking(begin).await.map_err(anyhow::Error::from)?;
    let arriving = match begun {
        Ok(arriving) => arriving,
        Err(Declined::Elsewhere(why)) => return Ok(UploadAnswer::Elsewhere { why }),
        Err(Declined::NothingToGoOn) => return Ok(UploadAnswer::NothingToGoOn),
        Err(Declined::Failed(failure)) => return Err(failure.into()),
    };
    lines.send(&UploadAnswer::Send).await?;
    let size = lines.on_thread(PIECE_DEADLINE, move |stream| take(stream, arriving)).await??;
    Ok(UploadAnswer::Stored { size })
}

fn take(mut stream: &StdStream, mut arriving: Arriving) -> Result<u64, Ended> {
    let mut buffer = Vec::new();
    while pieces::read(&mut stream, &mut buffer)? {
        arriving.write(&buffer)?;
    }
    Ok(arriving.finish()?)
}

/// Freeing a large file takes its time.
async fn remove(through: &Through, file_name: String) -> Result<(), Failure> {
    let (through, name) = (through.clone(), file_name.clone());
    match tokio::task::spawn_blocking(move || through.remove(&name)).await {
        Ok(true) => Ok(()),
        _ => {
            let sentence = format!("there is no upload {file_name:?} that could be removed");
            Err(Failure::new(FailureKind::TransferFailed, sentence))
        }
    }
}

fn told(seen: Seen) -> Uploaded {
    let since = seen.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Uploaded {
        file_name: seen.name,
        owner: seen.owner,
        size: seen.size,
        modified: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
        is_arriving: seen.standing == Standing::Arriving,
    }
}
