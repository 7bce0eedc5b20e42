//! A directory as it is: what is in it, and its archive.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use sha2::Digest as _;
use xattr::FileExt as _;

use super::manifest::{MOST_ENTRIES, PERMISSIONS, Root};
use super::{Entry, Manifest, Owners, TreeError, header};
use crate::disk;
use crate::disk::stamp::stamp;
use crate::model::FileDigest;

/// The attribute with the capabilities of a file.
pub(super) const CAPABILITIES: &str = "security.capability";

/// A directory that was read.
#[derive(Debug, Clone)]
pub struct Scan {
    root: PathBuf,
    manifest: Manifest,
}

impl Scan {
    /// Reads all of a directory. What can't be in a tree is noted, and is no error.
    pub fn of(root: &Path, owners: Owners) -> Result<Self, TreeError> {
        let mut entries = Vec::new();
        let mut hash = |path: &str, metadata: &Metadata| {
            entries.push(describe(root, path, metadata, owners)?);
            Ok(())
        };
        let metadata = fs::symlink_metadata(root).map_err(|error| TreeError::at(root, &error))?;
        walk(root, "", &mut 0, &mut hash)?;
        let (mode, (user, group)) = (metadata.mode() & PERMISSIONS, owners.of(&metadata));
        let manifest = Manifest::of(Root { mode, user, group }, entries);
        Ok(Self { root: root.to_owned(), manifest })
    }

    /// What is in it.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Writes its archive, of what it was when it was read: an error where a file is another one by
    /// now.
    pub fn write_archive(&self, to: &mut impl Write) -> Result<(), TreeError> {
        let text = self.manifest.text()?;
        to.write_all(&header(text.len())?)?;
        to.write_all(&text)?;
        for entry in &self.manifest.entries {
            let Entry::File { path, size, .. } = entry else { continue };
            let place = self.root.join(path);
            let mut file = open(&place).map_err(|error| TreeError::at(&place, &error))?.take(*size);
            if io::copy(&mut file, to)? != *size {
                return Err(TreeError::Content(path.clone()));
            }
        }
        Ok(())
    }

    /// The same in a file without a name, which lies in this directory, or where that can't be, among
    /// the temporary ones.
    pub fn archive(&self, beside: &Path) -> Result<File, TreeError> {
        let unnamed = |directory: &Path| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).mode(0o600).custom_flags(OFlag::O_TMPFILE.bits());
            options.open(directory)
        };
        let file = unnamed(beside).or_else(|_| unnamed(&std::env::temp_dir()))?;
        let mut writer = io::BufWriter::new(&file);
        self.write_archive(&mut writer)?;
        writer.flush()?;
        drop(writer);
        Ok(file)
    }

    /// What a directory is known by, as long as nothing in it was changed: of names and of what tells
    /// a change of each, of mode and owner, too. Nothing is read of the files.
    pub(crate) fn stamp(root: &Path) -> Result<[u8; 32], TreeError> {
        let metadata = fs::symlink_metadata(root).map_err(|error| TreeError::at(root, &error))?;
        let mut stamps = vec![(String::new(), stamp(&metadata))];
        walk(root, "", &mut 0, &mut |path: &str, metadata: &Metadata| {
            stamps.push((path.to_owned(), stamp(metadata)));
            Ok(())
        })?;
        stamps.sort();
        let mut hasher = sha2::Sha256::new();
        // Quoted as they are printed, no two of them look like another one.
        stamps.iter().for_each(|one| hasher.update(format!("{one:?}")));
        Ok(hasher.finalize().into())
    }
}

/// Visits all that lies below a directory of the tree, and follows no link.
fn walk(
    root: &Path,
    below: &str,
    seen: &mut usize,
    visit: &mut impl FnMut(&str, &Metadata) -> Result<(), TreeError>,
) -> Result<(), TreeError> {
    let directory = if below.is_empty() { root.to_owned() } else { root.join(below) };
    let unreadable = |error: io::Error| TreeError::at(&directory, &error);
    for entry in fs::read_dir(&directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        *seen += 1;
        if *seen > MOST_ENTRIES {
            return Err(TreeError::Many(*seen));
        }
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let path = if below.is_empty() { name.into_owned() } else { format!("{below}/{name}") };
        let metadata = match entry.metadata() {
            // It went meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            found => found.map_err(unreadable)?,
        };
        visit(&path, &metadata)?;
        if metadata.is_dir() && entry.file_name().to_str().is_some() {
            walk(root, &path, seen, visit)?;
        }
    }
    Ok(())
}

fn describe(
    root: &Path,
    path: &str,
    metadata: &Metadata,
    owners: Owners,
) -> Result<Entry, TreeError> {
    let (kind, place) = (metadata.file_type(), root.join(path));
    let at_place = |error: io::Error| TreeError::at(&place, &error);
    let path = path.to_owned();
    let (mode, (user, group)) = (metadata.mode() & PERMISSIONS, owners.of(metadata));
    let other = |what: &str| Ok(Entry::Other { path: path.clone(), what: what.to_owned() });
    if path.contains(char::REPLACEMENT_CHARACTER) {
        return other("something with a name that is no UTF-8");
    }
    if kind.is_dir() {
        return Ok(Entry::Directory { path, mode, user, group });
    }
    if kind.is_symlink() {
        return match fs::read_link(&place).map_err(at_place)?.to_str() {
            Some(target) => Ok(Entry::Link { path, target: target.to_owned() }),
            None => other("a link to what is no UTF-8"),
        };
    }
    if !kind.is_file() {
        return other(match kind {
            kind if kind.is_fifo() => "a FIFO",
            kind if kind.is_socket() => "a socket",
            _ => "a device",
        });
    }
    let mut file = open(&place).map_err(at_place)?;
    let capabilities = capabilities_of(&file).map_err(at_place)?;
    let (size, sha256) = hash(&mut file).map_err(at_place)?;
    Ok(Entry::File { path, mode, user, group, size, sha256, capabilities })
}

fn capabilities_of(file: &File) -> io::Result<Option<Vec<u8>>> {
    match file.get_xattr(CAPABILITIES) {
        Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => Ok(None),
        result => result,
    }
}

fn hash(file: &mut File) -> io::Result<(u64, FileDigest)> {
    let (mut hasher, mut size, mut buffer) =
        (sha2::Sha256::new(), 0, vec![0; disk::COPY_BUFFER_SIZE]);
    loop {
        let n = disk::read(file, &mut buffer)?;
        if n == 0 {
            return Ok((size, FileDigest(hasher.finalize().into())));
        }
        hasher.update(&buffer[..n]);
        size += n as u64;
    }
}

/// Nothing but a file, wherever a link leads or who waits at a FIFO.
fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no file any more")),
    }
}
