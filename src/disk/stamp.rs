//! Which file it is that lies somewhere, and whether it has changed, without reading it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use nix::sys::time::TimeSpec;

/// Which file it is, and since when it has not changed: device, inode, size, times of change of
/// content and inode. The kernel alone sets the last one.
pub(crate) type Stamp = (u64, u64, u64, Time, Time);

/// Seconds and nanoseconds.
pub(crate) type Time = (i64, i64);

/// A clock's reading, whose numbers have the machine's own width.
pub(crate) fn time(reading: TimeSpec) -> Time {
    let since = Duration::from(reading);
    (since.as_secs().cast_signed(), since.subsec_nanos().into())
}

pub(crate) fn stamp(metadata: &Metadata) -> Stamp {
    let modified = (metadata.mtime(), metadata.mtime_nsec());
    let changed = (metadata.ctime(), metadata.ctime_nsec());
    (metadata.dev(), metadata.ino(), metadata.size(), modified, changed)
}
