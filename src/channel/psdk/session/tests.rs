//! The table of docs/wire/payload-link.md section 5b, cell by cell, and what goes on between the
//! cells.

mod reporting;
mod together;

use super::super::serial::frame::CommandId;
use super::super::serial::wire::id;
use super::super::words::{Command, Malformed, Reason, Ticket};
use super::*;
use crate::model::version::Version;
use crate::model::{Phase, TransferKind};
use crate::transfer::dcftp::Place;

pub(super) const PC: Asker = Asker(0x2A);
pub(super) const OTHER: Asker = Asker(0xED);
pub(super) const PORT: u16 = 2121;
const MD5: Md5Digest = Md5Digest([7; 16]);
const CHUNK: &[u8] = &[1, 2, 3, 4];

pub(super) fn upgrade(name: &str) -> UpgradeId {
    UpgradeId(name.into())
}

/// The question of a number.
pub(super) fn numbered(asker: Asker, number: u16, command: CommandId) -> Question {
    let [low, high] = number.to_le_bytes();
    Question { asker, ticket: Ticket([low, high, command.set, command.id, 0, 0, 0, 0]) }
}

pub(super) fn question(asker: Asker, command: CommandId) -> Question {
    numbered(asker, 5, command)
}

pub(super) fn command_id(command: &Command) -> CommandId {
    match command {
        Command::Version => id::VERSION,
        Command::Enter => id::ENTER,
        Command::DcftpStart(_) | Command::DcftpData { .. } | Command::DcftpFinish(_) => id::DCFTP,
        Command::Transfer => id::TRANSFER,
        Command::Check => id::CHECK,
        Command::Finish => id::CONTROL,
        Command::ServiceInfo => id::SERVICE_INFO,
    }
}

pub(super) fn offer() -> FileOffer {
    FileOffer { size: 8, from: 0, name: "P_V01.00.00.01.bin".into() }
}

pub(super) fn work(phase: Phase) -> Work {
    Work {
        id: upgrade("a"),
        transfer: TransferKind::Dcftp,
        phase,
        received: 100,
        seconds_left: None,
    }
}

pub(super) fn report(result: StatusPush) -> PendingReport {
    PendingReport { id: upgrade("a"), result }
}

pub(super) fn viewing(work: Option<Work>, report: Option<PendingReport>) -> View {
    View { version: Version::new([1, 2, 3, 4]), work, report }
}

fn failure(kind: FailureKind) -> Failure {
    Failure::new(kind, "it failed")
}

/// A session, and the time as it passes in the test.
struct Bench {
    session: Session,
    now: Instant,
}

impl Bench {
    fn idle() -> Self {
        let now = Instant::now();
        Self {
            session: Session::new(viewing(None, None), PORT, guess::HOST_WAIT_FOR_CHECK, now),
            now,
        }
    }

    fn is_idle(&self) -> bool {
        matches!(self.session.state, State::Idle)
    }

    fn ask_as(&mut self, asker: Asker, command: Command) -> Vec<Effect> {
        self.session.command(question(asker, command_id(&command)), command, self.now)
    }

    fn ask(&mut self, command: Command) -> Vec<Effect> {
        self.ask_as(PC, command)
    }

    fn tell(&mut self, event: Event) -> Vec<Effect> {
        self.session.event(event, self.now)
    }

    fn entered(offered: Offered) -> Self {
        let mut bench = Self::idle();
        assert_eq!(bench.ask(Command::Enter), [Effect::Enter { asker: PC }]);
        let effects = bench.tell(Event::Entered(Ok((upgrade("a"), offered))));
        assert_eq!(answers(&effects), [Answer::Entered(offered).encode()]);
        bench
    }

    fn receiving() -> Self {
        let mut bench = Self::entered(Offered::Dcftp);
        assert_eq!(
            bench.ask(Command::DcftpStart(offer())),
            [Effect::Receive(upgrade("a"), offer())]
        );
        let effects = bench.tell(Event::Opened(Ok(0)));
        assert_eq!(answers(&effects), [Answer::DcftpStarted(0).encode()]);
        bench
    }

    fn chunk(&mut self, sequence: u32) -> Vec<Effect> {
        self.ask(Command::DcftpData {
            place: Place::Number(sequence),
            data: Bytes::from_static(CHUNK),
        })
    }

    fn store(&mut self, sequence: u32) {
        assert_eq!(self.chunk(sequence), [Effect::Store(Bytes::from_static(CHUNK))]);
        let effects = self.tell(Event::Stored(Ok(())));
        assert_eq!(answers(&effects), [data_answer(0, sequence, sequence + 1)]);
    }

    /// All chunks are there.
    fn complete() -> Self {
        let mut bench = Self::receiving();
        bench.store(0);
        bench.store(1);
        bench
    }

    fn received() -> Self {
        let mut bench = Self::complete();
        assert_eq!(bench.ask(Command::DcftpFinish(MD5)), [Effect::FinishReception(MD5)]);
        let effects = bench.tell(Event::Finished(Ok(())));
        assert_eq!(answers(&effects), [Answer::Done.encode()]);
        bench
    }

    fn checking() -> Self {
        let mut bench = Self::received();
        bench.tell(Event::Status(viewing(Some(work(Phase::Receiving)), None)));
        assert_eq!(bench.ask(Command::Check), [Effect::CheckAndStart(upgrade("a"))]);
        bench.tell(Event::Status(viewing(Some(work(Phase::Checking)), None)));
        bench
    }

    fn started() -> Self {
        let mut bench = Self::checking();
        bench.tell(Event::Status(viewing(Some(work(Phase::Installing)), None)));
        let effects = bench.tell(Event::Decided(Ok(())));
        assert_eq!(answers(&effects), [check_answer(CheckAnswer::Started)]);
        bench
    }

    fn concluded() -> Self {
        let now = Instant::now();
        Self {
            session: Session::new(
                viewing(None, Some(report(StatusPush::Succeeded))),
                PORT,
                guess::HOST_WAIT_FOR_CHECK,
                now,
            ),
            now,
        }
    }

    /// Lets time pass to the next deadline.
    fn tick(&mut self) -> Vec<Effect> {
        self.now = self.session.deadline().unwrap();
        self.session.tick(self.now)
    }
}

fn answers(effects: &[Effect]) -> Vec<Bytes> {
    let payload = |effect: &Effect| match effect {
        Effect::Answer(_, answer) => Some(answer.encode()),
        _ => None,
    };
    effects.iter().filter_map(payload).collect()
}

fn data_answer(code: u8, last: u32, next: u32) -> Bytes {
    [&[code][..], &last.to_le_bytes(), &next.to_le_bytes()].concat().into()
}

fn check_answer(answer: CheckAnswer) -> Bytes {
    Answer::Check(answer).encode()
}

/// A column of the table: its name, and how a session comes there.
type Column = (&'static str, fn() -> Bench);

fn columns() -> [Column; 7] {
    [
        ("idle", Bench::idle),
        ("entered, FTP", || Bench::entered(Offered::Ftp)),
        ("entered, DCFTP", || Bench::entered(Offered::Dcftp)),
        ("receiving", Bench::receiving),
        ("received", Bench::received),
        ("started", Bench::started),
        ("concluded", Bench::concluded),
    ]
}

/// Checks one row: for each column what the command is answered, and what else is wanted.
fn row(command: &Command, expected: [(&[Bytes], usize); 7]) {
    for ((name, bench), (expected_answers, others)) in columns().into_iter().zip(expected) {
        let mut bench = bench();
        let effects = bench.ask(command.clone());
        assert_eq!(answers(&effects), expected_answers, "{command:?} in {name}");
        assert_eq!(
            effects.len() - expected_answers.len(),
            others,
            "{command:?} in {name}: {effects:?}"
        );
    }
}

const NONE: (&[Bytes], usize) = (&[], 0);
const OPERATION: (&[Bytes], usize) = (&[], 1);

#[test]
fn row_4f_is_answered_everywhere() {
    let version = [Answer::Version(Version::new([1, 2, 3, 4])).encode()];
    row(&Command::Version, [(&version, 0); 7]);
    row(&Command::ServiceInfo, [(&[Answer::ServiceInfo.encode()], 0); 7]);
}

#[test]
fn row_83_enters_again_until_the_upgrade_started() {
    let refused = [Answer::EnterRefused.encode()];
    let (ftp, dcftp) =
        ([Answer::Entered(Offered::Ftp).encode()], [Answer::Entered(Offered::Dcftp).encode()]);
    // At once it repeats a question whose answer was lost.
    row(
        &Command::Enter,
        [OPERATION, (&ftp, 0), (&dcftp, 0), OPERATION, OPERATION, (&refused, 0), OPERATION],
    );
}

#[test]
fn a_host_that_enters_again_later_finds_an_empty_store() {
    for offered in [Offered::Ftp, Offered::Dcftp] {
        let mut bench = Bench::entered(offered);
        bench.now += guess::REPEATED_ENTER;
        assert_eq!(bench.ask(Command::Enter), [Effect::Enter { asker: PC }]);
    }
    // And so does one that has been told where to put its file.
    let mut bench = Bench::entered(Offered::Ftp);
    bench.ask(Command::Transfer);
    assert_eq!(bench.ask(Command::Enter), [Effect::Enter { asker: PC }]);
}

#[test]
fn row_2a_01_starts_and_starts_over() {
    let refused = [Answer::Refused.encode()];
    let again = [Answer::DcftpStarted(0).encode()];
    let command = Command::DcftpStart(offer());
    row(
        &command,
        [(&refused, 0), NONE, OPERATION, (&again, 0), OPERATION, (&refused, 0), (&refused, 0)],
    );
    // Another file, or the same one after its first chunk: from the beginning.
    let other = FileOffer { size: 9, ..offer() };
    assert_eq!(
        Bench::receiving().ask(Command::DcftpStart(other.clone())),
        [Effect::Receive(upgrade("a"), other)]
    );
    let mut bench = Bench::receiving();
    bench.store(0);
    assert_eq!(bench.ask(command), [Effect::Receive(upgrade("a"), offer())]);
    bench.tell(Event::Opened(Ok(0)));
    bench.store(0);
}

#[test]
fn row_2a_02_takes_data_only_while_receiving() {
    let refused = [data_answer(1, 0, 0)];
    let complete = [data_answer(1, 1, 2)];
    let command = |sequence| Command::DcftpData {
        place: Place::Number(sequence),
        data: Bytes::from_static(CHUNK),
    };
    row(
        &command(0),
        [
            (&refused, 0),
            NONE,
            (&refused, 0),
            OPERATION,
            (&[data_answer(0, 1, 2)], 0),
            (&refused, 0),
            (&refused, 0),
        ],
    );
    // Received: the last one again is acknowledged again, a new one is refused.
    assert_eq!(answers(&Bench::received().chunk(1)), [data_answer(0, 1, 2)]);
    assert_eq!(answers(&Bench::received().chunk(2)), complete);
}

#[test]
fn a_chunk_that_repeats_or_skips_brings_the_last_acknowledgement_again() {
    let mut bench = Bench::receiving();
    assert_eq!(answers(&bench.chunk(1)), [data_answer(0, u32::MAX, 0)]);
    bench.store(0);
    assert_eq!(answers(&bench.chunk(0)), [data_answer(0, 0, 1)]);
    assert_eq!(answers(&bench.chunk(7)), [data_answer(0, 0, 1)]);
    bench.store(1);
}

#[test]
fn a_chunk_is_acknowledged_when_it_is_handed_over_and_not_before() {
    let mut bench = Bench::receiving();
    assert_eq!(bench.chunk(0), [Effect::Store(Bytes::from_static(CHUNK))]);
    assert_eq!(bench.chunk(0), [], "the host repeats: it joins");
    assert_eq!(bench.chunk(1), [], "the next one waits for its turn");
    let effects = bench.tell(Event::Stored(Ok(())));
    assert_eq!(answers(&effects), [data_answer(0, 0, 1)]);
    assert_eq!(effects[1..], [Effect::Store(Bytes::from_static(CHUNK))]);
    assert_eq!(answers(&bench.tell(Event::Stored(Ok(())))), [data_answer(0, 1, 2)]);
    assert_eq!(bench.tell(Event::Stored(Ok(()))), [], "only once");
}

#[test]
fn more_than_announced_is_never_taken() {
    let mut bench = Bench::receiving();
    bench.store(0);
    let effects = bench
        .ask(Command::DcftpData { place: Place::Number(1), data: Bytes::from_static(&[0; 5]) });
    assert_eq!(answers(&effects), [data_answer(1, 0, 1)]);
    assert!(
        matches!(&effects[1..], [Effect::ReceptionFailed(id, why)] if *id == upgrade("a") && why.kind == FailureKind::TransferFailed)
    );
    assert_eq!(answers(&bench.ask(Command::DcftpFinish(MD5))), [Answer::Refused.encode()]);
    // The host may start again.
    assert_eq!(bench.ask(Command::DcftpStart(offer())), [Effect::Receive(upgrade("a"), offer())]);
}

#[test]
fn a_full_disk_is_told_with_the_chunk_and_named_when_the_host_gives_up() {
    let mut bench = Bench::receiving();
    bench.chunk(0);
    let effects = bench.tell(Event::Stored(Err(failure(FailureKind::NoSpace))));
    assert_eq!(answers(&effects), [data_answer(1, u32::MAX, 0)]);
    assert_eq!(
        effects[1..],
        [Effect::ReceptionFailed(upgrade("a"), failure(FailureKind::NoSpace))]
    );
    assert_eq!(answers(&bench.chunk(0)), [data_answer(1, 0, 0)]);
    assert_eq!(bench.tick(), [Effect::GiveUp(upgrade("a"), failure(FailureKind::NoSpace))]);
    let mut bench = Bench::entered(Offered::Dcftp);
    bench.ask(Command::DcftpStart(offer()));
    // The engine has ended the upgrade by then; the answer goes first, the report is pushed behind
    // it.
    let result = StatusPush::Failed(Reason::Failure);
    assert_eq!(bench.tell(Event::Status(viewing(None, Some(report(result))))), []);
    let effects = bench.tell(Event::Opened(Err(failure(FailureKind::NoSpace))));
    assert_eq!(answers(&effects), [Answer::Refused.encode()]);
    assert_eq!(effects.last(), Some(&Effect::Push(result)));
}

#[test]
fn row_2a_03_compares_and_repeats_its_answer() {
    let refused = [Answer::Refused.encode()];
    let done = [Answer::Done.encode()];
    let command = Command::DcftpFinish(MD5);
    row(
        &command,
        [(&refused, 0), NONE, (&refused, 0), OPERATION, (&done, 0), (&refused, 0), (&refused, 0)],
    );
    assert_eq!(answers(&Bench::received().ask(Command::DcftpFinish(Md5Digest([8; 16])))), refused);
    let mut bench = Bench::receiving();
    bench.ask(command.clone());
    assert_eq!(bench.ask(command.clone()), [], "the host repeats: it joins");
    let effects = bench.tell(Event::Finished(Err(failure(FailureKind::DigestMismatch))));
    assert_eq!(answers(&effects), refused);
    let told = Effect::ReceptionFailed(upgrade("a"), failure(FailureKind::DigestMismatch));
    assert_eq!(effects[1..], [told], "the engine hears of it at once");
    assert_eq!(answers(&bench.ask(command)), refused);
    assert_eq!(answers(&bench.ask(Command::Check)), [check_answer(CheckAnswer::CheckFailed)]);
    assert_eq!(
        bench.ask(Command::DcftpStart(offer())),
        [Effect::Receive(upgrade("a"), offer())],
        "the host may begin again"
    );
}

#[test]
fn row_84_tells_the_port_or_that_the_file_is_there() {
    let refused = [Answer::Refused.encode()];
    let port = [Answer::FtpPort(PORT).encode()];
    let done = [Answer::Done.encode()];
    row(
        &Command::Transfer,
        [
            (&refused, 0),
            (&port, 0),
            (&refused, 0),
            (&refused, 0),
            (&done, 0),
            (&done, 0),
            (&refused, 0),
        ],
    );
}

#[test]
fn row_85_checks_only_what_was_received() {
    let failed = [check_answer(CheckAnswer::CheckFailed)];
    let started = [check_answer(CheckAnswer::Started)];
    row(
        &Command::Check,
        [
            (&failed, 0),
            OPERATION,
            (&failed, 0),
            (&failed, 0),
            OPERATION,
            (&started, 0),
            (&failed, 0),
        ],
    );
}

/// Where a host may have heard already that its upgrade has started.
#[test]
fn a_check_without_a_file_ends_an_upgrade_that_was_answered_ahead() {
    let mut bench = Bench::entered(Offered::Dcftp);
    bench.session = bench.session.answered_ahead(true);
    let effects = bench.ask(Command::Check);
    let [Effect::Reject(id, failure)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((id, failure.kind), (&upgrade("a"), FailureKind::TransferFailed));
    let decided = Err(Rejection::CheckFailed(failure.clone()));
    let effects = bench.tell(Event::Decided(decided));
    assert_eq!(answers(&effects), [check_answer(CheckAnswer::CheckFailed)]);
    assert!(matches!(effects.last(), Some(Effect::Push(StatusPush::Failed(_)))), "{effects:?}");
}

#[test]
fn row_41_04_acknowledges_only_a_report() {
    row(&Command::Finish, [NONE, NONE, NONE, NONE, NONE, NONE, OPERATION]);
    let mut bench = Bench::concluded();
    assert_eq!(bench.ask(Command::Finish), [Effect::Acknowledge]);
    assert!(bench.is_idle());
    // The engine's status shows the report a moment longer.
    assert_eq!(bench.tell(Event::Status(viewing(None, Some(report(StatusPush::Succeeded))))), []);
    assert_eq!(bench.session.deadline(), None);
}

#[test]
fn malformed_commands_are_answered_with_the_failure_code_and_change_nothing() {
    for (name, bench) in columns() {
        let mut bench = bench();
        let mut ask = |malformed, id| {
            answers(&bench.session.malformed(question(PC, id), malformed, bench.now))
        };
        assert_eq!(ask(Malformed::Enter, id::ENTER), [Answer::EnterRefused.encode()], "{name}");
        let no_answer = name == "entered, FTP";
        assert_eq!(ask(Malformed::DcftpStart, id::DCFTP).is_empty(), no_answer, "{name}");
        assert_eq!(ask(Malformed::DcftpFinish, id::DCFTP).is_empty(), no_answer, "{name}");
        assert!(ask(Malformed::DcftpData, id::DCFTP).iter().all(|answer| answer[0] == 1), "{name}");
        if name == "receiving" {
            bench.store(0);
        }
    }
}

#[test]
fn a_refused_enter_leaves_the_session_idle_and_nothing_behind() {
    let mut bench = Bench::idle();
    bench.ask(Command::Enter);
    let effects = bench.tell(Event::Entered(Err(failure(FailureKind::Busy))));
    assert_eq!(answers(&effects), [Answer::EnterRefused.encode()]);
    assert!(bench.is_idle());
    // An upgrade that was entered before is given up with the reason.
    let mut bench = Bench::receiving();
    bench.ask(Command::Enter);
    let effects = bench.tell(Event::Entered(Err(failure(FailureKind::Internal))));
    assert_eq!(effects.last(), Some(&Effect::GiveUp(upgrade("a"), failure(FailureKind::Internal))));
}

#[test]
fn a_report_is_still_pushed_when_entering_was_refused() {
    let mut bench = Bench::concluded();
    bench.ask(Command::Enter);
    let effects = bench.tell(Event::Entered(Err(failure(FailureKind::Busy))));
    assert_eq!(effects.last(), Some(&Effect::Push(StatusPush::Succeeded)));
}

#[test]
fn sixty_seconds_of_silence_give_up() {
    for bench in [|| Bench::entered(Offered::Dcftp), Bench::receiving, Bench::received] {
        let mut bench = bench();
        bench.now += SILENCE_LIMIT - Duration::from_millis(1);
        assert_eq!(bench.session.tick(bench.now), []);
        let effects = bench.tick();
        let [Effect::GiveUp(id, failure)] = &effects[..] else { panic!("{effects:?}") };
        assert_eq!((id, failure.kind), (&upgrade("a"), FailureKind::Timeout));
        assert!(bench.is_idle());
        // Its report is nobody's any more.
        let report = report(StatusPush::Failed(Reason::Timeout));
        assert_eq!(bench.tell(Event::Status(viewing(None, Some(report)))), []);
    }
}

#[test]
fn a_host_that_is_heard_is_not_given_up() {
    let mut bench = Bench::receiving();
    bench.now += SILENCE_LIMIT - Duration::from_secs(1);
    bench.store(0);
    bench.now += SILENCE_LIMIT - Duration::from_secs(1);
    bench.store(1);
    // What is refused was said all the same.
    let mut bench = Bench::entered(Offered::Dcftp);
    for _ in 0..3 {
        bench.now += SILENCE_LIMIT - Duration::from_secs(1);
        assert_eq!(answers(&bench.ask(Command::Transfer)), [Answer::Refused.encode()]);
        assert_eq!(bench.session.tick(bench.now), []);
    }
    // What the aircraft asks by itself is no word of the host's.
    bench.now += SILENCE_LIMIT - Duration::from_secs(1);
    bench.ask(Command::Version);
    bench.now += Duration::from_secs(1);
    assert!(matches!(bench.session.tick(bench.now)[..], [Effect::GiveUp(..)]));
}

#[test]
fn an_upload_over_ftp_is_silent_on_the_link_whether_the_port_was_asked_for_or_not() {
    for asks in [true, false] {
        let mut bench = Bench::entered(Offered::Ftp);
        if asks {
            bench.ask(Command::Transfer);
        }
        bench.now += SILENCE_LIMIT * 2;
        assert_eq!(bench.session.tick(bench.now), []);
        assert!(matches!(bench.tick()[..], [Effect::GiveUp(..)]));
    }
}
