//! One connection to an FTP server: login, looking, deleting, and the beginning of a download.

use std::io::{self, BufReader, Read as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use suppaftp::types::{FileType, FtpError};
use suppaftp::{FtpStream, Mode, Status, TlsStream, TransferStream};
use tracing::{debug, warn};

use crate::config;
use crate::model::{Failure, FailureKind};
use crate::transfer::ftp_client::left::Left;
use crate::transfer::ftp_client::listing::{LARGEST_LISTING, Listing, RemoteFile, time_of_change};
use crate::transfer::ftp_client::watchdog::{Role, Stopped, Watchdog};

/// So many files in the upload area are nothing to talk about.
const FEW: usize = 100;

/// A connection that is logged in, binary, and in the upload area's directory.
pub(super) struct Session {
    stream: FtpStream,
    watchdog: Watchdog,
    address: SocketAddr,
    timeout: Duration,
}

/// The data connection of a download.
pub(super) struct Download(Box<dyn Transfer>);

/// A data connection without the name of its type, which the library keeps to itself.
trait Transfer: io::Read {
    fn finish(self: Box<Self>) -> Result<(), FtpError>;
}

impl<T: TlsStream> Transfer for TransferStream<T> {
    fn finish(self: Box<Self>) -> Result<(), FtpError> {
        TransferStream::finish(*self)
    }
}

impl io::Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// Why a step with the server failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    /// Another attempt may succeed: no connection, a lost one, no answer in time.
    #[error("the connection to the FTP server failed")]
    Broken(#[source] FtpError),
    /// The server says no, and would again.
    #[error("the FTP server refuses {0}")]
    Refused(&'static str, #[source] FtpError),
    /// The server can't go on behind what we have already.
    #[error("the FTP server refuses to resume a download")]
    NoResume(#[source] FtpError),
    /// The server says what no server may.
    #[error("the FTP server's answer is senseless: {0}")]
    Senseless(&'static str),
    /// Not the server's fault: the password file can't be read.
    #[error("the password file can't be read")]
    Password(#[source] io::Error),
    /// Cancelled from outside.
    #[error("the FTP transfer was cancelled")]
    Cancelled,
    /// It took longer than it may.
    #[error("the FTP server took too long")]
    TooLate,
}

impl SessionError {
    /// Whether another attempt is worth it.
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::TooLate)
    }

    pub(super) fn into_failure(self) -> Failure {
        let kind = match self {
            Self::Cancelled => FailureKind::Cancelled,
            Self::TooLate => FailureKind::Timeout,
            Self::Broken(_)
            | Self::Refused(..)
            | Self::NoResume(_)
            | Self::Senseless(_)
            | Self::Password(_) => FailureKind::TransferFailed,
        };
        let failure = Failure::new(kind, self.to_string());
        match self {
            Self::Broken(error) | Self::Refused(_, error) | Self::NoResume(error) => {
                failure.because(Readable(error))
            }
            Self::Password(error) => failure.because(error),
            Self::Senseless(_) | Self::Cancelled | Self::TooLate => failure,
        }
    }
}

/// An error of the FTP library in words for a person: a time-out is not "resource temporarily
/// unavailable".
#[derive(Debug)]
struct Readable(FtpError);

impl std::error::Error for Readable {}

impl std::fmt::Display for Readable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            FtpError::ConnectionError(error) if is_time_out(error) => {
                f.write_str("it did not answer in time")
            }
            FtpError::ConnectionError(error) => error.fmt(f),
            FtpError::UnexpectedResponse(response) => {
                write!(f, "it said {:?}", String::from_utf8_lossy(&response.body).trim_end())
            }
            error => error.fmt(f),
        }
    }
}

fn is_time_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// A connection whose every read and write has a time-out, watched over.
fn connect(
    address: SocketAddr,
    role: Role,
    timeout: Duration,
    watchdog: &Watchdog,
) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&address, timeout)?;
    socket.set_read_timeout(Some(timeout))?;
    socket.set_write_timeout(Some(timeout))?;
    socket.set_nodelay(true)?;
    watchdog.watch(role, &socket)?;
    Ok(socket)
}

impl Session {
    /// Connects and logs in.
    pub(super) fn open(config: &config::Ftp, watchdog: &Watchdog) -> Result<Self, SessionError> {
        let password = config
            .password
            .resolve(config.password_file.as_deref())
            .map_err(SessionError::Password)?;
        let opened = Self::connect(config, watchdog);
        let mut session = opened.map_err(|error| explain(error, watchdog, None))?;
        session.step(Some("our account"), |stream| {
            stream.login(config.user.as_str(), password.reveal())
        })?;
        // Servers begin in ASCII mode, in which sizes are refused and bytes may be changed.
        session.step(Some("binary transfers"), |stream| stream.transfer_type(FileType::Binary))?;
        if !config.directory.is_empty() {
            session.step(Some("the directory of the upload area"), |stream| {
                stream.cwd(&config.directory)
            })?;
        }
        Ok(session)
    }

    fn connect(config: &config::Ftp, watchdog: &Watchdog) -> Result<Self, FtpError> {
        let (address, timeout) = (config.address, config.timeout);
        let socket = connect(address, Role::Control, timeout, watchdog)
            .map_err(FtpError::ConnectionError)?;
        let mut stream = FtpStream::connect_with_stream(socket)?;
        stream.set_mode(if matches!(address.ip(), IpAddr::V6(_)) {
            Mode::ExtendedPassive
        } else {
            Mode::Passive
        });
        Ok(Self::watched_by(stream, watchdog, address, timeout))
    }

    fn watched_by(
        stream: FtpStream,
        watchdog: &Watchdog,
        address: SocketAddr,
        timeout: Duration,
    ) -> Self {
        let data_watchdog = watchdog.clone();
        // Only the port of the server's answer is used: it can't send us to another machine.
        let stream = stream.passive_stream_builder(move |told| {
            connect(SocketAddr::new(address.ip(), told.port()), Role::Data, timeout, &data_watchdog)
                .map_err(FtpError::ConnectionError)
        });
        Self { stream, watchdog: watchdog.clone(), address, timeout }
    }

    /// The same connection, with another watchdog than that of the work that has ended.
    pub(super) fn watched_anew(self) -> io::Result<Self> {
        let watchdog = Watchdog::start()?;
        watchdog.watch(Role::Control, &self.stream.get_ref())?;
        self.watchdog.release();
        Ok(Self::watched_by(self.stream, &watchdog, self.address, self.timeout))
    }

    /// What ends it from outside.
    pub(super) fn watchdog(&self) -> &Watchdog {
        &self.watchdog
    }

    /// One exchange. `refusable` names what a permanent refusal would mean; without it any refusal
    /// is worth another attempt.
    fn step<T>(
        &mut self,
        refusable: Option<&'static str>,
        exchange: impl FnOnce(&mut FtpStream) -> Result<T, FtpError>,
    ) -> Result<T, SessionError> {
        exchange(&mut self.stream).map_err(|error| explain(error, &self.watchdog, refusable))
    }

    /// The names in the upload area, without those of which `is_left_out` says so; it hears of each.
    pub(super) fn list(
        &mut self,
        accepts_product: impl Fn(&str) -> bool,
        is_left_out: impl FnMut(&str) -> bool,
    ) -> Result<Listing, SessionError> {
        let expected = [Status::AboutToSend, Status::AlreadyOpen];
        let download = match self.stream.custom_data_command("NLST", &expected) {
            Ok((_, download)) => download,
            // So some servers say that there is none.
            Err(FtpError::UnexpectedResponse(response))
                if matches!(
                    response.status,
                    Status::FileUnavailable | Status::RequestFileActionIgnored
                ) =>
            {
                return Ok(Listing::default());
            }
            Err(error) => return Err(explain(error, &self.watchdog, None)),
        };
        let mut limited = download.take(LARGEST_LISTING);
        let answer = BufReader::new(&mut limited);
        let listing = match Listing::read_but(answer, accepts_product, is_left_out) {
            Ok(listing) => listing,
            Err(error) => {
                self.watchdog.hang_up();
                return Err(explain(FtpError::ConnectionError(error), &self.watchdog, None));
            }
        };
        if limited.limit() == 0 {
            self.watchdog.hang_up();
            return Err(SessionError::Senseless("a listing without end"));
        }
        self.watchdog.release_data();
        limited.into_inner().finish().map_err(|error| explain(error, &self.watchdog, None))?;
        Ok(listing)
    }

    /// Size and time of one file; `None` when it is gone.
    pub(super) fn describe(&mut self, name: &str) -> Result<Option<RemoteFile>, SessionError> {
        let size = match self.stream.size(name) {
            Ok(size) => size as u64,
            Err(FtpError::UnexpectedResponse(response))
                if response.status == Status::FileUnavailable =>
            {
                return Ok(None);
            }
            Err(FtpError::BadResponse) => {
                return Err(SessionError::Senseless("not the size of a file"));
            }
            Err(error) => return Err(explain(error, &self.watchdog, Some("the size of a file"))),
        };
        // Not by the library's function for it, which drops fractions of a second.
        let modified = match self.stream.custom_command(format!("MDTM {name}"), &[Status::File]) {
            Ok(answer) => time_of_change(&String::from_utf8_lossy(&answer.body)),
            // Not every server knows it.
            Err(FtpError::UnexpectedResponse(_) | FtpError::BadResponse) => None,
            Err(error) => return Err(explain(error, &self.watchdog, None)),
        };
        Ok(Some(RemoteFile { name: name.to_owned(), size, modified }))
    }

    /// Begins a download, behind the first `offset` bytes.
    pub(super) fn download(&mut self, name: &str, offset: u64) -> Result<Download, SessionError> {
        let from = usize::try_from(offset)
            .map_err(|_| SessionError::Senseless("a file larger than this machine's memory"))?;
        let begun = self.step(Some("the download"), |stream| {
            stream.resume_transfer(from)?;
            stream.retr_as_stream(name)
        });
        match begun {
            Ok(stream) => Ok(Download(Box::new(stream))),
            Err(SessionError::Refused(_, error)) if offset > 0 => {
                Err(SessionError::NoResume(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Ends a download that was read to its end, and tells whether the server thinks so too.
    pub(super) fn finish(&self, download: Download) -> Result<(), SessionError> {
        self.watchdog.release_data();
        download.0.finish().map_err(|error| explain(error, &self.watchdog, None))
    }

    /// Ends a download before its end; whatever the server calls that, it goes on.
    pub(super) fn stop(&self, download: Download) -> Result<(), SessionError> {
        self.watchdog.release_data();
        match download.0.finish() {
            Ok(()) | Err(FtpError::UnexpectedResponse(_)) => Ok(()),
            Err(error) => Err(explain(error, &self.watchdog, None)),
        }
    }

    /// Gives up a download and the connection with it; waits for nothing.
    pub(super) fn abandon(self, download: Download) {
        self.watchdog.hang_up();
        drop(download);
    }

    /// Deletes the files, those with a firmware file's name first. What can't be deleted by `until`,
    /// because there are so many, is known by its name; the next time goes on. A firmware file that
    /// stays for another reason is a failure, for it would be taken for the next upload; another one
    /// is in nobody's way.
    pub(super) fn empty_area(&mut self, until: Instant) -> Result<Left, SessionError> {
        let mut deleted = 0;
        loop {
            // Whatever parses as a firmware file counts as ours: the area is to be empty.
            let listing = self.list(|_| true, |_| false)?;
            let before = deleted;
            for (name, is_ours) in listing.names() {
                if Instant::now() >= until {
                    return self.what_is_left(deleted);
                }
                match self.stream.rm(name) {
                    Ok(()) => deleted += 1,
                    Err(error) if is_ours => {
                        let refused = Some("to empty the upload area");
                        return Err(explain(error, &self.watchdog, refused));
                    }
                    // A name that can't be sent, or a directory.
                    Err(error) => debug!(?name, %error, "not deleted from the upload area"),
                }
            }
            if listing.more == 0 || deleted == before {
                tell_of_many(deleted, 0);
                return Ok(Left::default());
            }
        }
    }

    fn what_is_left(&mut self, deleted: usize) -> Result<Left, SessionError> {
        let mut left = Left::default();
        self.list(
            |_| false,
            |name| {
                left.add(name);
                true
            },
        )?;
        tell_of_many(deleted, left.number());
        Ok(left)
    }

    /// Says good-bye.
    pub(super) fn close(mut self) {
        // Whether the server says so too is of no interest any more.
        let _ = self.stream.quit();
        self.watchdog.hang_up();
    }
}

/// Where somebody else stores files, a person should know.
fn tell_of_many(deleted: usize, left: usize) {
    if left > 0 {
        warn!(
            "so many files lay in the upload area, which is for one at a time, that {left} are left; {deleted} were deleted, and the next time goes on"
        );
    } else if deleted > FEW {
        warn!(
            "{deleted} files lay in the upload area, which is for one at a time, and were deleted"
        );
    }
}

/// Names an error: the watchdog's doing first, then a lasting refusal, else a broken connection.
pub(super) fn explain(
    error: FtpError,
    watchdog: &Watchdog,
    refusable: Option<&'static str>,
) -> SessionError {
    match (watchdog.stopped(), &error, refusable) {
        (Some(Stopped::Cancelled), ..) => SessionError::Cancelled,
        (Some(Stopped::Expired), ..) => SessionError::TooLate,
        (None, FtpError::UnexpectedResponse(response), Some(what))
            if response.status != Status::NotAvailable =>
        {
            SessionError::Refused(what, error)
        }
        _ => SessionError::Broken(error),
    }
}
