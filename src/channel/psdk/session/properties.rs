//! What must hold for any sequence of commands, results and news, in whatever order they come.

use proptest::prelude::*;

use super::super::words::{Command, Reason};
use super::tests::{OTHER, PC, PORT, command_id, offer, question, report, upgrade, viewing, work};
use super::*;
use crate::model::Phase;
use crate::transfer::dcftp::Place;

#[derive(Debug, Clone)]
enum Input {
    Command(Asker, Command),
    Result(Event),
    Pass(Duration),
}

fn command() -> impl Strategy<Value = Command> {
    let md5 = (0..2u8).prop_map(|n| Command::DcftpFinish(Md5Digest([n; 16])));
    let data = (0..4u32, 1..6usize).prop_map(|(number, length)| Command::DcftpData {
        place: Place::Number(number),
        data: vec![0; length].into(),
    });
    let start = (0..2u32).prop_map(|n| Command::DcftpStart(FileOffer { size: 8 + n, ..offer() }));
    let plain = prop::sample::select(vec![
        Command::Version,
        Command::Enter,
        Command::Transfer,
        Command::Check,
        Command::Finish,
    ]);
    prop_oneof![2 => plain, 1 => start, 3 => data, 1 => md5]
}

fn result() -> impl Strategy<Value = Event> {
    let failure = || Failure::new(FailureKind::Internal, "it failed");
    let phases = [
        Phase::Preparing,
        Phase::Receiving,
        Phase::Checking,
        Phase::Installing,
        Phase::Restarting,
        Phase::Trial,
    ];
    let news =
        (prop::option::of(prop::sample::select(phases.to_vec())), prop::option::of(any::<bool>()))
            .prop_map(|(phase, ended)| {
                let end = |good| {
                    report(if good {
                        StatusPush::Succeeded
                    } else {
                        StatusPush::Failed(Reason::Failure)
                    })
                };
                Event::Status(viewing(phase.map(work), ended.map(end)))
            });
    let entered = prop::sample::select(vec![
        Ok((upgrade("a"), Offered::Ftp)),
        Ok((upgrade("a"), Offered::Dcftp)),
        Err(failure()),
    ]);
    let done = prop::sample::select(vec![Ok(()), Ok(()), Err(failure())]);
    let decided = vec![
        Ok(()),
        Err(Rejection::CheckFailed(failure())),
        Err(Rejection::StartFailed(failure())),
    ];
    prop_oneof![
        entered.prop_map(Event::Entered),
        done.clone().prop_map(|done| Event::Opened(done.map(|()| 0))),
        done.clone().prop_map(Event::Stored),
        done.prop_map(Event::Finished),
        prop::sample::select(decided).prop_map(Event::Decided),
        news,
    ]
}

fn input() -> impl Strategy<Value = Input> {
    let asker = prop::sample::select(vec![PC, PC, PC, OTHER]);
    prop_oneof![
        4 => (asker, command()).prop_map(|(asker, command)| Input::Command(asker, command)),
        4 => result().prop_map(Input::Result),
        1 => (0..90_000u64).prop_map(|ms| Input::Pass(Duration::from_millis(ms))),
    ]
}

/// What the test remembers of the past, to judge the present.
#[derive(Default)]
struct Past {
    /// Bytes handed over since the last reception was opened, and how many were announced; none
    /// while nothing is received.
    open: Option<(u64, u64)>,
    check_asked: Option<Instant>,
    check_passed: bool,
}

impl Past {
    fn judge(&mut self, effects: &[Effect], now: Instant) {
        for effect in effects {
            match effect {
                Effect::Store(data) => {
                    let (stored, announced) =
                        self.open.as_mut().expect("data is taken only in receiving");
                    *stored += data.len() as u64;
                    assert!(*stored <= *announced, "never more than announced");
                }
                Effect::Receive(_, offer) => self.open = Some((0, u64::from(offer.size))),
                Effect::Enter { .. }
                | Effect::Discard
                | Effect::ReceptionFailed(..)
                | Effect::GiveUp(..)
                | Effect::FinishReception(_) => {
                    self.open = None;
                }
                Effect::CheckAndStart(_) | Effect::Reject(..) => {
                    (self.check_asked, self.check_passed, self.open) = (Some(now), false, None);
                }
                Effect::Answer(_, answer) => self.judge_answer(*answer, now),
                Effect::Push(_) | Effect::Acknowledge => {}
            }
        }
    }

    fn judge_answer(&self, answer: Answer, now: Instant) {
        if answer == Answer::Check(CheckAnswer::Started) {
            let waited = self.check_asked.map_or(Duration::ZERO, |asked| now - asked);
            assert!(
                self.check_passed || waited >= guess::HOST_WAIT_FOR_CHECK,
                "06 only if the check passed or the host's time did"
            );
        }
    }
}

proptest! {
    #[test]
    fn any_order_of_things_keeps_the_rules(inputs in proptest::collection::vec(input(), 0..120), ahead: bool) {
        let mut now = Instant::now();
        let session = Session::new(viewing(None, None), PORT, guess::HOST_WAIT_FOR_CHECK, now);
        let mut session = session.answered_ahead(ahead);
        let mut past = Past::default();
        for input in inputs {
            let effects = match input {
                Input::Command(asker, command) => session.command(question(asker, command_id(&command)), command, now),
                Input::Result(event) => {
                    // An upgrade that the engine shows as running or ended was decided without this
                    // session.
                    past.check_passed |= matches!(&event, Event::Decided(Ok(()))) || matches!(&event, Event::Status(view) if view.work.is_some());
                    session.event(event, now)
                }
                Input::Pass(time) => {
                    now += time;
                    session.tick(now)
                }
            };
            past.judge(&effects, now);
            let settled = session.deadline().is_none_or(|deadline| deadline > now) || !session.tick(now).is_empty();
            prop_assert!(settled, "a deadline that has passed always does something");
        }
    }
}
