//! The ids of the messages that matter, by which `systemd/uplift.catalog` explains them to a person
//! (`journalctl --catalog`). An id is for ever: monitoring hangs on it. A new message gets a new
//! one from `systemd-id128 new`, and a text in the catalogue.

use crate::model::Outcome;

/// An upgrade was asked for and begins.
pub(crate) const BEGAN: &str = "2070d440e71c4a27b058431613be2fdd";
/// A request was refused before there was an upgrade.
pub(crate) const REFUSED: &str = "f01bd3a3e78d41c1a5b02014f5eb1590";
/// The new program is at its path, and the restart is asked for.
pub(crate) const SWAPPED: &str = "0855c2250855406da063a6a9c681176d";
/// The new program has to show that it works.
pub(crate) const TRIAL: &str = "6add11ab3a2342ce948168dd3e41c586";
/// The old program is being put back.
pub(crate) const REVERTING: &str = "e5511d993bd842cd862b966bd0bf2a51";
/// The new program runs.
pub(crate) const SUCCEEDED: &str = "10d69e24126048d98dabbffde0031d99";
/// The upgrade failed, and the old program was not replaced.
pub(crate) const FAILED: &str = "b9ffb1379fbb41b8a0836e93a7367fe8";
/// The new program failed, and the old one is back.
pub(crate) const ROLLED_BACK: &str = "307365fc9232437881a368131366f721";
/// The report is repeated until its receiver has acknowledged it.
pub(crate) const REPORT_WAITS: &str = "a2efd9b68854435d88a2f4065fa6b53e";
/// The daemon or the machine stopped in the middle of an upgrade, which goes on.
pub(crate) const RESUMED: &str = "5ccf754b7cb64e7394dcd7663ca4bf30";
/// A file of the daemon's state could not be used as it was.
pub(crate) const STATE_DAMAGED: &str = "4602f793c82b4a7cb01bf99203b09904";
/// Something keeps the daemon from doing all that it should.
pub(crate) const TROUBLE: &str = "4beff8004b8049b388965ed113848f19";
/// A person has forgotten the lowest version.
pub(crate) const MINIMUM_FORGOTTEN: &str = "a5c508c4d4f843afa1da01255759b152";
/// The upgrade may not be installed yet, and waits.
pub(crate) const DEFERRED: &str = "54805be9b0db4a6abad25cd76524a1eb";
/// Somebody holds upgrades.
pub(crate) const HELD: &str = "fae36020d9144abb8aaa5d18bf6fa4df";
/// Nobody holds upgrades any more.
pub(crate) const RELEASED: &str = "bc6377accd3544a39bc075d7ee21fd2c";
/// The serial device is not there, can't be opened, or went away.
pub(crate) const DEVICE_MISSING: &str = "4895754ab0d04f949bb12ada6b5f3299";
/// The aircraft answered.
pub(crate) const LINKED: &str = "c2ac7d4dca8a42cea8c37f20096c33e0";
/// The aircraft does not answer any more.
pub(crate) const AIRCRAFT_SILENT: &str = "440c3b74b9854a39913a27366dfa31cd";
/// `uplift-rescue` puts the old program back.
pub(crate) const RESCUE_ROLLS_BACK: &str = "025c0da31d85419da9277312fbc8824d";
/// `uplift-rescue` could not do its work.
pub(crate) const RESCUE_FAILED: &str = "34c371d0de094cd2ae545981e9e24519";

/// The message of an upgrade's end.
pub(crate) const fn of_outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => SUCCEEDED,
        Outcome::Failed => FAILED,
        Outcome::RolledBack => ROLLED_BACK,
    }
}
