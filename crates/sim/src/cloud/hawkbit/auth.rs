//! Who may ask.

use super::options::{Auth, Release};
use crate::cloud::http::Request;

impl Auth {
    /// The scheme's word is compared letter by letter, as the server does it.
    pub(super) fn lets_in(&self, request: &Request, device: &str, release: Release) -> bool {
        let said = request.header("Authorization").unwrap_or_default();
        match self {
            Self::None => true,
            Self::Target(token) => said.strip_prefix("TargetToken ") == Some(token),
            // Only one scheme is known there.
            Self::Gateway(_) if release == Release::Goosebit => false,
            Self::Gateway(token) => said.strip_prefix("GatewayToken ") == Some(token),
            Self::Proxy(issuer) => {
                let (name, hashes) = match release {
                    Release::V0_9 | Release::V0_10 => {
                        ("X-Ssl-Client-Cn", &["X-Ssl-Issuer-Hash-0", "X-Ssl-Issuer-Hash-1"][..])
                    }
                    _ => {
                        ("X-Controller-Id", &["X-Authority", "X-Authority-0", "X-Authority-1"][..])
                    }
                };
                request.header(name) == Some(device)
                    && hashes.iter().any(|hash| request.header(hash) == Some(issuer))
            }
        }
    }
}
