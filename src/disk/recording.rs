//! A disk for tests: the real one, which writes each change down as data, so that
//! [`crate::crash_states`] can ask what a power cut leaves of it.
//!
//! Nothing is synced in truth: what is durable is for the model to say, and a real sync would only
//! take time.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nix::errno::Errno;

use super::{Disk, LocalDisk, Operation};

/// A file that was created, or opened to be changed, while the disk recorded, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Created(pub(crate) usize);

/// A change that took place. Paths are relative to the disk's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Create {
        path: PathBuf,
        file: Created,
        mode: u32,
        owner: (u32, u32),
    },
    /// No change: a file that was there before is opened, and may be changed from now on.
    Open {
        path: PathBuf,
        file: Created,
    },
    MakeDirectory {
        path: PathBuf,
    },
    Allocate {
        file: Created,
        size: usize,
    },
    Write {
        file: Created,
        offset: usize,
        bytes: Vec<u8>,
    },
    SyncData {
        file: Created,
    },
    Sync {
        file: Created,
    },
    SyncDirectory {
        path: PathBuf,
    },
    SyncMoved {
        path: PathBuf,
    },
    SetOwner {
        file: Created,
        owner: (u32, u32),
    },
    SetMode {
        file: Created,
        mode: u32,
    },
    SetAttribute {
        file: Created,
        name: OsString,
        value: Vec<u8>,
    },
    RemoveAttribute {
        file: Created,
        name: OsString,
    },
    Exchange {
        one: PathBuf,
        other: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Link {
        original: PathBuf,
        name: PathBuf,
    },
    MakeLink {
        target: PathBuf,
        path: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    RemoveDirectory {
        path: PathBuf,
    },
}

/// When a change takes place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Moment {
    /// The boot that runs.
    pub(crate) boot: String,
    /// The start of the unit that runs, where there is one.
    pub(crate) start: Option<Start>,
}

/// A start of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Start {
    pub(crate) invocation: String,
    /// Whether it is one of the new program, where that matters.
    pub(crate) is_new: bool,
}

/// A change, and when it took place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) change: Change,
    pub(crate) moment: Moment,
}

/// Tells the moment.
type Clock = Box<dyn Fn() -> Moment + Send + Sync>;

/// The disk. Everything below `root` is its business.
pub(crate) struct RecordingDisk {
    root: PathBuf,
    clock: Clock,
    /// Names of operations that this file system does not have.
    lacks: &'static [&'static str],
    /// Whether a file that was moved needs a sync of its own.
    syncs_moved: bool,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    changes: Vec<Recorded>,
    /// By the numbers of their inodes. A number that is used again stands for the file that has it
    /// now.
    files: HashMap<u64, Created>,
    created: usize,
}

impl RecordingDisk {
    /// A disk on which the operations of these names (such as `Exchange`) are refused, as by a
    /// simpler file system.
    pub(crate) fn new(root: &Path, clock: Clock, lacks: &'static [&'static str]) -> Self {
        Self { root: root.to_owned(), clock, lacks, syncs_moved: false, log: Mutex::default() }
    }

    /// The same on a file system of the vfat kind, or not.
    pub(crate) fn of_fat_kind(self, fat: bool) -> Self {
        Self { syncs_moved: fat, ..self }
    }

    /// The changes so far, in the order in which they took place. What failed changed nothing.
    pub(crate) fn changes(&self) -> Vec<Recorded> {
        self.log.lock().unwrap().changes.clone()
    }

    /// How many changes there are so far.
    pub(crate) fn len(&self) -> usize {
        self.log.lock().unwrap().changes.len()
    }

    fn now(&self, change: Change) -> Recorded {
        Recorded { change, moment: (self.clock)() }
    }

    fn relative(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).expect("the disk's root").to_owned()
    }

    /// Makes a file known that was there before.
    fn meet(&self, operation: &Operation<'_>, log: &mut Log) {
        let Some(number) = file_of(operation).map(|file| file.metadata().unwrap().ino()) else {
            return;
        };
        if log.files.contains_key(&number) {
            return;
        }
        let path = find(&self.root, number).expect("a file below the disk's root");
        let file = Created(log.created);
        log.created += 1;
        log.files.insert(number, file);
        log.changes.push(self.now(Change::Open { path: self.relative(&path), file }));
    }

    fn change(&self, operation: Operation<'_>, log: &Log) -> Change {
        let file = |file: &File| log.files[&file.metadata().unwrap().ino()];
        let path = |path: &Path| self.relative(path);
        match operation {
            Operation::MakeDirectory { path: directory } => {
                Change::MakeDirectory { path: path(directory) }
            }
            Operation::Allocate { file: of, size } => {
                Change::Allocate { file: file(of), size: usize::try_from(size).unwrap() }
            }
            Operation::Write { file: mut of, bytes } => {
                let offset = usize::try_from(of.stream_position().unwrap()).unwrap();
                Change::Write { file: file(of), offset, bytes: bytes.to_vec() }
            }
            Operation::SyncData { file: of } => Change::SyncData { file: file(of) },
            Operation::Sync { file: of } => Change::Sync { file: file(of) },
            Operation::SyncDirectory { path: directory } => {
                Change::SyncDirectory { path: path(directory) }
            }
            Operation::SyncMoved { path: name } => Change::SyncMoved { path: path(name) },
            Operation::SetOwner { file: of, user, group } => {
                Change::SetOwner { file: file(of), owner: (user, group) }
            }
            Operation::SetMode { file: of, mode } => Change::SetMode { file: file(of), mode },
            Operation::SetAttribute { file: of, name, value } => Change::SetAttribute {
                file: file(of),
                name: name.to_owned(),
                value: value.to_owned(),
            },
            Operation::RemoveAttribute { file: of, name } => {
                Change::RemoveAttribute { file: file(of), name: name.to_owned() }
            }
            Operation::SetFlags { .. } => unreachable!("no directory of these tests gives flags"),
            Operation::Resize { .. } => unreachable!("no story of these tests goes back in a file"),
            Operation::Exchange { one, other } => {
                Change::Exchange { one: path(one), other: path(other) }
            }
            Operation::Rename { from, to } | Operation::RenameToFree { from, to } => {
                Change::Rename { from: path(from), to: path(to) }
            }
            Operation::Link { original, name } => {
                Change::Link { original: path(original), name: path(name) }
            }
            Operation::MakeLink { target, path: name } => {
                Change::MakeLink { target: target.to_owned(), path: path(name) }
            }
            Operation::Remove { path: name } => Change::Remove { path: path(name) },
            Operation::RemoveDirectory { path: name } => {
                Change::RemoveDirectory { path: path(name) }
            }
        }
    }
}

impl Disk for RecordingDisk {
    fn create(&self, path: &Path, mode: u32) -> io::Result<File> {
        let mut log = self.log.lock().unwrap();
        let file = LocalDisk.create(path, mode)?;
        let metadata = file.metadata()?;
        let created = Created(log.created);
        log.created += 1;
        log.files.insert(metadata.ino(), created);
        let (mode, owner) = (metadata.mode() & 0o7777, (metadata.uid(), metadata.gid()));
        log.changes.push(self.now(Change::Create {
            path: self.relative(path),
            file: created,
            mode,
            owner,
        }));
        Ok(file)
    }

    fn apply(&self, operation: Operation<'_>) -> io::Result<()> {
        if self.lacks.contains(&first_word(&operation).as_str()) {
            return Err(Errno::EOPNOTSUPP.into());
        }
        if matches!(operation, Operation::SyncMoved { path } if !self.syncs_moved || !path.exists())
        {
            return Ok(());
        }
        let mut log = self.log.lock().unwrap();
        self.meet(&operation, &mut log);
        let change = self.change(operation, &log);
        let is_sync = matches!(
            change,
            Change::SyncData { .. }
                | Change::Sync { .. }
                | Change::SyncDirectory { .. }
                | Change::SyncMoved { .. }
        );
        if !is_sync {
            LocalDisk.apply(operation)?;
        }
        log.changes.push(self.now(change));
        Ok(())
    }
}

/// The open file that an operation changes.
fn file_of<'a>(operation: &Operation<'a>) -> Option<&'a File> {
    match operation {
        Operation::Allocate { file, .. }
        | Operation::Write { file, .. }
        | Operation::SyncData { file }
        | Operation::Sync { file }
        | Operation::SetOwner { file, .. }
        | Operation::SetMode { file, .. }
        | Operation::SetAttribute { file, .. }
        | Operation::RemoveAttribute { file, .. } => Some(file),
        _ => None,
    }
}

/// A name of the file of this number, below a directory.
fn find(directory: &Path, number: u64) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.into_iter().find_map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => find(&entry.path(), number),
        Ok(metadata) if metadata.ino() == number => Some(entry.path()),
        _ => None,
    })
}

/// The name of a variant, without the text of what is in it: that may be a whole file, and is asked
/// for at each step.
pub(crate) fn first_word(value: &impl fmt::Debug) -> String {
    struct FirstWord(String);
    impl fmt::Write for FirstWord {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let length = text.find(char::is_whitespace);
            self.0.push_str(&text[..length.unwrap_or(text.len())]);
            length.map_or(Ok(()), |_| Err(fmt::Error))
        }
    }
    let mut word = FirstWord(String::new());
    // The error is ours, and ends the formatting.
    let _ = fmt::write(&mut word, format_args!("{value:?}"));
    word.0
}

impl fmt::Debug for RecordingDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordingDisk").field("root", &self.root).finish_non_exhaustive()
    }
}
