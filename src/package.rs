//! What a firmware file is: its name, version, digests, format and seal; [`check`] runs
//! all checks in one order.
//!
//! Nothing here knows where a file came from or where it goes.

pub mod check;
pub mod choice;
pub mod codec;
pub mod content;
pub mod elf;
pub mod foreign;
pub mod pack;
pub mod preflight;
pub mod stm32;
pub mod unpack;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::OFlag;

/// Whatever else lies there than a file, such as a FIFO, is not waited for.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)
}
