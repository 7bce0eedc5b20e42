//! The certificates of downloads.

use crate::config::{CREDENTIALS, Http};
use crate::transfer::http;

use super::Findings;

impl Findings {
    pub(super) fn http(&mut self, config: &Http) {
        let Err((field, failure)) = http::examine(config) else { return };
        let key = config.client_key.as_ref().or(config.client_certificate.as_ref());
        if field.ends_with("key") && key.is_some_and(|file| file.starts_with(CREDENTIALS)) {
            self.warning(field, failure.to_string(), "a credential is there only for its unit, while that runs; `uplift config sandbox` prints the `LoadCredential=` that makes it");
        } else {
            let hint = "name a file in PEM that this user and the network channels can read; without it nothing comes over https";
            self.error(field, failure.to_string(), hint);
        }
    }
}
