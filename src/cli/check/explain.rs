//! What a file and its seal look like to a person, and a seal in JSON.

use serde::Serialize;

use crate::cli::paint;
use crate::model::KeyId;
use crate::package::check::{Examination, Finding, Rules, Signer, Verdict};
use crate::seal::{Manifest, Seal};

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
    pub(super) fn new(seal: &'a Seal, rules: &'a Rules) -> Self {
        let (signer, key) = match rules.signer(seal) {
            Signer::Trusted(key) => (SignerWord::Trusted, Some(key)),
            Signer::Forged(key) => (SignerWord::Forged, Some(key)),
            Signer::Unknown => (SignerWord::Unknown, None),
            Signer::NotChecked => (SignerWord::NotChecked, None),
        };
        let note = key.and_then(|key| key.note.as_deref());
        Self {
            manifest: &seal.manifest,
            key_id: seal.signature.key_id(),
            note,
            signer,
            trusted_comment: seal.signature.trusted_comment(),
        }
    }
}

/// What was found, one line a check. Texts of a file's own are quoted: anybody may have sealed it.
pub(super) fn explain(seal: Option<&SealDocument<'_>>, examination: &Examination) -> String {
    let mut text = seal.map(explain_seal).unwrap_or_default();
    for Finding { check, verdict } in &examination.findings {
        let (word, found) = match verdict {
            Verdict::Passed(text) => (paint::good("ok      "), text.clone()),
            Verdict::Failed(failure) => {
                (paint::bad("FAILED  "), format!("{failure} [{}]", failure.kind))
            }
            Verdict::Skipped(text) => (paint::waiting("skipped "), text.clone()),
        };
        text += &format!("  {word}{:<12}{found}\n", check.as_str());
    }
    text
}

fn explain_seal(seal: &SealDocument<'_>) -> String {
    let Manifest { product, version, machine, size, sha256, created, replaces_from, .. } =
        seal.manifest;
    let replaces = replaces_from
        .map_or_else(|| "any version".to_owned(), |lowest| format!("{lowest} and higher"));
    let trust = match seal.signer {
        SignerWord::Trusted => "trusted here",
        SignerWord::Forged => "FORGED: that key did not sign it",
        SignerWord::Unknown => "not trusted here",
        SignerWord::NotChecked => "not checked: no keys are configured",
    };
    let note = seal.note.map(|note| format!(" ({note})")).unwrap_or_default();
    [
        format!("  sealed as     product {product:?}, version {version}, replaces {replaces}\n"),
        format!("  for           {machine:?}\n"),
        format!("  program       {size} bytes, SHA-256 {sha256}\n"),
        format!("  packed        {created:?}\n"),
        format!("  by            key {}{note}, {trust}; {:?}\n", seal.key_id, seal.trusted_comment),
    ]
    .concat()
}
