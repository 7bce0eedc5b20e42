//! Owner, mode and extended attributes: what a new program takes over from the old one.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use nix::errno::Errno;
use xattr::FileExt as _;

use crate::disk::{Disk, Operation};

/// Mode of a program that replaces none.
const DEFAULT_MODE: u32 = 0o755;

/// Bits of a mode that are permissions; the rest tells the file's type.
const PERMISSION_BITS: u32 = 0o7777;

/// Attributes that speak of a file's bytes: wrong on any other file.
const BOUND_TO_CONTENT: [&str; 2] = ["security.ima", "security.evm"];

/// Gives `new` what `old` has. In this order: a change of owner clears set-id bits and file capabilities.
pub(super) fn copy(disk: &dyn Disk, old: &File, new: &File) -> io::Result<()> {
    let metadata = old.metadata()?;
    disk.apply(Operation::SetOwner { file: new, user: metadata.uid(), group: metadata.gid() })?;
    disk.apply(Operation::SetMode { file: new, mode: metadata.permissions().mode() & PERMISSION_BITS })?;
    copy_extended(disk, old, new)
}

/// Mode and owner of a first installation: executable by all, and of the user who installs (root, for the daemon).
pub(super) fn set_default(disk: &dyn Disk, new: &File) -> io::Result<()> {
    disk.apply(Operation::SetMode { file: new, mode: DEFAULT_MODE })
}

fn copy_extended(disk: &dyn Disk, old: &File, new: &File) -> io::Result<()> {
    let names = match old.list_xattr() {
        Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => return Ok(()),
        names => names?,
    };
    for name in names.filter(|name| !BOUND_TO_CONTENT.iter().any(|bound| name == OsStr::new(bound))) {
        let Some(value) = old.get_xattr(&name)? else { continue };
        if new.get_xattr(&name)?.as_ref() == Some(&value) {
            continue; // a label that the directory gave both; setting it may be forbidden
        }
        let set = disk.apply(Operation::SetAttribute { file: new, name: &name, value: &value });
        set.map_err(|error| io::Error::new(error.kind(), format!("attribute {}: {error}", name.to_string_lossy())))?;
    }
    Ok(())
}
