//! The stories, each proved in every crash state of every moment.

use std::collections::HashSet;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::files::STATE;
use super::firmware::{Firmware, NEW_VERSION, ourselves};
use super::payload::{FIRST_BOOT, Payload, Wish, tree_with};
use super::proof::{Programs, prove, recover};
use super::recording::{Case, Promise, Recording, Step};
use super::setting::{NewDaemon, PutOff, Setting};
use super::tree::{Content, Entry};
use crate::disk::recording::Moment;
use crate::model::{ChannelName, FailureKind};
use crate::record::checksum;
use crate::record::checksum::tests::sealed;

/// A user and a group that are not ours.
const SOMEBODY: u32 = 65_534;

/// A story to be told.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) name: &'static str,
    setting: Setting,
    programs: Programs,
    kind: Kind,
    /// Whether the second cut may also come after a first one that lost something.
    thorough: bool,
}

/// What the story is of.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Upgrade,
    /// The power is cut in the first boot of the trial; it begins with the next.
    CutInTrial,
    /// The same, and then the daemon does not start: the second deadline passes.
    RescuedInTrial,
    /// The daemon alone dies in the trial and stays away; the second deadline passes, and the
    /// restart is refused to the rescue.
    RescuedInVain,
    /// A person puts the old program back after the upgrade.
    ByHand,
}

/// Every story. Where a trial may take one boot only, a power cut in it means a rollback.
pub(crate) fn stories() -> Vec<Story> {
    let only_renames = &["Exchange", "RenameToFree", "Link"];
    vec![
        Story::new("exchange").thorough(),
        Story::new("exchange, three boots").with(|setting| setting.boots = 3),
        Story::new("exchange, asked for at the shell")
            .with(|setting| setting.channel = ChannelName::SHELL),
        Story::new("hard link").with(|setting| setting.lacks = &["Exchange"]),
        Story::new("copy").with(|setting| setting.lacks = &["Exchange", "Link"]),
        Story::new("first installation").first(),
        Story::new("first installation by link")
            .first()
            .with(|setting| setting.lacks = &["RenameToFree"]),
        Story::new("first installation by rename")
            .first()
            .with(|setting| setting.lacks = only_renames),
        Story::new("restart refused").with(|setting| setting.restarts = false),
        Story::new("rollback by exchange").cut_in_trial().thorough(),
        Story::new("rollback by hard link")
            .cut_in_trial()
            .with(|setting| setting.lacks = &["Exchange"]),
        Story::new("rollback by copy")
            .cut_in_trial()
            .with(|setting| setting.lacks = &["Exchange", "Link"]),
        Story::new("rollback of a first installation").cut_in_trial().first(),
        Story::new("rollback by the rescue").rescued_in_trial().thorough(),
        Story::new("rollback by hand").by_hand(),
        Story::new("after another: exchange").after_another(),
        Story::new("after another: hard link")
            .after_another()
            .with(|setting| setting.lacks = &["Exchange"]),
        Story::new("after another: copy")
            .after_another()
            .with(|setting| setting.lacks = &["Exchange", "Link"]),
        Story::new("after another: rollback by exchange").after_another().cut_in_trial(),
        Story::new("after another: rollback by hard link")
            .after_another()
            .cut_in_trial()
            .with(|setting| setting.lacks = &["Exchange"]),
        Story::new("after another: rollback by copy")
            .after_another()
            .cut_in_trial()
            .with(|setting| setting.lacks = &["Exchange", "Link"]),
        Story::new("after another: rollback by the rescue").after_another().rescued_in_trial(),
        Story::new("exchange, of another owner").of_another_owner(),
        Story::new("copy, of another owner")
            .of_another_owner()
            .with(|setting| setting.lacks = &["Exchange", "Link"]),
        Story::new("health command fails").ill(),
        Story::new("of itself").of_itself(NewDaemon::Concludes),
        Story::new("of itself, hangs").of_itself(NewDaemon::Hangs).thorough(),
        Story::new("of itself, hangs in another format").of_itself(NewDaemon::HangsInAnotherFormat),
    ]
}

impl Story {
    fn new(name: &'static str) -> Self {
        let programs = Programs {
            oldest: None,
            old: Some(Firmware::new("V01.00.00.00").installed()),
            new: Firmware::new(NEW_VERSION),
            next: Firmware::new("V03.00.00.00"),
        };
        Self {
            name,
            setting: Setting {
                channel: ChannelName::PSDK,
                lacks: &[],
                fat: false,
                restarts: true,
                boots: 1,
                verdict: None,
                reports: 0,
                rescue: false,
                own: None,
                ill: false,
                unit: false,
                held: None,
                resumes: false,
                change: None,
            },
            programs,
            kind: Kind::Upgrade,
            thorough: false,
        }
    }

    fn thorough(self) -> Self {
        Self { thorough: true, ..self }
    }

    fn with(mut self, set: impl FnOnce(&mut Setting)) -> Self {
        set(&mut self.setting);
        self
    }

    fn first(mut self) -> Self {
        self.programs.old = None;
        self
    }

    /// The old program replaced another one, which is kept.
    fn after_another(mut self) -> Self {
        self.programs.oldest = Some(Firmware::new("V00.09.00.00").installed());
        self
    }

    fn cut_in_trial(mut self) -> Self {
        self.kind = Kind::CutInTrial;
        self.with(|setting| setting.verdict = Some(FailureKind::Unhealthy))
    }

    fn rescued_in_trial(mut self) -> Self {
        self.kind = Kind::RescuedInTrial;
        let verdict = Some(FailureKind::Unhealthy);
        self.with(|setting| *setting = Setting { verdict, boots: 3, rescue: true, ..*setting })
    }

    fn rescued_in_vain(mut self) -> Self {
        self.kind = Kind::RescuedInVain;
        let verdict = Some(FailureKind::Unhealthy);
        self.with(|setting| {
            *setting = Setting { verdict, boots: 3, rescue: true, unit: true, ..*setting }
        })
    }

    fn by_hand(mut self) -> Self {
        self.kind = Kind::ByHand;
        let verdict = Some(FailureKind::Cancelled);
        self.with(|setting| {
            *setting = Setting { verdict, reports: 1, channel: ChannelName::SHELL, ..*setting }
        })
    }

    /// Upgrades and rollbacks on a file system of the vfat kind, which has no hard links and may
    /// have no exchange.
    pub(crate) fn all_on_fat() -> Vec<Self> {
        let lacks: [&[&str]; 2] = [&["Link"], &["Exchange", "Link"]];
        let on_fat = |story: Self, lacks| {
            story.with(|setting| *setting = Setting { fat: true, lacks, ..*setting })
        };
        let upgrades = lacks.map(|lacks| on_fat(Self::new("upgrade on fat"), lacks));
        let rollbacks =
            lacks.map(|lacks| on_fat(Self::new("rollback on fat").cut_in_trial(), lacks));
        upgrades.into_iter().chain(rollbacks).collect()
    }

    /// The old program belongs to somebody else, and has an attribute.
    fn of_another_owner(mut self) -> Self {
        let old = self.programs.old.as_mut().expect("a program of an owner");
        if nix::unistd::geteuid().is_root() {
            old.owner = (SOMEBODY, SOMEBODY);
        }
        old.attributes = [("user.uplift".into(), b"kept".to_vec())].into();
        self
    }

    /// What is received of the file outlives restarts.
    fn resumes(self) -> Self {
        self.with(|setting| setting.resumes = true)
    }

    /// Upgrades are held when it begins, so that it is put off.
    fn put_off(self, then: PutOff) -> Self {
        self.with(|setting| setting.held = Some(then))
    }

    /// The new program fails its trial.
    fn ill(self) -> Self {
        self.with(|setting| {
            *setting = Setting { ill: true, verdict: Some(FailureKind::Unhealthy), ..*setting }
        })
    }

    /// The program is the daemon itself.
    fn of_itself(self, new: NewDaemon) -> Self {
        let verdict = (new != NewDaemon::Concludes).then_some(FailureKind::Unhealthy);
        self.with(|setting| {
            *setting = Setting { own: Some(new), verdict, boots: 3, rescue: true, ..*setting }
        })
    }

    fn record_from(&self, case: Case, reports: usize, wish: Wish<'_>) -> Recording {
        let mut payload = Payload::new(self.setting, &case.tree, &case.moment);
        payload.is_offered(&self.programs.new);
        match (self.kind, wish) {
            (Kind::RescuedInTrial, Wish::Report) => payload.pass_deadline(),
            (Kind::RescuedInVain, Wish::Report) => payload.pass_deadline_in_vain(),
            _ => {}
        }
        let (_, concluded) = payload.conclude(wish).unwrap();
        Recording::new(case, reports, payload.changes(), concluded)
    }
}

impl Proved for Story {
    fn name(&self) -> &str {
        self.name
    }

    fn record(&self) -> Recording {
        let mut tree = tree_with(self.programs.old.as_ref(), self.programs.oldest.as_ref());
        if self.setting.held.is_some() {
            tree.0.insert(format!("{STATE}/hold.json").into(), hold());
        }
        let moment = Moment { boot: FIRST_BOOT.into(), start: None };
        let (before, new) =
            (Case { tree, promise: Promise::Nothing, moment }, Wish::Upgrade(&self.programs.new));
        let upgrade = || self.record_from(before.clone(), 0, new);
        let in_trial = || upgrade().cut_after("SyncDirectory state (trial)");
        match self.kind {
            Kind::Upgrade => upgrade(),
            Kind::CutInTrial | Kind::RescuedInTrial => {
                self.record_from(in_trial(), 0, Wish::Report)
            }
            Kind::RescuedInVain => self.record_from(
                upgrade().death_after("SyncDirectory state (trial)"),
                0,
                Wish::Report,
            ),
            Kind::ByHand => self.record_from(upgrade().end(), 1, Wish::RollBack),
        }
    }

    fn prove(&self, case: &Case) -> Result<(), String> {
        prove(self.setting, &self.programs, case)
    }

    fn recover(&self, case: &Case) -> Result<Recording, String> {
        recover(self.setting, &self.programs, case).map(|(_, recovery)| recovery)
    }

    fn second_cuts(&self, recovery: &Recording) -> Vec<(usize, Case)> {
        distinct(recovery.crash_states().unwrap().into_iter())
    }

    fn is_thorough(&self) -> bool {
        self.thorough
    }
}

/// A hold without an end.
fn hold() -> Entry {
    let hold = serde_json::json!({
        "format": checksum::FORMAT, "by": "somebody", "reason": null, "began": "once", "ends": null,
    });
    let bytes = sealed(&hold).into_bytes();
    Entry::File(Arc::new(Content { bytes, mode: 0o644, owner: ourselves(), ..Content::default() }))
}

/// What is proved in every crash state.
pub(crate) trait Proved: Sync {
    fn name(&self) -> &str;

    /// Lets it take place.
    fn record(&self) -> Recording;

    /// Proves one case of it, and that the next upgrade works.
    fn prove(&self, case: &Case) -> Result<(), String>;

    /// The same without the next upgrade; tells what was done.
    fn recover(&self, case: &Case) -> Result<Recording, String>;

    /// In which states a recovery is cut off once more.
    fn second_cuts(&self, recovery: &Recording) -> Vec<(usize, Case)>;

    /// Whether every recovery is cut off once more, and not only those after a death.
    fn is_thorough(&self) -> bool;
}

/// Proves a story: every crash state, every death with the power on, and each recovery that was cut
/// off once more.
pub(crate) fn prove_all(story: &impl Proved) {
    let recording = story.record();
    let (states, deaths) = (recording.crash_states().unwrap(), recording.deaths().unwrap());
    let cases = distinct(states.iter().chain(&deaths).cloned());
    let wrong = |recording: &Recording, n, case: &Case, why: &str| {
        complaint(story.name(), recording, n, case, why)
    };
    all_of(&cases, |(n, case)| story.prove(case).map_err(|why| wrong(&recording, *n, case, &why)));
    let again = AtomicUsize::new(0);
    let cut_again = if story.is_thorough() { &cases } else { &distinct(deaths.into_iter()) };
    all_of(cut_again, |(n, case)| {
        let recovery = story.recover(case)?;
        let seconds = story.second_cuts(&recovery);
        again.fetch_add(seconds.len(), Ordering::Relaxed);
        seconds.iter().try_for_each(|(m, second)| {
            let proved = story.recover(second).map(drop);
            proved.map_err(|why| wrong(&recording, *n, case, &wrong(&recovery, *m, second, &why)))
        })
    });
    tell(story.name(), &recording, [states.len(), cases.len(), again.into_inner()]);
}

/// How much was proved of a story: states, distinct ones, and those after a second cut. Past the
/// capture of the test harness: whoever runs the tests sees it.
fn tell(name: &str, recording: &Recording, [states, distinct, again]: [usize; 3]) {
    let changes = recording.steps.len();
    let line = format!(
        "crash states: {name:<40} {changes:>4} changes {states:>6} states {distinct:>5} distinct {again:>6} after a second cut"
    );
    writeln!(std::io::stdout(), "{line}").unwrap();
}

pub(crate) fn distinct(cases: impl Iterator<Item = (usize, Case)>) -> Vec<(usize, Case)> {
    let mut seen = HashSet::new();
    cases.filter(|(_, case)| seen.insert(case.clone())).collect()
}

/// Proves each case, on as many threads as there are processors, and panics with the first
/// complaint.
pub(crate) fn all_of<T: Sync>(cases: &[T], prove: impl Fn(&T) -> Result<(), String> + Sync) {
    let (next, complaints) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = prove(case) {
                        complaints.lock().unwrap().push(why);
                    }
                }
            });
        }
    });
    let complaints = complaints.into_inner().unwrap();
    assert!(
        complaints.is_empty(),
        "{} of {} states are wrong, such as this one:\n{}",
        complaints.len(),
        cases.len(),
        complaints[0]
    );
}

/// What is wrong, and after what.
fn complaint(name: &str, recording: &Recording, n: usize, case: &Case, why: &str) -> String {
    let Case { tree, promise, moment } = case;
    let steps: Vec<String> =
        recording.steps[..n].iter().rev().take(8).rev().map(|step| step.label.clone()).collect();
    let files: Vec<String> = tree
        .0
        .keys()
        .map(|path| match tree.file(path) {
            Some(content) => {
                format!("{} ({} bytes, {:o})", path.display(), content.bytes.len(), content.mode)
            }
            None => path.display().to_string(),
        })
        .collect();
    format!(
        "{why}\nin \"{name}\" after change {n} ({promise:?}, {moment:?}):\n  … {}\non the disk: {}",
        steps.join("\n  "),
        files.join(", ")
    )
}

/// The failed program is a process that outlives whoever dies. Its mutants are those of the
/// rollback by the rescue.
#[test]
fn whoever_comes_next_restarts_the_old_program() {
    prove_all(&Story::new("rollback by the rescue, refused").rescued_in_vain());
}

/// Its swap and what follows are those of the other stories, and so are the mutants of that.
#[test]
fn what_was_put_off_is_installed_or_reported() {
    for story in [
        Story::new("put off").put_off(PutOff::Released),
        Story::new("put off, cancelled").put_off(PutOff::Cancelled),
    ] {
        let is_put_off = |step: &Step| step.label == "Write state.json.new (deferred)";
        assert!(story.record().steps.iter().any(is_put_off), "it is");
        prove_all(&story);
    }
}

#[test]
fn a_part_is_gone_on_with_to_its_end() {
    let story = Story::new("in parts").resumes().thorough();
    let is_part = |step: &Step| step.label.starts_with("Write part.json.new");
    let parts = story.record().steps.iter().filter(|step| is_part(step)).count();
    assert!(parts >= 3, "it begins, breaks off and is whole: {parts}");
    prove_all(&story);
}

#[test]
fn no_power_cut_bricks_or_lies() {
    stories().iter().for_each(prove_all);
}
