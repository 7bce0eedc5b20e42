//! What a file and its seal look like to a person, and a seal in JSON.

use std::io;

use serde::Serialize;

use crate::package::check::{Examination, Finding, Policy, Signer, Verdict};
use crate::package::seal::{KeyId, Manifest, Seal};

/// A seal, as `--json` prints it.
#[derive(Serialize)]
pub(super) struct SealDocument<'a> {
    manifest: &'a Manifest,
    key_id: KeyId,
    /// What the configuration notes of the key.
    note: Option<&'a str>,
    signer: SignerWord,
    trusted_comment: &'a str,
}

/// What is to be thought of who signed.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum SignerWord {
    Trusted,
    Forged,
    Unknown,
    NotChecked,
}

impl<'a> SealDocument<'a> {
    pub(super) fn new(seal: &'a Seal, policy: &'a Policy) -> Self {
        let (signer, key) = match policy.signer(seal) {
            Signer::Trusted(key) => (SignerWord::Trusted, Some(key)),
            Signer::Forged(key) => (SignerWord::Forged, Some(key)),
            Signer::Unknown => (SignerWord::Unknown, None),
            Signer::NotChecked => (SignerWord::NotChecked, None),
        };
        let note = key.and_then(|key| key.note.as_deref());
        Self { manifest: &seal.manifest, key_id: seal.signature.key_id(), note, signer, trusted_comment: seal.signature.trusted_comment() }
    }
}

/// Texts of a file's own are quoted: who sealed it may be anybody.
pub(super) fn explain(out: &mut impl io::Write, name: &str, seal: Option<&SealDocument<'_>>, examination: &Examination) -> io::Result<()> {
    writeln!(out, "{name:?}")?;
    if let Some(seal) = seal {
        explain_seal(out, seal)?;
    }
    for Finding { check, verdict } in &examination.findings {
        let (word, text) = match verdict {
            Verdict::Passed(text) => ("ok", text.clone()),
            Verdict::Failed(failure) => ("FAILED", format!("{failure} [{}]", failure.kind)),
            Verdict::Skipped(text) => ("skipped", text.clone()),
        };
        writeln!(out, "  {word:<8}{:<12}{text}", check.as_str())?;
    }
    Ok(())
}

fn explain_seal(out: &mut impl io::Write, seal: &SealDocument<'_>) -> io::Result<()> {
    let Manifest { product, version, machine, size, sha256, created, replaces_from, .. } = seal.manifest;
    let replaces = replaces_from.map_or_else(|| "any version".to_owned(), |lowest| format!("{lowest} and higher"));
    let trust = match seal.signer {
        SignerWord::Trusted => "trusted here",
        SignerWord::Forged => "FORGED: that key did not sign it",
        SignerWord::Unknown => "not trusted here",
        SignerWord::NotChecked => "not checked: no keys are configured",
    };
    let note = seal.note.map(|note| format!(" ({note})")).unwrap_or_default();
    writeln!(out, "  sealed as     product {product:?}, version {version}, replaces {replaces}")?;
    writeln!(out, "  for           {machine:?}")?;
    writeln!(out, "  program       {size} bytes, SHA-256 {sha256}")?;
    writeln!(out, "  packed        {created:?}")?;
    writeln!(out, "  by            key {}{note}, {trust}; {:?}", seal.key_id, seal.trusted_comment)
}
