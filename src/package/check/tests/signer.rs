//! Somebody with a key, who signs whatever manifest is asked for.

use std::fs::File;

use anyhow::Context as _;

use crate::model::file_name::FileName;
use crate::package::pack::{Label, Unsealed};
use crate::seal::signing::{NewKeys, SecretKey};
use crate::seal::{Manifest, Place, PublicKey, Seal};

/// Somebody who seals firmware.
#[derive(Debug)]
pub(crate) struct Signer {
    key: SecretKey,
    public_text: String,
}

impl Signer {
    /// A signer with a new key.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let keys = NewKeys::generate(None)?;
        let public_text =
            keys.public_text.lines().nth(1).context("a public key has two lines")?.to_owned();
        Ok(Self { key: SecretKey::read(&keys.secret_text, None)?, public_text })
    }

    /// The public key.
    pub(crate) fn public(&self) -> &PublicKey {
        self.key.public()
    }

    /// The section of the configuration that trusts it.
    pub(crate) fn trusted_section(&self) -> String {
        format!("[[package.keys]]\npublic = \"{}\"\nnote = \"the simulation\"\n", self.public_text)
    }

    /// What this signer says of the program in `file`, under the name given.
    pub(crate) fn manifest(&self, name: FileName, file: &File) -> anyhow::Result<Manifest> {
        let label = Label {
            name,
            created: "1970-01-01T00:00:00Z".into(),
            replaces_from: None,
            key_id: Some(self.public().id()),
            place: Place::Behind,
        };
        Ok(Unsealed::measure(file, |_| {})?.manifest(label))
    }

    /// The bytes of a seal with this manifest.
    pub(crate) fn seal(&self, manifest: &Manifest) -> anyhow::Result<Vec<u8>> {
        let text = manifest.to_text()?;
        let signature = self.key.sign(&text, "the simulation")?;
        Ok(Seal::to_bytes(&text, &signature)?)
    }
}
