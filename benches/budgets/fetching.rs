//! A payload without a payload link that installs what a web server has, sealed.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use uplift_fixtures::elf::{Architecture, Program};
use uplift_sim::Version;
use uplift_sim::sandbox::{PRODUCT, Sandbox};
use uplift_sim::signer::Signer;

use super::payload::shipped;

/// 256 MiB on a disk of 20 MB a second take 13 s.
const LONGEST: Duration = Duration::from_secs(240);

pub(crate) struct Fetching {
    pub(crate) sandbox: Sandbox,
    signer: Signer,
    installed: u8,
}

impl Fetching {
    /// The daemon runs; `sections` are further ones of its configuration, in which `ROOT` is the
    /// payload's directory.
    pub(crate) fn start(sections: &str) -> Result<Self> {
        let (sandbox, signer) = (Sandbox::new(&shipped()?)?, Signer::new(&shipped()?)?);
        sandbox.install_by_hand(Version([1, 0, 0, 0]))?;
        let sections = format!("[package]\n{}\n{sections}", signer.trusted_section());
        let sections = sections.replace("ROOT", &sandbox.root().display().to_string());
        sandbox.configure(&sandbox.restart_line(), &sections)?;
        let mut this = Self { sandbox, signer, installed: 1 };
        // As in the units.
        this.sandbox.set_environment("MALLOC_ARENA_MAX", "1");
        this.sandbox.start_daemon()?;
        Ok(this)
    }

    /// A newer program than any before, of so many bytes and a seal, in a directory.
    pub(crate) fn firmware(&mut self, directory: &Path, size: u64) -> Result<PathBuf> {
        self.installed += 1;
        let version = Version([self.installed, 0, 0, 0]);
        let path = directory.join(format!("{PRODUCT}_{version}.bin"));
        let mut file = std::io::BufWriter::new(File::create(&path)?);
        Program::new(Architecture::host()?, version.0).filled_to(size).write(&mut file)?;
        file.flush()?;
        self.signer.seal_file(&path)?;
        Ok(path)
    }

    /// `uplift install` of this URL or file.
    pub(crate) fn install(&self, from: &str) -> Command {
        let mut command = self.sandbox.command(&["install", "--json"]);
        command.arg(from).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Waits until all is committed.
    pub(crate) fn committed(&self) -> Result<()> {
        self.sandbox.wait_for_restart_request_within(LONGEST)
    }

    /// Restarts, and sees to it that the upgrade has succeeded.
    pub(crate) fn succeed(&mut self, client: Child) -> Result<()> {
        self.sandbox.reboot()?;
        let said = client.wait_with_output()?;
        let text = String::from_utf8_lossy(&said.stderr);
        ensure!(said.status.success(), "the upgrade failed: {text}");
        Ok(())
    }
}

/// The URL's last part.
pub(crate) fn name(file: &Path) -> Result<&str> {
    file.file_name().and_then(|name| name.to_str()).context("a file has a name")
}

/// Removes it, if it is there.
pub(crate) fn forget(file: &Path) {
    let _ = fs::remove_file(file);
}
