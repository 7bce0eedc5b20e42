//! Why nothing came: what passes is tried again, what stays is told. Nothing here names a secret.

use std::fmt;
use std::io;
use std::time::Duration;

use super::url::WrongUrl;
use crate::model::{Failure, FailureKind};

/// Why a download or another exchange did not end well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// Nobody knows the host.
    #[error("the address of {0} can't be found")]
    NoAddress(String, #[source] io::Error),
    /// Nobody answers there.
    #[error("{0} can't be reached")]
    Unreachable(String, #[source] io::Error),
    /// It broke off.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// It took too long.
    #[error("{0}")]
    Late(#[from] Late),
    /// What came was no answer.
    #[error("the server does not answer as HTTP has it: {0}")]
    NotHttp(String),
    /// Less than the lowest acceptable rate came.
    #[error("less than {0} bytes a second came")]
    Slow(u64),
    /// The body ended before the file did.
    #[error("the connection ended after {received} of {total} bytes")]
    Short {
        /// Bytes that are there.
        received: u64,
        /// Bytes that should be.
        total: u64,
    },
    /// The server can't now.
    #[error("the server asks to come again later (status {status})")]
    Later {
        /// The status that it answered.
        status: u16,
        /// When, if it says so.
        after: Option<Duration>,
    },

    /// There is no such file.
    #[error("the server has no such file (status {0})")]
    Gone(u16),
    /// The server does not let us.
    #[error(
        "the server does not allow it, or no longer: the URL or the token has expired or is wrong (status {0})"
    )]
    NotAllowed(u16),
    /// The server says no.
    #[error("the server refused the request (status {0})")]
    Refused(u16),
    /// It is larger than it may be.
    #[error("more than {most} bytes would come")]
    TooLarge {
        /// Bytes that may come.
        most: u64,
    },
    /// It is not the file that was announced.
    #[error("the server's file has {told} bytes, and {announced} were announced")]
    OtherSize {
        /// Bytes that were announced.
        announced: u64,
        /// Bytes that the server says.
        told: u64,
    },
    /// More bytes came than were announced.
    #[error("the server sent more than the {0} bytes that were announced")]
    Longer(u64),
    /// It has no bytes.
    #[error("the server's file is empty")]
    Empty,
    /// TP-17.
    #[error("a piece of the file does not have the sum that the server tells of it, twice")]
    Damaged,
    /// DL-7.
    #[error("the server sent it encoded as {0:?}, although that was not asked for")]
    Encoded(String),
    /// DL-8.
    #[error("the server does not say where the file ends: it could have been cut off anywhere")]
    EndUnknown,
    /// Its ranges are not what was asked for, even where none was.
    #[error("the server's answer is not what was asked for: {0}")]
    Senseless(&'static str),
    /// It was another file again and again.
    #[error("the server's file changed again and again while it came")]
    Changes,
    /// DL-10.
    #[error("the server leads elsewhere more than {0} times")]
    Redirects(usize),
    /// DL-10.
    #[error("the server leads from https to http")]
    Downgraded,
    /// DL-10.
    #[error("the server leads elsewhere (status {0}) and does not say where")]
    Nowhere(u16),
    /// DL-10.
    #[error("where the server leads is no URL that is followed")]
    Redirect(#[from] WrongUrl),
    /// This machine's clock is wrong, or that of who has made the certificate.
    #[error(
        "the certificate of {0} is not valid yet by the clock of this machine, which may be wrong"
    )]
    NotValidYet(String),
    /// Who answers is not known, or does not know us.
    #[error("the connection to {0} can't be trusted")]
    Untrusted(String, #[source] rustls::Error),
    /// What TLS needs is not there.
    #[error("{0}")]
    Tls(Failure),
    /// What came could not be kept.
    #[error("what came can't be kept")]
    Sink(#[source] io::Error),
    /// Nothing came for too long.
    #[error("it was given up after {} without progress", seconds(.after))]
    GaveUp {
        /// For how long.
        after: Duration,
        /// Why the last attempt failed.
        #[source]
        last: Box<Trouble>,
    },
    /// Somebody said so.
    #[error("it was stopped")]
    Stopped,
}

/// What took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Late {
    /// The connection, with its encryption.
    #[error("no connection came about in time")]
    Connection,
    /// The head of the answer.
    #[error("the server did not answer in time")]
    Answer,
    /// The next bytes.
    #[error("nothing came any more")]
    Body,
}

impl Trouble {
    /// Whether the same request may succeed later.
    pub(crate) fn passes(&self) -> bool {
        matches!(
            self,
            Self::NoAddress(..)
                | Self::Unreachable(..)
                | Self::Broken(_)
                | Self::Late(_)
                | Self::NotHttp(_)
                | Self::Slow(_)
                | Self::Short { .. }
                | Self::Later { .. }
        )
    }

    /// How long the server wants to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Later { after, .. } => *after,
            Self::GaveUp { last, .. } => last.retry_after(),
            _ => None,
        }
    }

    /// The same for a person.
    pub(crate) fn into_failure(self) -> Failure {
        let kind = match &self {
            Self::Tls(failure) => return failure.clone(),
            Self::TooLarge { .. } => FailureKind::TooLarge,
            Self::Stopped => FailureKind::Cancelled,
            Self::GaveUp { .. } | Self::Late(_) => FailureKind::Timeout,
            _ => FailureKind::TransferFailed,
        };
        let hint = self.hint();
        let failure = match self {
            Self::Sink(error) => Failure::from_io(kind, "the download can't be kept", error),
            trouble => {
                let sentence = format!("the download failed: {trouble}");
                causes(Failure::new(kind, sentence), &trouble)
            }
        };
        match hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }

    /// What a person may do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Gone(_) => "look whether the URL is right, and the file still offered",
            Self::NotAllowed(_) => "get a new URL, or a token that is allowed to have it",
            Self::Refused(_) | Self::Senseless(_) | Self::NotHttp(_) => {
                "look whether the URL is that of the file, and at what the server logs"
            }
            Self::OtherSize { .. } | Self::Longer(_) | Self::Empty | Self::Changes => {
                "look at the file on the server; it may have been replaced after it was offered"
            }
            Self::Encoded(_) => "turn compression off for this file on the server",
            Self::EndUnknown => "let the server send a Content-Length",
            Self::Redirects(_) | Self::Downgraded | Self::Nowhere(_) | Self::Redirect(_) => {
                "use the URL at which the file lies in the end"
            }
            Self::NotValidYet(..) => {
                "set the clock: one that nothing has set yet stands in 1970, or where the last boot left it"
            }
            Self::Untrusted(..) => {
                "`ca_file` in the [transfer.http] section names who is trusted, and `client_certificate` who we are; the clock must be right"
            }
            Self::NoAddress(..) | Self::Unreachable(..) | Self::GaveUp { .. } => {
                "check the connection to the server, then start the upgrade again"
            }
            _ => return None,
        })
    }
}

fn causes(mut failure: Failure, trouble: &Trouble) -> Failure {
    let mut source = std::error::Error::source(trouble);
    while let Some(cause) = source {
        failure.causes.push(crate::model::without_number(&cause.to_string()).to_owned());
        source = cause.source();
    }
    failure
}

fn seconds(time: &Duration) -> impl fmt::Display {
    format!("{} s", time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_reads_what_happened_why_and_what_to_do() {
        let reset = || Trouble::Broken(io::Error::from_raw_os_error(104));
        let gave_up = Trouble::GaveUp { after: Duration::from_secs(60), last: Box::new(reset()) };
        let failure = gave_up.into_failure();
        assert_eq!(
            failure.to_string(),
            "the download failed: it was given up after 60 s without progress: the connection broke: Connection reset by peer"
        );
        assert_eq!(failure.kind, FailureKind::Timeout);
        let full = Trouble::Sink(io::Error::from_raw_os_error(28)).into_failure();
        assert_eq!(full.kind, FailureKind::NoSpace);
        assert_eq!(Trouble::TooLarge { most: 7 }.into_failure().kind, FailureKind::TooLarge);
        assert!(Trouble::NotAllowed(403).into_failure().hint().contains("new URL"));
    }

    #[test]
    fn what_the_server_asks_for_is_known_behind_giving_up_too() {
        let after = Some(Duration::from_secs(7));
        let last = Box::new(Trouble::Later { status: 503, after });
        assert_eq!(Trouble::GaveUp { after: Duration::ZERO, last }.retry_after(), after);
        assert!(Trouble::Later { status: 503, after }.passes());
        assert!(!Trouble::Gone(404).passes());
    }
}
