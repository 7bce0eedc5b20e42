//! The upload server `uplift ftp-server`: a small FTP server with one directory, for firmware on its way in.
//!
//! What it promises: a file appears under its name only when its data connection ended in order, and before `226` is said;
//! an upload that is aborted, stalls, breaks or loses its control connection leaves nothing behind; nothing outside the
//! directory can be reached; every wait has a deadline, and connections, files, sizes and wrong passwords have limits.
//!
//! What it can't promise: in FTP's stream mode a client that closes its data connection early, in order, has by definition
//! sent a complete file. Size and digest are proved later, by the daemon, which pulls the file from here as it would from any
//! other FTP server. The server knows nothing of packages, versions or upgrades.
//!
//! | file | what it is for |
//! |---|---|
//! | `line`, `command`, `reply` | the words of the control connection |
//! | `control` | the control connection |
//! | `session` | a client's state, and the answer to each command |
//! | `data` | the data connection, and the thread of a transfer |
//! | `area`, `name`, `listing` | the directory, what may be a name in it, how it is shown |
//! | `login` | accounts, and what wrong passwords cost |

mod area;
pub mod command;
mod control;
mod data;
mod line;
mod listing;
mod login;
mod name;
pub mod reply;
mod session;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::config;
use area::{Area, Limits};
use control::Control;
use login::{Accounts, Throttle};
use reply::Reply;
use session::Session;

/// Pause after a failed accept: no descriptor is free, and none becomes free faster by asking at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Why the server can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The upload area can't be used.
    #[error("the upload area {} can't be used", home.display())]
    Area {
        /// The directory.
        home: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The password file can't be read.
    #[error("the password file {} can't be read", path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no password, so anybody could come in.
    #[error("the password is empty")]
    EmptyPassword,
    /// The ports of data connections are no range.
    #[error("`passive_ports` must be two ports, the smaller one first, or [0, 0]; not [{0}, {1}]")]
    PassivePorts(u16, u16),
    /// Nobody can be served.
    #[error("`max_connections` must be at least 1")]
    NoConnections,
    /// The address can't be listened on.
    #[error("{address} can't be listened on")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// What all sessions share.
#[derive(Debug)]
struct Shared {
    area: Arc<Area>,
    accounts: Accounts,
    throttle: Mutex<Throttle>,
    passive_ports: RangeInclusive<u16>,
    idle_timeout: Duration,
    stall_timeout: Duration,
}

impl Shared {
    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        // Plain counters: a panic elsewhere leaves nothing half-done in them.
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server that listens but does not serve yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    places: Arc<Semaphore>,
    shared: Arc<Shared>,
}

impl Server {
    /// Opens the area and listens: on `inherited`, a socket that somebody else opened, or else on the configured address.
    ///
    /// Needs a Tokio runtime; transfers run on its blocking threads, one a connection at most.
    pub fn start(config: &config::FtpServer, inherited: Option<std::net::TcpListener>) -> Result<Self, StartError> {
        let shared = Arc::new(Shared::new(config)?);
        let places = match config.max_connections {
            0 => return Err(StartError::NoConnections),
            most => Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
        };
        let failed = |source| StartError::Listen { address: config.listen, source };
        let listener = inherited.map_or_else(|| std::net::TcpListener::bind(config.listen), Ok).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        Ok(Self { listener, places, shared })
    }

    /// Where it listens; the port is the real one where port 0 was configured.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` comes; then all sessions end, and uploads that run leave nothing behind.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let mut sessions = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer, &mut sessions),
                    Err(error) => {
                        tracing::warn!("a connection can't be accepted: {error}");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = sessions.join_next() => {}
            }
        }
        sessions.shutdown().await;
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, sessions: &mut JoinSet<()>) {
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => {
                sessions.spawn(converse(stream, peer, Arc::clone(&self.shared), place));
            }
            Err(_) => {
                tracing::warn!(%peer, "all places are taken");
                turn_away(stream);
            }
        }
    }
}

impl Shared {
    fn new(config: &config::FtpServer) -> Result<Self, StartError> {
        let password = config
            .password
            .resolve(config.password_file.as_deref())
            .map_err(|source| StartError::PasswordFile { path: config.password_file.clone().unwrap_or_default(), source })?;
        if password.reveal().is_empty() {
            return Err(StartError::EmptyPassword);
        }
        let passive_ports = match config.passive_ports {
            (first, last) if first > last || (first == 0 && last != 0) => return Err(StartError::PassivePorts(first, last)),
            (first, last) => first..=last,
        };
        let limits = Limits { max_size: config.max_size.0, keep_free: config.keep_free.0 };
        let area = Area::open(&config.home, limits).map_err(|source| StartError::Area { home: config.home.clone(), source })?;
        Ok(Self {
            area: Arc::new(area),
            accounts: Accounts::new(&config.users, password.reveal()),
            throttle: Mutex::default(),
            passive_ports,
            idle_timeout: config.idle_timeout,
            stall_timeout: config.stall_timeout,
        })
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>, _place: OwnedSemaphorePermit) {
    tracing::info!(%peer, "connected");
    let ended = match stream.local_addr().and_then(|local| Ok((local, Control::new(stream)?))) {
        Ok((local, control)) => Session::new(shared, control, local.ip().to_canonical(), peer.ip().to_canonical()).run().await,
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(()) => tracing::info!(%peer, "session ended"),
        Err(gone) => tracing::info!(%peer, "session ended: {gone}"),
    }
}

/// Says why and closes. Nothing waits for a client that has no place: the reply fits into the empty buffer of a new connection.
fn turn_away(stream: TcpStream) {
    if let Ok(mut stream) = stream.into_std() {
        let _ = write!(stream, "{}", Reply::new(421, "All places are taken; try again later"));
    }
}
