//! `uplift decode`: what the daemon starts to decode a stream of a container; no person types it.
//!
//! Its standard error is a socket, from which the stream comes; its standard output is where the program
//! goes; its standard input is the old program, where the stream changes one.

use std::fs::File;
use std::os::fd::AsFd as _;

use anyhow::{Context as _, bail};

use crate::host::helper::give_up_rights;
use crate::package::codec::{self, Codec, DecodeError};
use crate::package::unpack::WRONG_STREAM;

/// Decodes to the stream's end. What is wrong of the stream has an exit code of its own.
pub(super) fn run(
    codec: &str,
    window: u64,
    size: u64,
    old_size: Option<u64>,
) -> anyhow::Result<()> {
    let codec: Codec = codec.parse()?;
    // Copies of their own, without the buffers of the library; none can be made later.
    let old = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let output = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    let input = File::from(std::io::stderr().as_fd().try_clone_to_owned()?);
    give_up_rights().context("the helper can't give up its rights")?;
    let decoded = match (codec, old_size) {
        (Codec::Zstd, None) => codec::decode(window, size, input, output),
        (Codec::Delta, Some(old_size)) => {
            codec::apply((&old, old_size), window, size, input, output)
        }
        (Codec::Zstd, Some(_)) | (Codec::Delta, None) => bail!("the stream is of another codec"),
    };
    let Err(error) = decoded else { return Ok(()) };
    if let DecodeError::Io(_) = error {
        return Err(error.into());
    }
    eprintln!("{:#}", anyhow::Error::from(error));
    std::process::exit(WRONG_STREAM);
}
