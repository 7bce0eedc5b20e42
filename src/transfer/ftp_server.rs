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
use tokio::task::JoinSet;

use crate::config;
use crate::places::{Place, Places};
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
    /// The address can't be listened on.
    #[error("{address} can't be listened on")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

impl StartError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Area { .. } => "`home` in the [ftp_server] section must be a directory that the server's user may write to",
            Self::PasswordFile { .. } => "`password_file` in the [ftp_server] section must be readable for the server's user",
            Self::EmptyPassword => "give a password in the [ftp_server] section, or in the first line of `password_file`",
            Self::Listen { .. } => {
                "another server may have the port; below 1024 it needs a socket from systemd (uplift-ftp.socket) or the capability net_bind_service"
            }
        }
    }
}

/// Connections of this machine itself beyond the limit: whoever fills all places must not keep out the daemon that pulls.
pub const PLACES_FOR_THIS_MACHINE: usize = 2;

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
    places: Places,
    shared: Arc<Shared>,
}

impl Server {
    /// Opens the area and listens: on `inherited`, a socket that somebody else opened, or else on the configured address.
    ///
    /// Needs a Tokio runtime; transfers run on its blocking threads, one a connection at most.
    pub fn start(config: &config::FtpServer, inherited: Option<std::net::TcpListener>) -> Result<Self, StartError> {
        let shared = Arc::new(Shared::new(config)?);
        let places = Places::new(config.max_connections.get());
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
        let reserved = if peer.ip().to_canonical().is_loopback() { PLACES_FOR_THIS_MACHINE } else { 0 };
        match self.places.take_beyond(reserved) {
            Some(place) => {
                sessions.spawn(converse(stream, peer, Arc::clone(&self.shared), place));
            }
            None => {
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
        let limits = Limits { max_size: config.max_size.0, keep_free: config.keep_free.0 };
        let area = Area::open(&config.home, limits).map_err(|source| StartError::Area { home: config.home.clone(), source })?;
        Ok(Self {
            area: Arc::new(area),
            accounts: Accounts::new(&config.users, password.reveal()),
            throttle: Mutex::default(),
            passive_ports: config.passive_ports.range(),
            idle_timeout: config.idle_timeout,
            stall_timeout: config.stall_timeout,
        })
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>, place: Place) {
    tracing::info!(%peer, "connected");
    let ended = match stream.local_addr().and_then(|local| Ok((local, Control::new(stream)?))) {
        Ok((local, control)) => Session::new(shared, control, local, peer, place).run().await,
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

/// For the fuzzer: takes bytes through everything that looks at them before a peer has logged in, and through the parsing of
/// paths, in pieces as they might arrive. Panics where a promise is broken.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8], piece: usize) {
    let mut lines = line::LineBuffer::default();
    for piece in bytes.chunks(piece.max(1)) {
        lines.bytes().extend_from_slice(piece);
        while let Some(line) = lines.take_line() {
            if let line::Line::Complete(line) = line {
                fuzz_line(&line);
            }
        }
    }
}

fn fuzz_line(line: &[u8]) {
    use command::Command::{Dele, Retr, Size, Stor};
    match command::Command::parse(line) {
        Ok(Stor(path) | Retr(path) | Size(path) | Dele(path)) => {
            if let Some(name::RemotePath::File(name)) = name::RemotePath::parse(&path, std::path::Path::new("/upgrade")) {
                let plain = !name.as_str().starts_with('.') && !name.as_str().contains(['/', '\0', '\r', '\n']);
                assert!(plain && !name.as_str().is_empty(), "{name:?} is no plain name");
            }
        }
        Ok(_) => {}
        Err(reply) => assert!((500..600).contains(&reply.code()) && reply.to_string().matches('\n').count() == 1, "{reply:?}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_break_a_promise(bytes in "(STOR|RETR|DELE|USER|[A-Z]{3,4})? ?[./a-z\\r\\n\\PC]{0,300}\r?\n.{0,40}\n", piece in 1_usize..64) {
            super::fuzz(bytes.as_bytes(), piece);
        }
    }
}
