//! Archives of SWUpdate: what gooseBit takes as software, and what Debian's `swupdate` installs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

/// Board and revision that an archive is for, unless it says otherwise, to both of them.
pub(crate) const HARDWARE: &str = "default:default.default";

/// An archive without a signature of SWUpdate, for gooseBit: a description of this version, and this file. No more of it
/// is looked at there.
pub(crate) fn wrap(directory: &Path, name: &str, version: &str, file: &Path) -> PathBuf {
    let member = file.file_name().unwrap().to_str().unwrap();
    let part = format!("files: ( {{ filename = \"{member}\"; path = \"/none\"; }} );");
    let work = tempfile::tempdir().unwrap();
    fs::write(work.path().join("sw-description"), description(version, &part)).unwrap();
    fs::copy(file, work.path().join(member)).unwrap();
    archive(work.path(), &["sw-description", member], &directory.join(name))
}

/// A key and its certificate for [`signed`], as `swu.key` and `swu.pem` in this directory; the certificate's path.
pub(crate) fn certify(directory: &Path) -> PathBuf {
    let new =
        ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/CN=test"];
    let use_of_it = ["-addext", "extendedKeyUsage=emailProtection"];
    let files = ["-keyout", "swu.key", "-out", "swu.pem"];
    run(Command::new("openssl").args(new).args(use_of_it).args(files).current_dir(directory));
    directory.join("swu.pem")
}

/// An archive that puts `content` at `target`, signed with [`certify`]'s key.
pub(crate) fn signed(
    directory: &Path,
    name: &str,
    version: &str,
    content: &[u8],
    target: &Path,
) -> PathBuf {
    let digest: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    let part = format!(
        "files: ( {{ filename = \"content\"; path = \"{}\"; sha256 = \"{digest}\"; }} );",
        target.display()
    );
    let work = tempfile::tempdir().unwrap();
    fs::write(work.path().join("content"), content).unwrap();
    fs::write(work.path().join("sw-description"), description(version, &part)).unwrap();
    let (key, certificate) = (directory.join("swu.key"), directory.join("swu.pem"));
    let mut sign = Command::new("openssl");
    sign.args(["cms", "-sign", "-in", "sw-description", "-out", "sw-description.sig", "-signer"])
        .arg(certificate)
        .arg("-inkey")
        .arg(key)
        .args(["-outform", "DER", "-nosmimecap", "-binary"]);
    run(sign.current_dir(work.path()));
    let members = ["sw-description", "sw-description.sig", "content"];
    archive(work.path(), &members, &directory.join(name))
}

fn description(version: &str, part: &str) -> String {
    format!(
        "software =\n{{\n\tversion = \"{version}\";\n\thardware-compatibility: [ \"default.default\" ];\n\t{part}\n}};\n"
    )
}

fn archive(work: &Path, members: &[&str], to: &Path) -> PathBuf {
    let pack = format!("printf '%s\\n' {} | cpio -o -H crc --quiet >\"$0\"", members.join(" "));
    run(Command::new("sh").args(["-c", &pack]).arg(to).current_dir(work));
    to.to_owned()
}

fn run(command: &mut Command) {
    let output = command.output().expect("tests/install-packages installs cpio and openssl");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
