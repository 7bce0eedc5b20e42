//! How long a USB adapter of the link holds bytes back.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Asks a USB adapter not to hold bytes back (an FTDI one does for 16 ms otherwise); `sysfs` is the
/// root of the kernel's attributes. A sentence when that was not possible; nothing when the device
/// has no such timer, or holds nothing back.
pub(super) fn request_low_latency(sysfs: &Path, device: &Path) -> Option<String> {
    let timer = latency_timer(sysfs, device)?;
    let milliseconds = std::fs::read_to_string(&timer).ok()?;
    if matches!(milliseconds.trim(), "0" | "1") {
        return None;
    }
    let written = std::fs::OpenOptions::new()
        .write(true)
        .open(&timer)
        .and_then(|mut file| file.write_all(b"1"));
    written.err().map(|error| {
        format!(
            "the adapter holds bytes back for {} ms, and {} can't be set to 1: {error}",
            milliseconds.trim(),
            timer.display()
        )
    })
}

/// For how many milliseconds a USB adapter holds bytes back; nothing when it has no such timer.
pub(crate) fn held_back(sysfs: &Path, device: &Path) -> Option<u32> {
    std::fs::read_to_string(latency_timer(sysfs, device)?).ok()?.trim().parse().ok()
}

/// The attribute by the port's own name, whatever links lead to it.
fn latency_timer(sysfs: &Path, device: &Path) -> Option<PathBuf> {
    let node = device.canonicalize().ok()?;
    Some(sysfs.join("bus/usb-serial/devices").join(node.file_name()?).join("latency_timer"))
}
