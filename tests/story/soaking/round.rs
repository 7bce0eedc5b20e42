//! The kinds of upgrades, and how each must end.

use std::fs::{self, OpenOptions};

use uplift::model::{FailureKind, Outcome, Report};
use uplift_sim::aircraft::{Options, Result, Stage, Verdict};

use super::soaked::{Kill, Life, Soaked, foreign_name, signer};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Round {
    /// The new program runs.
    Good,
    /// Sealed by somebody who is not trusted.
    ForeignSeal,
    /// Without a seal.
    NoSeal,
    /// One byte of the program was changed after it was sealed.
    Changed,
    /// The end is missing.
    Cut,
    /// A file of another product.
    OtherProduct,
    /// The new program is not healthy: it is rolled back.
    Unhealthy,
    /// The host falls silent half-way, and never comes back for this file.
    Aborted,
    /// The daemon is killed while it receives.
    KilledAtTransfer,
    /// The daemon is killed between swap and restart.
    KilledAtRestart,
}

impl Round {
    /// The kinds that a payload goes through, in order.
    pub(crate) const fn of(life: Life) -> &'static [Self] {
        use Round::{
            Aborted, Changed, Cut, ForeignSeal, Good, KilledAtRestart, KilledAtTransfer, NoSeal,
            OtherProduct, Unhealthy,
        };
        match life {
            Life::Ftp | Life::Dcftp => &[
                Good,
                ForeignSeal,
                Good,
                Cut,
                Aborted,
                Good,
                Unhealthy,
                NoSeal,
                Good,
                Changed,
                OtherProduct,
            ],
            Life::Killed => {
                &[Good, KilledAtTransfer, Good, KilledAtRestart, Unhealthy, KilledAtTransfer, Cut]
            }
        }
    }

    /// Upgrades, and checks what the aircraft was told, what the daemon wrote down, and what runs.
    pub(crate) fn perform(self, payload: &mut Soaked) {
        let before = payload.last_report();
        let sealed = !matches!(self, Self::NoSeal | Self::ForeignSeal);
        let (firmware, version) = if sealed { payload.sealed() } else { payload.unsealed() };
        let mut options = Options::new(&firmware);
        let mut kill = Kill::Never;
        match self {
            Self::ForeignSeal => signer().seal_file(&firmware).unwrap(),
            Self::Changed => {
                let mut bytes = fs::read(&firmware).unwrap();
                bytes[30_000] ^= 1;
                fs::write(&firmware, bytes).unwrap();
            }
            Self::Cut => {
                let file = OpenOptions::new().write(true).open(&firmware).unwrap();
                file.set_len(30_000).unwrap();
            }
            Self::OtherProduct => {
                let name = firmware.with_file_name(foreign_name(version));
                fs::rename(&firmware, &name).unwrap();
                options.firmware = name;
            }
            Self::Aborted => options.abort_at = Some(Stage::Transfer),
            Self::KilledAtTransfer => kill = Kill::AtTransfer,
            Self::KilledAtRestart => kill = Kill::AtRestart,
            Self::Unhealthy => payload.set_sick(true),
            Self::Good | Self::NoSeal => {}
        }
        let verdict = payload.upgrade(options, kill);
        if self == Self::Unhealthy {
            payload.set_sick(false);
        }
        if matches!(self, Self::Good | Self::KilledAtRestart) {
            payload.runs = version;
        }
        self.judge(payload, &verdict, before.as_ref());
    }

    fn judge(self, payload: &Soaked, verdict: &Verdict, before: Option<&Report>) {
        let context = || format!("{:?} {self:?}: {verdict:?}", payload.life);
        let result = match self {
            Self::Good | Self::KilledAtRestart => Result::Success,
            Self::Aborted => Result::Aborted,
            _ => Result::Failure,
        };
        assert_eq!(verdict.result, result, "{}", context());
        assert_eq!(
            payload.payload.reported_version().unwrap(),
            payload.runs.to_string(),
            "{}",
            context()
        );
        if self == Self::Aborted {
            return; // the host that comes back takes the upgrade up again
        }
        let status = payload.quiet();
        assert_eq!(
            status.components[0].version,
            Some(payload.runs.to_string().parse().unwrap()),
            "{}",
            context()
        );
        let report =
            status.last.filter(|report| before.is_none_or(|before| before.id != report.id));
        let told =
            report.map(|report| (report.outcome, report.failure.map(|failure| failure.kind)));
        assert_eq!(told, self.report(), "{}", context());
    }

    /// How the report ends, where there is one: an upgrade that the daemon did not live to check
    /// was promised to nobody.
    fn report(self) -> Option<(Outcome, Option<FailureKind>)> {
        let failed = |kind| Some((Outcome::Failed, Some(kind)));
        match self {
            Self::Good | Self::KilledAtRestart => Some((Outcome::Succeeded, None)),
            Self::ForeignSeal => failed(FailureKind::SealInvalid),
            Self::NoSeal => failed(FailureKind::SealMissing),
            Self::Changed => failed(FailureKind::DigestMismatch),
            Self::Cut => failed(FailureKind::Truncated),
            Self::OtherProduct => failed(FailureKind::WrongProduct),
            Self::Unhealthy => Some((Outcome::RolledBack, Some(FailureKind::Unhealthy))),
            Self::Aborted | Self::KilledAtTransfer => None,
        }
    }
}
