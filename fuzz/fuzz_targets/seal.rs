//! Any bytes at either end of a file: read to an answer, the same as a hasher's; and whatever is a
//! seal is one to the byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uplift::digest::{Beside, Digests, Hasher};
use uplift::seal::{HEAD_SIZE, LARGEST_SEAL, Place, Seal};
use uplift::tree::MAGIC;

/// Bytes of a header, and of a footer.
const FRAME: usize = 32;

fn find(file: &[u8]) -> Option<Seal> {
    let tail = &file[file.len().saturating_sub(LARGEST_SEAL)..];
    Seal::find(&file[..file.len().min(HEAD_SIZE)], tail, file.len() as u64).ok().flatten()
}

fn hashed(file: &[u8], piece: usize) -> Digests {
    let mut hasher = Hasher::new(Beside::default());
    file.chunks(piece).for_each(|bytes| hasher.update(bytes));
    hasher.finish()
}

/// A wrong checksum hides what lies behind it, and nobody guesses one: the parts get a right header
/// or footer, as their manifest says.
fn sealed_anew(lengths: &[u8], parts: &[u8]) {
    let length = usize::from(u16::from_le_bytes([lengths[0], lengths[1]]));
    let (manifest, signature) = parts.split_at(length.min(parts.len()));
    if let Ok(signature) = std::str::from_utf8(signature) {
        let _ = Seal::to_bytes(manifest, signature).map_err(|error| error.to_string());
    }
}

fuzz_target!(|file: &[u8]| {
    let digests = hashed(file, 1000);
    assert_eq!(digests, hashed(file, 7));
    // A tree is known by its manifest, and the target `tree` says so.
    if file.windows(MAGIC.len()).any(|bytes| bytes == MAGIC) {
        return;
    }
    let Some(seal) = find(file) else {
        assert_eq!(digests.program.0, digests.file.0);
        if let Some((parts, footer)) = file.split_last_chunk::<FRAME>() {
            sealed_anew(&footer[4..6], parts);
        }
        if let Some((header, parts)) = file.split_first_chunk::<FRAME>() {
            sealed_anew(&header[12..14], parts);
        }
        return;
    };
    let at = |end: u64| usize::try_from(end).expect("it is in memory");
    let (start, end) = (at(seal.payload.start), at(seal.payload.end));
    // What is installed is no sealed file any more, so its digest is that of all its bytes.
    let payload = hashed(&file[start..end], 1000);
    assert!(start == 0 || payload.file.0 == payload.program.0);
    assert_eq!(digests.program.0, payload.file.0);
    let bytes = Seal::to_bytes(&seal.manifest_text, seal.signature.text()).expect("it is a seal");
    assert!(bytes.len() <= LARGEST_SEAL);
    match seal.manifest.place {
        Place::Before => {
            assert!(file.starts_with(&bytes) && start == bytes.len() && end == file.len())
        }
        Place::Behind => {
            assert!(file.ends_with(&bytes) && start == 0 && end + bytes.len() == file.len());
            assert!(find(&[file, b"x"].concat()).is_none());
        }
    }
    let shorter = match seal.manifest.place {
        Place::Before => &file[1..],
        Place::Behind => &file[..file.len() - 1],
    };
    assert!(find(shorter).is_none());
});
