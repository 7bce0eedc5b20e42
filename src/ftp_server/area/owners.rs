//! Whose the files of the area are. Pure; the time is handed in.
//!
//! A file belongs to who uploads it from its first byte on: what waits for its upgrade must be what
//! its host sent. It does so for a while, and as long as this machine looks at it. What nobody owns
//! any more, or never did, may be replaced and deleted by anybody, but it is read by this machine
//! alone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::name::FileName;
use super::super::who::Who;

/// How long a file belongs to its owner after it arrived, and after this machine last looked at it:
/// as long as the daemon may take for one download.
const BELONGS_FOR: Duration = Duration::from_secs(15 * 60);

/// The owners.
#[derive(Debug, Default)]
pub(super) struct Owners {
    files: BTreeMap<FileName, Owner>,
    /// Names of uploads under way, and how many of each; all of one owner.
    arriving: BTreeMap<FileName, (Who, usize)>,
}

#[derive(Debug)]
struct Owner {
    who: Who,
    until: Instant,
}

impl Owners {
    /// Whether `who` may replace, delete or rename what has this name, or is to have it.
    pub(super) fn may_change(&self, name: &FileName, who: &Who, now: Instant) -> bool {
        let arriving = self.arriving.get(name).is_none_or(|(owner, _)| owner == who);
        who.is_machine()
            || (arriving
                && self.files.get(name).is_none_or(|owner| owner.who == *who || owner.until <= now))
    }

    /// Whether `who` may read what has this name.
    pub(super) fn may_read(&self, name: &FileName, who: &Who) -> bool {
        who.is_machine() || self.files.get(name).is_some_and(|owner| owner.who == *who)
    }

    /// An upload begins.
    pub(super) fn begin(&mut self, name: &FileName, who: &Who) {
        let arriving = self.arriving.entry(name.clone()).or_insert((who.clone(), 0));
        // This machine may store over another's upload that is under way; its own comes last then.
        arriving.0 = who.clone();
        arriving.1 += 1;
    }

    /// An upload ends, however.
    pub(super) fn end(&mut self, name: &FileName) {
        if let Some((_, number)) = self.arriving.get_mut(name) {
            *number = number.saturating_sub(1);
            if *number == 0 {
                self.arriving.remove(name);
            }
        }
    }

    /// A file has got this name.
    pub(super) fn arrived(&mut self, name: &FileName, who: &Who, now: Instant) {
        self.files.insert(name.clone(), Owner { who: who.clone(), until: now + BELONGS_FOR });
    }

    /// This machine looks at a file.
    pub(super) fn looked_at(&mut self, name: &FileName, now: Instant) {
        if let Some(owner) = self.files.get_mut(name).filter(|owner| owner.until > now) {
            owner.until = now + BELONGS_FOR;
        }
    }

    /// A file is gone.
    pub(super) fn removed(&mut self, name: &FileName) {
        self.files.remove(name);
    }

    /// A file has another name, and belongs to who gave it.
    pub(super) fn renamed(&mut self, from: &FileName, to: &FileName, who: &Who, now: Instant) {
        self.files.remove(from);
        self.arrived(to, who, now);
    }

    /// Forgets what is not there any more, whoever took it away.
    pub(super) fn keep(&mut self, is_there: impl Fn(&FileName) -> bool) {
        self.files.retain(|name, _| is_there(name));
    }

    /// Whether nobody owns a file.
    pub(super) fn is_nobodys(&self, name: &FileName, now: Instant) -> bool {
        self.files.get(name).is_none_or(|owner| owner.until <= now)
            && !self.arriving.contains_key(name)
    }

    /// How many files are and will be `who`'s.
    pub(super) fn number_of(&self, who: &Who) -> usize {
        let arriving = self
            .arriving
            .iter()
            .filter(|(name, (owner, _))| owner == who && !self.files.contains_key(name))
            .count();
        self.files.values().filter(|owner| owner.who == *who).count() + arriving
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> FileName {
        FileName::parse(text.as_bytes()).unwrap()
    }

    fn host(last: u8) -> Who {
        Who::Address([192, 0, 2, last].into())
    }

    #[test]
    fn a_file_is_its_owner_s_from_the_first_byte_to_the_end_of_its_time() {
        let (mut owners, now, a) = (Owners::default(), Instant::now(), name("a"));
        let (one, other) = (host(1), host(2));
        owners.begin(&a, &one);
        assert!(
            owners.may_change(&a, &one, now)
                && !owners.may_change(&a, &other, now)
                && owners.may_change(&a, &Who::Machine, now)
        );
        owners.arrived(&a, &one, now);
        owners.end(&a);
        for (who, may_read) in
            [(&one, true), (&other, false), (&Who::Machine, true), (&Who::User(Some(7)), false)]
        {
            assert_eq!(owners.may_read(&a, who), may_read, "{who}");
            assert_eq!(owners.may_change(&a, who, now), may_read, "{who}");
        }
        let a_long_download = now + Duration::from_secs(14 * 60);
        assert!(!owners.may_change(&a, &other, a_long_download));
        let later = now + BELONGS_FOR - Duration::from_secs(1);
        owners.looked_at(&a, later);
        assert!(
            !owners.may_change(&a, &other, now + BELONGS_FOR)
                && !owners.is_nobodys(&a, now + BELONGS_FOR)
        );
        let end = later + BELONGS_FOR;
        assert!(
            owners.may_change(&a, &other, end)
                && owners.is_nobodys(&a, end)
                && !owners.may_read(&a, &other)
        );
        // A look brings nothing back.
        owners.looked_at(&a, end);
        assert!(owners.may_change(&a, &other, end));
    }

    #[test]
    fn what_was_found_is_nobody_s_and_read_by_this_machine_alone() {
        let (owners, now) = (Owners::default(), Instant::now());
        assert!(owners.is_nobodys(&name("a"), now) && owners.may_change(&name("a"), &host(1), now));
        assert!(
            !owners.may_read(&name("a"), &host(1)) && owners.may_read(&name("a"), &Who::Machine)
        );
    }

    #[test]
    fn a_name_is_claimed_as_long_as_one_upload_to_it_runs() {
        let (mut owners, now, a) = (Owners::default(), Instant::now(), name("a"));
        owners.begin(&a, &host(1));
        owners.begin(&a, &host(1));
        assert_eq!((owners.number_of(&host(1)), owners.number_of(&host(2))), (1, 0));
        owners.end(&a);
        assert!(!owners.may_change(&a, &host(2), now));
        owners.end(&a);
        assert!(owners.may_change(&a, &host(2), now) && owners.number_of(&host(1)) == 0);
    }

    #[test]
    fn a_renamed_file_takes_its_owner_with_it() {
        let (mut owners, now) = (Owners::default(), Instant::now());
        owners.arrived(&name("part"), &host(1), now);
        owners.renamed(&name("part"), &name("whole"), &host(1), now);
        assert!(
            !owners.may_change(&name("whole"), &host(2), now)
                && owners.may_change(&name("part"), &host(2), now)
        );
        owners.keep(|_| false);
        assert!(owners.may_change(&name("whole"), &host(2), now));
    }
}
