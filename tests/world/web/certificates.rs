//! A certificate authority of a test, and whom it knows.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A device that the authority knows.
pub(crate) const DEVICE: &str = "PAYLOAD0001";

/// An authority; a server at 127.0.0.1, a client and a device that it knows; and one that knows
/// nobody.
pub(crate) struct Certificates(tempfile::TempDir);

impl Certificates {
    pub(crate) fn make() -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        let authority = ["-addext", "basicConstraints=critical,CA:TRUE"];
        this.openssl("ca", &authority);
        this.openssl("stranger", &authority);
        let (ca, key) = (this.file("ca.pem"), this.file("ca.key"));
        let known = ["-CA", ca.to_str().unwrap(), "-CAkey", key.to_str().unwrap()];
        let leaf = ["-addext", "basicConstraints=critical,CA:FALSE"];
        let server = ["-addext", "subjectAltName=IP:127.0.0.1"];
        this.openssl("server", &[&known[..], &leaf, &server].concat());
        for name in ["client", DEVICE] {
            this.openssl(name, &[&known[..], &leaf].concat());
        }
        this
    }

    /// `NAME.pem`, a certificate, or `NAME.key`, its key.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, name: &str, extensions: &[&str]) {
        let at = |end: &str| self.file(&format!("{name}.{end}"));
        let output = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
            ])
            .args(["-days", "2", "-subj", &format!("/CN={name}"), "-keyout"])
            .arg(at("key"))
            .arg("-out")
            .arg(at("pem"))
            .args(extensions)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl AsRef<Path> for Certificates {
    fn as_ref(&self) -> &Path {
        self.0.path()
    }
}
