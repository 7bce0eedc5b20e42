mod payload;
mod upload_server;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use md5::{Digest, Md5};
use tempfile::TempDir;

use self::payload::{Given, Payload, Script};
use super::*;
use crate::line::{Damage, LineOptions, Port, PtyLine};

const NAME: &str = "SENSOR_X_V02.00.00.00.bin";

/// A firmware file of that size, and its bytes.
fn firmware(directory: &TempDir, size: usize) -> (PathBuf, Vec<u8>) {
    let content: Vec<u8> = (0..size).map(|at| (at * 7 + at / 256) as u8).collect();
    let path = directory.path().join(NAME);
    File::create(&path).unwrap().write_all(&content).unwrap();
    (path, content)
}

fn quick() -> Patience {
    Patience {
        link: Duration::from_secs(10),
        answer: Duration::from_millis(60),
        check: Duration::from_millis(100),
        longest_answer: Duration::from_millis(120),
        waits_as_asked: true,
        attempts: 40,
        silence: Duration::from_secs(5),
        restart: Duration::from_secs(5),
        quiet: Duration::from_millis(300),
    }
}

/// One upgrade over a socket pair: what the aircraft says, which steps it told, and what the
/// payload was given.
fn upgrade(options: &Options, line: &LineOptions, script: Script) -> (Verdict, Vec<Step>, Given) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let payload = thread::spawn(move || Payload::new(theirs, script).play());
    let mut steps = Vec::new();
    let verdict = run(options, Line::new(Port::given(ours).unwrap(), line), &mut |step| {
        steps.push(step.clone());
    });
    (verdict, steps, payload.join().unwrap())
}

fn options(firmware: PathBuf) -> Options {
    Options { patience: quick(), ..Options::new(firmware) }
}

#[test]
fn a_file_goes_over_the_link() {
    let directory = TempDir::new().unwrap();
    let (path, content) = firmware(&directory, 10_000);
    let (verdict, steps, given) =
        upgrade(&options(path), &LineOptions::default(), Script::default());
    assert!(verdict.is_success(), "{verdict:?}");
    assert_eq!(
        (verdict.version_before, verdict.version_after),
        (Some(Version([1, 0, 0, 0])), Some(Version([2, 0, 0, 0])))
    );
    assert_eq!((given.name.as_str(), given.size), (NAME, 10_000));
    assert!(given.data == content && given.md5[..] == Md5::digest(&content)[..]);
    assert_eq!(
        given.commands[&0x2A],
        1 + 40 + 1,
        "256 bytes a chunk as offered, and nothing twice"
    );
    assert_eq!((given.acknowledged, verdict.repeats), (1, 0), "each word once");
    assert!(verdict.pushes.ongoing >= 1 && verdict.pushes.reboot >= 1 && verdict.pushes.end >= 1);
    let linked = Step::Linked { device: Device(0x13) };
    let order = [
        Step::Waiting,
        linked,
        Step::Complete,
        Step::Started,
        Step::Progress { percent: 50 },
        Step::Acknowledged,
    ];
    let places: Vec<_> =
        order.iter().map(|step| steps.iter().position(|told| told == step)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} in {steps:?}");
}

/// The table of docs/wire/payload-link.md section 2. The payload asks as the vendor's library does,
/// and takes the first answer.
#[test]
fn each_aircraft_answers_on_its_own_routes_alone() {
    let (e5, ca, ea) = ((0xE5, 0x65), (0xCA, 0x03), (0xEA, 0x03));
    let table: [(Model, (u8, u8), u8, u8); 10] = [
        (Model::M300, e5, 60, 0x13),
        (Model::M350, e5, 89, 0x13),
        (Model::M350Eport, ca, 89, 0xCA),
        (Model::M400, e5, 103, 0x13),
        (Model::M30, ca, 67, 0x73),
        (Model::Mavic3, ca, 77, 0x73),
        (Model::M3d, ca, 91, 0x73),
        (Model::M4, ca, 99, 0x73),
        (Model::M4d, ca, 100, 0x73),
        (Model::Flycart30, ea, 78, 0xEA),
    ];
    for (aircraft, route, code, address) in table {
        let directory = TempDir::new().unwrap();
        let (path, content) = firmware(&directory, 100);
        let script = Script { routes: vec![ca, e5, ca, ea], address, ..Script::default() };
        let (verdict, _, given) =
            upgrade(&Options { aircraft, ..options(path) }, &LineOptions::default(), script);
        assert!(verdict.is_success(), "{aircraft}: {verdict:?}");
        assert_eq!(
            (given.answered, verdict.device),
            (Some((route, code)), Some(Device(address))),
            "{aircraft}"
        );
        assert!(given.data == content, "{aircraft}");
    }
}

#[test]
fn a_payload_that_only_probes_is_not_linked() {
    for (routes, said) in [
        (
            vec![(0xE5, 0x65)],
            "a payload looked for the aircraft, was answered, and did not say within 300ms that it is there",
        ),
        (
            vec![(0xCA, 0x03)],
            "a payload looked for an aircraft within 300ms, but not where this one answers",
        ),
    ] {
        let directory = TempDir::new().unwrap();
        let mut options = options(firmware(&directory, 1).0);
        options.patience.link = Duration::from_millis(300);
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let payload = thread::spawn(move || {
            Payload::new(theirs, Script { routes, silent: true, ..Script::default() }).play()
        });
        let mut steps = Vec::new();
        let line = Line::new(Port::given(ours).unwrap(), &LineOptions::default());
        let verdict = run(&options, line, &mut |step| steps.push(step.clone()));
        payload.join().unwrap();
        assert!(verdict.message.starts_with(said), "{}", verdict.message);
        let told = steps
            .iter()
            .filter(|step| matches!(step, Step::Answered { .. } | Step::NotAnswered { .. }));
        assert_eq!(told.count(), 1, "{steps:?}");
    }
}

#[test]
fn the_file_comes_when_the_payload_is_ready_and_to_the_impatient_at_once() {
    for waits_as_asked in [true, false] {
        let directory = TempDir::new().unwrap();
        let mut options = options(firmware(&directory, 100).0);
        options.patience.waits_as_asked = waits_as_asked;
        let (verdict, _, given) =
            upgrade(&options, &LineOptions::default(), Script { wait: 1, ..Script::default() });
        assert!(verdict.is_success(), "{verdict:?}");
        assert_eq!(
            given.waited.unwrap() >= Duration::from_secs(1),
            waits_as_asked,
            "{:?}",
            given.waited
        );
    }
}

#[test]
fn statuses_of_three_bytes_are_read() {
    let directory = TempDir::new().unwrap();
    let script = Script { statuses: [vec![3, 1, 0], vec![6, 1, 0]], ..Script::default() };
    let (verdict, steps, _) =
        upgrade(&options(firmware(&directory, 100).0), &LineOptions::default(), script);
    assert!(verdict.is_success(), "{verdict:?}");
    assert!(
        steps.contains(&Step::Progress { percent: 1 })
            && steps.contains(&Step::Rebooting { timeout: 1 }),
        "{steps:?}"
    );
}

#[test]
fn a_request_that_is_not_answered_is_repeated_less_and_less_often() {
    let directory = TempDir::new().unwrap();
    let mut options = options(firmware(&directory, 100).0);
    let answer = Duration::from_millis(20);
    options.patience =
        Patience { answer, longest_answer: answer * 8, attempts: 5, ..options.patience };
    let script = Script { lost_answers: [(0x4F, 100)].into(), ..Script::default() };
    let began = Instant::now();
    let (verdict, _, given) = upgrade(&options, &LineOptions::default(), script);
    assert_eq!((verdict.reached, given.commands[&0x4F]), (Stage::Version, 5), "{verdict:?}");
    assert!(began.elapsed() >= answer * (1 + 2 + 4 + 8 + 8), "{:?}", began.elapsed());
}

#[test]
fn a_file_goes_by_ftp_in_binary_once_the_store_is_ready() {
    let directory = TempDir::new().unwrap();
    let (path, content) = firmware(&directory, 700_001);
    let (port, server) = upload_server::serve(0);
    let script = Script { ftp_port: Some(port), not_ready: 3, ..Script::default() };
    let (verdict, _, given) = upgrade(&options(path), &LineOptions::default(), script);
    assert!(verdict.is_success(), "{verdict:?}");
    let uploaded = server.join().unwrap();
    assert!(uploaded.data == content);
    let expected = [
        "USER psdk_payload_ftp",
        "PASS DJi_#$31",
        "TYPE I",
        "PASV",
        "STOR SENSOR_X_V02.00.00.00.bin",
        "QUIT",
    ];
    assert_eq!(uploaded.commands, expected);
    assert_eq!(
        (verdict.transfer, verdict.bytes, given.commands[&0x84]),
        (Some(Transfer::Ftp), 700_001, 4)
    );
}

#[test]
fn a_broken_upload_is_tried_again() {
    let directory = TempDir::new().unwrap();
    let (path, content) = firmware(&directory, 3_000_000);
    let (port, server) = upload_server::serve(1);
    let script = Script { ftp_port: Some(port), ..Script::default() };
    let (verdict, steps, _) = upgrade(&options(path), &LineOptions::default(), script);
    assert!(verdict.is_success(), "{verdict:?}");
    assert!(server.join().unwrap().data == content);
    assert!(steps.iter().any(|step| matches!(step, Step::UploadAgain { .. })));
}

#[test]
fn lost_answers_to_each_command_are_survived() {
    let directory = TempDir::new().unwrap();
    let (path, content) = firmware(&directory, 1000);
    let lost_answers = [0x4F, 0x83, 0x2A, 0x84, 0x85].map(|id| (id, 3)).into();
    let (verdict, _, given) = upgrade(
        &options(path),
        &LineOptions::default(),
        Script { lost_answers, ..Script::default() },
    );
    assert!(verdict.is_success(), "{verdict:?}");
    assert!(given.data == content);
    // The start need not be asked for again: the payload's pushes show it.
    assert_eq!((verdict.repeats, given.commands[&0x85]), (12, 1));
}

#[test]
fn a_lost_answer_to_start_is_made_up_for_by_the_pushes_of_a_payload_that_has_forgotten_the_request()
{
    let directory = TempDir::new().unwrap();
    let (path, _) = firmware(&directory, 1000);
    // The answer is lost, and after its restart this payload refuses to start what it has
    // concluded.
    let script =
        Script { lost_answers: [(0x85, 1)].into(), start_again: 0xF2, ..Script::default() };
    let mut options = options(path);
    options.patience.check = Duration::from_secs(1);
    let (verdict, _, given) = upgrade(&options, &LineOptions::default(), script);
    assert!(verdict.is_success(), "{verdict:?}");
    assert_eq!(given.commands[&0x85], 1);
}

#[test]
fn a_noisy_line_that_loses_and_doubles_frames_is_survived() {
    let directory = TempDir::new().unwrap();
    let (path, content) = firmware(&directory, 20_000);
    let damage = Damage { bit_error_rate: 1e-4, drop: 0.05, duplicate: 0.05 };
    let (verdict, _, given) = upgrade(
        &options(path),
        &LineOptions { damage, seed: 3, ..LineOptions::default() },
        Script::default(),
    );
    assert!(verdict.is_success(), "{verdict:?}");
    assert!(given.data == content && verdict.repeats > 0);
}

#[test]
fn the_pace_of_the_line_is_held() {
    let directory = TempDir::new().unwrap();
    let (path, _) = firmware(&directory, 2560);
    let paced = LineOptions { baud: Some(115_200), ..LineOptions::default() };
    let (verdict, _, _) = upgrade(&options(path), &paced, Script::default());
    // Ten chunks with their answers; the line can't be faster.
    let floor =
        Duration::from_secs_f64(10.0 * (256.0 + 5.0 + 13.0 + 9.0 + 13.0) * 10.0 / 115_200.0);
    let took = verdict.time_of(Stage::Transfer).unwrap();
    assert!(verdict.is_success() && took >= floor, "{took:?} is less than {floor:?}: {verdict:?}");
}

#[test]
fn a_refusal_to_enter_is_a_failure() {
    let directory = TempDir::new().unwrap();
    let (path, _) = firmware(&directory, 10);
    let (verdict, _, given) = upgrade(
        &options(path),
        &LineOptions::default(),
        Script { enter: 0xCD, ..Script::default() },
    );
    assert_eq!((verdict.result, verdict.reached), (Result::Failure, Stage::Enter));
    assert!(!given.commands.contains_key(&0x2A));
    assert_eq!(verdict.message, "the payload refuses upgrade mode; the link has no word for why");
}

#[test]
fn a_failed_check_is_reported_with_the_payloads_reason_and_acknowledged() {
    let directory = TempDir::new().unwrap();
    let (path, _) = firmware(&directory, 10);
    let script =
        Script { start: 0xF2, end: vec![4, 9, 1, 0x13, 0, 0, 0, 0, 0, 0, 0], ..Script::default() };
    let (verdict, _, given) = upgrade(&options(path), &LineOptions::default(), script);
    assert_eq!((verdict.result, verdict.reason), (Result::Failure, Some(Reason(9))));
    assert_eq!(verdict.message, "the payload's check of the firmware failed: illegal downgrade");
    assert!(given.acknowledged >= 1);
}

#[test]
fn a_reported_failure_is_a_failure() {
    let directory = TempDir::new().unwrap();
    let (path, _) = firmware(&directory, 10);
    let script = Script { end: vec![4, 2, 1, 0x13, 0, 0, 0, 0, 0, 0, 0], ..Script::default() };
    let (verdict, _, _) = upgrade(&options(path), &LineOptions::default(), script);
    assert_eq!(
        (verdict.result, verdict.reason, verdict.reached),
        (Result::Failure, Some(Reason(2)), Stage::End)
    );
}

#[test]
fn success_is_not_believed_when_the_old_version_still_runs() {
    let directory = TempDir::new().unwrap();
    let (path, _) = firmware(&directory, 10);
    let script = Script { versions: [[0, 0, 0, 1]; 2], ..Script::default() };
    let (verdict, _, _) = upgrade(&options(path), &LineOptions::default(), script);
    assert_eq!(verdict.result, Result::Failure);
    assert_eq!(
        verdict.message,
        "the payload reports success, but runs V01.00.00.00 and not V02.00.00.00"
    );
}

#[test]
fn insisting_on_another_transfer_fails() {
    let directory = TempDir::new().unwrap();
    let (path, _) = firmware(&directory, 10);
    let (verdict, _, _) = upgrade(
        &Options { via: Via::Ftp, ..options(path) },
        &LineOptions::default(),
        Script::default(),
    );
    assert_eq!((verdict.result, verdict.reached), (Result::Failure, Stage::Enter));
    assert_eq!(verdict.message, "the payload offers another transfer than FTP");
}

#[test]
fn it_aborts_where_asked_and_says_nothing_more() {
    for (stage, last_command) in [
        (Stage::Probe, None),
        (Stage::Version, Some(0x4F)),
        (Stage::Enter, Some(0x83)),
        (Stage::Transfer, Some(0x2A)),
        (Stage::Finish, Some(0x2A)),
        (Stage::Check, Some(0x85)),
        (Stage::Upgrade, Some(0x85)),
        (Stage::Reboot, Some(0x85)),
        (Stage::End, Some(0x85)),
    ] {
        let directory = TempDir::new().unwrap();
        let (path, content) = firmware(&directory, 1024);
        let aborting = Options { abort_at: Some(stage), ..options(path) };
        let (verdict, _, given) = upgrade(&aborting, &LineOptions::default(), Script::default());
        assert_eq!(verdict.result, Result::Aborted, "{stage:?}: {verdict:?}");
        let order = [0x4F, 0x83, 0x2A, 0x84, 0x85, 0x41];
        let last = order.into_iter().rfind(|id| given.commands.contains_key(id));
        assert_eq!(last, last_command, "{stage:?}");
        if stage == Stage::Transfer {
            assert!(
                !given.data.is_empty() && given.data.len() < content.len(),
                "{}",
                given.data.len()
            );
        }
    }
}

#[test]
fn what_the_payload_pushes_during_a_pause_is_not_missed() {
    let directory = TempDir::new().unwrap();
    let (path, _) = firmware(&directory, 100);
    // Longer than the payload works; it restarts when the pause is over.
    let pauses = vec![(Stage::Check, Duration::from_millis(170))];
    let pausing = Options { pauses, abort_at: Some(Stage::Upgrade), ..options(path) };
    let (verdict, steps, _) = upgrade(&pausing, &LineOptions::default(), Script::default());
    assert_eq!((verdict.result, verdict.reached), (Result::Aborted, Stage::Upgrade), "{verdict:?}");
    assert!(steps.contains(&Step::Progress { percent: 50 }), "{steps:?}");
}

#[test]
fn lies_are_told_as_asked() {
    let directory = TempDir::new().unwrap();
    let (path, _) = firmware(&directory, 100);
    let claims = Claims {
        name: Some("../evil_V09.00.00.00.bin".to_owned()),
        size: Some(99),
        md5: Some([7; 16]),
    };
    let (_, _, given) =
        upgrade(&Options { claims, ..options(path) }, &LineOptions::default(), Script::default());
    assert_eq!(
        (given.name.as_str(), given.size, given.md5),
        ("../evil_V09.00.00.00.bin", 99, vec![7; 16])
    );
}

#[test]
fn a_payload_that_never_comes_is_given_up() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let directory = TempDir::new().unwrap();
    let mut options = options(firmware(&directory, 1).0);
    options.patience.link = Duration::from_millis(50);
    let verdict =
        run(&options, Line::new(Port::given(ours).unwrap(), &LineOptions::default()), &mut |_| {});
    assert_eq!((verdict.result, verdict.reached), (Result::Failure, Stage::Probe));
    assert_eq!(verdict.message, "no payload looked for the aircraft within 50ms");
}

/// Opens the payload's end of a pseudo-terminal; reads return at once when there is nothing.
fn open_link(link: &std::path::Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nix::libc::O_NOCTTY | nix::libc::O_NONBLOCK)
        .open(link)
        .unwrap()
}

#[test]
fn a_pseudo_terminal_can_be_pulled_out_and_put_in_again_during_the_restart() {
    let directory = TempDir::new().unwrap();
    let (path, content) = firmware(&directory, 3000);
    let pty = PtyLine::new(directory.path().join("ttyPayload")).unwrap();
    let link = pty.link().to_owned();
    let script = Script { restart: Duration::from_secs(60), ..Script::default() };
    let first = open_link(&link);
    let payload = thread::spawn(move || Payload::new(first, script).play());
    let (send, told) = std::sync::mpsc::channel();
    let aircraft = {
        let (pty, options) = (pty.clone(), options(path));
        thread::spawn(move || {
            run(&options, Line::new(Port::made(pty), &LineOptions::default()), &mut |step| {
                send.send(step.clone()).unwrap();
            })
        })
    };
    let wait_for = |wanted: fn(&Step) -> bool| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !wanted(
            &told
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
                .expect("the step comes"),
        ) {}
    };
    wait_for(|step| matches!(step, Step::Rebooting { .. }));
    pty.unplug();
    assert!(!link.exists());
    wait_for(|step| *step == Step::PortLost);
    assert!(payload.join().unwrap().data == content, "the payload's port has hung up");
    pty.plug().unwrap();
    wait_for(|step| *step == Step::PortOpened);
    // The payload after its restart: it reports at once.
    let mut restarted =
        Payload::new(open_link(&link), Script { restart: Duration::ZERO, ..Script::default() });
    restarted.reports_at_once();
    let restarted = thread::spawn(move || restarted.play());
    let verdict = aircraft.join().unwrap();
    assert!(verdict.is_success(), "{verdict:?}");
    drop(pty);
    assert!(!link.is_symlink(), "the link goes with the last user");
    assert!(restarted.join().unwrap().acknowledged >= 1);
}

#[test]
fn only_the_right_speed_is_heard() {
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
    for (speed, hears) in [(460_800, false), (921_600, true)] {
        let directory = TempDir::new().unwrap();
        let pty = PtyLine::new(directory.path().join("ttyPayload")).unwrap();
        let payload = open_link(pty.link());
        let mut modes = tcgetattr(&payload).unwrap();
        modes.set_speed(speed).unwrap();
        tcsetattr(&payload, OptionalActions::Now, &modes).unwrap();
        let talking = thread::spawn(move || Payload::new(payload, Script::default()).play());
        let mut options =
            Options { abort_at: Some(Stage::Version), ..options(firmware(&directory, 1).0) };
        options.patience.link = Duration::from_millis(if hears { 10_000 } else { 400 });
        let line = LineOptions { answer_baud: Some(921_600), ..LineOptions::default() };
        let verdict = run(&options, Line::new(Port::made(pty), &line), &mut |_| {});
        let expected = if hears { Result::Aborted } else { Result::Failure };
        assert_eq!(verdict.result, expected, "at {speed}: {verdict:?}");
        talking.join().unwrap();
    }
}

#[test]
fn words_that_are_cut_off_are_not_read() {
    use super::words::*;
    let version = [0, 4, 0, 0, 0, 0, 0, 0, 0, 4, 3, 2, 1];
    assert_eq!(Version::read(&version), Some(Version([1, 2, 3, 4])));
    for length in 0..version.len() {
        assert_eq!(Version::read(&version[..length]), None);
    }
    assert_eq!(Version::read(&[0, 4, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4]), None);
    for length in 0..5 {
        assert_eq!(Entered::read(&[0xC7, 1, 0, 5, 0][..length]), None);
    }
    assert_eq!(
        Entered::read(&[0xC7, 1, 0, 5, 1]),
        Some(Entered::Ftp { wait: Duration::from_secs(261) })
    );
    assert_eq!(
        (ftp_port(&[0, 0, 0, 0, 21, 0, 0]), ftp_port(&[0, 0, 0, 0, 21, 0, 0, 0])),
        (Some(21), Some(21))
    );
    assert_eq!(ftp_port(&[0, 0, 0, 0, 21]), None);
    assert_eq!(
        (offered_chunk(&[0, 1, 1, 0, 1, 0]), offered_chunk(&[0xFF, 0xFF]), offered_chunk(&[])),
        (256, 256, 256)
    );
    assert_eq!(
        (next_expected(&[0; 7]), next_expected(&[9, 0, 0, 0, 10, 0, 0, 0])),
        (None, Some(10))
    );
    assert_eq!(Version::of_file("A_B_V01.22.03.99.bin"), Some(Version([1, 22, 3, 99])));
    assert_eq!(Version::of_file("A_B_V01.22.03.bin"), None);
    assert_eq!(dcftp_start(10, &"n".repeat(300)).len(), 1 + 4 + 1 + 255);
}
