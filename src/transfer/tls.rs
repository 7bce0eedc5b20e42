//! Whom we believe, and who we are: read when the first `https` URL is fetched, or at once where the
//! configuration names files of its own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::TlsFiles;
use crate::disk;
use crate::model::{Failure, FailureKind};

/// Where systems keep the certificates that they trust, in one file: Debian, Fedora, openSUSE, and
/// what follows OpenSSL's own place.
const OF_THE_SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Largest file with certificates or a key; all of Debian's have 220 kB.
const LARGEST_FILE: u64 = 4 << 20;

/// The settings of TLS. The roots of a system cost a megabyte: who needs none reads none.
pub(crate) struct Tls {
    files: TlsFiles,
    config: OnceLock<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    pub(crate) fn new(files: &TlsFiles) -> Result<Self, Failure> {
        let tls = Self { files: files.clone(), config: OnceLock::new() };
        if files.ca_file.is_some() || files.client_certificate.is_some() {
            tls.config()?;
        }
        Ok(tls)
    }

    /// The settings, read where they are not yet.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, Failure> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(read(&self.files)?);
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }
}

/// Whether the files that the configuration names can be used; with the field of the first that
/// can't.
pub(crate) fn examine(files: &TlsFiles) -> Result<(), (&'static str, Failure)> {
    if let Some(file) = &files.ca_file {
        trusted(file).map_err(|failure| ("ca_file", failure))?;
    }
    let Some(file) = &files.client_certificate else { return Ok(()) };
    certificates(file).map_err(|failure| ("client_certificate", failure))?;
    key(files).map_err(|failure| ("client_key", failure))?;
    read(files).map(|_| ()).map_err(|failure| ("client_key", failure))
}

fn read(files: &TlsFiles) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = match &files.ca_file {
        Some(file) => trusted(file)?,
        None => trusted_by_the_system()?,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failure("TLS can't be set up").because(error))?
        .with_root_certificates(roots);
    let Some(file) = &files.client_certificate else {
        return Ok(builder.with_no_client_auth());
    };
    builder.with_client_auth_cert(certificates(file)?, key(files)?).map_err(|error| {
        failure("`client_certificate` and `client_key` do not belong together").because(error)
    })
}

fn trusted_by_the_system() -> Result<RootCertStore, Failure> {
    let file = OF_THE_SYSTEM.iter().map(Path::new).find(|file| file.exists());
    let none = || {
        failure("this system has no certificates of those whom it trusts")
            .with_hint("install the package `ca-certificates`, or name a file in `ca_file`")
    };
    trusted(file.ok_or_else(none)?)
}

/// One that can't be read is left out where others can: systems have strange ones.
fn trusted(file: &Path) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates(file)?);
    if added == 0 {
        let sentence = format!("{} has no certificate that can be used", file.display());
        return Err(failure(sentence));
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let text = contents(file)?;
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(failure(format!("{} has no certificate in PEM", file.display()))),
        // The parser's words repeat what it has read.
        Err(_) => Err(failure(format!("{} is not PEM", file.display()))),
    }
}

fn key(files: &TlsFiles) -> Result<PrivateKeyDer<'static>, Failure> {
    let both: Option<&PathBuf> = files.client_key.as_ref().or(files.client_certificate.as_ref());
    let Some(file) = both else { return Err(failure("`client_key` is not there")) };
    let text = contents(file)?;
    PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_| failure(format!("{} has no private key in PEM", file.display())))
}

fn contents(file: &Path) -> Result<Vec<u8>, Failure> {
    let read = disk::read_limited(file, LARGEST_FILE)
        .and_then(|bytes| bytes.ok_or_else(|| io::ErrorKind::NotFound.into()));
    read.map_err(|error| failure(format!("{} can't be read", file.display())).because(error))
}

fn failure(sentence: impl Into<String>) -> Failure {
    Failure::new(FailureKind::TransferFailed, sentence).with_hint(
        "the section [transfer.http] or [broker.NAME] names the files; `uplift config check` looks at them",
    )
}
