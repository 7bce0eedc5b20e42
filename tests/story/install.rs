//! `uplift install`: an upgrade at the shell, through the real binaries.

mod script;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::check::small;
use crate::world::payload::Payload;
use crate::world::watched::Watched as _;
use uplift::model::version::Version;
use uplift::model::{FailureKind, Outcome, Phase, RunningEvidence, Status};

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn payload() -> Payload {
    Payload::setup().start()
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn status(payload: &Payload) -> Status {
    let output = run(&mut payload.command(&["status", "--json"]));
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
}

/// The kernel says 4096 bytes of such a file and gives a line: as if somebody cut it off while it
/// is sent.
#[test]
fn a_file_that_gets_shorter_while_it_is_sent_fails_at_once() {
    let payload = payload();
    let firmware = payload.root().join("PSDK_APPALIAS_V02.00.00.00.bin");
    std::os::unix::fs::symlink("/sys/kernel/uevent_seqnum", &firmware).unwrap();
    let output = run(&mut payload.command(&["install", firmware.to_str().unwrap()]));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("became shorter while it was sent"),
        "{}",
        text(&output.stderr)
    );
    let status = payload
        .wait_for_status(|status| status.phase == Phase::Idle && status.last.is_some())
        .unwrap();
    assert_eq!(
        status.last.unwrap().failure.unwrap().kind,
        FailureKind::TransferFailed,
        "not a time-out: the rest is not waited for"
    );
}

#[test]
fn an_upgrade_at_the_shell_restarts_and_reports_from_evidence() {
    let mut payload = payload();
    assert_eq!(status(&payload).components[0].version, Some(version("V01.00.00.00")));
    let firmware = payload.firmware_of("V02.00.00.00", 3_000_000);
    let client = payload.install_file(&firmware);
    payload.wait_for_restart_request().unwrap();
    assert_eq!(status(&payload).phase, Phase::Restarting);
    payload.reboot();
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    // What a person wants to know comes first, and the details after it.
    assert!(
        printed.starts_with("V02.00.00.00 is installed, and the restart has come.\n  "),
        "{printed}"
    );
    assert!(
        printed.contains(" V01.00.00.00 -> V02.00.00.00 at the shell: succeeded\n  evidence: "),
        "{printed}"
    );
    assert!(!printed.contains(" 0.000 s"), "{printed}");
    assert_eq!(payload.reported_version().unwrap(), "V02.00.00.00");
    let status = status(&payload);
    assert_eq!(
        (status.phase, status.components[0].version),
        (Phase::Idle, Some(version("V02.00.00.00")))
    );
    let report = payload.last_report();
    assert_eq!(report.outcome, Outcome::Succeeded);
    assert_eq!(report.evidence.unwrap().running, RunningEvidence::NoUnit);
    assert!(report.request.requester.starts_with("uid "));
}

#[test]
fn a_restart_that_never_comes_puts_the_old_program_back() {
    let restart = "restart = [\"/bin/true\"]\nrestart_deadline = \"1s\"";
    let payload = Payload::setup().program(restart).start();
    let firmware = payload.firmware("V02.00.00.00".parse().unwrap(), None).unwrap();
    let output = run(&mut payload.command(&["install", firmware.to_str().unwrap()]));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("V01.00.00.00 is back: "), "{}", text(&output.stdout));
    let report = payload.last_report();
    assert_eq!(report.failure.unwrap().kind, FailureKind::RestartFailed);
    assert_eq!(payload.reported_version().unwrap(), "V01.00.00.00");
}

#[test]
fn without_a_daemon_the_exit_code_is_4_and_a_hint_says_what_to_do() {
    let payload = Payload::setup().stopped();
    for arguments in [&["status"][..], &["history"], &["install", "/bin/true"]] {
        let output = run(&mut payload.command(arguments));
        assert_eq!(output.status.code(), Some(4));
        let socket = payload.control_socket();
        let sentence = format!(
            "uplift: the daemon does not run: there is no socket {}\nhint: start it",
            socket.display()
        );
        assert!(text(&output.stderr).starts_with(&sentence), "{}", text(&output.stderr));
    }
}

/// A daemon that forgets to answer must fail the test, not hang it.
fn run_within(command: &mut Command, deadline: Duration) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let end = Instant::now() + deadline;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
            panic!("no end after {} s", deadline.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

/// The step from 64 to 32 bits, and with it the one back.
#[test]
fn a_person_can_force_a_program_of_32_bits_where_this_machine_runs_it() {
    let mut payload = payload();
    let firmware = payload.firmware("V02.00.00.00".parse().unwrap(), None).unwrap();
    let bytes = small::build(payload.root());
    std::fs::write(&firmware, &bytes).unwrap();
    let refused = run(&mut payload.command(&["install", firmware.to_str().unwrap()]));
    assert!(
        refused.status.code() == Some(1)
            && text(&refused.stderr).contains("so does `uplift install --force`"),
        "{}",
        text(&refused.stderr)
    );
    let output = payload.through_a_restart(&["install", "--force", firmware.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(payload.reported_version().unwrap(), "V02.00.00.00");
}

#[test]
fn a_daemon_on_a_terminal_says_at_once_what_it_is_there_for() {
    let payload = payload();
    let log = std::fs::read_to_string(payload.log("daemon")).unwrap();
    let said = log
        .lines()
        .find(|line| line.contains(&format!("uplift {} is ready for ", env!("CARGO_PKG_VERSION"))))
        .expect(&log);
    let socket = payload.control_socket();
    assert!(
        said.contains("PSDK_APPALIAS")
            && said.contains(socket.to_str().unwrap())
            && said.ends_with("no payload link"),
        "{said}"
    );
}

#[test]
fn nothing_is_installed_that_can_not_be_written_down() {
    let payload = payload();
    // The state file's temporary name is taken by a directory: it can be read, but not written.
    std::fs::create_dir(payload.state().join("state.json.new")).unwrap();
    let firmware = payload.firmware("V02.00.00.00".parse().unwrap(), None).unwrap();
    let output = run_within(
        &mut payload.command(&["install", firmware.to_str().unwrap()]),
        Duration::from_secs(20),
    );
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("can't be written to the journal"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(payload.reported_version().unwrap(), "V01.00.00.00");
    let status = status(&payload);
    assert_eq!(
        (status.phase, status.last.unwrap().failure.unwrap().kind),
        (Phase::Idle, FailureKind::InstallFailed)
    );
    assert_eq!(payload.history().len(), 1, "the history can be written");
}

/// Speaks the control protocol by itself, and leaves in the middle.
fn leaves_after(payload: &Payload, sent: &[u8], reads_answer: bool) {
    let mut client = UnixStream::connect(payload.control_socket()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client.write_all(b"{\"request\":\"install\",\"file_name\":\"PSDK_APPALIAS_V02.00.00.00.bin\",\"size\":1000}\n").unwrap();
    if reads_answer {
        let mut answer = [0; 64];
        let length = client.read(&mut answer).unwrap();
        assert_eq!(&answer[..length], b"{\"answer\":\"send\"}\n");
    }
    client.write_all(sent).unwrap();
}

#[test]
fn a_client_that_leaves_at_any_moment_leaves_nothing_behind() {
    let payload = payload();
    for (number, (sent, reads_answer)) in
        [(&b""[..], false), (b"", true), (&[0; 999], true), (&[0; 1000], true)]
            .into_iter()
            .enumerate()
    {
        leaves_after(&payload, sent, reads_answer);
        let settled = payload
            .wait_for_status(|status| status.phase == Phase::Idle && status.last.is_some())
            .unwrap();
        assert_eq!(settled.last.unwrap().outcome, Outcome::Failed);
        // Each is in the history once, whatever was sent.
        payload.wait_for_status(|_| payload.history().len() == number + 1).unwrap();
    }
    let kinds: Vec<FailureKind> =
        payload.history().into_iter().map(|report| report.failure.unwrap().kind).collect();
    assert_eq!(kinds[3], FailureKind::WrongMachine);
    assert!(kinds[..3].iter().all(|kind| *kind == FailureKind::TransferFailed), "{kinds:?}");
}

#[test]
fn a_second_install_is_busy_even_from_the_same_person() {
    let payload = payload();
    let mut first = UnixStream::connect(payload.control_socket()).unwrap();
    first.write_all(b"{\"request\":\"install\",\"file_name\":\"PSDK_APPALIAS_V02.00.00.00.bin\",\"size\":1000}\n").unwrap();
    payload.wait_for_phase(Phase::Receiving);
    let firmware = payload.firmware("V02.00.00.00".parse().unwrap(), None).unwrap();
    let output = run(&mut payload.command(&["install", firmware.to_str().unwrap()]));
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert_eq!(status(&payload).phase, Phase::Receiving, "the first one goes on");
}

#[test]
fn requests_that_are_none_are_told_so() {
    let payload = payload();
    for line in [
        &b"nonsense\n"[..],
        b"{}\n",
        b"{\"request\":\"fly\"}\n",
        b"{\"request\":\"status\",\"more\":1}\n",
        b"\n",
        b"\xff\xfe\n",
    ] {
        let mut client = UnixStream::connect(payload.control_socket()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        client.write_all(line).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("{\"answer\":\"failure\"") && answer.contains("control protocol"),
            "{line:?}: {answer}"
        );
    }
    assert_eq!(status(&payload).phase, Phase::Idle);
}
