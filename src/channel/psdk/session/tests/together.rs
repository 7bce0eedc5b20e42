//! Requests that meet: those that join work under way, those that wait for their turn, and those of
//! a host that did not enter.

use super::*;

/// The same with another sequence number.
fn again(asker: Asker, number: u16, command: &Command) -> Question {
    numbered(asker, number, command_id(command))
}

/// Whom the answers go to: who asked, and his number.
fn receivers(effects: &[Effect]) -> Vec<(Asker, u16)> {
    let receiver = |effect: &Effect| match effect {
        Effect::Answer(Question { asker, ticket: Ticket([low, high, ..]) }, _) => {
            Some((*asker, u16::from_le_bytes([*low, *high])))
        }
        _ => None,
    };
    effects.iter().filter_map(receiver).collect()
}

/// Whether an upgrade goes on. A report that waits is none.
fn is_under_way(bench: &Bench) -> bool {
    matches!(bench.session.stage(), Stage::Waits | Stage::Started)
}

/// How a session comes to where a command begins work, the command, and how the work ends.
type WorkCase = (fn() -> Bench, Command, Event);

#[test]
fn everybody_who_joined_gets_an_answer_of_his_own() {
    let start = || Command::DcftpStart(offer());
    let data = || Command::DcftpData { place: Place::Number(0), data: Bytes::from_static(CHUNK) };
    let cases: [WorkCase; 5] = [
        (Bench::idle, Command::Enter, Event::Entered(Ok((upgrade("a"), Offered::Ftp)))),
        (|| Bench::entered(Offered::Dcftp), start(), Event::Opened(Ok(0))),
        (Bench::receiving, data(), Event::Stored(Ok(()))),
        (Bench::complete, Command::DcftpFinish(MD5), Event::Finished(Ok(()))),
        (Bench::received, Command::Check, Event::Decided(Ok(()))),
    ];
    for (bench, command, done) in cases {
        let mut bench = bench();
        assert_eq!(answers(&bench.ask(command.clone())), [] as [Bytes; 0], "{command:?} is work");
        for sequence in [6, 7, 6] {
            assert_eq!(
                bench.session.command(again(PC, sequence, &command), command.clone(), bench.now),
                [],
                "{command:?} joins"
            );
        }
        let effects = bench.tell(done);
        assert_eq!(
            receivers(&effects),
            [(PC, 5), (PC, 6), (PC, 7)],
            "{command:?}: one answer for the same frame twice"
        );
        assert!(answers(&effects).windows(2).all(|pair| pair[0] == pair[1]), "{command:?}");
    }
}

#[test]
fn a_host_that_repeats_for_ever_takes_no_memory() {
    let mut bench = Bench::received();
    bench.ask(Command::Check);
    for sequence in 6..1000 {
        bench.session.command(again(PC, sequence, &Command::Check), Command::Check, bench.now);
    }
    let effects = bench.tell(Event::Decided(Ok(())));
    let receivers = receivers(&effects);
    assert_eq!((receivers.len(), receivers[0], receivers.last()), (17, (PC, 5), Some(&(PC, 999))));
    let mut bench = Bench::complete();
    bench.ask(Command::DcftpFinish(MD5));
    for sequence in 6..1000 {
        bench.session.command(
            again(PC, sequence, &Command::Transfer),
            Command::Transfer,
            bench.now,
        );
    }
    assert_eq!(answers(&bench.tell(Event::Finished(Ok(())))).len(), 17);
}

#[test]
fn what_comes_in_one_write_is_carried_out_one_after_the_other() {
    let mut bench = Bench::complete();
    assert_eq!(bench.ask(Command::DcftpFinish(MD5)), [Effect::FinishReception(MD5)]);
    assert_eq!(bench.ask(Command::Transfer), []);
    assert_eq!(bench.ask(Command::Check), []);
    let effects = bench.tell(Event::Finished(Ok(())));
    assert_eq!(answers(&effects), [Answer::Done.encode(), Answer::Done.encode()]);
    assert_eq!(effects[2..], [Effect::CheckAndStart(upgrade("a"))]);
    assert_eq!(answers(&bench.tell(Event::Decided(Ok(())))), [check_answer(CheckAnswer::Started)]);
    // Each on the result of the one before.
    let mut bench = Bench::complete();
    bench.ask(Command::DcftpFinish(MD5));
    bench.ask(Command::Transfer);
    bench.ask(Command::Check);
    let effects = bench.tell(Event::Finished(Err(failure(FailureKind::DigestMismatch))));
    assert_eq!(
        answers(&effects),
        [
            Answer::Refused.encode(),
            Answer::Refused.encode(),
            check_answer(CheckAnswer::CheckFailed)
        ]
    );
    // Enter, the start of the file, and its chunks.
    let mut bench = Bench::idle();
    bench.ask(Command::Enter);
    assert_eq!(bench.ask(Command::DcftpStart(offer())), []);
    assert_eq!([bench.chunk(0), bench.chunk(1)], [vec![], vec![]]);
    let effects = bench.tell(Event::Entered(Ok((upgrade("a"), Offered::Dcftp))));
    assert_eq!(effects[1..], [Effect::Receive(upgrade("a"), offer())]);
    let effects = bench.tell(Event::Opened(Ok(0)));
    assert_eq!(effects[1..], [Effect::Store(Bytes::from_static(CHUNK))]);
    // And a host that starts over.
    let mut bench = Bench::complete();
    bench.ask(Command::DcftpFinish(MD5));
    assert_eq!(bench.ask(Command::Enter), []);
    assert_eq!(bench.tell(Event::Finished(Ok(())))[1..], [Effect::Enter { asker: PC }]);
}

/// Of each command what a sender that has not entered is answered while another's upgrade is under
/// way, and the owner's goes on.
#[test]
fn a_stranger_disturbs_nothing() {
    let data = Command::DcftpData { place: Place::Number(0), data: Bytes::from_static(CHUNK) };
    let commands = [
        (Command::DcftpStart(offer()), Answer::Refused.encode()),
        (data, data_answer(1, 0, 0)),
        (Command::DcftpFinish(MD5), Answer::Refused.encode()),
        (Command::Transfer, Answer::Refused.encode()),
        (Command::Check, check_answer(CheckAnswer::CheckFailed)),
    ];
    for (name, bench) in columns() {
        for (command, refusal) in &commands {
            let mut bench = bench();
            let is_under_way = is_under_way(&bench);
            assert_eq!(
                bench.session.is_disturbed_by(OTHER, command),
                is_under_way.then_some(PC),
                "{command:?} in {name}"
            );
            assert_eq!(bench.session.is_disturbed_by(PC, command), None);
            let is_silent = name == "entered, FTP" && command_id(command) == id::DCFTP;
            let effects = bench.ask_as(OTHER, command.clone());
            let expected = if is_silent { vec![] } else { vec![refusal.clone()] };
            assert_eq!(
                (answers(&effects), effects.len()),
                (expected.clone(), expected.len()),
                "{command:?} in {name}"
            );
            if name == "receiving" {
                bench.store(0);
                bench.store(1);
            }
        }
    }
    // And while the owner's work is under way.
    for (command, refusal) in commands {
        let mut bench = Bench::idle();
        bench.ask(Command::Enter);
        assert_eq!(
            answers(&bench.ask_as(OTHER, command.clone())),
            std::slice::from_ref(&refusal),
            "{command:?} while entering"
        );
        let mut bench = Bench::complete();
        bench.ask(Command::DcftpFinish(MD5));
        assert_eq!(
            answers(&bench.ask_as(OTHER, command.clone())),
            [refusal],
            "{command:?} while finishing"
        );
        assert_eq!(
            answers(&bench.tell(Event::Finished(Ok(())))),
            [Answer::Done.encode()],
            "{command:?}"
        );
    }
}

#[test]
fn another_hosts_enter_does_not_join() {
    let mut bench = Bench::idle();
    bench.ask(Command::Enter);
    assert_eq!(answers(&bench.ask_as(OTHER, Command::Enter)), [Answer::EnterRefused.encode()]);
    let effects = bench.tell(Event::Entered(Ok((upgrade("a"), Offered::Ftp))));
    assert_eq!(receivers(&effects), [(PC, 5)]);
}

#[test]
fn row_83_from_another_sender_is_refused_while_one_is_served() {
    let refused = vec![Answer::EnterRefused.encode()];
    for (name, bench) in columns() {
        let effects = bench().ask_as(OTHER, Command::Enter);
        let free = matches!(name, "idle" | "concluded");
        assert_eq!(answers(&effects), if free { vec![] } else { refused.clone() }, "{name}");
        assert_eq!(effects == [Effect::Enter { asker: OTHER }], free, "{name}");
    }
}

#[test]
fn a_report_that_waits_is_no_upgrade_that_holds_a_dead_rate() {
    let under_way: Vec<_> =
        columns().iter().map(|(name, bench)| (*name, is_under_way(&bench()))).collect();
    for (name, under_way) in under_way {
        assert_eq!(under_way, !matches!(name, "idle" | "concluded"), "{name}");
    }
}
