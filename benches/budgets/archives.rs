//! What other updaters install: archives of SWUpdate and bundles of RAUC, signed.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

/// Board and revision that an archive is for.
pub(crate) const HARDWARE: &str = "default:default.default";

/// A directory with a key and its certificate, `cert.pem`, for both of them.
pub(crate) fn certify(directory: &Path) -> Result<()> {
    let new =
        ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=bench"];
    let more = ["-addext", "extendedKeyUsage=emailProtection", "-keyout", "key.pem", "-out"];
    done(Command::new("openssl").args(new).args(more).arg("cert.pem").current_dir(directory))
}

/// Where an archive's file goes, in SWUpdate's words: streamed there, which is the least work for it.
pub(crate) enum Place<'a> {
    /// A file that it makes.
    File(&'a Path),
    /// A device, or a file that stands for one.
    Device(&'a Path),
}

/// An archive of this version with `content`, signed with [`certify`]'s key.
pub(crate) fn swu(
    directory: &Path,
    version: &str,
    content: &Path,
    place: &Place<'_>,
) -> Result<PathBuf> {
    let mut hasher = Sha256::new();
    std::io::copy(&mut File::open(content)?, &mut HashedBy(&mut hasher))?;
    let digest: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let (section, at) = match place {
        Place::File(path) => ("files", format!("path = \"{}\"", path.display())),
        Place::Device(path) => {
            ("images", format!("type = \"raw\"; device = \"{}\"", path.display()))
        }
    };
    let description = format!(
        "software =\n{{\n\tversion = \"{version}\";\n\thardware-compatibility: [ \"default.default\" ];\n\
         \t{section}: ( {{ filename = \"content\"; {at}; sha256 = \"{digest}\"; installed-directly = true; }} );\n}};\n"
    );
    let work = tempfile::tempdir_in(directory)?;
    File::create(work.path().join("sw-description"))?.write_all(description.as_bytes())?;
    std::fs::hard_link(content, work.path().join("content"))?;
    let script = "openssl cms -sign -in sw-description -out sw-description.sig -signer ../cert.pem -inkey ../key.pem \
         -outform DER -nosmimecap -binary && \
         printf '%s\\n' sw-description sw-description.sig content | cpio -o -H crc --quiet >\"$0\"";
    let archive = directory.join(format!("{version}-{section}.swu"));
    done(Command::new("/bin/sh").args(["-c", script]).arg(&archive).current_dir(work.path()))?;
    Ok(archive)
}

/// A plain bundle with `content` for the slot `application`, signed with the same key.
pub(crate) fn bundle(directory: &Path, content: &Path) -> Result<PathBuf> {
    let work = tempfile::tempdir_in(directory)?;
    std::fs::hard_link(content, work.path().join("content.img"))?;
    let manifest =
        "[update]\ncompatible=payload\nversion=2.0\n[image.application]\nfilename=content.img\n";
    File::create(work.path().join("manifest.raucm"))?.write_all(manifest.as_bytes())?;
    let bundle = directory.join("bundle.raucb");
    let mut rauc = Command::new("rauc");
    rauc.args(["--cert", "cert.pem", "--key", "key.pem", "bundle"]).arg(work.path()).arg(&bundle);
    done(rauc.current_dir(directory))?;
    Ok(bundle)
}

/// Runs it to its end.
pub(crate) fn done(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{command:?}; tests/install-packages installs it"))?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    Ok(())
}

struct HashedBy<'a>(&'a mut Sha256);

impl std::io::Write for HashedBy<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
