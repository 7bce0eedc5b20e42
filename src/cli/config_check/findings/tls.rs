//! The certificates of downloads and of brokers.

use crate::config::{CREDENTIALS, Config, TlsFiles};
use crate::transfer::tls;

use super::Findings;

impl Findings {
    pub(super) fn certificates(&mut self, config: &Config) {
        self.certificates_of("transfer.http", &config.http.tls_files());
        for (name, broker) in &config.brokers {
            self.certificates_of(&format!("broker.{name}"), &broker.tls_files());
        }
    }

    fn certificates_of(&mut self, section: &str, files: &TlsFiles) {
        let Err((field, failure)) = tls::examine(files) else { return };
        let key = files.client_key.as_ref().or(files.client_certificate.as_ref());
        let is_credential =
            field.ends_with("key") && key.is_some_and(|file| file.starts_with(CREDENTIALS));
        let field = format!("{section}.{field}");
        if is_credential {
            self.warning(field.as_str(), failure.to_string(), "a credential is there only for its unit, while that runs; `uplift config sandbox` prints the `LoadCredential=` that makes it");
        } else {
            let hint = "name a file in PEM that this user and the network channels can read; without it nothing comes over TLS";
            self.error(field.as_str(), failure.to_string(), hint);
        }
    }
}
