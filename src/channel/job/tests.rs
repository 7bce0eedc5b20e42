use proptest::prelude::*;

use super::model::{Step, World};
use super::*;
use crate::handover::channels::OwnComponent;
use crate::model::{
    AnnouncedDigests, ChannelName, Conclusion, Progress, Receipt, Request, Upgrade,
};

fn action(name: &str) -> Action {
    Action::try_from(name.to_owned()).unwrap()
}

/// Files of the components `c0`, `c1`, …, all of this version.
fn offer(name: &str, files: usize, version: u8) -> Offer {
    let file = |number| OfferedFile {
        name: FirmwareName::Known(format!("P{number}_V01.00.00.{version:02}.bin").parse().unwrap()),
        url: format!("http://127.0.0.1/{number}"),
        size: Some(10),
        digests: AnnouncedDigests::default(),
    };
    let files = (0..files).map(file).collect();
    Offer { action: action(name), files, install: Install::Now }
}

fn later(offer: Offer) -> Offer {
    Offer { install: Install::Later, ..offer }
}

fn component(number: usize) -> ComponentName {
    format!("c{number}").parse().unwrap()
}

/// Nothing of the channel runs; the first so many components have the offer's version, by action 1.
fn idle(replaced: usize, version: u8) -> Own {
    let version = |number| if number < replaced { version } else { 0 };
    let components = (0..3).map(|number| OwnComponent {
        component: component(number),
        product: format!("P{number}"),
        version: Some(format!("V01.00.00.{:02}", version(number)).parse().unwrap()),
        brought_by: reference(&offer("1", 4, 1), number).filter(|_| number < replaced),
    });
    Own { components: components.collect(), ..Own::default() }
}

fn id() -> UpgradeId {
    UpgradeId("u".into())
}

fn reference(offer: &Offer, file: usize) -> Option<Reference> {
    Mark::of(offer).at(file).to_reference()
}

fn running(offer: &Offer, file: usize, phase: Phase) -> Own {
    let progress = Progress::default();
    let reference = reference(offer, file);
    let upgrade = OwnUpgrade { id: id(), phase, reference, progress, failure: None };
    Own { upgrade: Some(upgrade), ..idle(file, 1) }
}

fn ended(reference: Option<Reference>, file: usize, outcome: Outcome, why: Option<Failure>) -> Own {
    let request = Request {
        channel: ChannelName::HAWKBIT,
        receipt: Receipt::Acknowledged,
        reference,
        ..Request::of_shell("hawkbit".into())
    };
    let (from, file_name, began, phases) = (None, None, String::new(), Vec::new());
    let component = Some(component(file));
    let upgrade = Upgrade { id: id(), request, component, from, file_name, began, phases };
    let (package, evidence, program_log) = (None, None, Vec::new());
    let conclusion = Conclusion { package, outcome, failure: why, evidence, program_log };
    let report = Report::of(upgrade, conclusion, String::new());
    let is_replaced = usize::from(outcome == Outcome::Succeeded);
    Own { reports: vec![report], ..idle(file + is_replaced, 1) }
}

fn failure(kind: FailureKind) -> Failure {
    Failure::new(kind, "it failed")
}

/// A job that was offered this and has seen the daemon so.
fn job(offer: &Offer, own: Own) -> Job {
    let mut job = Job::default();
    job.offered(offer.clone());
    job.own(Some(own));
    job
}

fn told(job: &Job) -> Option<What> {
    job.wants().tell.map(|word| word.telling.what)
}

fn act(job: &Job) -> Option<Act> {
    job.wants().act
}

/// The platform takes what is to be told.
fn take(job: &mut Job) -> What {
    let word = job.wants().tell.unwrap();
    job.told(&word);
    word.telling.what
}

fn is_success(what: Option<&What>) -> bool {
    matches!(what, Some(What::Succeeded { .. }))
}

fn failed(kind: FailureKind, replaced: &[usize], kept: &[usize]) -> impl Fn(Option<What>) {
    let names = |numbers: &[usize]| numbers.iter().copied().map(component).collect::<Vec<_>>();
    let expected = (kind, names(replaced), names(kept));
    move |what| match what {
        Some(What::Failed { failure, replaced, kept }) => {
            assert_eq!((failure.kind, replaced, kept), expected);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_offer_begins_an_upgrade_that_carries_its_mark() {
    let offer = offer("1", 1, 1);
    let job = job(&offer, idle(0, 0));
    let begin = reference(&offer, 0).map(Act::Begin);
    assert_eq!(job.wants(), Wants { tell: None, act: begin });
    assert_eq!(Job { own: None, ..job }.wants(), Wants::default(), "the daemon is away");
}

#[test]
fn each_phase_has_a_word_and_a_next_thing_to_do() {
    let now = offer("1", 1, 1);
    let later = later(now.clone());
    let fetch = Some(Act::Fetch(id(), Box::new(now.files[0].clone())));
    let start = Some(Act::Start(id()));
    for (offer, phase, what, next) in [
        (&now, Phase::Preparing, Some(What::Accepted), fetch.clone()),
        (&now, Phase::Receiving, Some(What::Accepted), fetch.clone()),
        (&later, Phase::Receiving, Some(What::Accepted), fetch),
        (&now, Phase::Checking, None, None),
        (&now, Phase::Ready, None, start),
        (&later, Phase::Ready, Some(What::Downloaded), None),
        (&now, Phase::Installing, Some(What::Installing), None),
        (&now, Phase::Restarting, Some(What::Installing), None),
        (&now, Phase::Reverting, Some(What::Installing), None),
        (&now, Phase::Trial, Some(What::OnTrial), None),
    ] {
        let job = job(offer, running(&now, 0, phase));
        assert_eq!((told(&job), act(&job)), (what, next), "{phase}");
    }
    let deferred = job(&now, running(&now, 0, Phase::Deferred));
    assert!(matches!(told(&deferred), Some(What::NotNow { .. })) && act(&deferred).is_none());
}

#[test]
fn a_file_is_fetched_once_at_a_time_and_not_before_the_platform_was_asked() {
    let offer = offer("1", 1, 1);
    let mut job = job(&offer, running(&offer, 0, Phase::Receiving));
    job.fetching(Some(id()));
    assert_eq!(act(&job), None);
    job.fetching(None);
    assert!(matches!(act(&job), Some(Act::Fetch(..))));
    let mut anew = Job::default();
    anew.own(Some(running(&offer, 0, Phase::Receiving)));
    assert_eq!(act(&anew), None);
}

#[test]
fn bytes_are_told_of_all_files_where_their_sizes_are_known() {
    let receiving = |offer: &Offer, file, done| {
        let mut own = running(offer, file, Phase::Receiving);
        own.upgrade.as_mut().unwrap().progress = Progress { done, total: 10 };
        told(&job(offer, own)).unwrap()
    };
    let (one, mut two) = (offer("1", 1, 1), offer("1", 2, 1));
    assert_eq!(receiving(&one, 0, 4), What::Downloading { received: 4, size: 10 });
    assert_eq!(receiving(&two, 0, 4), What::Downloading { received: 4, size: 20 });
    assert_eq!(receiving(&two, 1, 0), What::Downloading { received: 10, size: 20 });
    two.files[1].size = None;
    assert_eq!(receiving(&two, 1, 3), What::Downloading { received: 3, size: 0 });
    two.files[1].size = Some(u64::MAX);
    assert_eq!(receiving(&two, 1, 3), What::Downloading { received: 3, size: 0 });
}

#[test]
fn a_file_that_the_daemon_refused_as_it_came_ends_the_upgrade_with_why() {
    let offer = offer("1", 1, 1);
    let mut own = running(&offer, 0, Phase::Preparing);
    own.upgrade.as_mut().unwrap().failure = Some(failure(FailureKind::DigestMismatch));
    let mut job = job(&offer, own);
    job.fetching(Some(id()));
    assert_eq!(act(&job), Some(Act::Abandon(id(), failure(FailureKind::DigestMismatch))));
}

#[test]
fn an_end_is_told_until_it_is_taken_and_only_then_acknowledged() {
    let offer = offer("1", 1, 1);
    let reference = || reference(&offer, 0);
    let why = || Some(failure(FailureKind::Unhealthy));
    for own in [
        ended(reference(), 0, Outcome::Succeeded, None),
        ended(reference(), 0, Outcome::Failed, why()),
        ended(reference(), 0, Outcome::RolledBack, why()),
    ] {
        let outcome = own.reports[0].outcome;
        let mut job = Job::default();
        job.own(Some(own.clone()));
        let what = told(&job);
        if outcome == Outcome::Succeeded {
            assert!(is_success(what.as_ref()), "{what:?}");
        } else {
            failed(FailureKind::Unhealthy, &[], &[0])(what);
        }
        assert_eq!(act(&job), None, "not before it is taken");
        take(&mut job);
        assert_eq!(job.wants(), Wants::act(Act::Acknowledge));
        // Whatever the platform wants by then, and although the daemon was away meanwhile.
        job.own(None);
        job.offered(self::offer("2", 1, 2));
        job.own(Some(own));
        assert_eq!(job.wants(), Wants::act(Act::Acknowledge));
    }
}

#[test]
fn a_word_counts_that_was_taken_while_the_daemon_was_away() {
    let offer = offer("1", 2, 1);
    let own =
        ended(reference(&offer, 1), 1, Outcome::Failed, Some(failure(FailureKind::Unhealthy)));
    let mut job = job(&offer, own.clone());
    let word = job.wants().tell.unwrap();
    job.own(None);
    job.told(&word);
    job.own(Some(own));
    assert_eq!(job.wants(), Wants::act(Act::Acknowledge));
}

#[test]
fn what_is_taken_back_in_time_is_given_up_and_told_as_cancelled() {
    let offer = offer("1", 1, 1);
    for phase in
        [Phase::Preparing, Phase::Receiving, Phase::Checking, Phase::Ready, Phase::Deferred]
    {
        let mut job = job(&offer, running(&offer, 0, phase));
        job.taken_back(action("1"));
        let Some(Act::Abandon(_, why)) = act(&job) else { panic!("{:?}", job.wants()) };
        job.own(Some(ended(reference(&offer, 0), 0, Outcome::Failed, Some(why.clone()))));
        assert_eq!(take(&mut job), What::Cancelled);
        assert_eq!(act(&job), Some(Act::Acknowledge));
        job.own(Some(idle(0, 0)));
        assert_eq!(job.wants(), Wants::default(), "it is told once");
        // A process that was started anew says the same.
        let mut anew = Job::default();
        anew.own(Some(ended(reference(&offer, 0), 0, Outcome::Failed, Some(why))));
        assert_eq!(told(&anew), Some(What::Cancelled));
    }
}

#[test]
fn what_is_taken_back_too_late_goes_on() {
    let offer = offer("1", 1, 1);
    for phase in [Phase::Installing, Phase::Restarting, Phase::Trial, Phase::Reverting] {
        let mut job = job(&offer, running(&offer, 0, phase));
        job.taken_back(action("1"));
        assert_eq!(take(&mut job), What::TooLate);
        assert_ne!(told(&job), Some(What::TooLate), "it is told once");
        assert_eq!(act(&job), None);
    }
}

#[test]
fn what_is_taken_back_before_it_began_or_long_after_is_answered_beside_what_runs() {
    let (one, two) = (offer("1", 1, 1), offer("2", 1, 1));
    let mut job = job(&one, idle(0, 0));
    job.taken_back(action("1"));
    assert_eq!(act(&job), None, "it is not begun");
    assert_eq!(take(&mut job), What::Cancelled);
    job.offered(two.clone());
    job.own(Some(running(&two, 0, Phase::Receiving)));
    job.taken_back(action("1"));
    assert!(matches!(act(&job), Some(Act::Fetch(..))), "what runs goes on");
    assert_eq!(take(&mut job), What::Cancelled);
    assert_eq!(told(&job), Some(What::Accepted));
}

#[test]
fn what_is_taken_back_after_its_end_was_told_is_not_called_cancelled() {
    let offer = offer("1", 1, 1);
    let mut job = job(&offer, ended(reference(&offer, 0), 0, Outcome::Succeeded, None));
    job.taken_back(action("1"));
    assert!(is_success(Some(&take(&mut job))));
    job.own(Some(idle(1, 1)));
    assert_eq!(job.wants(), Wants::default(), "the end was the answer");
    job.taken_back(action("1"));
    assert_eq!(take(&mut job), What::TooLate);
}

#[test]
fn what_was_taken_back_is_not_begun_when_something_else_is_taken_back_too() {
    let mut job = job(&offer("1", 1, 1), idle(0, 0));
    job.taken_back(action("1"));
    job.taken_back(action("2"));
    assert_eq!(act(&job), None);
    assert_eq!(take(&mut job), What::Cancelled);
    assert_eq!(act(&job), None);
}

#[test]
fn another_offer_or_none_gives_up_what_is_not_installed_yet() {
    let (one, two) = (offer("1", 1, 1), offer("2", 1, 2));
    let changes: [fn(&mut Job, &Offer); 3] = [
        |job, two| job.offered(two.clone()),
        |job, _| job.offered_nothing(),
        |job, _| job.offered_in_vain(action("3"), failure(FailureKind::NameInvalid)),
    ];
    for change in changes {
        let mut open = job(&one, running(&one, 0, Phase::Receiving));
        change(&mut open, &two);
        assert!(matches!(act(&open), Some(Act::Abandon(..))), "{:?}", open.wants());
        let mut late = job(&one, running(&one, 0, Phase::Installing));
        change(&mut late, &two);
        assert_eq!((told(&late), act(&late)), (Some(What::Installing), None));
    }
}

#[test]
fn other_files_under_the_same_name_take_the_place_of_the_earlier_ones_without_a_word() {
    let (old, new) = (offer("1", 1, 1), offer("1", 1, 2));
    let mut job = job(&new, running(&old, 0, Phase::Receiving));
    assert!(matches!(act(&job), Some(Act::Abandon(..))));
    let why = failure(FailureKind::Cancelled);
    job.own(Some(ended(reference(&old, 0), 0, Outcome::Failed, Some(why))));
    assert_eq!(job.wants(), Wants::act(Act::Acknowledge), "what is asked for has not ended");
    job.own(Some(idle(0, 0)));
    assert_eq!(act(&job), reference(&new, 0).map(Act::Begin));
}

#[test]
fn what_can_t_be_done_is_told_and_the_platform_asked_again() {
    let mut job = Job::default();
    job.own(Some(idle(0, 0)));
    job.offered_in_vain(action("1"), failure(FailureKind::NameInvalid));
    failed(FailureKind::NameInvalid, &[], &[])(Some(take(&mut job)));
    assert_eq!(job.wants(), Wants::default());
}

#[test]
fn what_may_not_begin_is_put_off_or_ends() {
    let offer = offer("1", 2, 1);
    let busy = job(&offer, Own { busy: true, ..idle(0, 0) });
    assert!(matches!(told(&busy), Some(What::NotNow { .. })) && act(&busy).is_none());

    let mut job = job(&offer, idle(1, 1));
    for kind in [FailureKind::Busy, FailureKind::NotNow] {
        job.refused(failure(kind));
        assert!(matches!(told(&job), Some(What::NotNow { .. })) && act(&job).is_none());
        job.try_again();
        assert_eq!(act(&job), reference(&offer, 1).map(Act::Begin));
    }
    job.refused(failure(FailureKind::Internal));
    job.try_again();
    failed(FailureKind::Internal, &[0], &[1])(told(&job));
    job.offered(offer);
    failed(FailureKind::Internal, &[0], &[1])(told(&job));
    job.offered(self::offer("2", 1, 2));
    assert!(matches!(act(&job), Some(Act::Begin(_))), "another one is asked for");
}

/// HB: several artifacts of one action, one after the other.
#[test]
fn several_files_are_installed_one_after_the_other_and_the_last_one_ends_it() {
    let offer = offer("1", 3, 1);
    let mut job = job(&offer, idle(0, 0));
    for file in 0..2 {
        assert_eq!(act(&job), reference(&offer, file).map(Act::Begin));
        job.own(Some(ended(reference(&offer, file), file, Outcome::Succeeded, None)));
        assert_eq!(job.wants(), Wants::act(Act::Acknowledge));
        job.own(Some(idle(file + 1, 1)));
    }
    job.own(Some(ended(reference(&offer, 2), 2, Outcome::Succeeded, None)));
    assert!(is_success(Some(&take(&mut job))));
}

#[test]
fn the_first_file_that_fails_ends_it_and_names_what_was_replaced_and_what_was_kept() {
    let offer = offer("1", 3, 1);
    let why = failure(FailureKind::Unhealthy);
    let own = ended(reference(&offer, 1), 1, Outcome::RolledBack, Some(why));
    failed(FailureKind::Unhealthy, &[0], &[1, 2])(told(&job(&offer, own.clone())));
    // One that was started anew must hear the names of the others first.
    let mut anew = Job::default();
    anew.own(Some(own));
    assert_eq!(anew.wants(), Wants::default());
    anew.offered(offer.clone());
    failed(FailureKind::Unhealthy, &[0], &[1, 2])(Some(take(&mut anew)));
    // Still offered, it is not begun again.
    anew.own(Some(idle(1, 1)));
    anew.offered(offer);
    failed(FailureKind::Unhealthy, &[0], &[1, 2])(told(&anew));
    assert_eq!(act(&anew), None);
}

#[test]
fn what_was_installed_in_part_is_neither_a_success_nor_cancelled() {
    let offer = offer("1", 2, 1);
    let first = ended(reference(&offer, 0), 0, Outcome::Succeeded, None);
    let mut withdrawn = Job::default();
    withdrawn.own(Some(first));
    assert_eq!(told(&withdrawn), None, "more may be wanted");
    withdrawn.offered_nothing();
    failed(FailureKind::Cancelled, &[0], &[])(told(&withdrawn));

    let mut between = job(&offer, idle(1, 1));
    between.taken_back(action("1"));
    assert_eq!(act(&between), None);
    failed(FailureKind::Cancelled, &[0], &[1])(Some(take(&mut between)));

    let mut anew = Job::default();
    anew.own(Some(idle(1, 1)));
    anew.taken_back(action("1"));
    failed(FailureKind::Cancelled, &[0], &[])(Some(take(&mut anew)));

    let mut long_ago = idle(1, 1);
    long_ago.components[0].brought_by = reference(&self::offer("1", 1, 1), 0);
    anew.own(Some(long_ago));
    anew.taken_back(action("1"));
    assert_eq!(take(&mut anew), What::TooLate, "all of it runs");

    let mut by_others = idle(1, 1);
    by_others.components[0].brought_by = None;
    let mut ran_already = job(&offer, by_others);
    ran_already.taken_back(action("1"));
    assert_eq!(take(&mut ran_already), What::Cancelled);

    let mut second = job(&offer, running(&offer, 1, Phase::Receiving));
    second.taken_back(action("1"));
    let Some(Act::Abandon(_, why)) = act(&second) else { panic!("{:?}", second.wants()) };
    second.own(Some(ended(reference(&offer, 1), 1, Outcome::Failed, Some(why))));
    failed(FailureKind::Cancelled, &[0], &[1])(told(&second));
}

#[test]
fn what_runs_already_is_a_success_and_nothing_begins() {
    let offer = offer("1", 2, 1);
    let mut job = job(&offer, idle(2, 1));
    assert_eq!(act(&job), None);
    assert!(is_success(Some(&take(&mut job))));
    let some = self::job(&offer, idle(1, 1));
    assert_eq!(act(&some), reference(&offer, 1).map(Act::Begin), "the rest begins");
}

#[test]
fn what_is_offered_still_after_its_end_was_taken_hears_it_again_and_is_not_installed_again() {
    let offer = offer("1", 1, 1);
    let why = failure(FailureKind::Unhealthy);
    let mut job = job(&offer, ended(reference(&offer, 0), 0, Outcome::RolledBack, Some(why)));
    let end = take(&mut job);
    job.own(Some(idle(0, 0)));
    assert_eq!(job.wants(), Wants::default(), "its next answer shows whether it has understood");
    for _ in 0..2 {
        job.offered(offer.clone());
        assert_eq!((take(&mut job), act(&job)), (end.clone(), None));
    }
    job.offered_nothing();
    job.offered(offer);
    assert!(matches!(act(&job), Some(Act::Begin(_))), "asked for anew");
}

#[test]
fn what_no_version_here_has_asked_for_is_given_up_and_acknowledged() {
    let foreign = || Reference::try_from("{}".to_owned()).ok();
    let mut job = Job::default();
    job.own(Some(ended(foreign(), 0, Outcome::Succeeded, None)));
    assert_eq!(job.wants(), Wants::act(Act::Acknowledge));
    let mut own = running(&offer("1", 1, 1), 0, Phase::Ready);
    own.upgrade.as_mut().unwrap().reference = foreign();
    job.own(Some(own.clone()));
    assert!(matches!(act(&job), Some(Act::Abandon(..))));
    own.upgrade.as_mut().unwrap().phase = Phase::Installing;
    job.own(Some(own));
    assert_eq!(job.wants(), Wants::default());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn whatever_happens_the_platform_hears_the_truth_and_nothing_is_installed_twice(
        bytes in prop::collection::vec(any::<(u8, u8)>(), 0..200)
    ) {
        let steps: Vec<Step> = bytes.iter().map(|(code, how)| Step::read(*code, *how)).collect();
        let ended = std::panic::catch_unwind(|| {
            let mut world = World::default();
            steps.iter().for_each(|step| world.step(*step));
            world.settle();
        });
        prop_assert!(ended.is_ok(), "{steps:?}");
    }
}
