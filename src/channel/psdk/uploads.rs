//! What the payload link needs of the FTP side, as an interface: whether the server answers, and
//! the file that a host uploads. How files are pulled is known to [`crate::transfer`] alone.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::words::Offered;
use crate::config::TransferChoice;
use crate::model::{Failure, FailureKind, UpgradeId};
use crate::stage::Staged;

/// A host that enters the upgrade mode waits no longer than this for the FTP server to answer: half
/// a second less than a host is assumed to wait for an answer
/// ([`super::guess::HOST_WAIT_FOR_CHECK`]), for a login may take four.
const PREPARE_LIMIT: Duration = Duration::from_millis(4500);

/// The FTP side. Its methods return at once; the work is done on threads of its own.
pub trait Uploads: Send + Sync {
    /// The port that the host is told.
    fn port(&self) -> u16;
    /// There is a host now: has the server start, where systemd holds its socket and starts it at
    /// the first connection. A host that enters the upgrade mode does not wait for that.
    fn wake(&self);
    /// Asks whether the server answers and its area could be emptied. A sender that is dropped
    /// counts as "no".
    fn prepare(&self) -> oneshot::Receiver<Result<(), Failure>>;
    /// Begins to watch the area for the file of this upgrade, and to fetch it as soon as it lies
    /// there complete.
    fn pull(&self, id: &UpgradeId) -> Pull;
}

/// A file that is being watched for and fetched. Dropped, it is given up.
#[derive(Debug)]
pub struct Pull {
    /// Told when the host says that the upload is complete.
    pub now: oneshot::Sender<()>,
    /// The file, or why there is none.
    pub staged: oneshot::Receiver<Result<Staged, Failure>>,
}

impl Pull {
    /// The host says that the upload is complete: fetches what is left. The deadline is the
    /// fetching side's.
    pub(super) async fn complete(self) -> Result<Staged, Failure> {
        // It may have ended already; then the result is there.
        let _ = self.now.send(());
        let gone =
            || Failure::new(FailureKind::Interrupted, "the FTP transfer ended without a result");
        self.staged.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// Which transfer the host is offered.
pub(super) async fn choose(
    choice: TransferChoice,
    uploads: &dyn Uploads,
) -> Result<Offered, Failure> {
    if choice == TransferChoice::Dcftp {
        return Ok(Offered::Dcftp);
    }
    match prepared(uploads).await {
        Ok(()) => Ok(Offered::Ftp),
        Err(failure) if choice == TransferChoice::Auto => {
            tracing::info!("DCFTP is offered instead of FTP: {failure}");
            Ok(Offered::Dcftp)
        }
        Err(failure) => Err(failure),
    }
}

/// Empties the area, from which an upgrade took its file. What could not be removed is in nobody's
/// way: the next host that enters has the area emptied again.
pub(super) async fn clear(uploads: &dyn Uploads) {
    if let Err(failure) = prepared(uploads).await {
        tracing::warn!(UPLIFT_KIND = %failure.kind, "the upload area could not be emptied: {failure}");
    }
}

async fn prepared(uploads: &dyn Uploads) -> Result<(), Failure> {
    match timeout(PREPARE_LIMIT, uploads.prepare()).await {
        Ok(Ok(prepared)) => prepared,
        Ok(Err(_)) | Err(_) => {
            Err(Failure::new(FailureKind::TransferFailed, "the FTP server does not answer"))
        }
    }
}
