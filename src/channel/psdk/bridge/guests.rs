//! The applications that connect: what they say goes to the door, what they are told comes from
//! there. Which of them has the link is the door's.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::wire::{self, PROTOCOL, Said, Told, Word};
use crate::host::peer::Peer;
use crate::wire::guests::{self, Conversation, Seats};
use crate::wire::places::Place;

/// One has the link, and others may come to take it over.
const SEATS: Seats = Seats { socket: "bridge", most: 4, kept_for_root: 0 };
/// Who connects says so within this time.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);
/// Who does not read for this long hangs.
const READ_DEADLINE: Duration = Duration::from_secs(10);
/// Messages that wait for an application: pushes of a minute.
const WAITING: usize = 64;

/// What the door hears.
#[derive(Debug)]
pub(super) enum Heard {
    /// Somebody takes the link over.
    Hello(u8, Guest, String),
    /// Somebody who has, or had, the link says something.
    Said(Arc<Peer>, Said),
}

/// Somebody who is connected.
#[derive(Debug, Clone)]
pub(super) struct Guest {
    /// Its process, and which connection: no two share it.
    pub(super) peer: Arc<Peer>,
    /// What it is told. Dropped, it is left.
    pub(super) outbox: mpsc::Sender<Bytes>,
}

/// Serves applications until the task is dropped.
pub(super) async fn serve(listener: UnixListener, door: mpsc::Sender<Heard>) {
    let serve_one = |stream, place| -> Conversation {
        let door = door.clone();
        Box::pin(async move { converse(stream, &place, door).await })
    };
    guests::serve(listener, SEATS, serve_one).await;
}

async fn converse(
    stream: UnixStream,
    place: &Place<u32>,
    door: mpsc::Sender<Heard>,
) -> anyhow::Result<()> {
    let peer = Arc::new(Peer::of(&stream).context("its process can't be told")?);
    let (mut reader, mut writer) = stream.into_split();
    let mut buffer = BytesMut::with_capacity(8192);
    let hello = timeout(HELLO_DEADLINE, read(&mut reader, &mut buffer));
    let Some(hello) = hello.await.context("it does not say who it is")?? else { return Ok(()) };
    let Word::Hello { lowest, highest, name } = hello.word else {
        anyhow::bail!("it did not begin with HELLO");
    };
    if !(lowest..=highest).contains(&PROTOCOL) {
        let text = format!("this daemon speaks version {PROTOCOL} of the protocol");
        timeout(READ_DEADLINE, writer.write_all(&Told::Gone(text).encode(0))).await??;
        return Ok(());
    }
    guests::stay(place)?;
    let (outbox, mut told) = mpsc::channel(WAITING);
    let guest = Guest { peer: Arc::clone(&peer), outbox };
    door.send(Heard::Hello(hello.number, guest, name)).await?;
    let mut listens = true;
    loop {
        tokio::select! {
            said = read(&mut reader, &mut buffer) => match said? {
                Some(said) => door.send(Heard::Said(Arc::clone(&peer), said)).await?,
                None => return Ok(()),
            },
            message = told.recv() => match message {
                // Of one that has died, what it said before is still to be read.
                Some(message) if listens => listens = tell(&mut writer, &message).await?,
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}

/// Whether it is there to hear it.
async fn tell(writer: &mut OwnedWriteHalf, message: &[u8]) -> anyhow::Result<bool> {
    let written = timeout(READ_DEADLINE, writer.write_all(message));
    Ok(written.await.context("it does not read")?.is_ok())
}

/// The next message; nothing at the end. Dropped and called again, it loses nothing.
async fn read(reader: &mut OwnedReadHalf, buffer: &mut BytesMut) -> anyhow::Result<Option<Said>> {
    loop {
        if let Some(said) = wire::next(buffer)? {
            return Ok(Some(said));
        }
        if reader.read_buf(buffer).await? == 0 {
            anyhow::ensure!(buffer.is_empty(), io::Error::from(io::ErrorKind::UnexpectedEof));
            return Ok(None);
        }
    }
}
