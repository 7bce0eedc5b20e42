//! How a channel stands with its platform, as a person reads it.

use std::error::Error;

use crate::model::{ChannelState, Failure};
use crate::transfer::http::Trouble;

/// How a channel stands with its platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// How.
    pub(crate) state: ChannelState,
    /// The same as a sentence.
    pub(crate) sentence: String,
}

impl Standing {
    /// Of a server that could not be asked. What does not pass by itself is told with its causes, and
    /// with what to do.
    pub(crate) fn unreached(trouble: &Trouble) -> Self {
        let mut sentence = format!("its server does not answer: {trouble}");
        if trouble.passes() {
            return Self { state: ChannelState::Waits, sentence };
        }
        let mut source = trouble.source();
        while let Some(cause) = source {
            sentence += &format!(": {cause}");
            source = cause.source();
        }
        if let Some(hint) = trouble.hint() {
            sentence += &format!("; {hint}");
        }
        Self { state: ChannelState::Fails, sentence }
    }

    /// Of a server whose file comes another time, or the rest of it.
    pub(crate) fn resting(failure: &Failure) -> Self {
        let sentence = format!("the download rests: {}", failure.sentence);
        Self { state: ChannelState::Waits, sentence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_waited_for_and_what_does_not_is_told_with_its_cause() {
        let later = Standing::unreached(&Trouble::Later { status: 503, after: None });
        assert_eq!(later.state, ChannelState::Waits);
        assert!(later.sentence.ends_with("come again later (status 503)"), "{later:?}");
        let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let untrusted = Standing::unreached(&Trouble::Untrusted("h:443".into(), unknown));
        assert_eq!(untrusted.state, ChannelState::Fails);
        for part in ["h:443 can't be trusted: ", "UnknownIssuer; `ca_file`"] {
            assert!(untrusted.sentence.contains(part), "{untrusted:?}");
        }
    }
}
