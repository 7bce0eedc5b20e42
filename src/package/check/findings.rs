//! The list of checks, and what each found. Printed by `uplift check --json`, so a change here is a
//! change of its format.

use serde::Serialize;

use crate::model::Failure;
use crate::seal::Seal;

/// The checks, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// The name is that of a firmware file.
    Name,
    /// The product is ours.
    Product,
    /// The version is higher than the one that runs.
    Version,
    /// The size is within limits.
    Size,
    /// A program for the machine of the installed one.
    Machine,
    /// The interpreter that the program names is present.
    Interpreter,
    /// The file is whole.
    Complete,
    /// The seal is by a trusted key, and agrees with name and program.
    Seal,
    /// The digest that the channel gave agrees.
    Digest,
    /// The program did not fail here before.
    KnownBad,
    /// The program, when asked, tells the version of its name.
    Preflight,
}

impl Check {
    /// Every check, in order.
    pub const ALL: [Self; 11] = [
        Self::Name,
        Self::Product,
        Self::Version,
        Self::Size,
        Self::Machine,
        Self::Interpreter,
        Self::Complete,
        Self::Seal,
        Self::Digest,
        Self::KnownBad,
        Self::Preflight,
    ];

    /// Its name as a person reads it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Product => "product",
            Self::Version => "version",
            Self::Size => "size",
            Self::Machine => "machine",
            Self::Interpreter => "interpreter",
            Self::Complete => "complete",
            Self::Seal => "seal",
            Self::Digest => "digest",
            Self::KnownBad => "known bad",
            Self::Preflight => "preflight",
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "result", content = "detail")]
pub enum Verdict {
    /// Right; what was seen.
    Passed(String),
    /// Wrong.
    Failed(Failure),
    /// Not looked at; why.
    Skipped(String),
}

/// One check and what it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check.
    pub check: Check,
    /// What it found.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// All findings on one file, in the order of the checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    /// One a check.
    pub findings: Vec<Finding>,
    /// The file's seal, if it has a well-formed one. Whether it is to be believed is a finding.
    pub seal: Option<Seal>,
}

impl Examination {
    /// The first failure, which is what the file is refused for.
    pub fn failure(&self) -> Option<&Failure> {
        self.findings.iter().find_map(|finding| match &finding.verdict {
            Verdict::Failed(failure) => Some(failure),
            Verdict::Passed(_) | Verdict::Skipped(_) => None,
        })
    }
}
