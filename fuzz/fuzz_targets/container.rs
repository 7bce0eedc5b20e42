//! Any bytes as a container: read to the same answer in pieces of any size, and nothing is proved
//! that the front does not speak of.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uplift::digest::{Beside, Hasher};
use uplift::seal::container::{Arriving, ContainerError, Found, Front};
use uplift::seal::{LARGEST_SEAL, Manifest, Seal};

/// Bytes of a header.
const HEADER: usize = 32;
/// More than this is no list that a payload would wait for.
const LARGEST: u64 = 1 << 20;

/// Whether all of it is right so far, and how often its front was judged.
fn arrives(file: &[u8], piece: usize) -> (bool, usize) {
    let (mut arriving, mut judged) = (Arriving::default(), 0);
    let mut judge = |front: &Front| {
        judged += 1;
        match front.file_size()? <= LARGEST {
            true => Ok(()),
            false => Err(ContainerError::StreamSize),
        }
    };
    let is_right = file.chunks(piece).all(|bytes| arriving.update(bytes, &mut judge).is_ok());
    (is_right, judged)
}

/// A wrong checksum hides what lies behind it: the parts get a right header.
fn packed_anew(length: &[u8], parts: &[u8]) {
    let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
    let (manifest, signature) = parts.split_at(length.min(parts.len()));
    if let Ok(signature) = std::str::from_utf8(signature)
        && let Ok(front) = Front::to_bytes(manifest, signature)
    {
        assert!(matches!(Front::find(&front), Ok(Found::Front(_))));
        assert!(front.len() <= LARGEST_SEAL && Manifest::parse(manifest).is_ok());
    }
}

fuzz_target!(|file: &[u8]| {
    let head = &file[..file.len().min(LARGEST_SEAL)];
    let found = Front::find(head);
    let (is_right, judged) = arrives(file, 1000);
    assert_eq!((is_right, judged), arrives(file, 7));
    let is_container = matches!(found, Ok(Found::Front(_)));
    assert_eq!(is_container, judged == 1);
    if let Some((header, parts)) = file.split_first_chunk::<HEADER>() {
        packed_anew(&header[12..14], parts);
    }
    let Ok(Found::Front(front)) = found else { return };
    // What is a container is no sealed file, and is known by all of its bytes.
    assert!(Seal::find(head, head, file.len() as u64).is_err());
    let mut hasher = Hasher::new(Beside::default());
    hasher.update(file);
    let digests = hasher.finish();
    assert_eq!(digests.file.0, digests.program.0);
    let signature = front.signature.as_ref().map_or("", |signature| signature.text());
    let bytes = Front::to_bytes(&front.manifest_text, signature).expect("it is a front");
    assert!(file.starts_with(&bytes) && bytes.len() as u64 == front.size);
    let list =
        usize::try_from(front.list_size()).ok().and_then(|size| file[bytes.len()..].get(..size));
    let Some(streams) = list.and_then(|list| front.pieces(list).ok()) else { return };
    let mut end = front.size + front.list_size();
    for piece in streams.iter().flatten() {
        assert_eq!(piece.start, end);
        end += piece.size as u64;
    }
    assert_eq!(Ok(end), front.file_size().map_err(|_| ()));
});
