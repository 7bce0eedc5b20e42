//! The daemon's side: what the clients of a socket may do, and no more.

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::time::{Duration, SystemTime};

use tokio::net::{UnixListener, UnixStream};

use super::{LONGEST_LINE, UploadAnswer, UploadRequest, Uploaded, pieces};
use crate::model::{Failure, FailureKind};
use crate::transfer::through::{Arriving, Declined, Seen, Standing, Through};
use crate::wire::lines::Lines;
use crate::wire::local_socket;
use crate::wire::places::{Place, Places, Standing as Seat};

/// Connections at a time: an upload server has one for each of its sessions that asks, for a
/// moment, and one for the upload that comes.
const MOST_CONNECTIONS: usize = 16;
/// How long an upload server may wait for its client's next bytes. It has a limit of its own, which
/// is shorter; this one is for a server that hangs.
const PIECE_DEADLINE: Duration = Duration::from_secs(15 * 60);

/// Answers upload servers until the task is dropped.
pub(crate) async fn serve_uploads(listener: UnixListener, through: Through) {
    let places: Places<u32> = Places::new(MOST_CONNECTIONS);
    loop {
        let stream = local_socket::accept(&listener, "socket of uploads").await;
        let Some(place) = places.take(local_socket::uid_of(&stream), 0).await else {
            tracing::warn!("all places at the socket of uploads are taken");
            continue;
        };
        let through = through.clone();
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = converse(stream, &place, through) => ended,
                () = place.told_to_leave() => Err(anyhow::anyhow!("it made room for another one")),
            };
            if let Err(error) = ended {
                tracing::debug!("a client of the socket of uploads left: {error:#}");
            }
        });
    }
}

async fn converse(stream: UnixStream, place: &Place<u32>, through: Through) -> anyhow::Result<()> {
    let mut lines = Lines::new(stream, LONGEST_LINE);
    while let Some(line) = lines.read().await? {
        let request = match super::parse(&line) {
            Ok(request) => request,
            Err(failure) => return lines.send(&UploadAnswer::Failure { failure }).await,
        };
        let answer = match request {
            UploadRequest::Upload { file_name, owner, offset } => {
                anyhow::ensure!(place.stand(Seat::Fixed), "it makes room for another one");
                let uploaded = upload(&mut lines, &through, file_name, owner, offset).await?;
                place.stand(Seat::Idle);
                uploaded
            }
            UploadRequest::Look {} => UploadAnswer::Upload { upload: through.look().map(told) },
            UploadRequest::Rename { from, to } => match through.rename(&from, &to) {
                Ok(()) => UploadAnswer::Done,
                Err(failure) => UploadAnswer::Failure { failure },
            },
            UploadRequest::Remove { file_name } => remove(&through, file_name).await,
        };
        let is_over = matches!(answer, UploadAnswer::Failure { .. });
        lines.send(&answer).await?;
        if is_over {
            return Ok(());
        }
    }
    Ok(())
}

/// One upload, from the question to its end.
async fn upload(
    lines: &mut Lines,
    through: &Through,
    file_name: String,
    owner: String,
    offset: u64,
) -> anyhow::Result<UploadAnswer> {
    let through = through.clone();
    let begin = move || through.begin(&file_name, &owner, offset);
    let arriving = match tokio::task::spawn_blocking(begin).await? {
        Ok(arriving) => arriving,
        Err(Declined::Elsewhere(why)) => return Ok(UploadAnswer::Elsewhere { why }),
        Err(Declined::NothingToGoOn) => return Ok(UploadAnswer::NothingToGoOn),
        Err(Declined::Failed(failure)) => return Ok(UploadAnswer::Failure { failure }),
    };
    lines.send(&UploadAnswer::Send).await?;
    match lines.on_thread(PIECE_DEADLINE, move |stream| take(stream, arriving)).await? {
        Ok(size) => Ok(UploadAnswer::Stored { size }),
        Err(Ended::BrokeOff(error)) => Err(error.into()),
        Err(Ended::Failed(failure)) => Ok(UploadAnswer::Failure { failure }),
    }
}

/// Why an upload did not become whole.
enum Ended {
    /// Its client did not say that it is; it may go on.
    BrokeOff(io::Error),
    /// It can't be taken.
    Failed(Failure),
}

fn take(mut stream: &StdStream, mut arriving: Arriving) -> Result<u64, Ended> {
    let mut buffer = Vec::new();
    while pieces::read(&mut stream, &mut buffer).map_err(Ended::BrokeOff)? {
        arriving.write(&buffer).map_err(Ended::Failed)?;
    }
    arriving.finish().map_err(Ended::Failed)
}

/// Freeing a large file takes its time.
async fn remove(through: &Through, file_name: String) -> UploadAnswer {
    let (through, name) = (through.clone(), file_name.clone());
    match tokio::task::spawn_blocking(move || through.remove(&name)).await {
        Ok(true) => UploadAnswer::Done,
        _ => {
            let sentence = format!("there is no upload {file_name:?} that could be removed");
            UploadAnswer::Failure { failure: Failure::new(FailureKind::TransferFailed, sentence) }
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
