//! What can happen to a change by another updater, which is a shell script here: run by the real
//! `uplift run-change`, in a unit of its own where systemd runs, else as a child.
//!
//! A binary of its own: what plays the daemon is this process, whose runtime catches SIGCHLD, and
//! the signal would interrupt the waits of other tests.

#![allow(clippy::disallowed_methods, reason = "files of a test need not survive anything")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on should stop where it is"
)]

#[path = "world/mounted.rs"]
mod mounted;

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use tempfile::TempDir;
use uplift::component::command::{Change, Ended, Finished, Job, JobId, Purpose};
use uplift::model::{FailureKind, UpgradeId};
use uplift::stage::{Announced, Stage, Staged};

use mounted::Mounted;

/// Far above what a script takes.
const LONG: Duration = Duration::from_secs(120);
/// A process that plays the daemon has the directory of its payload here.
const DAEMON: &str = "UPLIFT_TEST_CHANGE_OF";

/// A machine's state with a directory of changes, and what the scripts need: `$0` of each is the
/// directory.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(TempDir::with_prefix("uplift-change-").unwrap());
        fs::create_dir(machine.path("state")).unwrap();
        mkfifo(&machine.path("go-on"), Mode::from_bits_truncate(0o600)).unwrap();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn change(&self) -> Change {
        change(&self.path("state"))
    }

    fn job(&self, script: &str) -> Job {
        job(self.0.path(), script)
    }

    async fn run(&self, job: &Job) -> Finished {
        self.change().start(job).await.unwrap();
        self.change().ended(&job.id, |_| {}).await.unwrap()
    }

    async fn run_script(&self, script: &str) -> Finished {
        self.run(&self.job(script)).await
    }

    /// Lets a script go on that reads from `$0/go-on`.
    fn go_on(&self) {
        fs::write(self.path("go-on"), "\n").unwrap();
    }

    /// A file that was received for a component with this state.
    fn staged(&self, content: &[u8]) -> Staged {
        let stage = Stage::beside(&self.path("state/modem"), u64::MAX);
        let announced = Announced::named("x", Some(content.len() as u64));
        let mut receiving = stage.receive(announced, Box::new(|_| ())).unwrap();
        receiving.write(content).unwrap();
        receiving.finish(None).unwrap()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn runner(&self) -> Pid {
        let text = self.read("state/change/begun.json");
        let begun: serde_json::Value = serde_json::from_str(&text).unwrap();
        Pid::from_raw(begun["runner"].as_i64().unwrap().try_into().unwrap())
    }
}

fn change(state: &Path) -> Change {
    Change::below(state).with_runner(env!("CARGO_BIN_EXE_uplift").into())
}

fn job(directory: &Path, script: &str) -> Job {
    let directory = directory.to_str().unwrap();
    // Unique on the machine, as an upgrade's id is: a unit has it in its name.
    let upgrade = UpgradeId(directory.rsplit('-').next().unwrap().to_owned());
    Job {
        id: JobId { upgrade, purpose: Purpose::Install },
        command: ["/bin/sh", "-c", script, directory].map(String::from).into(),
        deadline: LONG,
    }
}

fn lives(id: &str) -> bool {
    // Of one that has ended there is no command line, be it waited for or not.
    fs::read(format!("/proc/{}/cmdline", id.trim())).is_ok_and(|words| !words.is_empty())
}

fn end(id: &str) {
    let _ = kill(Pid::from_raw(id.trim().parse().unwrap()), Signal::SIGKILL);
}

/// The words of a real failure to run.
fn runner(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_uplift")).arg("run-change").args(arguments).output().unwrap()
}

#[tokio::test]
async fn progress_exit_code_and_last_words_are_told() {
    let machine = Machine::new();
    let job = machine.job(
        "echo phase erasing; echo percent 10; read x <\"$0/go-on\"; echo 'not percent 50'; echo percent 100; printf 'at 1\\rat 2\\r\\nlast\\033[1m' >&2; exit 7",
    );
    machine.change().start(&job).await.unwrap();
    let (change, told) = (machine.change(), RefCell::new(Vec::new()));
    let finished = change.ended(&job.id, |news| {
        assert_eq!(news.doing.as_deref(), Some("erasing"));
        if news.percent == Some(10) {
            machine.go_on();
        }
        told.borrow_mut().extend(news.percent);
    });
    let finished = finished.await.unwrap();
    assert_eq!((finished.ended, told.into_inner()), (Ended::Exit(7), vec![10, 100]));
    let mut last_lines = finished.last_lines;
    last_lines.sort(); // they came by two streams
    assert_eq!(
        last_lines,
        ["at 2", "last\\u{1b}[1m", "not percent 50", "percent 10", "percent 100", "phase erasing"]
    );
}

#[tokio::test]
async fn arguments_are_literal_and_of_the_daemons_environment_little_is_left() {
    let machine = Machine::new();
    let arguments = ["a  b", "$HOME", "${x}", "100%n", "", "\"q'", "\\"];
    let mut job = machine
        .job("printf '<%s>\\n' \"$@\"; env | cut -d= -f1 | sort | tr '\\n' ' '; umask; cat; pwd");
    job.command.extend(arguments.map(String::from));
    let finished = machine.run(&job).await;
    let mut expected: Vec<String> =
        arguments.iter().map(|argument| format!("<{argument}>")).collect();
    // What a shell itself adds is PWD.
    expected.extend(["LANG PATH PWD 0022".into(), "/".into()]);
    assert_eq!(finished, Finished { ended: Ended::Exit(0), last_lines: expected });
}

#[tokio::test]
async fn its_time_is_over_and_all_its_children_are_ended() {
    let machine = Machine::new();
    // One in a session of its own that does not want to end.
    let job = machine.job(
        "setsid sh -c 'trap \"\" TERM; echo $$ >\"$0/stubborn\"; while true; do sleep 1000; done' \"$0\" & sleep 1000",
    );
    let finished = machine.run(&Job { deadline: Duration::from_secs(1), ..job }).await;
    assert_eq!(finished.ended, Ended::TimedOut);
    assert!(!lives(&machine.read("stubborn")), "{}", machine.read("stubborn"));
}

#[tokio::test]
async fn what_it_leaves_running_is_not_waited_for() {
    let machine = Machine::new();
    let finished = machine.run_script("sleep 1000 & echo $! >\"$0/left\"; echo done").await;
    assert_eq!((finished.ended, &*finished.last_lines[0]), (Ended::Exit(0), "done"));
    end(&machine.read("left"));
}

#[tokio::test]
async fn a_signal_is_told_and_what_can_not_be_started_says_why() {
    let machine = Machine::new();
    assert_eq!(machine.run_script("kill -9 $$").await.ended, Ended::Signal(9));
    for (command, why) in [
        (vec!["/nonexistent/updater".into()], "No such file or directory"),
        (vec!["/etc/passwd".into()], "Permission denied"),
        (vec![], "there is no command"),
    ] {
        let machine = Machine::new();
        let finished = machine.run(&Job { command, ..machine.job("") }).await;
        assert_eq!(finished.ended, Ended::NotStarted(why.into()));
    }
}

#[tokio::test]
async fn the_output_is_bounded() {
    let machine = Machine::new();
    // What a pipe still holds of the one stream may be read after the other one: so much follows that
    // it is not.
    let finished =
        machine.run_script("seq -s ' ' 1 100000 >&2; seq 1 200000; seq 1 60; echo percent 3").await;
    assert_eq!((finished.ended, finished.last_lines.len()), (Ended::Exit(0), 50));
    assert!(finished.last_lines.contains(&"60".into()), "{:?}", finished.last_lines);
    assert_eq!(machine.read("state/change/progress").trim(), "3");
    let files = ["output", "output.before"];
    let kept: usize =
        files.iter().map(|name| machine.read(&format!("state/change/{name}")).len()).sum();
    assert!((32 * 1024..=64 * 1024).contains(&kept), "{kept}");
}

/// In a process of its own this is the daemon, which is killed once the runner is in charge.
#[tokio::test]
async fn the_daemon_is_killed_and_another_one_reads_the_result() {
    const SCRIPT: &str = "read x <\"$0/go-on\"; echo percent 50; exit 3";
    if let Ok(directory) = std::env::var(DAEMON) {
        let directory = Path::new(&directory);
        change(&directory.join("state")).start(&job(directory, SCRIPT)).await.unwrap();
        kill(Pid::this(), Signal::SIGKILL).unwrap();
    }
    let machine = Machine::new();
    let daemon = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_daemon_is_killed_and_another_one_reads_the_result"])
        .env(DAEMON, machine.0.path())
        .output()
        .unwrap();
    assert_eq!(daemon.status.signal(), Some(9), "{daemon:?}");
    let job = machine.job(SCRIPT);
    // It is begun no second time, and waited for.
    machine.change().start(&job).await.unwrap();
    machine.go_on();
    let (change, told) = (machine.change(), RefCell::new(Vec::new()));
    let finished = change.ended(&job.id, |news| told.borrow_mut().extend(news.percent));
    assert_eq!(finished.await.unwrap().ended, Ended::Exit(3));
    assert_eq!(told.into_inner(), [50]);
}

#[tokio::test]
async fn a_job_whose_runner_is_killed_has_vanished_and_is_begun_no_second_time() {
    let machine = Machine::new();
    let job = machine.job("echo begun >>\"$0/log\"; echo percent 1; read x <\"$0/go-on\"");
    machine.change().start(&job).await.unwrap();
    let change = machine.change();
    let finished = change.ended(&job.id, |_| {
        kill(machine.runner(), Signal::SIGKILL).unwrap();
    });
    let vanished = Finished { ended: Ended::Vanished, last_lines: vec!["percent 1".into()] };
    assert_eq!(finished.await.unwrap(), vanished);
    assert_eq!(machine.run(&job).await, vanished);
    assert_eq!(machine.read("log"), "begun\n");
    // What the runner has left goes on where no unit ends it.
    let _go_on = File::options().read(true).write(true).open(machine.path("go-on")).unwrap();
    // The next one is not kept out.
    let revert = JobId { purpose: Purpose::Revert, ..job.id.clone() };
    let revert = Job { id: revert, ..machine.job("exit 4") };
    assert_eq!(machine.run(&revert).await.ended, Ended::Exit(4));
    let old = machine.change().ended(&job.id, |_| {}).await.unwrap();
    assert_eq!(old, Finished { ended: Ended::NotBegun, last_lines: vec![] });
}

#[tokio::test]
async fn a_job_that_has_ended_keeps_its_result_until_the_next_one_and_one_that_runs_is_alone() {
    let machine = Machine::new();
    let change = machine.change();
    let job = machine.job("echo begun >>\"$0/log\"; read x <\"$0/go-on\"; exit 5");
    change.start(&job).await.unwrap();
    change.start(&job).await.unwrap();
    let revert = JobId { purpose: Purpose::Revert, ..job.id.clone() };
    let revert = Job { id: revert, ..machine.job("true") };
    let busy = [
        change.start(&revert).await.unwrap_err(),
        change.take(machine.staged(b"x"), 1, "x").unwrap_err(),
        change.clear().unwrap_err(),
    ];
    assert_eq!(busy.map(|failure| failure.kind), [FailureKind::Busy; 3]);
    machine.go_on();
    for _ in 0..2 {
        assert_eq!(machine.run(&job).await.ended, Ended::Exit(5));
    }
    assert_eq!(machine.read("log"), "begun\n");
    change.clear().unwrap();
    assert_eq!(change.ended(&job.id, |_| {}).await.unwrap().ended, Ended::NotBegun);
    let left: Vec<_> = fs::read_dir(change.directory()).unwrap().map(Result::unwrap).collect();
    assert!(left.iter().all(|entry| entry.file_name() == "lock"), "{left:?}");
}

/// What a command line says that nobody but the daemon should type.
#[tokio::test]
async fn a_runner_of_another_job_runs_nothing() {
    let machine = Machine::new();
    let job = machine.job("echo begun >>\"$0/log\"");
    machine.run(&job).await;
    let directory = machine.change().directory().to_str().unwrap().to_owned();
    let refused = runner(&[&directory, "install-other"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("install-other is not the job that is to be run"), "{said}");
    // Of its own job, once that was begun, too: it says that all is well.
    let again = runner(&[&directory, &job.id.to_string()]);
    assert!(again.status.success(), "{again:?}");
    assert_eq!(machine.read("log"), "begun\n");
    assert!(!runner(&["/nonexistent", "install-other"]).status.success());
}

#[tokio::test]
async fn a_command_that_fills_the_disk_of_the_state_still_has_its_result() {
    let machine = Machine::new();
    let _mounted =
        Mounted::on(&machine.path("state"), &["-t", "tmpfs", "-o", "size=256k", "tmpfs"]);
    let finished = machine
        .run_script("dd if=/dev/zero of=\"$0/state/ballast\" bs=4k; echo percent 90; exit 6")
        .await;
    assert_eq!(finished.ended, Ended::Exit(6));
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_run() {
    let machine = Machine::new();
    let _mounted = Mounted::on(&machine.path("state"), &["-t", "tmpfs", "-o", "size=2M", "tmpfs"]);
    let mut ballast = File::create(machine.path("state/ballast")).unwrap();
    while ballast.write_all(&[0; 512]).is_ok() {}
    let failure =
        machine.change().start(&machine.job("echo begun >>\"$0/log\"")).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::NoSpace, "{failure}");
    assert_eq!(machine.read("log"), "");
}

#[test]
fn what_is_handed_on_is_the_received_file_without_its_seal_and_the_one_before_is_gone() {
    let machine = Machine::new();
    let content: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    let before = machine.change().take(machine.staged(b"x"), 1, "before.swu").unwrap();
    assert_eq!(fs::read(&before).unwrap(), b"x");
    let staged = machine.staged(&content);
    let received = fs::metadata(staged.path()).unwrap().ino();
    let taken = machine.change().take(staged, 1_234_567, "P_V01.02.03.04.deb").unwrap();
    assert_eq!(taken, machine.path("state/change/payload/P_V01.02.03.04.deb"));
    assert!(fs::read(&taken).unwrap() == content[..1_234_567]);
    let metadata = fs::metadata(&taken).unwrap();
    assert_eq!((metadata.ino(), metadata.permissions().mode() & 0o7777), (received, 0o444));
    assert!(!before.exists());
    for name in ["", ".", "..", "a/b", "/etc/passwd", "a/"] {
        let failure = machine.change().take(machine.staged(&content), 1, name).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NameInvalid, "{name:?}");
    }
    let failure = machine.change().take(machine.staged(b"x"), 2, "short").unwrap_err();
    assert_eq!(failure.kind, FailureKind::InstallFailed, "{failure}");
    let replaced = machine.staged(&content);
    fs::remove_file(replaced.path()).unwrap();
    File::create(replaced.path()).unwrap();
    let failure = machine.change().take(replaced, 7, "replaced").unwrap_err();
    assert!(failure.to_string().contains("another file"), "{failure}");
    for directory in ["state/change/payload", "state/.uplift"] {
        let left = fs::read_dir(machine.path(directory)).unwrap().count();
        assert_eq!(left, 0, "something stays in {directory}");
    }
}
