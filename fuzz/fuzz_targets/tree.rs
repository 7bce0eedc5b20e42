//! Any bytes as the manifest of a tree: what is one is written as it was read, and nothing in it leads
//! out.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use uplift::digest::{Beside, Hasher};
use uplift::tree::{Entry, MAGIC, Manifest};

/// Whether a way from within the tree stays there at each of its steps.
fn stays<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    let mut depth = 0i64;
    names.into_iter().all(|name| {
        depth += if name == ".." { -1 } else { 1 };
        depth >= 0
    })
}

fuzz_target!(|text: &[u8]| {
    let Ok(manifest) = Manifest::parse(text) else { return };
    assert_eq!(manifest.text().expect("it was read"), text);
    let mut seen = HashSet::new();
    for entry in manifest.entries() {
        let path = entry.path();
        assert!(seen.insert(path) && !path.starts_with('/') && !path.contains('\0'));
        assert!(path.split('/').all(|name| !matches!(name, "" | "." | "..")));
        if let Entry::Link { target, .. } = entry {
            let from = path.split('/').rev().skip(1).collect::<Vec<_>>().into_iter().rev();
            assert!(!target.starts_with('/') && stays(from.chain(target.split('/'))));
        }
    }
    let size = u32::try_from(text.len()).expect("it is within the limit").to_le_bytes();
    let archive = [&MAGIC[..], &1u32.to_le_bytes(), &size, text, b"bytes of files"].concat();
    for piece in [1, 7, 1 << 20] {
        let mut hasher = Hasher::new(Beside::default());
        archive.chunks(piece).for_each(|bytes| hasher.update(bytes));
        assert_eq!(Some(hasher.finish().program), manifest.digest().ok());
    }
});
