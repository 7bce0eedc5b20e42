//! An upload that goes straight through: its bytes reach the stage as the host sends them, and at
//! the host's word the check is all that is left.
//!
//! One upload for each upgrade, by whoever begins it: it may go on behind what came, begin anew,
//! rename the file and delete it. All other uploads lie in the upload area and are pulled. The room
//! knows neither FTP nor sockets: it is the place where the hand-over of an upload
//! ([`crate::handover`]) and the payload link's wish for one meet. What it is told of, it asks for
//! on blocking threads alone.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::digest::BUFFER_SIZE;
use crate::model::file_name::FileName;
use crate::model::{ComponentName, Failure, FailureKind};
use crate::stage::{Announced, Receiving, Staged};

/// The place of that upload; cheap to clone.
#[derive(Clone, Default)]
pub struct Through(Arc<Mutex<Option<Awaited>>>);

/// What an upgrade that waits for an upload has to say and to hear.
pub struct Wishes {
    /// The component for a product, where hosts may replace one of it.
    pub component_of: ComponentOf,
    /// Starts (or starts over) the reception of a file. A refusal is as if nobody had asked.
    pub receive: Receive,
    /// Hears why an upload came to nothing.
    pub failed: Failed,
}

/// An upgrade waits for an upload as long as this is there.
pub struct Open {
    through: Through,
    number: u64,
}

/// Why an upload does not go straight through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Declined {
    /// It may lie in the upload area.
    Elsewhere(String),
    /// It goes on behind what never came.
    NothingToGoOn,
    /// It would have to go here, and can't.
    Failed(Failure),
}

/// What everybody may know of the upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The file's name.
    pub name: String,
    /// Who began it, in the words of the server.
    pub owner: String,
    /// Bytes that are there.
    pub size: u64,
    /// When the last of them came, where none comes now.
    pub modified: SystemTime,
    /// How far it is.
    pub standing: Standing,
}

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It comes.
    Arriving,
    /// It broke off; its owner may go on.
    Part,
    /// It is whole, and durable.
    Whole,
}

/// An upload that comes. Dropped unfinished, what came stays for its owner to go on.
pub struct Arriving {
    through: Through,
    number: u64,
    receiving: Option<Receiving>,
    received: Arc<AtomicU64>,
    failed: Failed,
}

struct Awaited {
    number: u64,
    wishes: Wishes,
    upload: Option<Upload>,
}

struct Upload {
    name: String,
    component: ComponentName,
    owner: String,
    content: Content,
}

enum Content {
    /// With [`Arriving`]; so many bytes came.
    Arriving(Arc<AtomicU64>),
    Part(Receiving),
    Whole(Staged),
}

impl Awaited {
    fn is_whole(&self) -> bool {
        matches!(&self.upload, Some(Upload { content: Content::Whole(_), .. }))
    }
}

/// What an upload begins with, behind some first bytes of what came before.
enum Beginning {
    Nothing,
    Part(Receiving),
    Whole(Staged),
}

type ComponentOf = Box<dyn Fn(&str) -> Option<ComponentName> + Send>;
type Receive = Arc<dyn Fn(Announced) -> Result<Receiving, Failure> + Send + Sync>;
type Failed = Arc<dyn Fn(Failure) + Send + Sync>;

impl Through {
    /// An upgrade waits for an upload from now on; one that waited before does no more.
    #[must_use]
    pub fn open(&self, wishes: Wishes) -> Open {
        static OPENED: AtomicU64 = AtomicU64::new(0);
        let number = OPENED.fetch_add(1, Ordering::Relaxed);
        let before = self.lock().replace(Awaited { number, wishes, upload: None });
        drop(before);
        Open { through: self.clone(), number }
    }

    /// Begins an upload of `owner` behind its first `offset` bytes. Blocks.
    pub fn begin(&self, name: &str, owner: &str, offset: u64) -> Result<Arriving, Declined> {
        let (mut arriving, beginning, receive) = self.enter(name, owner, offset)?;
        let receive = || receive(Announced::named(name.to_owned(), None));
        let receiving = match beginning {
            // The pull will find the reason too, and tell it.
            Beginning::Nothing => {
                receive().map_err(|failure| Declined::Elsewhere(failure.to_string()))
            }
            Beginning::Part(part) => part.cut(offset).map_err(Declined::Failed),
            Beginning::Whole(staged) => receive()
                .and_then(|receiving| behind_the_first(offset, &staged, receiving))
                .map_err(Declined::Failed),
        };
        match receiving {
            Ok(receiving) => {
                arriving.received.store(receiving.received(), Ordering::Relaxed);
                arriving.receiving = Some(receiving);
                Ok(arriving)
            }
            Err(declined) => {
                self.with_upload(arriving.number, |upload| *upload = None);
                Err(declined)
            }
        }
    }

    /// Makes the place that of an upload which begins, unless it is taken.
    fn enter(
        &self,
        name: &str,
        owner: &str,
        offset: u64,
    ) -> Result<(Arriving, Beginning, Receive), Declined> {
        let elsewhere = |why: &str| Err(Declined::Elsewhere(why.to_owned()));
        let mut place = self.lock();
        let Some(Awaited { number, wishes, upload }) = &mut *place else {
            return elsewhere("no upgrade waits for an upload");
        };
        let Ok(parsed) = name.parse::<FileName>() else {
            return elsewhere("it has not the name of a firmware file");
        };
        let Some(component) = (wishes.component_of)(parsed.product()) else {
            return elsewhere("no host may replace a component of this product");
        };
        if upload.as_ref().is_some_and(|upload| upload.owner != owner || upload.name != name) {
            return elsewhere("another upload goes straight through");
        }
        let there = match upload.as_ref().map(|upload| &upload.content) {
            Some(Content::Arriving(_)) => return elsewhere("this upload runs already"),
            Some(Content::Part(part)) => part.received(),
            Some(Content::Whole(staged)) => staged.size,
            None => 0,
        };
        if offset > there {
            return Err(Declined::NothingToGoOn);
        }
        let received = Arc::new(AtomicU64::new(0));
        let before = upload.replace(Upload {
            name: name.to_owned(),
            component,
            owner: owner.to_owned(),
            content: Content::Arriving(Arc::clone(&received)),
        });
        let beginning = match before.map(|upload| upload.content).filter(|_| offset > 0) {
            Some(Content::Part(part)) => Beginning::Part(part),
            Some(Content::Whole(staged)) => Beginning::Whole(staged),
            Some(Content::Arriving(_)) | None => Beginning::Nothing,
        };
        let (through, failed) = (self.clone(), Arc::clone(&wishes.failed));
        let arriving = Arriving { through, number: *number, receiving: None, received, failed };
        Ok((arriving, beginning, Arc::clone(&wishes.receive)))
    }

    /// What is there of an upload.
    pub fn look(&self) -> Option<Seen> {
        let place = self.lock();
        let upload = place.as_ref()?.upload.as_ref()?;
        let (size, standing, file) = match &upload.content {
            Content::Arriving(received) => {
                (received.load(Ordering::Relaxed), Standing::Arriving, None)
            }
            Content::Part(part) => (part.received(), Standing::Part, Some(part.file())),
            Content::Whole(staged) => (staged.size, Standing::Whole, Some(staged.file())),
        };
        let modified = file.and_then(|file| file.metadata().ok()?.modified().ok());
        Some(Seen {
            name: upload.name.clone(),
            owner: upload.owner.clone(),
            size,
            modified: modified.unwrap_or(SystemTime::UNIX_EPOCH),
            standing,
        })
    }

    /// Gives the file another name, which must be one for the same component.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), Failure> {
        let mut place = self.lock();
        let Some(Awaited { wishes, upload: Some(upload), .. }) = &mut *place else {
            return Err(not_there(from));
        };
        if upload.name != from {
            return Err(not_there(from));
        }
        let parsed = to.parse::<FileName>().map_err(|error| error.into_failure(to))?;
        if (wishes.component_of)(parsed.product()) != Some(upload.component) {
            let sentence = format!("{to:?} is not for component {}", upload.component);
            return Err(Failure::new(FailureKind::WrongProduct, sentence));
        }
        match &mut upload.content {
            Content::Arriving(_) => {
                let sentence = format!("{from:?} is being uploaded");
                return Err(Failure::new(FailureKind::Busy, sentence));
            }
            Content::Part(part) => part.rename(to),
            Content::Whole(staged) => staged.file_name = Some(to.to_owned()),
        }
        upload.name = to.to_owned();
        Ok(())
    }

    /// Throws the file away; false where there is none of this name, or it is being uploaded.
    /// Blocks.
    pub fn remove(&self, name: &str) -> bool {
        let (removed, failed) = {
            let mut place = self.lock();
            let Some(Awaited { wishes, upload, .. }) = &mut *place else { return false };
            let removed = upload.take_if(|upload| {
                upload.name == name && !matches!(upload.content, Content::Arriving(_))
            });
            (removed, Arc::clone(&wishes.failed))
        };
        let is_removed = removed.is_some();
        drop(removed);
        if is_removed {
            let sentence = format!("the uploaded file {name:?} was deleted by its host");
            failed(Failure::new(FailureKind::TransferFailed, sentence));
        }
        is_removed
    }

    /// The host says that all is there: what is not whole does not count, and nothing more comes.
    pub(super) fn settle(&self) {
        let left = self.lock().take_if(|awaited| !awaited.is_whole());
        drop(left);
    }

    /// Whether the file is whole and its content is trusted, in the words of whoever asks.
    pub(super) fn is_whole_and(&self, trusted: impl FnOnce(&File, u64) -> bool) -> bool {
        match self.lock().as_ref().and_then(|awaited| awaited.upload.as_ref()) {
            Some(Upload { content: Content::Whole(staged), .. }) => {
                trusted(staged.file(), staged.size)
            }
            _ => false,
        }
    }

    /// The file, if it is whole: the upgrade waits for no upload any more.
    pub(super) fn take_whole(&self) -> Option<Staged> {
        let mut place = self.lock();
        match place.take_if(|awaited| awaited.is_whole())?.upload?.content {
            Content::Whole(staged) => Some(staged),
            _ => None,
        }
    }

    /// Does something with the upload of an upgrade that still waits.
    fn with_upload<T>(&self, number: u64, act: impl FnOnce(&mut Option<Upload>) -> T) -> Option<T> {
        let mut place = self.lock();
        place
            .as_mut()
            .filter(|awaited| awaited.number == number)
            .map(|awaited| act(&mut awaited.upload))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Awaited>> {
        // Each call leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// The place.
    pub(super) fn through(&self) -> Through {
        self.through.clone()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let closed = self.through.lock().take_if(|awaited| awaited.number == self.number);
        drop(closed);
    }
}

impl Arriving {
    /// Bytes that are there, of which the peer sends the rest.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Takes the next bytes. After a failure nothing is left of the upload.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(receiving) = &mut self.receiving else { return Err(over()) };
        if let Err(failure) = receiving.write(bytes) {
            return Err(self.fail(failure));
        }
        self.received.store(receiving.received(), Ordering::Relaxed);
        Ok(())
    }

    /// All came: the file is durable, and waits for the host's word. The answer is its size.
    pub fn finish(mut self) -> Result<u64, Failure> {
        let Some(receiving) = self.receiving.take() else { return Err(over()) };
        let staged = receiving.finish(None).map_err(|failure| self.fail(failure))?;
        let size = staged.size;
        self.put(Content::Whole(staged)).map(|()| size)
    }

    /// Puts down what came, unless the upgrade is over.
    fn put(&self, content: Content) -> Result<(), Failure> {
        let put = self.through.with_upload(self.number, |upload| {
            let Some(upload) = upload else { return Err(over()) };
            upload.content = content;
            Ok(())
        });
        put.unwrap_or_else(|| Err(over()))
    }

    fn fail(&mut self, failure: Failure) -> Failure {
        self.receiving = None;
        if self.through.with_upload(self.number, |upload| *upload = None).is_some() {
            (self.failed)(failure.clone());
        }
        failure
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if let Some(part) = self.receiving.take() {
            // Nobody goes on with the file of an upgrade that is over.
            let _ = self.put(Content::Part(part));
        }
    }
}

/// A reception that has the first bytes of a file which was whole.
fn behind_the_first(
    size: u64,
    staged: &Staged,
    mut receiving: Receiving,
) -> Result<Receiving, Failure> {
    let unreadable = |error: io::Error| {
        Failure::from_io(FailureKind::InstallFailed, "the staged file can't be read", error)
    };
    let mut from = staged.file();
    from.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let (mut left, mut buffer) = (size, Vec::with_capacity(BUFFER_SIZE));
    while left > 0 {
        let most = left.min(BUFFER_SIZE as u64);
        let n = from.take(most).read_to_end(&mut buffer).map_err(unreadable)?;
        if n == 0 {
            return Err(Failure::new(FailureKind::Internal, "the staged file became shorter"));
        }
        receiving.write(&buffer)?;
        left -= n as u64;
        buffer.clear();
    }
    Ok(receiving)
}

fn not_there(name: &str) -> Failure {
    Failure::new(FailureKind::TransferFailed, format!("no uploaded file is named {name:?}"))
}

fn over() -> Failure {
    Failure::new(FailureKind::Cancelled, "the upgrade that this upload was for is over")
}

impl fmt::Debug for Through {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Through").field(&self.look()).finish()
    }
}

impl fmt::Debug for Wishes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wishes").finish_non_exhaustive()
    }
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").field("number", &self.number).finish_non_exhaustive()
    }
}

impl fmt::Debug for Arriving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arriving").field("received", &self.received).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
