//! The name of a firmware file: `Product_Vaa.bb.cc.dd.bin` (docs/wire/payload-link.md section 5).
//!
//! A name comes from a peer: it is data, taken apart here, and never becomes a path.

use std::str::FromStr;

use crate::model::version::{Version, VersionError};
use crate::model::{Failure, FailureKind};

/// Longest name in bytes: what Linux file systems take.
pub const LONGEST_NAME: usize = 255;

/// What stands behind the version.
const EXTENSION: &str = ".bin";

/// A well-formed name of a firmware file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName {
    product: String,
    version: Version,
}

/// Why a text is not the name of a firmware file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each is its documentation")]
pub enum NameError {
    #[error("it is {0} bytes long; the limit is {LONGEST_NAME}")]
    TooLong(usize),
    #[error("it contains {0:?}")]
    NotPlain(char),
    #[error("it does not end in \"{EXTENSION}\"")]
    NoExtension,
    #[error("it has no \"_V\" between product and version")]
    NoVersion,
    #[error(transparent)]
    Version(#[from] VersionError),
    #[error("there is no product before the version")]
    NoProduct,
}

impl NameError {
    /// The failure of a file with this name.
    pub fn into_failure(self, name: &str) -> Failure {
        let shown: String = name.chars().take(LONGEST_NAME).collect();
        Failure::new(
            FailureKind::NameInvalid,
            format!("{shown:?} is not the name of a firmware file"),
        )
        .because(self)
    }
}

impl FileName {
    /// The product: everything before the last underscore.
    pub fn product(&self) -> &str {
        &self.product
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.version
    }
}

impl FromStr for FileName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > LONGEST_NAME {
            return Err(NameError::TooLong(text.len()));
        }
        if let Some(character) = text.chars().find(|&c| c == '/' || c.is_control()) {
            return Err(NameError::NotPlain(character));
        }
        let stem = text.strip_suffix(EXTENSION).ok_or(NameError::NoExtension)?;
        let (product, version) = stem
            .rsplit_once('_')
            .filter(|(_, tail)| tail.starts_with('V'))
            .ok_or(NameError::NoVersion)?;
        if product.is_empty() {
            return Err(NameError::NoProduct);
        }
        Ok(Self { product: product.to_owned(), version: version.parse()? })
    }
}

impl std::fmt::Display for FileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}_{}{EXTENSION}", self.product, self.version)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_may_be_as_long_as_a_file_s() {
        let name = |length: usize| format!("{}_V01.02.03.04.bin", "P".repeat(length - 17));
        assert!(name(LONGEST_NAME).parse::<FileName>().is_ok());
        assert_eq!(name(256).parse::<FileName>(), Err(NameError::TooLong(256)));
    }

    #[test]
    fn a_name_is_product_and_version() {
        for (text, product, version) in [
            ("PSDK_APPALIAS_V02.01.00.03.bin", "PSDK_APPALIAS", "V02.01.00.03"),
            ("X_V00.00.00.00.bin", "X", "V00.00.00.00"),
            ("A_V01.00.00.00_V99.99.99.99.bin", "A_V01.00.00.00", "V99.99.99.99"),
            ("__V01.02.03.04.bin", "_", "V01.02.03.04"),
            ("..._V01.02.03.04.bin", "...", "V01.02.03.04"),
            ("Größe 2_V01.02.03.04.bin", "Größe 2", "V01.02.03.04"),
        ] {
            let name: FileName = text.parse().unwrap();
            assert_eq!((name.product(), name.version().to_string().as_str()), (product, version));
        }
    }

    #[test]
    fn each_wrong_name_has_its_reason() {
        for (text, reason) in [
            ("", "does not end in \".bin\""),
            (".bin", "no \"_V\""),
            ("PSDK_V01.02.03.04", "does not end in \".bin\""),
            ("PSDK_V01.02.03.04.BIN", "does not end in \".bin\""),
            ("PSDK_V01.02.03.04.bin.bin", "is not a version"),
            ("PSDK.bin", "no \"_V\""),
            ("PSDKV01.02.03.04.bin", "no \"_V\""),
            ("PSDK_v01.02.03.04.bin", "no \"_V\""),
            ("PSDK_V1.2.3.4.bin", "\"V1.2.3.4\" is not a version"),
            ("PSDK_V01.02.03.bin", "is not a version"),
            ("PSDK_V01.02.03.100.bin", "is not a version"),
            ("_V01.02.03.04.bin", "there is no product before"),
            ("../PSDK_V01.02.03.04.bin", "contains '/'"),
            ("PS\0DK_V01.02.03.04.bin", "contains '\\0'"),
            ("PSDK_V01.02.03.04.bin\r\n", "contains '\\r'"),
            ("PS\u{85}DK_V01.02.03.04.bin", "contains '\\u{85}'"),
        ] {
            let error = text.parse::<FileName>().unwrap_err();
            assert!(error.to_string().contains(reason), "{text:?}: {error}");
            assert_eq!(error.into_failure(text).kind, FailureKind::NameInvalid);
        }
        let long = format!("{}_V01.02.03.04.bin", "x".repeat(LONGEST_NAME));
        assert_eq!(long.parse::<FileName>(), Err(NameError::TooLong(long.len())));
    }

    proptest! {
        #[test]
        fn a_name_survives_text_and_back(product in "[^/\\p{Cc}]{1,40}", numbers in prop::array::uniform4(0u8..100)) {
            let version = Version::new(numbers).unwrap();
            let name: FileName = format!("{product}_{version}.bin").parse().unwrap();
            prop_assert_eq!((name.product(), name.version()), (product.as_str(), version));
            prop_assert_eq!(name.to_string().parse::<FileName>(), Ok(name));
        }

        #[test]
        fn any_text_is_a_name_or_has_a_reason(text in "\\PC*(_V)?[0-9.]{0,12}(\\.bin)?") {
            match text.parse::<FileName>() {
                Ok(name) => prop_assert_eq!(name.to_string(), text),
                Err(error) => prop_assert!(!error.into_failure(&text).to_string().is_empty()),
            }
        }
    }
}
