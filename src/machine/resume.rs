//! What a freshly started daemon does with what it finds; every combination has an answer.

use super::failures::{boots_used_up, restart_never_came};
use super::{Action, MOST_RESTART_REQUESTS, NOT_RESTARTED, State, also, failed, rolled_back};
use crate::model::{Attempt, Failure, FailureKind, Origin, ProgramDigest, Swap, Upgrade, Verdict};

/// What a freshly started daemon finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The boot and the invocation that run; another one than the recorded one is a restart.
    pub origin: Origin,
    /// Digest of the program at the path; absent when there is none.
    pub at_path: Option<ProgramDigest>,
    /// Whether the file of an upgrade that was put off still lies in the staging area.
    pub staged: bool,
    /// Whether a part of its file is kept there, of an upgrade that goes on with it.
    pub part: bool,
    /// What `uplift-rescue` decided about this upgrade: it has put the old program back, or was cut
    /// off while it did.
    pub ruling: Option<Ruled>,
}

/// What `uplift-rescue` decided about an upgrade, and how far it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruled {
    /// Why the old program comes back.
    pub verdict: Verdict,
    /// Whether it wrote down that the old program is back at the path.
    pub put_back: bool,
    /// The boot and the invocation in which the old program must be restarted; nothing where it
    /// need not be.
    pub restart_from: Option<Origin>,
}

impl Ruled {
    /// Whether the old program, which is back at the path, must still be restarted, as far as can
    /// be told: a restart too many harms less than a program that runs on while it is not at its
    /// path any more.
    pub(crate) fn owes_restart(&self, now: &Origin) -> bool {
        let Some(from) = &self.restart_from else { return false };
        // Another start of the unit proves something only where the old program was back before it.
        now.is_in_boot_of(from) && !(self.put_back && now.is_another_start_than(from))
    }
}

impl State {
    /// What a freshly started daemon does with a state that the journal holds.
    ///
    /// | journal | the program at the path | restarted | then |
    /// |---|---|---|---|
    /// | receiving or checking, with a part of its file that is kept | any | any | receiving |
    /// | before the swap (checking, ready) otherwise | any | any | failed: `interrupted` |
    /// | deferred, with its file in the staging area | any | any | deferred |
    /// | deferred, without it | any | any | failed: `interrupted` |
    /// | installing | old | any | failed: `interrupted` |
    /// | installing, restarting | new | no | restart; asked for too often: put the old one back |
    /// | installing, restarting | new | yes | trial |
    /// | trial | new | any | trial; in one boot too many: put the old one back |
    /// | restarting | old | no, for certain | rolled back: `interrupted` |
    /// | restarting, trial | old | any other | restart back, `interrupted`: whoever put the old one back did not say that it runs |
    /// | installing, restarting, trial | new, with a verdict of the rescue | any | put the old one back |
    /// | installing, restarting, trial | old, with a verdict of the rescue, and restarted where that was needed | any | rolled back: what the verdict says |
    /// | installing, restarting, trial | old, with a verdict of the rescue, and a restart that is owed | any | restart back |
    /// | reverting | new | any | put the old one back |
    /// | reverting | old | any | restart back |
    /// | reverting | old, put back by the rescue, and restarted where that was needed | any | rolled back |
    /// | restarting back | old | no | restart back; asked for too often: rolled back |
    /// | restarting back | old | yes | rolled back |
    /// | restarting back | new | any | put the old one back |
    /// | any after the swap began | old and new are the same | any | as if it were new, but never put back again |
    /// | changing | – | any | by the table in `machine/change.rs` |
    /// | any after the swap began | another one | any | failed: `install-failed` |
    pub fn resume(self, found: &Found) -> (Self, Vec<Action>) {
        use Action::{EmptyStage, Record, Report, Restart, SwapBack};
        let side = self.swap().map_or(Side::Foreign, |swap| Side::of(swap, found.at_path));
        let restarted = self.swap().is_some_and(|swap| found.origin.restarted_since(&swap.origin));
        let side = match (&self, side) {
            // It was put back already; nothing at the path can tell.
            (Self::Reverting { .. } | Self::RestartingBack { .. }, Side::Both) => Side::Old,
            (_, Side::Both) => Side::New,
            (_, side) => side,
        };
        match (self, side, restarted) {
            (Self::Changing { upgrade, change, step }, ..) => {
                super::change::resume(upgrade, change, step, &found.origin)
            }
            (state @ (Self::Idle | Self::Concluded { .. }), ..) => (state, vec![EmptyStage]),
            // What was received whole is checked again: who sends it is told that all is there.
            (Self::Receiving { upgrade } | Self::Checking { upgrade }, ..) if found.part => {
                (Self::Receiving { upgrade }, vec![EmptyStage, Record])
            }
            (
                Self::Preparing { upgrade }
                | Self::Receiving { upgrade }
                | Self::Checking { upgrade },
                ..,
            ) => (failed(upgrade, None, interrupted().into()), vec![EmptyStage, Report]),
            (state @ Self::Deferred { .. }, ..) if found.staged => (state, vec![EmptyStage]),
            (Self::Deferred { upgrade, package, .. }, ..) => {
                (failed(upgrade, Some(package), file_gone().into()), vec![EmptyStage, Report])
            }
            (Self::Ready { upgrade, package }, ..) => {
                (failed(upgrade, Some(package), interrupted().into()), vec![EmptyStage, Report])
            }
            (
                Self::Installing { upgrade, swap, .. }
                | Self::Restarting { upgrade, swap, .. }
                | Self::Trial { upgrade, swap, .. }
                | Self::Reverting { upgrade, swap, .. }
                | Self::RestartingBack { upgrade, swap, .. },
                Side::Foreign | Side::Both,
                _,
            ) => (
                failed(upgrade, Some(swap.package), replaced_by_hand().into()),
                vec![EmptyStage, Report],
            ),
            (
                on_trial @ (Self::Installing { .. } | Self::Restarting { .. } | Self::Trial { .. }),
                side,
                _,
            ) => on_trial.resume_trial(side == Side::New, restarted, found),
            (
                Self::Reverting { upgrade, swap, verdict }
                | Self::RestartingBack { upgrade, swap, verdict, .. },
                Side::New,
                _,
            ) => (Self::Reverting { upgrade, swap, verdict }, vec![Record, SwapBack]),
            (Self::Reverting { upgrade, swap, verdict }, Side::Old, _)
                if found
                    .ruling
                    .as_ref()
                    .is_some_and(|ruled| ruled.put_back && !ruled.owes_restart(&found.origin)) =>
            {
                (rolled_back(upgrade, swap, verdict), vec![EmptyStage, Report])
            }
            (Self::Reverting { upgrade, swap, verdict }, Side::Old, _) => {
                let swap = Swap { origin: found.origin.clone(), ..swap };
                (
                    Self::RestartingBack { upgrade, swap, verdict, requests: 1 },
                    vec![Record, Restart],
                )
            }
            (Self::RestartingBack { upgrade, swap, verdict, .. }, Side::Old, true) => {
                (rolled_back(upgrade, swap, verdict), vec![EmptyStage, Report])
            }
            (Self::RestartingBack { upgrade, swap, verdict, requests }, Side::Old, false)
                if requests < MOST_RESTART_REQUESTS =>
            {
                (
                    Self::RestartingBack { upgrade, swap, verdict, requests: requests + 1 },
                    vec![Record, Restart],
                )
            }
            (Self::RestartingBack { upgrade, swap, verdict, .. }, Side::Old, false) => {
                let verdict = also(verdict, NOT_RESTARTED, &restart_never_came());
                (rolled_back(upgrade, swap, verdict), vec![EmptyStage, Report])
            }
        }
    }

    /// An upgrade whose swap has begun and about which nothing is decided yet.
    fn resume_trial(
        self,
        new_at_path: bool,
        restarted: bool,
        found: &Found,
    ) -> (Self, Vec<Action>) {
        use Action::{EmptyStage, Record, Report, Restart, SwapBack, Try};
        let put_back = |upgrade: Upgrade, swap: Swap, verdict: Verdict| {
            (Self::Reverting { upgrade, swap, verdict }, vec![Record, SwapBack])
        };
        let restart_back = |upgrade: Upgrade, swap: Swap, verdict: Verdict, origin: Origin| {
            (
                Self::RestartingBack {
                    upgrade,
                    swap: Swap { origin, ..swap },
                    verdict,
                    requests: 1,
                },
                vec![Record, Restart],
            )
        };
        match (self, new_at_path, found.ruling.clone()) {
            (
                Self::Installing { upgrade, swap }
                | Self::Restarting { upgrade, swap, .. }
                | Self::Trial { upgrade, swap, .. },
                true,
                Some(ruled),
            ) => put_back(upgrade, swap, ruled.verdict),
            (
                Self::Installing { upgrade, swap }
                | Self::Restarting { upgrade, swap, .. }
                | Self::Trial { upgrade, swap, .. },
                false,
                Some(ruled),
            ) => match ruled.owes_restart(&found.origin) {
                true => restart_back(upgrade, swap, ruled.verdict, found.origin.clone()),
                false => (rolled_back(upgrade, swap, ruled.verdict), vec![EmptyStage, Report]),
            },
            (Self::Installing { upgrade, swap }, false, None) => (
                failed(upgrade, Some(swap.package), interrupted().into()),
                vec![EmptyStage, Report],
            ),
            (Self::Restarting { upgrade, swap, .. }, false, None)
                if Origin::was_never_restarted(
                    &swap.origin,
                    &found.origin,
                    &swap.terms.restart,
                ) =>
            {
                (rolled_back(upgrade, swap, put_back_meanwhile().into()), vec![EmptyStage, Report])
            }
            (
                Self::Restarting { upgrade, swap, .. } | Self::Trial { upgrade, swap, .. },
                false,
                None,
            ) => restart_back(upgrade, swap, put_back_meanwhile().into(), found.origin.clone()),
            (
                Self::Installing { upgrade, swap } | Self::Restarting { upgrade, swap, .. },
                true,
                None,
            ) if restarted => {
                let attempt = Attempt::first(&found.origin.boot_id);
                (Self::Trial { upgrade, swap, attempt, confirmed_by: None }, vec![Record, Try])
            }
            (Self::Installing { upgrade, swap }, true, None) => {
                (Self::Restarting { upgrade, swap, requests: 1 }, vec![Record, Restart])
            }
            (Self::Restarting { upgrade, swap, requests }, true, None)
                if requests < MOST_RESTART_REQUESTS =>
            {
                (Self::Restarting { upgrade, swap, requests: requests + 1 }, vec![Record, Restart])
            }
            (Self::Restarting { upgrade, swap, .. }, true, None) => {
                put_back(upgrade, swap, restart_never_came().into())
            }
            (Self::Trial { upgrade, swap, attempt, confirmed_by }, true, None) => {
                let attempt = attempt.resumed(&found.origin.boot_id);
                if attempt.number > swap.terms.boots {
                    let verdict = boots_used_up(swap.terms.boots).into();
                    return put_back(upgrade, swap, verdict);
                }
                (Self::Trial { upgrade, swap, attempt, confirmed_by }, vec![Record, Try])
            }
            (state, ..) => (state, vec![]),
        }
    }
}

fn interrupted() -> Failure {
    Failure::new(
        FailureKind::Interrupted,
        "the daemon was stopped before the program was swapped; the old program was not touched",
    )
}

fn file_gone() -> Failure {
    Failure::new(
        FailureKind::Interrupted,
        "the upgrade was put off, and the daemon that starts does not find its file; the old program was not touched",
    )
}

fn put_back_meanwhile() -> Failure {
    Failure::new(
        FailureKind::Interrupted,
        "the old program was put back while the daemon did not run",
    )
}

/// What is at the path is none of the upgrade's programs.
pub(crate) fn replaced_by_hand() -> Failure {
    Failure::new(
        FailureKind::InstallFailed,
        "the program at the path is neither the old nor the new one: something else replaced it",
    )
}

/// Whose program is at the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Old,
    New,
    /// A program was installed over itself.
    Both,
    Foreign,
}

impl Side {
    fn of(swap: &Swap, at_path: Option<ProgramDigest>) -> Self {
        if at_path == Some(swap.package.program_digest) {
            if swap.is_over_itself() { Self::Both } else { Self::New }
        } else if at_path == swap.old {
            Self::Old
        } else {
            Self::Foreign
        }
    }
}
