//! The names of bytes. Digests that never mix: the [`FileDigest`] of all bytes received, the
//! [`ProgramDigest`] of the program without its seal, which is its identity (known-bad, running,
//! installed), and MD5 and SHA-1, because some peers announce those; they never decide trust.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

macro_rules! digest_type {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                parse_hex(&text).map(Self).ok_or_else(|| D::Error::custom(concat!("expected ", $len, " bytes in hexadecimal")))
            }
        }
    };
}

digest_type!(
    /// SHA-256 of all bytes of a file as received.
    FileDigest,
    32
);
digest_type!(
    /// SHA-256 of the program, without a seal: its identity.
    ProgramDigest,
    32
);
digest_type!(
    /// MD5 of a file, compared with what a channel announced.
    Md5Digest,
    16
);
digest_type!(
    /// SHA-1 of a file, compared with what a channel announced.
    Sha1Digest,
    20
);

/// What a channel announces of a file's bytes. None of it decides trust.
///
/// | field | what |
/// |---|---|
/// | `sha256`, `sha1`, `md5` | in hexadecimal; absent where the peer does not say it |
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the table above")]
pub struct AnnouncedDigests {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<FileDigest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha1: Option<Sha1Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<Md5Digest>,
}

fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_of_another_length_or_alphabet_is_refused() {
        let digest: Md5Digest =
            serde_json::from_str("\"2BCD3C4DE20C918E19FAB5C36249C70D\"").unwrap();
        assert_eq!(serde_json::to_string(&digest).unwrap(), "\"2bcd3c4de20c918e19fab5c36249c70d\"");
        for bad in ["\"\"", "\"2b\"", "\"zzcd3c4de20c918e19fab5c36249c70d\"", "\"é\"", "7"] {
            assert!(serde_json::from_str::<Md5Digest>(bad).is_err(), "{bad}");
        }
    }
}
