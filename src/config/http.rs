//! Section `[transfer.http]`: downloads from servers of the network.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::Size;
use super::broker::TlsFiles;
use super::error::Mistake;
use super::values::{absolute_if_any, password_file, some_time};

/// Section `[transfer.http]`: how files are fetched over HTTP and HTTPS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Certificates of those who are trusted, in PEM, instead of the system's.
    #[serde(deserialize_with = "absolute_if_any")]
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and those that lead to its issuer, in PEM.
    #[serde(deserialize_with = "absolute_if_any")]
    pub client_certificate: Option<PathBuf>,
    /// Its private key in PEM, such as a systemd credential; by default it stands in the same file.
    #[serde(deserialize_with = "password_file")]
    pub client_key: Option<PathBuf>,
    /// Most bytes a second; 0 is no limit.
    pub rate_limit: Size,
    /// A connection over which fewer bytes a second come is given up for a new one; 0 is no limit.
    pub lowest_rate: Size,
    /// Over how long that is measured; not zero.
    #[serde(deserialize_with = "some_time")]
    pub lowest_rate_window: Duration,
    /// Longest wait for a connection, with its address and its encryption; not zero.
    #[serde(deserialize_with = "some_time")]
    pub connect_deadline: Duration,
    /// Longest wait for the head of an answer; not zero.
    #[serde(deserialize_with = "some_time")]
    pub first_byte_deadline: Duration,
    /// Longest wait for the next bytes of a body; not zero.
    #[serde(deserialize_with = "some_time")]
    pub stall_deadline: Duration,
    /// How long a download goes on without progress; not zero.
    #[serde(deserialize_with = "some_time")]
    pub patience: Duration,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            ca_file: None,
            client_certificate: None,
            client_key: None,
            rate_limit: Size(0),
            lowest_rate: Size(1024),
            lowest_rate_window: Duration::from_secs(60),
            connect_deadline: Duration::from_secs(15),
            first_byte_deadline: Duration::from_secs(30),
            stall_deadline: Duration::from_secs(20),
            patience: Duration::from_secs(300),
        }
    }
}

impl Http {
    /// Whom we believe, and who we are.
    pub fn tls_files(&self) -> TlsFiles {
        TlsFiles {
            ca_file: self.ca_file.clone(),
            client_certificate: self.client_certificate.clone(),
            client_key: self.client_key.clone(),
        }
    }

    pub(super) fn check(&self) -> Result<(), Mistake> {
        self.tls_files().check("transfer.http")?;
        // Twice as much, or chance would break connections that are as fast as they may be.
        if self.rate_limit.0 > 0 && self.rate_limit.0 < self.lowest_rate.0.saturating_mul(2) {
            let explanation = "each connection would be too slow for `lowest_rate`: expected at least twice as much";
            return Err(Mistake::new(&["transfer.http.rate_limit"], explanation));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;

    fn parse(field: &str) -> Result<Config, String> {
        let text = format!(
            "[component.program]\nname = \"demo\"\nproduct = \"P\"\n[transfer.http]\n{field}\n"
        );
        Config::parse(&text, Path::new("uplift.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_value_with_which_nothing_can_work_is_an_error_with_what_would_be_right() {
        for (field, right) in [
            ("ca_file = \"ca.pem\"", "must be absolute"),
            ("client_key = \"/k\"", "name that in `client_certificate`"),
            ("client_key = \"/run/credentials/uplift-channels.service/a:b\"", "no colon"),
            ("rate_limit = \"fast\"", "such as \"64KiB\""),
            ("rate_limit = 2047", "at least twice as much"),
            ("stall_deadline = \"0s\"", "such as \"20s\""),
            ("patience = 7", "such as \"20s\""),
        ] {
            let error = parse(field).unwrap_err();
            let name = field.split(' ').next().unwrap();
            let place = format!("uplift.toml, line 5, field transfer.http.{name}: ");
            assert!(error.contains(&place) && error.contains(right), "{field}: {error}");
        }
    }

    #[test]
    fn what_borders_on_the_impossible_is_possible() {
        assert_eq!(parse("rate_limit = 2048").unwrap().http.rate_limit.0, 2048);
        assert_eq!(parse("rate_limit = 1\nlowest_rate = 0").unwrap().http.rate_limit.0, 1);
        assert!(parse("client_certificate = \"/c\"").unwrap().http.client_key.is_none());
    }
}
