//! The bytes of a file on their way from the module into the daemon, which proves them.
//!
//! The daemon takes them by a thread that may wait for its disk: some of them wait in between, so
//! that the module, which gives up after a minute without a read, does not (docs/use/quectel.md,
//! QT-8).

use std::path::Path;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::words::FileInfo;
use crate::channel::runner::joined;
use crate::config::QuectelCrc;
use crate::handover::channels::Incoming;
use crate::handover::client::Trouble;
use crate::handover::passing::Passing;
use crate::model::{AnnouncedDigests, UpgradeId};

/// Blocks that wait for the daemon's disk.
const BLOCKS: usize = 64;
/// The daemon leaves a client from which nothing comes for a minute. Left by it before, it makes
/// durable what came.
const IDLE: Duration = Duration::from_secs(20);
/// So many bytes are made durable at a time: on a slow line the daemon's own measure would be half an
/// hour that a power cut takes back.
const DURABLE: u64 = 256 << 10;
/// CRC-32 of IEEE 802.3.
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// A file on its way. Dropped, it broke off: what came stays with the daemon.
pub(super) struct Handing {
    /// For which upgrade.
    pub(super) upgrade: UpgradeId,
    bytes: mpsc::Sender<Vec<u8>>,
    begun: Option<oneshot::Receiver<Begun>>,
    thread: JoinHandle<Result<(), Trouble>>,
}

/// Where a file goes on.
#[derive(Debug)]
pub(super) struct Begun {
    /// What it is; nothing where neither the module nor the daemon knows.
    pub(super) file: Option<FileInfo>,
    /// Bytes that are there.
    pub(super) offset: u64,
}

/// What has happened.
pub(super) enum Handed {
    /// It goes on there.
    Begun(Begun),
    /// There is room again.
    Room,
    /// All is there and proved, or why not.
    Ended(Result<(), Trouble>),
}

/// A file that is handed over.
pub(super) struct Wanted {
    /// For which upgrade.
    pub(super) upgrade: UpgradeId,
    /// Its name.
    pub(super) name: String,
    /// What the module says of it; nothing where it goes on that another process has begun.
    pub(super) file: Option<FileInfo>,
    /// How its checksum is made.
    pub(super) crc: QuectelCrc,
}

impl Handing {
    /// Begins.
    pub(super) fn start(daemon: &Path, wanted: Wanted) -> Self {
        let (bytes, receiver) = mpsc::channel(BLOCKS);
        let (begun, begins) = oneshot::channel();
        let (daemon, upgrade) = (daemon.to_owned(), wanted.upgrade.clone());
        let runtime = Handle::current();
        let thread =
            tokio::task::spawn_blocking(move || run(&daemon, wanted, begun, receiver, &runtime));
        Self { upgrade, bytes, begun: Some(begins), thread }
    }

    /// Whether it may come.
    pub(super) fn has_room(&self) -> bool {
        self.begun.is_none() && self.bytes.capacity() > 0
    }

    /// The next bytes. Those for which there is no room are lost.
    pub(super) fn send(&self, bytes: Vec<u8>) {
        // A thread that has ended says why.
        let _ = self.bytes.try_send(bytes);
    }

    /// What happens next. Dropped and called again, it loses nothing.
    pub(super) async fn next(&mut self) -> Handed {
        if let Some(begun) = &mut self.begun {
            let begins = begun.await;
            self.begun = None;
            if let Ok(begun) = begins {
                return Handed::Begun(begun);
            }
        }
        let is_full = self.bytes.capacity() == 0;
        tokio::select! {
            ended = joined(Some(&mut self.thread)) => Handed::Ended(ended),
            _ = self.bytes.reserve(), if is_full => Handed::Room,
        }
    }
}

fn run(
    daemon: &Path,
    wanted: Wanted,
    begun: oneshot::Sender<Begun>,
    mut bytes: mpsc::Receiver<Vec<u8>>,
    runtime: &Handle,
) -> Result<(), Trouble> {
    let Wanted { upgrade, name, file, crc } = wanted;
    let incoming = Incoming { name: Some(name), ..Incoming::default() };
    let (mut passing, part) = Passing::open(daemon, upgrade, incoming)?;
    let note = part.and_then(|part| part.note);
    let known: Option<FileInfo> = note.and_then(|note| serde_json::from_str(&note).ok());
    let Some(file) = file.or_else(|| known.clone()) else {
        let _ = begun.send(Begun { file: None, offset: 0 });
        return Ok(());
    };
    // QT-13: what came before counts for the same bytes alone.
    let is_same = known.is_some_and(|known| (known.length, known.md5) == (file.length, file.md5));
    passing.incoming.size = Some(file.length);
    passing.incoming.digests =
        AnnouncedDigests { sha256: file.sha256, sha1: None, md5: Some(file.md5) };
    passing.incoming.note = serde_json::to_string(&file).ok();
    passing.incoming.anew = !is_same;
    let offset = passing.begin()?;
    let (length, announced) = (file.length, file.crc);
    let mut checksum = (crc == QuectelCrc::Crc32 && offset == 0).then(|| CRC.digest());
    let mut durable = offset;
    if begun.send(Begun { file: Some(file), offset }).is_err() {
        return Ok(());
    }
    while passing.sent() < length {
        match runtime.block_on(async { timeout(IDLE, bytes.recv()).await }) {
            Ok(Some(bytes)) => {
                passing.send(&bytes)?;
                if let Some(checksum) = &mut checksum {
                    checksum.update(&bytes);
                }
            }
            Ok(None) => return Ok(()),
            Err(_) => passing.pause(),
        }
        if passing.sent() - durable >= DURABLE {
            passing.put_down()?;
            durable = passing.sent();
        }
    }
    if let Some((checksum, announced)) = checksum.zip(announced) {
        compare(checksum.finalize(), announced);
    }
    passing.prove().map(drop)
}

/// How the checksum is made nobody says: a difference is for whoever reads the log.
fn compare(made: u32, announced: u32) {
    if made != announced {
        tracing::warn!("the CRC-32 of the file is {made}, and {announced} was announced");
    }
}
