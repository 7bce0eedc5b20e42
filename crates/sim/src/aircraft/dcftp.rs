//! The file over the link itself: announced, sent chunk by chunk with an answer to each, finished
//! with its MD5.

use std::io;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use md5::{Digest, Md5};

use super::firmware::{Firmware, accept, when_ready};
use super::host::Host;
use super::verdict::Step;
use super::{Options, Stage, Trouble, words};

/// How often in a row the payload may ask for the same chunk again.
const MOST_REPEATS: u32 = 100;
const READ: usize = 256 << 10;

pub(super) fn hand_over(
    host: &mut Host<'_>,
    firmware: &Firmware,
    options: &Options,
    ready: Instant,
) -> Result<(), Trouble> {
    let size = u32::try_from(firmware.size).map_err(|_| Trouble::TooLarge(firmware.size))?;
    let trouble = |cause| Trouble::File { path: options.firmware.clone(), cause };
    // A host knows it before it begins: the payload's time at the end is the payload's.
    let md5 = options.claims.md5.map_or_else(|| md5_of(firmware), Ok).map_err(trouble)?;
    let announced = words::dcftp_start(options.claims.size.unwrap_or(size), &firmware.name);
    let answer = when_ready(host, words::DCFTP, &announced, ready)?;
    let chunk = options
        .chunk
        .unwrap_or_else(|| words::offered_chunk(&answer))
        .clamp(1, words::LARGEST_CHUNK);
    send(host, firmware, chunk.into(), &trouble)?;
    host.begin(Stage::Finish);
    host.reach(Stage::Finish)?;
    accept(host, words::DCFTP, words::dcftp_finish(md5))?;
    accept(host, words::TRANSFERRED, Vec::new())?;
    Ok(())
}

/// Sends what the payload says it expects next, until it expects nothing more.
fn send(
    host: &mut Host<'_>,
    firmware: &Firmware,
    chunk: u32,
    trouble: &impl Fn(io::Error) -> Trouble,
) -> Result<(), Trouble> {
    let total = firmware.size;
    let chunks =
        u32::try_from(total.div_ceil(chunk.into())).map_err(|_| Trouble::TooLarge(total))?;
    let (mut next, mut repeats, mut told) = (0, 0, None);
    while next < chunks {
        let offset = u64::from(next) * u64::from(chunk);
        // Never longer than a chunk, which fits a frame.
        let mut data = vec![0; (total - offset).min(chunk.into()) as usize];
        firmware.file.read_exact_at(&mut data, offset).map_err(trouble)?;
        let answer = accept(host, words::DCFTP, words::dcftp_data(next, &data))?;
        let expected = words::next_expected(&answer).filter(|expected| *expected <= chunks);
        let expected = expected
            .ok_or_else(|| Trouble::Malformed { command: words::DCFTP, answer: answer.clone() })?;
        repeats = if expected > next { 0 } else { repeats + 1 };
        if repeats > MOST_REPEATS {
            return Err(Trouble::Stuck(expected));
        }
        next = expected;
        let bytes = (u64::from(next) * u64::from(chunk)).min(total);
        // A step a percent is enough: telling costs time on a line where every answer is waited
        // for.
        let percent = bytes * 100 / total;
        if told.replace(percent) != Some(percent) {
            host.tell(&Step::Transferred { bytes, total });
        }
        if next > chunks / 2 {
            host.reach(Stage::Transfer)?;
        }
    }
    Ok(())
}

fn md5_of(firmware: &Firmware) -> io::Result<[u8; 16]> {
    let (mut digest, mut buffer, mut offset) = (Md5::new(), vec![0; READ], 0);
    loop {
        match firmware.file.read_at(&mut buffer, offset)? {
            0 => return Ok(digest.finalize().into()),
            count => {
                digest.update(buffer.get(..count).unwrap_or_default());
                offset += count as u64;
            }
        }
    }
}
