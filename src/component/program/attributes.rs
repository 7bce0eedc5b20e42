//! Owner, mode, extended attributes (access lists among them) and flags: a new program has what the
//! old one has, and nothing else. Whatever the directory gave it by itself, by a default access
//! list, its set-group-id bit or its flags, goes.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use nix::errno::Errno;
use nix::unistd::{getegid, geteuid};
use rustix::fs::IFlags;
use xattr::FileExt as _;

use crate::disk::{Disk, Operation};

/// Mode of a program that replaces none.
const DEFAULT_MODE: u32 = 0o755;

/// Bits of a mode that are permissions; the rest tells the file's type.
const PERMISSION_BITS: u32 = 0o7777;

/// Attributes that speak of a file's bytes: wrong on any other file.
const BOUND_TO_CONTENT: [&str; 2] = ["security.ima", "security.evm"];

/// Flags of a file (`lsattr`) that a directory gives to what is made in it, and that say how the
/// file is to be treated.
const INHERITED: IFlags = IFlags::SYNC.union(IFlags::NODUMP).union(IFlags::NOATIME);

/// Gives `new` what `old` has. In this order: a change of owner clears set-id bits and file
/// capabilities, and the bits of the group are a mask where there is an access list.
pub(super) fn copy(disk: &dyn Disk, old: &File, new: &File) -> io::Result<()> {
    let metadata = old.metadata()?;
    let mode = metadata.permissions().mode() & PERMISSION_BITS;
    let names = extended(old)?;
    disk.apply(Operation::SetOwner { file: new, user: metadata.uid(), group: metadata.gid() })?;
    remove_others(disk, new, &names)?;
    disk.apply(Operation::SetMode { file: new, mode })?;
    copy_extended(disk, old, new, &names)?;
    set_flags(disk, new, flags(old))?;
    must_have(new, (metadata.uid(), metadata.gid()), mode)
}

/// What a first installation has: executable by all, of the user and the group that install (root,
/// for the daemon), without attributes.
pub(super) fn set_default(disk: &dyn Disk, new: &File) -> io::Result<()> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let metadata = new.metadata()?;
    if (metadata.uid(), metadata.gid()) != (user, group) {
        disk.apply(Operation::SetOwner { file: new, user, group })?;
    }
    remove_others(disk, new, &[])?;
    disk.apply(Operation::SetMode { file: new, mode: DEFAULT_MODE })?;
    set_flags(disk, new, Some(IFlags::empty()))?;
    must_have(new, (user, group), DEFAULT_MODE)
}

/// A file system may take a mode or an owner and keep another one.
fn must_have(file: &File, owner: (u32, u32), mode: u32) -> io::Result<()> {
    let metadata = file.metadata()?;
    let found = (metadata.uid(), metadata.gid(), metadata.permissions().mode() & PERMISSION_BITS);
    if found == (owner.0, owner.1, mode) {
        return Ok(());
    }
    let (user, group) = owner;
    let sentence = format!(
        "the file system kept {}:{} {:o} for {user}:{group} {mode:o}",
        found.0, found.1, found.2
    );
    Err(io::Error::other(sentence))
}

/// The names of the attributes that speak of a file, and not of its bytes.
fn extended(file: &File) -> io::Result<Vec<OsString>> {
    match file.list_xattr() {
        Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => Ok(Vec::new()),
        names => Ok(names?
            .filter(|name| !BOUND_TO_CONTENT.iter().any(|bound| name == OsStr::new(bound)))
            .collect()),
    }
}

/// Labels of the machine's policy stay: each file has one, and it is not the directory's to give.
fn is_label(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"security.") && name != OsStr::new("security.capability")
}

fn remove_others(disk: &dyn Disk, file: &File, wanted: &[OsString]) -> io::Result<()> {
    for name in extended(file)?.iter().filter(|name| !wanted.contains(name) && !is_label(name)) {
        disk.apply(Operation::RemoveAttribute { file, name }).map_err(of_attribute(name))?;
    }
    Ok(())
}

fn copy_extended(disk: &dyn Disk, old: &File, new: &File, names: &[OsString]) -> io::Result<()> {
    for name in names {
        let Some(value) = old.get_xattr(name)? else { continue };
        if new.get_xattr(name)?.as_ref() == Some(&value) {
            continue; // a label that the directory gave both; setting it may be forbidden
        }
        disk.apply(Operation::SetAttribute { file: new, name, value: &value })
            .map_err(of_attribute(name))?;
    }
    Ok(())
}

fn of_attribute(name: &OsStr) -> impl FnOnce(io::Error) -> io::Error {
    move |error| {
        io::Error::new(error.kind(), format!("attribute {}: {error}", name.to_string_lossy()))
    }
}

/// The flags of a file; nothing where the file system has none.
fn flags(file: &File) -> Option<IFlags> {
    rustix::fs::ioctl_getflags(file).ok()
}

fn set_flags(disk: &dyn Disk, file: &File, wanted: Option<IFlags>) -> io::Result<()> {
    let (Some(wanted), Some(found)) = (wanted, flags(file)) else { return Ok(()) };
    let flags = found.difference(INHERITED).union(wanted.intersection(INHERITED));
    if flags == found { Ok(()) } else { disk.apply(Operation::SetFlags { file, flags }) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt as _;

    use nix::fcntl::OFlag;

    use super::*;
    use crate::disk::LocalDisk;

    #[test]
    fn labels_of_the_policy_are_no_capabilities_and_nothing_else() {
        for (name, label) in [
            ("security.selinux", true),
            ("security.SMACK64", true),
            ("security.capability", false),
            ("user.security.selinux", false),
            ("trusted.of_its_own", false),
        ] {
            assert_eq!(is_label(OsStr::new(name)), label, "{name}");
        }
    }

    /// Two files of root's, which may give them what it likes.
    fn two_files() -> Option<[tempfile::NamedTempFile; 2]> {
        if !geteuid().is_root() {
            uplift_fixtures::untested::say("only root may give files away, and labels");
            return None;
        }
        Some([(); 2].map(|()| tempfile::NamedTempFile::new().unwrap()))
    }

    #[test]
    fn what_the_directory_gave_goes_and_the_label_stays() {
        let Some([old, new]) = two_files() else { return };
        xattr::set(old.path(), "user.origin", b"factory").unwrap();
        for name in ["user.origin", "user.of_directory", "security.of_policy"] {
            xattr::set(new.path(), name, b"new").unwrap();
        }
        copy(&LocalDisk, old.as_file(), new.as_file()).unwrap();
        let value = |name| xattr::get(new.path(), name).unwrap();
        assert_eq!(value("user.origin").as_deref(), Some(&b"factory"[..]));
        assert_eq!(value("user.of_directory"), None);
        assert_eq!(value("security.of_policy").as_deref(), Some(&b"new"[..]));
    }

    #[test]
    fn a_first_program_belongs_to_who_installs_it() {
        let Some([given_away, _]) = two_files() else { return };
        std::os::unix::fs::chown(given_away.path(), Some(12345), Some(54321)).unwrap();
        set_default(&LocalDisk, given_away.as_file()).unwrap();
        let metadata = given_away.as_file().metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (0, getegid().as_raw()));
    }

    /// A descriptor that is good for nothing but a look at the path, as a disk that gives up.
    #[test]
    fn attributes_that_can_not_be_read_are_not_taken_for_none() {
        let only_its_path =
            std::fs::OpenOptions::new().read(true).custom_flags(OFlag::O_PATH.bits()).open("/");
        assert!(extended(&only_its_path.unwrap()).is_err());
    }
}
