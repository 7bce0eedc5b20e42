//! A signer of firmware for the simulation: a key of its own, and files sealed with it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;

use crate::model::file_name::FileName;
use crate::package::pack::{Label, Unsealed};
use crate::seal::signing::{NewKeys, SecretKey};
use crate::seal::{Manifest, Place, PublicKey, Seal};

/// Somebody who seals firmware.
#[derive(Debug)]
pub struct Signer {
    key: SecretKey,
    public_text: String,
}

impl Signer {
    /// A signer with a new key.
    pub fn new() -> anyhow::Result<Self> {
        let keys = NewKeys::generate(None)?;
        let public_text =
            keys.public_text.lines().nth(1).context("a public key has two lines")?.to_owned();
        Ok(Self { key: SecretKey::read(&keys.secret_text, None)?, public_text })
    }

    /// The public key.
    pub fn public(&self) -> &PublicKey {
        self.key.public()
    }

    /// The section of the configuration that trusts it.
    pub fn trusted_section(&self) -> String {
        format!("[[package.keys]]\npublic = \"{}\"\nnote = \"the simulation\"\n", self.public_text)
    }

    /// What this signer says of the program in `file`, under the name given.
    pub fn manifest(&self, name: FileName, file: &File) -> anyhow::Result<Manifest> {
        let label = Label {
            name,
            created: "1970-01-01T00:00:00Z".into(),
            replaces_from: None,
            key_id: self.public().id(),
            place: Place::Behind,
        };
        Ok(Unsealed::measure(file, |_| {})?.manifest(label))
    }

    /// The bytes of a seal with this manifest.
    pub fn seal(&self, manifest: &Manifest) -> anyhow::Result<Vec<u8>> {
        let text = manifest.to_text()?;
        let signature = self.key.sign(&text, "the simulation")?;
        Ok(Seal::to_bytes(&text, &signature)?)
    }

    /// Puts a seal behind the firmware file at `path`, as its name says.
    pub fn seal_file(&self, path: &Path) -> anyhow::Result<()> {
        self.seal_at(path, Place::Behind)
    }

    /// Puts a seal before the firmware file at `path`, as its name says.
    pub fn seal_before(&self, path: &Path) -> anyhow::Result<()> {
        self.seal_at(path, Place::Before)
    }

    fn seal_at(&self, path: &Path, place: Place) -> anyhow::Result<()> {
        let name: FileName =
            path.file_name().and_then(|name| name.to_str()).unwrap_or_default().parse()?;
        let manifest = Manifest { place, ..self.manifest(name, &File::open(path)?)? };
        let (seal, payload) = (self.seal(&manifest)?, fs::read(path)?);
        let parts = match place {
            Place::Behind => [payload, seal],
            Place::Before => [seal, payload],
        };
        Ok(File::create(path)?.write_all(&parts.concat())?)
    }
}
