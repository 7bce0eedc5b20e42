//! Containers that no honest writer makes: one of `uplift pack`, taken apart and put together again.

use std::fs;
use std::path::Path;
use std::process::Command;

use uplift::seal::Manifest;
use uplift::seal::container::{Found, Front, PieceList};

/// A container in its parts.
pub(crate) struct Parts {
    pub(crate) manifest: Manifest,
    pub(crate) signature: String,
    pub(crate) list: Vec<u8>,
    pub(crate) stream: Vec<u8>,
}

/// What `uplift pack --compress` makes of the program at this path, without a seal.
pub(crate) fn packed(program: &Path) -> Vec<u8> {
    packed_with(program, &["--compress"])
}

/// What changes the old program at a path into it, and nothing else.
pub(crate) fn packed_from(program: &Path, version: &str, old: &Path) -> Vec<u8> {
    packed_with(program, &[&format!("--from={version}={}", old.display()), "--delta-only"])
}

fn packed_with(program: &Path, how: &[&str]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let name = program.file_stem().unwrap().to_str().unwrap();
    let (product, version) = name.rsplit_once('_').unwrap();
    let mut pack = Command::new(env!("CARGO_BIN_EXE_uplift"));
    pack.args(["pack", "--unsigned", "--product", product, "--version", version]).args(how);
    let output = pack.arg("--out").arg(directory.path()).arg(program).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    fs::read(directory.path().join(program.file_name().unwrap())).unwrap()
}

impl Parts {
    pub(crate) fn of(file: &[u8]) -> Self {
        let Found::Front(front) = Front::find(file).unwrap() else { panic!("no container") };
        let start = usize::try_from(front.size).unwrap();
        let (list, stream) = file[start..].split_at(usize::try_from(front.list_size()).unwrap());
        let signature = front.signature.map(|one| one.text().to_owned()).unwrap_or_default();
        let (list, stream) = (list.to_vec(), stream.to_vec());
        Self { manifest: front.manifest, signature, list, stream }
    }

    /// With another stream, of which list and manifest tell the truth.
    pub(crate) fn with_stream(mut self, stream: Vec<u8>) -> Self {
        let mut pieces = PieceList::default();
        pieces.update(&stream);
        let (size, pieces, list) = pieces.finish();
        (self.manifest.streams[0].size, self.manifest.streams[0].pieces) = (size, pieces);
        Self { stream, list, ..self }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Manifest)) -> Self {
        change(&mut self.manifest);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let text = self.manifest.to_text().unwrap();
        [Front::to_bytes(&text, &self.signature).unwrap(), self.list.clone(), self.stream.clone()]
            .concat()
    }
}
