//! The stories of another updater, each proved in every crash state of every moment: it is never run
//! twice for one upgrade, it is handed the whole file, and the report is true.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::files::{STATE, UPDATER};
use super::firmware::{Firmware, NEW_VERSION};
use super::payload::{FIRST_BOOT, Payload, Settled, Wish, tree_with};
use super::proof::promise_is_kept;
use super::recording::{Case, Promise, Recording};
use super::setting::{ByUpdater, Setting};
use super::stories::{Proved, distinct, prove_all};
use super::tree::{Content, Entry, Tree};
use super::updater::Updater;
use crate::disk::recording::Moment;
use crate::model::{ChannelName, Outcome, Report, RunningEvidence};
use crate::record::change;

const OLD_VERSION: &str = "V01.00.00.00";
const NEXT_VERSION: &str = "V03.00.00.00";
/// A change that needs no restart, and can be undone.
const PLAIN: ByUpdater =
    ByUpdater { restarts: false, reverts: true, works: true, begins_again: false };

/// A story to be told.
struct Story {
    name: &'static str,
    change: ByUpdater,
    /// How many boots a trial may take.
    boots: u32,
}

fn stories() -> Vec<Story> {
    let story = |name, change| Story { name, change, boots: 3 };
    let restarts = ByUpdater { restarts: true, ..PLAIN };
    vec![
        story("by an updater", PLAIN),
        story("by an updater, no way back", ByUpdater { reverts: false, ..PLAIN }),
        story("by an updater, restart", restarts),
        story("by an updater, begun again", ByUpdater { begins_again: true, ..PLAIN }),
        Story {
            boots: 1,
            ..story("by an updater, in vain", ByUpdater { works: false, ..restarts })
        },
    ]
}

impl Story {
    fn setting(&self) -> Setting {
        Setting {
            channel: ChannelName::PSDK,
            lacks: &[],
            fat: false,
            restarts: true,
            boots: self.boots,
            verdict: None,
            reports: 0,
            rescue: false,
            own: None,
            // What is in vain is found out at once.
            ill: !self.change.works,
            unit: false,
            held: None,
            resumes: false,
            change: Some(self.change),
        }
    }

    /// What a daemon does that starts in this case.
    fn recovered(&self, case: &Case) -> Result<(Payload, Recording), String> {
        let setting = self.setting();
        let mut payload = Payload::new(setting, &case.tree, &case.moment);
        let settled = payload.settle()?;
        let changes = payload.changes();
        self.report_is_true(&payload, &settled)?;
        self.runs_are_few_and_whole(&payload)?;
        promise_is_kept(setting, &settled, case.promise)?;
        nothing_is_left(&payload)?;
        let acknowledged = changes.len() + 1;
        Ok((payload, Recording::new(case.clone(), 0, changes, acknowledged)))
    }

    fn report_is_true(&self, payload: &Payload, settled: &Settled) -> Result<(), String> {
        if let Some(damage) = settled.status.notices.first() {
            return Err(format!("something is damaged: {damage}"));
        }
        let told = settled.status.components[0].version.map(|version| version.to_string());
        if told.as_deref() != Some(&installed(payload)) {
            return Err(format!(
                "{} is installed, and the status says {told:?}",
                installed(payload)
            ));
        }
        let report = settled.history.last();
        let outcome = report.map(|report| report.outcome);
        match (installed(payload).as_str(), outcome) {
            (NEW_VERSION, Some(Outcome::Succeeded)) => self.succeeded(report),
            // It is not known how far the updater came, and nothing leads back.
            (NEW_VERSION, Some(Outcome::Failed)) if !self.change.reverts => Ok(()),
            (OLD_VERSION, Some(Outcome::RolledBack)) if self.change.begins_again => {
                Err("what was cut off went back".to_owned())
            }
            (OLD_VERSION, None | Some(Outcome::Failed | Outcome::RolledBack)) => Ok(()),
            (version, outcome) => {
                Err(format!("{version} is installed, and the report says {outcome:?}"))
            }
        }
    }

    /// Nothing is installed twice, unless it is begun again, and nothing that is not whole.
    fn runs_are_few_and_whole(&self, payload: &Payload) -> Result<(), String> {
        let runs = text(payload, Updater::RUNS);
        let mut jobs = HashSet::new();
        for run in runs.lines() {
            let (job, version) = run.split_once(' ').ok_or("a run of no job")?;
            let is_first = !job.starts_with("install-") || jobs.insert(job);
            if !is_first && !self.change.begins_again {
                return Err(format!("the updater was run twice for {job}"));
            }
            if version.contains("damaged") {
                return Err(format!("the updater was handed {version}"));
            }
        }
        Ok(())
    }

    fn succeeded(&self, report: Option<&Report>) -> Result<(), String> {
        match report.and_then(|report| report.evidence.as_ref()) {
            Some(evidence)
                if evidence.running == RunningEvidence::VersionTold
                    && evidence.restarted == self.change.restarts =>
            {
                Ok(())
            }
            evidence => Err(format!("this proves the success: {evidence:?}")),
        }
    }
}

impl Proved for Story {
    fn name(&self) -> &str {
        self.name
    }

    fn record(&self) -> Recording {
        let moment = Moment { boot: FIRST_BOOT.into(), start: None };
        let before = Case { tree: tree(), promise: Promise::Nothing, moment };
        let mut payload = Payload::new(self.setting(), &before.tree, &before.moment);
        let (_, concluded) = payload.conclude(Wish::Upgrade(&Firmware::new(NEW_VERSION))).unwrap();
        Recording::new(before, 0, payload.changes(), concluded)
    }

    fn prove(&self, case: &Case) -> Result<(), String> {
        let (payload, _) = self.recovered(case)?;
        let mut payload = payload.put_right();
        let (settled, _) = payload
            .conclude(Wish::Upgrade(&Firmware::new(NEXT_VERSION)))
            .map_err(|why| format!("the next upgrade: {why}"))?;
        let outcome = settled.history.last().map(|report| report.outcome);
        if outcome != Some(Outcome::Succeeded) || installed(&payload) != NEXT_VERSION {
            return Err(format!("the next upgrade ended with {outcome:?}"));
        }
        self.runs_are_few_and_whole(&payload)?;
        nothing_is_left(&payload)
    }

    fn recover(&self, case: &Case) -> Result<Recording, String> {
        self.recovered(case).map(|(_, recovery)| recovery)
    }

    /// Deaths alone: of the daemon, and of the updater's runner.
    fn second_cuts(&self, recovery: &Recording) -> Vec<(usize, Case)> {
        distinct(recovery.deaths().unwrap().into_iter())
    }

    fn is_thorough(&self) -> bool {
        false
    }
}

/// A payload whose updater has installed the old version.
fn tree() -> Tree {
    let mut tree = tree_with(None, None);
    let installed = Content { bytes: OLD_VERSION.into(), ..Firmware::new(OLD_VERSION).installed() };
    tree.0.insert(UPDATER.into(), Entry::Directory);
    let path = Path::new(UPDATER).join(Updater::INSTALLED);
    tree.0.insert(path, Entry::File(Arc::new(installed)));
    tree
}

fn installed(payload: &Payload) -> String {
    text(payload, Updater::INSTALLED)
}

fn text(payload: &Payload, name: &str) -> String {
    let file = payload.file(Path::new(UPDATER).join(name));
    file.map_or_else(String::new, |file| String::from_utf8(file.bytes).unwrap())
}

/// The file may be large, and is of no use to anybody.
fn nothing_is_left(payload: &Payload) -> Result<(), String> {
    let left = payload.files_in(&Path::new(STATE).join(change::DIRECTORY));
    match left.iter().find(|path| !path.ends_with("lock")) {
        Some(path) => Err(format!("{} is left", path.display())),
        None => Ok(()),
    }
}

#[test]
fn no_power_cut_runs_another_updater_twice_or_makes_a_report_untrue() {
    stories().iter().for_each(prove_all);
}
