//! What is said of a container while it arrives: its front is judged before the rest is sent, and
//! each piece is proved when it is there. The check at the end believes none of that.

use std::path::Path;

use super::examiner::{Examiner, wanted_machine};
use super::{Check, Rules, Subject, name_of};
use crate::config::{Format, MachineRule};
use crate::digest::Digests;
use crate::model::{Failure, FailureKind, FileDigest};
use crate::package::choice::Choice;
use crate::package::elf::Machine;
use crate::seal::ANY_MACHINE;
use crate::seal::container::{Arriving, Front};
use crate::stage::Watch;

/// Looks at a file while it arrives, and stops one that would be refused at its end.
#[derive(Debug)]
pub struct Doorkeeper {
    rules: Rules,
    file_name: Option<String>,
    arriving: Arriving,
}

impl Doorkeeper {
    /// Of a file of this name, under these rules.
    pub fn new(rules: Rules, file_name: Option<String>) -> Self {
        Self { rules, file_name, arriving: Arriving::default() }
    }
}

impl Watch for Doorkeeper {
    fn update(&mut self, bytes: &[u8]) -> Result<bool, Failure> {
        let Self { rules, file_name, arriving } = self;
        arriving.update(bytes, &mut |front| judge(front, file_name.as_deref(), rules))
    }

    fn restart(&mut self) {
        self.arriving = Arriving::default();
    }
}

/// Whether a container with this front may come in, as far as the front tells: all checks that need
/// no byte of the program, and whether the program is here that it changes, where it is no whole one.
pub fn judge(front: &Front, file_name: Option<&str>, rules: &Rules) -> Result<(), Failure> {
    judge_words(front, file_name, rules)?;
    match Choice::needs_old(front) && rules.has_payload() {
        true => rules.choice(front).map(drop),
        false => Ok(()),
    }
}

/// The same without a look at the program that is here.
pub(super) fn judge_words(
    front: &Front,
    file_name: Option<&str>,
    rules: &Rules,
) -> Result<(), Failure> {
    let manifest = &front.manifest;
    let file_size = front.file_size()?;
    if file_size > rules.max_size {
        let sentence =
            format!("the container has {file_size} bytes, the limit is {}", rules.max_size);
        return Err(Failure::new(FailureKind::TooLarge, sentence));
    }
    // What was not received is of no digest; the program's is said.
    let file = FileDigest(manifest.sha256.0);
    let digests = Digests { file, program: manifest.sha256, md5: None, sha1: None };
    let subject = Subject {
        file_name,
        path: Path::new(""),
        size: manifest.size,
        digests: Some(digests),
        owned: false,
    };
    let examiner =
        Examiner::of_words(subject, name_of(subject, Some(manifest)), Some(front), rules);
    let checks =
        [Check::Name, Check::Product, Check::Version, Check::Size, Check::Seal, Check::KnownBad];
    checks.into_iter().try_for_each(|check| examiner.run(check).map(drop))?;
    examiner.may_be_for(&manifest.machine)
}

impl Examiner<'_> {
    /// Whether a program for a machine of this name may be one for this payload. Where another
    /// machine is let in, its program decides.
    fn may_be_for(&self, machine: &str) -> Result<(), Failure> {
        let lets_others_in = self.rules.forced || self.rules.machine == MachineRule::AnyRunnable;
        let (Some(Format::Elf), Some(payload), false) =
            (self.rules.format, &self.rules.payload, lets_others_in)
        else {
            return Ok(());
        };
        let program = payload.program.as_ref().map(|program| program.path.as_path());
        let (wanted, whose): (Machine, _) = wanted_machine(program)?;
        if machine == wanted.to_string() {
            return Ok(());
        }
        if machine == ANY_MACHINE {
            let sentence = "there is no ELF program in the container";
            return Err(Failure::new(FailureKind::WrongMachine, sentence).with_hint(
                "a component with `format = \"script\"` takes scripts, one with `format = \"any\"` whatever `uplift pack` packed",
            ));
        }
        let sentence = format!("the file is for {machine:?}, {whose} is for {wanted}");
        Err(Failure::new(FailureKind::WrongMachine, sentence)
            .with_hint(format!("build the program for {wanted}")))
    }
}
