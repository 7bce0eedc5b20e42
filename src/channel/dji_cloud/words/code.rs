//! Result codes for firmware: six digits, of which the first says that the device speaks.

use serde::{Deserialize, Serialize};

use crate::model::FailureKind;

/// A result code; 0 is success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Code(pub(crate) i64);

impl Code {
    /// All is well.
    pub(crate) const OK: Self = Self(0);
    /// The request is not one of this interface.
    pub(crate) const NO_SUCH_REQUEST: Self = Self(312_010);
    /// A parameter is wrong.
    pub(crate) const BAD_PARAMETERS: Self = Self(312_012);
    /// Another upgrade runs.
    pub(crate) const BUSY: Self = Self(312_014);

    /// Nobody has a number for it.
    pub(crate) const UNKNOWN: Self = Self(-1);

    /// What a failure is called there. The one table of it; docs/use/dji-cloud.md shows the same.
    pub(crate) const fn of(kind: FailureKind) -> Self {
        use FailureKind as Kind;
        Self(match kind {
            Kind::Busy => 312_014,
            Kind::NotNow => 312_015,
            Kind::TransferFailed | Kind::Timeout => 312_016,
            Kind::WrongProduct
            | Kind::WrongVersion
            | Kind::WrongMachine
            | Kind::WrongBase
            | Kind::Downgrade
            | Kind::SameVersion => 312_017,
            Kind::Truncated
            | Kind::DigestMismatch
            | Kind::SealMissing
            | Kind::SealInvalid
            | Kind::KnownBad => 312_003,
            Kind::NameInvalid | Kind::TooLarge => 312_012,
            Kind::NoSpace => 312_025,
            Kind::PreflightFailed => 312_002,
            Kind::InstallFailed => 312_013,
            Kind::RestartFailed => 312_018,
            Kind::Unhealthy | Kind::Interrupted => 312_028,
            Kind::Cancelled | Kind::Internal => -1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_has_the_code_that_the_page_shows() {
        let page = include_str!("../../../../docs/use/dji-cloud.md");
        for kind in FailureKind::ALL {
            let row = format!("| `{kind}` | {} |", Code::of(kind).0);
            assert!(page.contains(&row), "{row}");
            assert_ne!(Code::of(kind), Code::OK);
        }
    }
}
