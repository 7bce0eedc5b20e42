//! Any bytes at the end of a file: read to an answer, the same as a hasher's; and whatever is a
//! seal is one to the byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uplift::digest::{Hasher, program_digest};
use uplift::seal::{LARGEST_SEAL, Seal};

const FOOTER: usize = 32;

fn find(file: &[u8]) -> Option<Seal> {
    Seal::find(&file[file.len().saturating_sub(LARGEST_SEAL)..], file.len() as u64).ok().flatten()
}

fuzz_target!(|file: &[u8]| {
    let mut hasher = Hasher::new(false);
    file.chunks(1000).for_each(|bytes| hasher.update(bytes));
    let digests = hasher.finish();
    let Some(seal) = find(file) else {
        assert_eq!(digests.program.0, digests.file.0);
        // A wrong checksum hides what lies behind it, and nobody guesses one: give the parts a
        // right footer.
        if let Some((parts, footer)) = file.split_last_chunk::<FOOTER>() {
            let length = usize::from(u16::from_le_bytes([footer[4], footer[5]]));
            let (manifest, signature) = parts.split_at(length.min(parts.len()));
            if let Ok(signature) = std::str::from_utf8(signature) {
                let _ = Seal::to_bytes(manifest, signature).map_err(|error| error.to_string());
            }
        }
        return;
    };
    let program = usize::try_from(seal.program_size).expect("it is in memory");
    assert_eq!(digests.program, program_digest(&file[..program]).expect("memory can be read"));
    assert!(file.len() - program <= LARGEST_SEAL);
    assert_eq!(
        Seal::to_bytes(&seal.manifest_text, seal.signature.text()).expect("it is a seal"),
        file[program..]
    );
    assert!(find(&file[..file.len() - 1]).is_none() && find(&[file, b"x"].concat()).is_none());
});
