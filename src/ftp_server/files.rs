//! What clients see: the upload area, and in it the upload that went straight to the daemon.
//!
//! The daemon says of each upload whether an upgrade waits for it. Its bytes go there then, and are
//! written once; listing, size, time, rename and delete are told from what the daemon has. It is
//! asked each time: a server that starts anew, or finds the daemon away, says nothing false.
//!
//! All calls block: they are for blocking threads.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use super::area::{self, Area, AreaError, Claim};
use super::command::PathText;
use super::listing::{Entry, Modified};
use super::name::{FileName, RemotePath};
use super::who::Who;
use crate::handover::Uploaded;
use crate::handover::client::{Begun, Sending, Uploads};

/// The files of the server.
#[derive(Debug)]
pub(crate) struct Files {
    area: Arc<Area>,
    daemon: Uploads,
}

/// A file that is being uploaded. Dropped before [`Files::publish`], it does not appear.
#[derive(Debug)]
pub(crate) enum Upload {
    /// Into the area, where it leaves nothing behind if it breaks off.
    Area(area::Upload),
    /// Straight to the daemon, where its client may go on with it if it breaks off.
    Through {
        sending: Sending,
        claim: Claim,
        /// Bytes that are there, with those that were before it went on.
        written: u64,
    },
}

impl Files {
    pub(crate) fn new(area: Arc<Area>, daemon: Uploads) -> Self {
        Self { area, daemon }
    }

    /// What a client's path names.
    pub(crate) fn resolve(&self, path: &PathText) -> Result<RemotePath, AreaError> {
        self.area.resolve(path)
    }

    /// A file's size and time, for `who`.
    pub(crate) fn entry(&self, path: &PathText, who: &Who) -> Result<Entry, AreaError> {
        let name = self.area.file_name(path)?;
        match self.with_daemon().filter(|entry| entry.name == name) {
            Some(entry) => Ok(entry),
            None => self.area.entry(path, who),
        }
    }

    /// What `path` lists: the files of the root, or the one file; sorted by name.
    pub(crate) fn list(&self, path: Option<&PathText>) -> Result<Vec<Entry>, AreaError> {
        let Some(through) = self.with_daemon() else { return self.area.list(path) };
        if let Some(path) = path
            && let RemotePath::File(name) = self.resolve(path)?
        {
            return if name == through.name {
                Ok(vec![through])
            } else {
                self.area.list(Some(path))
            };
        }
        let mut entries = self.area.list(None)?;
        entries.retain(|entry| entry.name != through.name);
        let place = entries.partition_point(|entry| entry.name < through.name);
        entries.insert(place, through);
        Ok(entries)
    }

    /// Opens a file for a download by `who` from `offset` on; with it comes the number of bytes
    /// that follow.
    pub(crate) fn read(
        &self,
        path: &PathText,
        offset: u64,
        who: &Who,
    ) -> Result<(File, u64), AreaError> {
        if self.is_with_daemon(&self.area.file_name(path)?) {
            return Err(AreaError::WithDaemon);
        }
        self.area.read(path, offset, who)
    }

    /// Removes a file for `who`.
    pub(crate) fn delete(&self, path: &PathText, who: &Who) -> Result<FileName, AreaError> {
        let name = self.area.file_name(path)?;
        if !self.is_with_daemon(&name) {
            return self.area.delete(path, who);
        }
        self.area.may_change(&[&name], who)?;
        self.daemon.remove(text(&name)?)?;
        self.area.removed(&name);
        Ok(name)
    }

    /// Whether `who` may rename the file at `path`: its name.
    pub(crate) fn may_rename(&self, path: &PathText, who: &Who) -> Result<FileName, AreaError> {
        let name = self.area.file_name(path)?;
        if !self.is_with_daemon(&name) {
            return self.area.may_rename(path, who);
        }
        self.area.may_change(&[&name], who)?;
        Ok(name)
    }

    /// Gives a file of `who` another name, in place of one that had it before.
    pub(crate) fn rename(
        &self,
        from: &FileName,
        path: &PathText,
        who: &Who,
    ) -> Result<FileName, AreaError> {
        if !self.is_with_daemon(from) {
            let to = self.area.rename(from, path, who)?;
            self.make_way(&to);
            return Ok(to);
        }
        let to = self.area.file_name(path)?;
        self.area.may_change(&[from, &to], who)?;
        self.daemon.rename(text(from)?, text(&to)?)?;
        self.area.gone(&to)?;
        self.area.renamed(from, &to, who);
        Ok(to)
    }

    /// Whether an upload of this size would fit now.
    pub(crate) fn fits(&self, bytes: u64) -> Result<(), AreaError> {
        self.area.fits(bytes)
    }

    /// Starts an upload of `who` to `path`, of `announced` bytes as far as the client said, behind
    /// the first `offset` bytes of what came before.
    pub(crate) fn upload(
        &self,
        path: &PathText,
        announced: Option<u64>,
        offset: u64,
        who: &Who,
    ) -> Result<Upload, AreaError> {
        let name = self.area.file_name(path)?;
        let elsewhere = self.with_daemon().map(|entry| entry.name);
        let claim = self.area.claim(&name, who, elsewhere.as_ref())?;
        let why = match text(&name).map(|text| self.daemon.begin(text, &who.to_string(), offset)) {
            Ok(Begun::Through(sending)) => {
                return Ok(Upload::Through { sending, claim, written: offset });
            }
            Ok(Begun::NothingToGoOn) => return Err(AreaError::OffsetBeyondEnd),
            Ok(Begun::Failed(failure)) => return Err(AreaError::Daemon(failure)),
            Ok(Begun::Elsewhere(why)) => why,
            Ok(Begun::Away(error)) => {
                tell_of_daemon(&error);
                "the daemon is away".to_owned()
            }
            Err(_) => "its name is no text".to_owned(),
        };
        tracing::debug!(file = ?name, "{name:?} goes to the upload area: {why}");
        if offset > 0 {
            return Err(AreaError::NothingToGoOn);
        }
        self.area.begin(claim, announced).map(Upload::Area)
    }

    /// What is whole gets its name, in place of one that had it before.
    pub(crate) fn publish(&self, upload: Upload) -> Result<(), AreaError> {
        match upload {
            Upload::Area(upload) => {
                let name = upload.name().clone();
                upload.publish()?;
                self.make_way(&name);
            }
            Upload::Through { sending, claim, .. } => {
                sending.finish()?;
                self.area.gone(claim.name())?;
                claim.arrived();
            }
        }
        Ok(())
    }

    /// What the daemon had under a name is not what has it now.
    fn make_way(&self, name: &FileName) {
        if let (true, Ok(name)) = (self.is_with_daemon(name), text(name))
            && let Err(trouble) = self.daemon.remove(name)
        {
            tracing::warn!(
                file = name,
                "{name:?} was stored again, and the daemon keeps the one before: {trouble}"
            );
        }
    }

    fn is_with_daemon(&self, name: &FileName) -> bool {
        self.with_daemon().is_some_and(|entry| entry.name == *name)
    }

    /// What the daemon has, as clients see it. Nobody sees what is arriving.
    fn with_daemon(&self) -> Option<Entry> {
        let Uploaded { file_name, size, modified, .. } =
            self.daemon.look().filter(|upload| !upload.is_arriving)?;
        let name = FileName::parse(file_name.as_bytes())?;
        Some(Entry { name, size, modified: Modified::since_1970(modified) })
    }
}

impl Upload {
    /// The name that the file will have.
    pub(crate) fn name(&self) -> &FileName {
        match self {
            Self::Area(upload) => upload.name(),
            Self::Through { claim, .. } => claim.name(),
        }
    }

    /// Where it goes, for the log.
    pub(crate) fn destination(&self) -> &'static str {
        match self {
            Self::Area(_) => "into the upload area",
            Self::Through { .. } => "straight to the daemon",
        }
    }

    /// Bytes so far.
    pub(crate) fn written(&self) -> u64 {
        match self {
            Self::Area(upload) => upload.written(),
            Self::Through { written, .. } => *written,
        }
    }

    /// Takes the next bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), AreaError> {
        match self {
            Self::Area(upload) => upload.write(bytes),
            Self::Through { sending, written, .. } => {
                sending.write(bytes)?;
                *written += bytes.len() as u64;
                Ok(())
            }
        }
    }
}

/// A daemon that does not run, or has no link, has no socket either. All else is nothing that
/// passes.
fn tell_of_daemon(error: &io::Error) {
    if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) {
        tracing::warn!("uploads can't be handed to the daemon, which pulls them now: {error}");
    }
}

/// A name as the daemon knows names.
fn text(name: &FileName) -> Result<&str, AreaError> {
    std::str::from_utf8(name.as_bytes()).map_err(|_| AreaError::NameRefused)
}
