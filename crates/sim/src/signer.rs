//! Somebody who seals firmware as a manufacturer does: with `uplift keygen` and `uplift pack`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

/// Name of the key's two files, before their ends.
const KEY: &str = "release";

/// A key, and the program that signs with it.
#[derive(Debug)]
pub struct Signer {
    uplift: PathBuf,
    directory: TempDir,
    public: String,
    id: String,
}

impl Signer {
    /// A signer with a new key, who works with this `uplift`.
    pub fn new(uplift: &Path) -> anyhow::Result<Self> {
        let directory =
            TempDir::with_prefix("uplift-signer-").context("no temporary directory can be made")?;
        let mut keygen = Command::new(uplift);
        keygen.args(["keygen", "--no-password", "--out"]).arg(directory.path().join(KEY));
        run(keygen)?;
        let path = directory.path().join(KEY).with_extension("pub");
        let text = fs::read_to_string(path)?;
        let (comment, public) = text.split_once('\n').context("a public key has two lines")?;
        let id = comment.rsplit(' ').next().unwrap_or_default().to_owned();
        let public = public.trim_end().to_owned();
        Ok(Self { uplift: uplift.to_owned(), directory, public, id })
    }

    /// The id of the key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where the secret key lies; it has no password.
    #[must_use]
    pub fn secret_key(&self) -> PathBuf {
        self.directory.path().join(KEY).with_extension("key")
    }

    /// The section of the configuration that trusts the key.
    #[must_use]
    pub fn trusted_section(&self) -> String {
        format!("[[package.keys]]\npublic = \"{}\"\nnote = \"the simulation\"\n", self.public)
    }

    /// Puts a seal behind the firmware file at `path`, as its name says.
    pub fn seal_file(&self, path: &Path) -> anyhow::Result<()> {
        self.pack(path, &["--seal-place", "behind"])
    }

    /// Puts a seal before the firmware file at `path`, as its name says.
    pub fn seal_before(&self, path: &Path) -> anyhow::Result<()> {
        self.pack(path, &["--seal-place", "before"])
    }

    /// Puts the firmware file at `path` into a container, as its name says.
    pub fn compress(&self, path: &Path) -> anyhow::Result<()> {
        self.pack(path, &["--compress"])
    }

    /// Puts the firmware file at `path` into a container with what changes this old program of that
    /// version into it; with nothing but that, if so wanted.
    pub fn change(
        &self,
        path: &Path,
        (version, old): (&str, &Path),
        only: bool,
    ) -> anyhow::Result<()> {
        let from = format!("--from={version}={}", old.display());
        let how = [from.as_str(), "--delta-only"];
        self.pack(path, &how[..if only { 2 } else { 1 }])
    }

    fn pack(&self, path: &Path, how: &[&str]) -> anyhow::Result<()> {
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let (product, version) = name
            .rsplit_once('_')
            .with_context(|| format!("{name} is not the name of a firmware file"))?;
        let beside = path.parent().context("a file has a directory")?;
        let sealed = TempDir::with_prefix_in("sealed-", beside)?;
        let mut pack = Command::new(&self.uplift);
        pack.args(["pack", "--product", product, "--version", version])
            .args(how)
            .arg("--key")
            .arg(self.secret_key())
            .arg("--out")
            .arg(sealed.path())
            .arg(path);
        run(pack)?;
        let packed = sealed.path().join(path.file_name().unwrap_or_default());
        Ok(fs::rename(packed, path)?)
    }
}

fn run(mut command: Command) -> anyhow::Result<()> {
    let output = command
        .output()
        .with_context(|| format!("{} can't be run", Path::new(command.get_program()).display()))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    Ok(())
}
