//! What is pushed to the host, and when.

use super::*;

#[test]
fn nothing_is_pushed_before_the_check() {
    for (name, bench) in columns().into_iter().take(5) {
        let mut bench = bench();
        for phase in [Phase::Preparing, Phase::Receiving] {
            assert_eq!(bench.tell(Event::Status(viewing(Some(work(phase)), None))), [], "{name}");
        }
        bench.now += SILENCE_LIMIT / 2;
        assert_eq!(bench.session.tick(bench.now), [], "{name}");
    }
}

#[test]
fn progress_is_pushed_at_change_and_every_second() {
    let mut bench = Bench::checking();
    let status = |phase| Event::Status(viewing(Some(work(phase)), None));
    assert_eq!(bench.tick()[1..], [Effect::Push(StatusPush::Ongoing(0))], "from the answer on");
    assert_eq!(bench.tell(status(Phase::Checking)), []);
    assert_eq!(bench.tell(status(Phase::Ready)), [Effect::Push(StatusPush::Ongoing(50))]);
    assert_eq!(bench.tell(status(Phase::Installing)), [Effect::Push(StatusPush::Ongoing(66))]);
    let before = bench.now;
    assert_eq!(bench.tick(), [Effect::Push(StatusPush::Ongoing(66))]);
    assert_eq!(bench.now - before, Duration::from_secs(1));
    assert_eq!(bench.tell(status(Phase::Checking)), [], "never back");
}

#[test]
fn a_file_that_is_still_being_fetched_counts_by_its_bytes() {
    let mut bench = Bench::entered(Offered::Ftp);
    let fetching = |received| {
        let work = Work { received, transfer: TransferKind::Ftp, ..work(Phase::Receiving) };
        Event::Status(viewing(Some(work), None))
    };
    bench.tell(fetching(50));
    bench.ask(Command::Check);
    assert_eq!(bench.tell(fetching(60)), [], "the host still waits for the answer");
    assert_eq!(bench.tick()[1..], [Effect::Push(StatusPush::Ongoing(10))]);
    assert_eq!(bench.tell(fetching(75)), [Effect::Push(StatusPush::Ongoing(26))]);
    assert_eq!(bench.tell(fetching(100)), [Effect::Push(StatusPush::Ongoing(53))]);
}

#[test]
fn a_restart_is_pushed_at_once_and_counted_down() {
    let mut bench = Bench::started();
    let status = |phase, seconds_left| {
        Event::Status(viewing(Some(Work { seconds_left, ..work(phase) }), None))
    };
    assert_eq!(
        bench.tell(status(Phase::Restarting, Some(60))),
        [Effect::Push(StatusPush::Rebooting(60))]
    );
    assert_eq!(bench.tick(), [Effect::Push(StatusPush::Rebooting(59))]);
    assert_eq!(bench.tell(status(Phase::Restarting, Some(59))), []);
    assert_eq!(bench.tick(), [Effect::Push(StatusPush::Rebooting(58))]);
    bench.tell(status(Phase::Trial, Some(1000)));
    assert_eq!(bench.tick(), [Effect::Push(StatusPush::Rebooting(255))]);
    bench.tell(status(Phase::Trial, Some(0)));
    assert_eq!(bench.tick(), [Effect::Push(StatusPush::Rebooting(0))]);
}

#[test]
fn the_answer_to_the_check_goes_before_the_restart() {
    let mut bench = Bench::checking();
    let restarting = Work { seconds_left: Some(60), ..work(Phase::Restarting) };
    assert_eq!(bench.tell(Event::Status(viewing(Some(restarting), None))), []);
    let effects = bench.tell(Event::Decided(Ok(())));
    assert_eq!(answers(&effects), [check_answer(CheckAnswer::Started)]);
    assert_eq!(
        effects[1..],
        [Effect::Push(StatusPush::Ongoing(96)), Effect::Push(StatusPush::Rebooting(60))]
    );
}

#[test]
fn after_a_restart_of_the_daemon_the_upgrade_goes_on_being_reported() {
    let now = Instant::now();
    let trial = Work { seconds_left: Some(20), ..work(Phase::Trial) };
    let mut session =
        Session::new(viewing(Some(trial), None), PORT, guess::HOST_WAIT_FOR_CHECK, now);
    assert_eq!(session.deadline(), Some(now + PUSHED));
    assert_eq!(session.command(question(PC, id::CHECK), Command::Check, now).len(), 1);
    assert_eq!(session.tick(now + PUSHED), [Effect::Push(StatusPush::Rebooting(19))]);
    let effects =
        session.event(Event::Status(viewing(None, Some(report(StatusPush::Succeeded)))), now);
    assert_eq!(effects, [Effect::Push(StatusPush::Succeeded)]);
}

const PUSHED: Duration = Duration::from_secs(1);

#[test]
fn the_end_is_pushed_every_second_until_it_is_acknowledged() {
    let mut bench = Bench::concluded();
    for _ in 0..5 {
        let before = bench.now;
        assert_eq!(bench.tick(), [Effect::Push(StatusPush::Succeeded)]);
        assert_eq!(bench.now - before, PUSHED);
    }
    bench.ask(Command::Finish);
    assert_eq!(bench.session.deadline(), None);
    // Entering acknowledges too.
    let mut bench = Bench::concluded();
    bench.ask(Command::Enter);
    assert_eq!(bench.session.deadline(), None);
    // And so does somebody at the shell.
    let mut bench = Bench::concluded();
    bench.tell(Event::Status(viewing(None, None)));
    assert!(bench.is_idle());
}

#[test]
fn a_failed_check_is_answered_and_then_pushed_with_its_reason() {
    let mut bench = Bench::checking();
    let result = StatusPush::Failed(Reason::Downgrade);
    // The report is in the status before the decision; the answer goes first.
    assert_eq!(bench.tell(Event::Status(viewing(None, Some(report(result))))), []);
    let effects =
        bench.tell(Event::Decided(Err(Rejection::CheckFailed(failure(FailureKind::Downgrade)))));
    assert_eq!(answers(&effects), [check_answer(CheckAnswer::CheckFailed)]);
    assert_eq!(effects[1..], [Effect::Push(result)]);
    assert_eq!(bench.tick(), [Effect::Push(result)]);
    assert_eq!(bench.ask(Command::Finish), [Effect::Acknowledge]);
}

#[test]
fn a_start_that_fails_is_answered_ff() {
    let mut bench = Bench::checking();
    let effects = bench
        .tell(Event::Decided(Err(Rejection::StartFailed(failure(FailureKind::InstallFailed)))));
    assert_eq!(answers(&effects), [check_answer(CheckAnswer::StartFailed)]);
    assert_eq!(effects[1..], [Effect::Push(StatusPush::Failed(Reason::Failure))]);
}

#[test]
fn a_check_that_takes_longer_than_a_host_waits_is_answered_06_and_reported_by_end() {
    let mut bench = Bench::checking();
    assert_eq!(bench.ask(Command::Check), [], "the host repeats: it joins");
    let mut waited = Duration::ZERO;
    let answered = loop {
        let before = bench.now;
        let effects = bench.tick();
        waited += bench.now - before;
        if let [answer] = &answers(&effects)[..] {
            break answer.clone();
        }
    };
    assert_eq!(
        (answered, waited),
        (check_answer(CheckAnswer::Started), guess::HOST_WAIT_FOR_CHECK)
    );
    assert_eq!(answers(&bench.ask(Command::Check)), [check_answer(CheckAnswer::Started)]);
    let effects =
        bench.tell(Event::Decided(Err(Rejection::CheckFailed(failure(FailureKind::SameVersion)))));
    assert_eq!(effects, [Effect::Push(StatusPush::Failed(Reason::SameVersion))]);
}

#[test]
fn an_upgrade_that_somebody_else_ended_is_reported() {
    let mut bench = Bench::receiving();
    let result = StatusPush::Failed(Reason::Cancelled);
    let effects = bench.tell(Event::Status(viewing(None, Some(report(result)))));
    assert_eq!(effects, [Effect::Discard, Effect::Push(result)]);
}
