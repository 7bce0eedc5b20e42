//! The program at its path: which one it is, the swap to a new one, and back.
//!
//! At every instant the path names a complete program, the old one or the new one (design, I1). The
//! files of a swap lie in the staging area, on the same file system and the same mount:
//!
//! | file in `.uplift/` | what it is |
//! |---|---|
//! | `<name>.next-<digest>` | the new program of this digest on its way to the path; for an instant of the swap, the old one on its way to `.previous` |
//! | `<name>.previous` | the program that the last swap replaced; empty if there was none |
//! | `<name>.older` | what `.previous` was before the swap that is on trial; `.previous` again after a rollback, gone after a success |
//! | `<name>.failed` | the last program that was rolled back, for inspection |
//! | `<name>.kept` | the old program's second name while a swap without exchange runs |
//! | `<name>.laying` | a new tree that is not complete yet |
//! | `lock` | held for the time of a swap or a rollback, by whoever does it |
//!
//! Where the program is a tree, each of these is a directory (`.previous` the empty file all the same
//! where there was none), and a swap is the exchange of two directories; there is no other way
//! (`directory`).
//!
//! The room must not know why a program is installed or put back. All of it blocks, for some
//! milliseconds.

mod attributes;
mod directory;
mod first;
mod lock;
mod older;
mod reading;
mod rollback;
mod swap;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::fcntl::OFlag;

use crate::digest::program_digest;
use crate::disk::stamp::{Stamp, stamp};
use crate::disk::{Disk, LocalDisk, Operation};
use crate::model::{Failure, FailureKind, Form, PackageSummary, ProgramDigest};
use crate::package::check::Checked;
use crate::stage::{self, Staged, names};

use directory::TreeReading;
use first::First;
use reading::Reading;
use swap::{Swap, sync_directories};

pub(crate) use lock::Lock;
pub use rollback::Reverted;
pub use swap::Means;

/// Suffix of [`Program::next`], before the digest.
const NEXT: &str = ".next-";

/// Hexadecimal digits of a digest that stand in a file name.
const DIGEST_DIGITS: usize = 16;

/// The program at a path.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    stage: PathBuf,
    form: Form,
    disk: Arc<dyn Disk>,
    last_read: Arc<Mutex<Option<Reading>>>,
    last_tree: Arc<Mutex<Option<TreeReading>>>,
}

/// A swap that is done and durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swapped {
    /// What is at the path now.
    pub summary: PackageSummary,
    /// How it came there.
    pub means: Means,
}

/// The new program on its way: complete and durable but for its name.
struct Incoming {
    path: PathBuf,
    /// The very file that was checked, or the directory that was made of it.
    file: File,
}

impl Incoming {
    fn is_at(&self, path: &Path) -> bool {
        names(path, &self.file).unwrap_or(false)
    }
}

/// What is at the path before a swap.
enum Present {
    Nothing,
    Program(File),
}

impl Program {
    /// The program at `path`, which need not exist yet; its directory must.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::on(Arc::new(LocalDisk), path)
    }

    /// [`Program::new`] on a disk of the caller's.
    pub(crate) fn on(disk: Arc<dyn Disk>, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let (stage, form) = (stage::directory_beside(&path), Form::File);
        let (last_read, last_tree) = (Arc::default(), Arc::default());
        Self { path, stage, form, disk, last_read, last_tree }
    }

    /// The same, where it may be a directory.
    #[must_use]
    pub fn in_form(self, form: Form) -> Self {
        Self { form, ..self }
    }

    /// What lies at the path.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Where the program lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether what is at the path can be replaced: nothing, a regular file, or where it is a tree a
    /// directory. Otherwise
    /// `install-failed`, for a person to read before anything is sent.
    pub fn examine(&self) -> Result<(), Failure> {
        self.present().map(drop)
    }

    /// The digest of the program at the path; `None` if there is none. Reads all of it.
    pub fn digest(&self) -> io::Result<Option<ProgramDigest>> {
        match self.form {
            Form::File => self.read_unless(Reading::of, |_, _| false),
            Form::Tree => self.tree_digest(),
        }
    }

    /// The same, but a program that has not changed since it was read last is not read again. Good
    /// enough to say what is about to be replaced.
    pub fn known_digest(&self) -> io::Result<Option<ProgramDigest>> {
        match self.form {
            Form::File => self.read_unless(Reading::of, |last, stamp| last.is_of(stamp)),
            Form::Tree => self.known_tree_digest(),
        }
    }

    /// The same, good enough to prove something: what was read before [`Program::forget_reading`] does
    /// not count, and what was read since does as long as no change could have gone unnoticed
    /// (docs/design/README.md, "What was read").
    pub fn proved_digest(&self) -> io::Result<Option<ProgramDigest>> {
        match self.form {
            Form::File => {
                self.read_unless(Reading::that_tells, |last, stamp| last.is_surely_of(stamp))
            }
            // Some file of many may be changed by a mapping, and no stamp would tell.
            Form::Tree => self.tree_digest(),
        }
    }

    /// The digest of the file of this stamp, where that is the one that [`Program::proved_digest`]
    /// has read.
    pub(crate) fn proved_digest_of(&self, stamp: Stamp) -> Option<ProgramDigest> {
        let last_read = *self.last_read();
        last_read.filter(|last| last.is_surely_of(stamp)).map(|last| last.digest())
    }

    /// What is to be proved from now on is read anew.
    pub fn forget_reading(&self) {
        *self.last_read() = None;
        self.forget_tree();
    }

    fn read_unless(
        &self,
        read: impl FnOnce(File) -> io::Result<Reading>,
        is_known: impl FnOnce(&Reading, Stamp) -> bool,
    ) -> io::Result<Option<ProgramDigest>> {
        let Some(file) = open_if_present(&self.path)? else { return Ok(None) };
        let stamp = stamp(&file.metadata()?);
        // Whoever reads it meanwhile is waited for.
        let mut last_read = self.last_read();
        let reading = match *last_read {
            Some(last) if is_known(&last, stamp) => last,
            _ => read(file)?,
        };
        *last_read = Some(reading);
        Ok(Some(reading.digest()))
    }

    fn last_read(&self) -> MutexGuard<'_, Option<Reading>> {
        // Each holder leaves it whole.
        self.last_read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the checked file at the path, with owner, mode and extended attributes of the program
    /// that is there; durable on return. After a failure (`install-failed` or `no-space`) the old
    /// program is at the path.
    ///
    /// One exception: a disk that took the swap, failed to make it durable and failed to undo it
    /// leaves the new program there. The failure's sentence says so, [`Program::digest`] tells, and
    /// [`Program::revert`] can try again.
    pub fn install(&self, checked: Checked) -> Result<Swapped, Failure> {
        let (staged, summary) = checked.into_parts();
        let next = self.next(summary.program_digest);
        let _lock = self.lock()?;
        let present = self.present()?;
        // One that a success of long ago left.
        let displaced = File::open(self.beside(".older"));
        let incoming = self.prepare(&staged, &present)?;
        let means = self.bring_in(&incoming, &next, &present).inspect_err(|_| {
            self.discard(&incoming, &next);
            self.give_up(&incoming);
        })?;
        self.tidy();
        displaced.into_iter().for_each(free_later);
        Ok(Swapped { summary, means })
    }

    /// Keeps everybody from replacing the program, which must be this one, until the lock is
    /// dropped.
    pub(crate) fn hold(&self, expected: ProgramDigest) -> Result<Lock, Failure> {
        let lock = self.keep_others_out()?;
        let unreadable = |error| {
            Failure::from_io(FailureKind::InstallFailed, "the program can't be read", error)
        };
        if self.proved_digest().map_err(unreadable)? != Some(expected) {
            return Err(Failure::new(
                FailureKind::InstallFailed,
                "the program at the path is not the expected one any more",
            ));
        }
        // Where that fails it keeps the other name, under which it is found too.
        let _ = self.set_aside(expected);
        Ok(lock)
    }

    /// Takes the lock of a swap or a rollback, for whoever must look before it acts; waits for
    /// another holder for some seconds.
    pub(crate) fn lock(&self) -> Result<Lock, Failure> {
        Lock::acquire(&self.lock_file()?)
    }

    /// The same, for who only keeps the others out, and replaces nothing: a read-only file system
    /// is no obstacle.
    pub(crate) fn keep_others_out(&self) -> Result<Lock, Failure> {
        Lock::acquire_to_hold(&self.lock_file()?)
    }

    fn lock_file(&self) -> Result<PathBuf, Failure> {
        let lock = self.stage.join("lock");
        if !self.stage.is_dir() {
            // Somebody removed it by hand. Without a way back the program on trial is to be judged
            // all the same.
            self.disk
                .apply(Operation::MakeDirectory { path: &self.stage })
                .map_err(|error| lock::unlockable(&lock, error))?;
        }
        Ok(lock)
    }

    /// `<name><suffix>` in the staging area.
    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.file_name().map_or_else(OsString::new, OsString::from);
        name.push(suffix);
        self.stage.join(name)
    }

    /// The name of the program of this digest on its way to the path. If a swap is cut off, the
    /// name tells whether the file under it is the new program, not yet swapped in, or the old one,
    /// not yet set aside.
    fn next(&self, new: ProgramDigest) -> PathBuf {
        let digest = new.to_string();
        self.beside(&format!("{NEXT}{}", digest.get(..DIGEST_DIGITS).unwrap_or(&digest)))
    }

    fn present(&self) -> Result<Present, Failure> {
        let metadata = match fs::symlink_metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Present::Nothing),
            Err(error) => return Err(not_installed("looking at the program's path")(error)),
        };
        let is_right = match self.form {
            Form::File => metadata.is_file(),
            Form::Tree => metadata.is_dir(),
        };
        if !is_right {
            return Err(Failure::new(FailureKind::InstallFailed, self.describe(&metadata)));
        }
        open_no_follow(&self.path)
            .map(Present::Program)
            .map_err(not_installed("opening the installed program"))
    }

    /// A link would be replaced, and not what it points to: whoever made it would find it gone.
    fn describe(&self, metadata: &Metadata) -> String {
        let path = self.path.display();
        match fs::canonicalize(&self.path) {
            Ok(file) if metadata.is_symlink() => {
                format!(
                    "{path} is a symbolic link; give `path` in its [component.NAME] section as {}",
                    file.display()
                )
            }
            _ if metadata.is_symlink() => format!("{path} is a symbolic link to nothing"),
            _ if self.form == Form::Tree => format!("{path} is not a directory"),
            _ if metadata.is_dir() => format!("{path} is a directory, not a program"),
            _ => format!("{path} is not a regular file"),
        }
    }

    /// Makes the staged file what the program at the path is, but for its bytes, or the tree that is
    /// in it; durable on return.
    fn prepare(&self, staged: &Staged, present: &Present) -> Result<Incoming, Failure> {
        if self.form == Form::Tree {
            return self.lay(staged);
        }
        let file = staged.file();
        match present {
            Present::Program(old) => attributes::copy(&*self.disk, old, file),
            Present::Nothing => attributes::set_default(&*self.disk, file),
        }
        .map_err(not_installed("setting owner, mode and attributes of the new program"))?;
        self.disk
            .apply(Operation::Sync { file })
            .map_err(not_installed("syncing the new program"))?;
        let file = file.try_clone().map_err(not_installed("opening the new program"))?;
        Ok(Incoming { path: staged.path().to_owned(), file })
    }

    fn bring_in(
        &self,
        incoming: &Incoming,
        next: &Path,
        present: &Present,
    ) -> Result<Means, Failure> {
        self.rename_over(&incoming.path, next).map_err(not_installed("naming the new program"))?;
        self.keep_older().map_err(not_installed("keeping the program before the old one"))?;
        let synced = swap::sync_directories(&*self.disk, &[next]).and_then(|()| self.sync_older());
        synced.map_err(not_installed("syncing the staging area"))?;
        if !incoming.is_at(next) {
            return Err(Failure::new(
                FailureKind::InstallFailed,
                "the staged file is not the one that was checked any more",
            ));
        }
        match present {
            Present::Nothing => self.put_first(next),
            Present::Program(_) => self.replace(next),
        }
    }

    /// Removes the new program after a failure, but never an old one that has its name.
    fn discard(&self, incoming: &Incoming, next: &Path) {
        if incoming.is_at(next) {
            // What stays has a name that tells, and goes with the next swap that succeeds.
            let _ = self.remove(next);
        }
    }

    /// After an error at which the path names still, or again, what it named: that is made durable,
    /// and then the program before it has its place again; the other way round a power cut could
    /// keep the new program and cost the old one its name.
    fn give_up(&self, incoming: &Incoming) {
        if incoming.is_at(&self.path) {
            return;
        }
        let synced = sync_directories(&*self.disk, &[&self.path, &self.beside(".older")]);
        // The error that stopped the swap is the one to tell; whoever comes next tries again.
        let _ = synced.and_then(|()| self.restore_older());
    }

    /// Removes what swaps that were cut off have left; nothing leads back to it after a swap that
    /// was not.
    fn tidy(&self) {
        let prefix = self.beside(NEXT);
        let leftovers =
            fs::read_dir(&self.stage).into_iter().flatten().flatten().map(|entry| entry.path());
        for path in leftovers.filter(|path| {
            path.as_os_str().as_encoded_bytes().starts_with(prefix.as_os_str().as_encoded_bytes())
        }) {
            let _ = self.remove(&path); // it harms nobody; the next swap tries again
        }
    }

    fn replace(&self, next: &Path) -> Result<Means, Failure> {
        let previous = self.beside(".previous");
        let (disk, path, kept) = (&*self.disk, &self.path, self.beside(".kept"));
        let swap = Swap {
            disk,
            path,
            incoming: next,
            outgoing: &previous,
            kept: &kept,
            form: self.form,
            irreplaceable: false,
        };
        swap.perform().map_err(|unfinished| {
            swap.undo(unfinished).into_failure("the program was not replaced")
        })
    }

    fn put_first(&self, next: &Path) -> Result<Means, Failure> {
        let (marker, kept) = (self.beside(".previous"), self.beside(".kept"));
        let (disk, path, form) = (&*self.disk, self.path.as_path(), self.form);
        First { disk, path, incoming: next, marker: &marker, kept: &kept, form }.perform()
    }
}

fn digest_at(path: &Path) -> io::Result<Option<ProgramDigest>> {
    open_if_present(path)?.map(program_digest).transpose()
}

fn open_if_present(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The kernel frees a nameless file when its last descriptor is closed, in a time that grows with
/// its size: 10 ms for 64 MiB in memory. The swap, which is done by then, shall not wait for that.
fn free_later(file: File) {
    // Without a thread to do it the file is closed here.
    let _ = thread::Builder::new().name("free".into()).spawn(move || drop(file));
}

fn open_no_follow(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)
}

fn not_installed(step: &'static str) -> impl FnOnce(io::Error) -> Failure {
    move |error| {
        Failure::from_io(
            FailureKind::InstallFailed,
            format!("the program was not replaced: {step} failed"),
            error,
        )
    }
}
