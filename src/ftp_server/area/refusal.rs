//! Why the upload area refuses something, and how a client of FTP is told.

use std::io;

use rustix::io::Errno;

use super::{MOST_FILES, MOST_FILES_OF_ONE};
use crate::ftp_server::reply::Reply;
use crate::handover::client::Trouble;
use crate::model::{Failure, FailureKind};

/// Why the area refused something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AreaError {
    #[error("No such file")]
    NotFound,
    #[error("A file is named by its name alone, without a directory or a leading dot")]
    NameRefused,
    #[error("Something that is not a file has this name")]
    NotAFile,
    #[error("There are {MOST_FILES} files already; delete some")]
    TooManyFiles,
    #[error("{MOST_FILES_OF_ONE} files are from your address already; delete some")]
    TooManyFilesOfOne,
    #[error("This file is another's")]
    Anothers,
    #[error("The file may have at most {largest} bytes")]
    TooLarge { largest: u64 },
    #[error("Not enough space is free")]
    NoSpace,
    #[error("The offset lies beyond the end of the file")]
    OffsetBeyondEnd,
    #[error("An upload starts at its beginning: send REST 0, or nothing, before STOR")]
    NothingToGoOn,
    #[error("The daemon has the file, and nobody can download it any more")]
    WithDaemon,
    #[error("{}", .0.sentence)]
    Daemon(Failure),
    #[error("The daemon is away: {0}")]
    DaemonAway(io::Error),
    #[error("The upload area failed: {0}")]
    Io(#[from] io::Error),
}

impl From<Errno> for AreaError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::NotFound,
            // A symbolic link where O_NOFOLLOW met one, or a name that is a directory.
            Errno::LOOP | Errno::ISDIR | Errno::NOTDIR => Self::NotAFile,
            Errno::NOSPC | Errno::DQUOT => Self::NoSpace,
            other => Self::Io(other.into()),
        }
    }
}

impl From<Trouble> for AreaError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(failure) => Self::Daemon(failure),
            Trouble::Away(error) => Self::DaemonAway(error),
        }
    }
}

impl AreaError {
    /// A failed write; a full disk has its own name.
    pub(super) fn from_write(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Io(error),
        }
    }

    /// The reply of RFC 959 that says it.
    pub(crate) fn reply(&self) -> Reply {
        let code = match self {
            Self::NotFound | Self::NotAFile | Self::Anothers | Self::WithDaemon => 550,
            Self::NameRefused => 553,
            Self::TooManyFiles | Self::TooManyFilesOfOne | Self::TooLarge { .. } => 552,
            Self::NoSpace => 452,
            Self::OffsetBeyondEnd | Self::NothingToGoOn => 554,
            Self::Daemon(failure) => match failure.kind {
                FailureKind::NameInvalid | FailureKind::WrongProduct => 553,
                FailureKind::TooLarge => 552,
                FailureKind::NoSpace => 452,
                FailureKind::Busy => 450,
                _ => 451,
            },
            Self::Io(_) | Self::DaemonAway(_) => 451,
        };
        Reply::new(code, self.to_string())
    }
}
