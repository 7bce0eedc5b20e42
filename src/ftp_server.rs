//! The upload server `uplift ftp-server`: a small FTP server with one directory, for firmware on
//! its way in.
//!
//! What it promises: a file appears under its name only when its data connection ended in order,
//! and before `226` is said; an upload that is aborted, stalls, breaks or loses its control
//! connection leaves nothing behind; nothing outside the directory can be reached; every wait has a
//! deadline, and connections, files, sizes and wrong passwords have limits.
//!
//! What it can't promise: in FTP's stream mode a client that closes its data connection early, in
//! order, has by definition sent a complete file. Size and digest are proved later, by the daemon,
//! which pulls the file from here as it would from any other FTP server. The server knows nothing
//! of packages, versions or upgrades.
//!
//! | file | what it is for |
//! |---|---|
//! | `line`, `command`, `reply` | the words of the control connection |
//! | `control` | the control connection |
//! | `session` | a client's state, and the answer to each command |
//! | `data` | the data connection, and the thread of a transfer |
//! | `files` | what clients see: the directory, and what went straight to the daemon |
//! | `area`, `name`, `listing` | the directory, what may be a name in it, how it is shown |
//! | `login` | accounts, and what wrong passwords cost |
//! | `who` | whose a session is |

mod area;
pub mod command;
mod control;
mod data;
mod files;
mod line;
mod listing;
mod login;
mod name;
pub mod reply;
mod session;
mod who;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::config;
use crate::handover::client::Uploads;
use crate::wire::places::{Place, Places};
use area::{Area, Limits};
use control::{Control, Gone};
use files::Files;
use login::{Accounts, Throttle};
use reply::Reply;
use session::Session;
use who::{Who, is_this_machine};

/// Pause after a failed accept: no descriptor is free, and none becomes free faster by asking at
/// once.
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
            Self::Area { .. } => {
                "`home` in the [ftp_server] section must be a directory that the server's user may write to"
            }
            Self::PasswordFile { .. } => {
                "`password_file` in the [ftp_server] section must be readable for the server's user"
            }
            Self::EmptyPassword => {
                "give a password in the [ftp_server] section, or in the first line of `password_file`"
            }
            Self::Listen { .. } => {
                "another server may have the port; below 1024 it needs a socket from systemd (uplift-ftp.socket) or the capability net_bind_service"
            }
        }
    }
}

/// Connections of this machine itself beyond the limit: whoever fills all places must not keep out
/// the daemon that pulls.
pub const PLACES_FOR_THIS_MACHINE: usize = 2;

/// What all sessions share.
#[derive(Debug)]
struct Shared {
    files: Arc<Files>,
    accounts: Accounts,
    throttle: Mutex<Throttle>,
    passive_ports: RangeInclusive<u16>,
    /// The data ports on which nobody has connected yet.
    waiting: Places<Who>,
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
    places: Places<Who>,
    shared: Arc<Shared>,
}

impl Server {
    /// Opens the area and listens: on `inherited`, a socket that somebody else opened, or else on
    /// the configured address. `daemon` is the socket on which the daemon takes uploads.
    ///
    /// Needs a Tokio runtime; transfers run on its blocking threads, one a connection at most.
    pub fn start(
        config: &config::FtpServer,
        daemon: &Path,
        inherited: Option<std::net::TcpListener>,
    ) -> Result<Self, StartError> {
        let shared = Arc::new(Shared::new(config, daemon)?);
        let places = Places::new(config.max_connections.get());
        let failed = |source| StartError::Listen { address: config.listen, source };
        let listener = inherited
            .map_or_else(|| std::net::TcpListener::bind(config.listen), Ok)
            .map_err(failed)?;
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
                session = self.next() => {
                    sessions.spawn(session);
                }
            }
            // There are not more of them than places, and one more.
            while sessions.try_join_next().is_some() {}
        }
        sessions.shutdown().await;
    }

    /// The next client for whom there is a place. Until one is free nobody else is accepted: those
    /// wait in the kernel.
    async fn next(&self) -> impl Future<Output = ()> + use<> {
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("a connection can't be accepted: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(local) = stream.local_addr() else { continue };
            let kept =
                if is_this_machine(local.ip(), peer.ip()) { PLACES_FOR_THIS_MACHINE } else { 0 };
            let asked = tokio::task::spawn_blocking(move || Who::of(local, peer)).await;
            let who = asked.unwrap_or_else(|_| Who::by_address(local.ip(), peer.ip()));
            match self.places.take(who.clone(), kept).await {
                Some(place) => {
                    if who.is_machine() {
                        place.guard();
                    }
                    return converse(
                        stream,
                        Ends { local, peer, who },
                        Arc::clone(&self.shared),
                        place,
                    );
                }
                None => {
                    tracing::warn!(%peer, "{peer} was turned away: all places are taken");
                    turn_away(stream);
                }
            }
        }
    }
}

/// Both ends of a control connection, and whose it is.
#[derive(Debug)]
struct Ends {
    local: SocketAddr,
    peer: SocketAddr,
    who: Who,
}

impl Shared {
    fn new(config: &config::FtpServer, daemon: &Path) -> Result<Self, StartError> {
        let password =
            config.password.resolve(config.password_file.as_deref()).map_err(|source| {
                StartError::PasswordFile {
                    path: config.password_file.clone().unwrap_or_default(),
                    source,
                }
            })?;
        if password.reveal().is_empty() {
            return Err(StartError::EmptyPassword);
        }
        let limits = Limits { max_size: config.max_size.0, keep_free: config.keep_free.0 };
        let area = Area::open(&config.home, limits)
            .map_err(|source| StartError::Area { home: config.home.clone(), source })?;
        Ok(Self {
            files: Arc::new(Files::new(Arc::new(area), Uploads::new(daemon))),
            accounts: Accounts::new(&config.users, password.reveal()),
            throttle: Mutex::default(),
            passive_ports: config.passive_ports.range(),
            waiting: Places::new(usize::MAX),
            idle_timeout: config.idle_timeout,
            stall_timeout: config.stall_timeout,
        })
    }
}

async fn converse(stream: TcpStream, ends: Ends, shared: Arc<Shared>, place: Place<Who>) {
    let peer = ends.peer;
    tracing::info!(%peer, "{peer} connected");
    let ended = match Control::new(stream) {
        Ok(control) => serve(Session::new(shared, control, ends, place.clone()), place).await,
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(()) => tracing::info!(%peer, "{peer} left"),
        Err(gone) => tracing::info!(%peer, "{peer} left: {gone}"),
    }
}

/// Whatever it is about, a client that has to make room is left at once: it may be one that does
/// not read its replies.
async fn serve(mut session: Session, place: Place<Who>) -> Result<(), Gone> {
    tokio::select! {
        ended = session.run() => return ended,
        () = place.told_to_leave() => {}
    }
    session.send_away();
    Err(Gone::MadeRoom)
}

/// Says why and closes. Nothing waits for a client that has no place: the reply fits into the empty
/// buffer of a new connection.
fn turn_away(stream: TcpStream) {
    if let Ok(mut stream) = stream.into_std() {
        let _ =
            stream.write_all(&Reply::new(421, "All places are taken; try again later").to_bytes());
    }
}

/// For the fuzzer: takes bytes through everything that looks at them before a peer has logged in,
/// and through the parsing of paths, in pieces as they might arrive. Panics where a promise is
/// broken.
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
    use command::Command::{Dele, Retr, Rnfr, Rnto, Size, Stor};
    match command::Command::parse(line) {
        Ok(Stor(path) | Retr(path) | Size(path) | Dele(path) | Rnfr(path) | Rnto(path)) => {
            if let Some(name::RemotePath::File(name)) =
                name::RemotePath::parse(path.as_bytes(), std::path::Path::new("/upgrade"))
            {
                let plain = !name.as_bytes().starts_with(b".")
                    && !name.as_bytes().iter().any(|byte| b"/\0\r\n".contains(byte));
                assert!(plain && !name.as_bytes().is_empty(), "{name:?} is no plain name");
            }
        }
        Ok(_) => {}
        Err(reply) => {
            assert!(
                (500..600).contains(&reply.code())
                    && reply.to_bytes().iter().filter(|&&byte| byte == b'\n').count() == 1,
                "{reply:?}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_reason_not_to_start_says_what_to_change() {
        let source = || io::ErrorKind::PermissionDenied.into();
        let address = "127.0.0.1:21".parse().unwrap();
        for (error, word) in [
            (StartError::Area { home: "home".into(), source: source() }, "`home`"),
            (StartError::PasswordFile { path: "file".into(), source: source() }, "`password_file`"),
            (StartError::EmptyPassword, "give a password"),
            (StartError::Listen { address, source: source() }, "the port"),
        ] {
            assert!(error.hint().contains(word), "{error}: {}", error.hint());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_a_promise(bytes in "(STOR|RETR|DELE|USER|[A-Z]{3,4})? ?[./a-z\\r\\n\\PC]{0,300}\r?\n.{0,40}\n", piece in 1_usize..64) {
            super::fuzz(bytes.as_bytes(), piece);
        }
    }
}
