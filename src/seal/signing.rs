//! Secret keys, and the signatures that they make: for `uplift keygen`, `uplift pack` and the
//! simulation, never for the daemon. Keys are minisign's own, so that its tool can use them too.

use std::fmt;
use std::ops::Range;

use ct_codecs::{Base64, Decoder as _};
use minisign::{ErrorKind, KeyPair, PError, SecretKeyBox};

use super::PublicKey;

/// A secret key in bytes: algorithms, salt, limits, and key with id and checksum.
const SECRET_SIZE: usize = 158;
/// Where a secret key says how it is encrypted: behind two bytes of algorithm.
const ENCRYPTION: Range<usize> = 2..4;
const NOT_ENCRYPTED: &[u8] = &[0; 2];
const ENCRYPTED: &[u8] = b"Sc";
const NO_CHECKSUM: [u8; 32] = [0; 32];

/// A secret key, ready to sign. It does not show itself.
pub struct SecretKey {
    secret: minisign::SecretKey,
    public: PublicKey,
}

/// A new pair of keys, as text for two files.
pub struct NewKeys {
    /// For the `.key` file; secret.
    pub secret_text: String,
    /// For the `.pub` file, comment and key in two lines.
    pub public_text: String,
    /// The public key.
    pub public: PublicKey,
}

/// Why a key can't be made or used.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The text is an encrypted key, and no password is known.
    #[error("it is protected by a password")]
    PasswordNeeded,
    /// The text is an encrypted key, and the password is another one.
    #[error("the password is wrong")]
    WrongPassword,
    /// The public half of a pair.
    #[error("it is the public half of a key; the secret half signs, a .key file")]
    PublicHalf,
    /// Something else than a key.
    #[error("it is not a minisign secret key: expected two lines, the second one of {0} characters", SECRET_SIZE.div_ceil(3) * 4)]
    NotSecret,
    /// The library's own words.
    #[error(transparent)]
    Library(#[from] PError),
    /// What the library made is not what this crate understands.
    #[error("the signing library made a public key that is none")]
    Public(#[from] super::KeyError),
}

impl NewKeys {
    /// Makes a pair of keys; with a password, the secret one is encrypted with it.
    pub fn generate(password: Option<String>) -> Result<Self, SigningError> {
        let pair = match password {
            Some(password) => KeyPair::generate_encrypted_keypair(Some(password))?,
            None => KeyPair::generate_unencrypted_keypair()?,
        };
        let public: PublicKey = pair.pk.to_base64().parse()?;
        let secret_text =
            pair.sk.to_box(Some(&format!("minisign secret key {}", public.id())))?.into_string();
        Ok(Self { secret_text, public_text: pair.pk.to_box()?.into_string(), public })
    }
}

impl SecretKey {
    /// Reads the text of a `.key` file. One that is not encrypted needs no password, and ignores
    /// one.
    pub fn read(text: &str, password: Option<String>) -> Result<Self, SigningError> {
        let boxed = SecretKeyBox::from(text.to_owned());
        let line = text.lines().nth(1).unwrap_or_default();
        if line.parse::<PublicKey>().is_ok() {
            return Err(SigningError::PublicHalf);
        }
        let bytes = Base64::decode_to_vec(line, None)
            .ok()
            .filter(|bytes| bytes.len() == SECRET_SIZE)
            .ok_or(SigningError::NotSecret)?;
        let secret = match (&bytes[ENCRYPTION], password) {
            // minisign's own tool writes no checksum into a key without a password, and the
            // library's readers want one.
            (NOT_ENCRYPTED, _) if bytes.ends_with(&NO_CHECKSUM) => {
                minisign::SecretKey::from_bytes(&bytes)?
            }
            (NOT_ENCRYPTED, _) => boxed.into_unencrypted_secret_key()?,
            // Without one the library would ask on the terminal by itself.
            (ENCRYPTED, None) => return Err(SigningError::PasswordNeeded),
            (ENCRYPTED, password) => {
                boxed.into_secret_key(password).map_err(|error| match error.kind() {
                    ErrorKind::Verify => SigningError::WrongPassword,
                    _ => error.into(),
                })?
            }
            _ => return Err(SigningError::NotSecret),
        };
        let public = minisign::PublicKey::from_secret_key(&secret)?.to_base64().parse()?;
        Ok(Self { secret, public })
    }

    /// The public key that goes with it.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs bytes: the text of a signature file. The trusted comment is part of what is signed.
    pub fn sign(&self, bytes: &[u8], trusted_comment: &str) -> Result<String, SigningError> {
        let untrusted = format!("signature of uplift by the key {}", self.public.id());
        let signature =
            minisign::sign(None, &self.secret, bytes, Some(trusted_comment), Some(&untrusted))?;
        Ok(signature.into_string())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {:?})", self.public)
    }
}

impl fmt::Debug for NewKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewKeys({:?})", self.public)
    }
}
