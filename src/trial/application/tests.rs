//! What a process must be to count, on a model machine where every process runs one program; the
//! one that connects is this test.

use std::fs::File;
use std::os::unix::net::UnixStream;

use super::*;
use crate::trial::systemctl::{Answer, EXECUTABLE, on};

fn this_process() -> Arc<Peer> {
    let (one, _other) = UnixStream::pair().unwrap();
    Arc::new(Peer::of(&one).unwrap())
}

fn digest() -> ProgramDigest {
    program_digest(File::open(EXECUTABLE).unwrap()).unwrap()
}

fn application(core_up: bool, aircraft_seen: bool) -> Application {
    let farewells = mpsc::channel(1).0;
    Application { peer: this_process(), core_up, aircraft_seen, farewells }
}

/// The unit of this process, in the start of this number.
fn unit(pid: u32, group: &str, start: usize) -> String {
    format!("ActiveState=active\nMainPID={pid}\nInvocationID={start}\nControlGroup={group}\n")
}

fn own_group() -> String {
    this_process().control_group().unwrap()
}

/// What is found of an application, where systemd says this at each question.
fn found(
    application: Option<Application>,
    expected: ProgramDigest,
    needs_aircraft: bool,
    says: impl Fn(usize) -> String + Send + Sync + 'static,
) -> Result<u32, String> {
    let answer = move |_: &str, before: usize| -> Answer { Some(Ok(says(before))) };
    let look = async {
        let (_sender, applications) = watch::channel(application);
        Bridge::new(applications).look("p.service", expected, needs_aircraft).await
    };
    on(answer, look).0
}

fn as_it_is(_: usize) -> String {
    unit(std::process::id(), &own_group(), 1)
}

#[test]
fn the_program_on_trial_counts_once_it_has_shown_what_is_asked_for() {
    let own = std::process::id();
    for (application, needs_aircraft, expected) in [
        (None, false, Err("has not connected")),
        (Some(application(false, true)), false, Err("the vendor's library is not up")),
        (Some(application(true, false)), true, Err("has not seen the aircraft")),
        (Some(application(true, false)), false, Ok(own)),
        (Some(application(true, true)), true, Ok(own)),
    ] {
        match (found(application, digest(), needs_aircraft, as_it_is), expected) {
            (Ok(pid), Ok(own)) => assert_eq!(pid, own),
            (Err(why), Err(expected)) => assert!(why.contains(expected), "{why}"),
            (found, expected) => panic!("{found:?}, not {expected:?}"),
        }
    }
}

#[test]
fn another_program_does_not_count() {
    let why = found(Some(application(true, true)), ProgramDigest([9; 32]), false, as_it_is);
    assert!(why.unwrap_err().contains("is another program"));
}

#[test]
fn a_process_of_another_group_does_not_count() {
    let group = own_group();
    for other in ["", "/system.slice/p.service", &format!("{group}x")] {
        let other = other.to_owned();
        let says = move |_| unit(std::process::id(), &other, 1);
        let why = found(Some(application(true, true)), digest(), false, says).unwrap_err();
        assert!(why.contains("is not of p.service"), "{why}");
    }
    // One that has no process has none that could have started this one.
    let says = |_| unit(0, &own_group(), 1);
    let why = found(Some(application(true, true)), digest(), false, says).unwrap_err();
    assert!(why.contains("is not of p.service"), "{why}");
}

/// With `KillMode=process` what the old program started is left in the unit's group.
#[test]
fn what_is_older_than_the_units_main_process_does_not_count() {
    let mut younger = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let pid = younger.id();
    let says = move |_| unit(pid, &own_group(), 2);
    let why = found(Some(application(true, true)), digest(), false, says).unwrap_err();
    younger.kill().unwrap();
    younger.wait().unwrap();
    assert!(why.contains("of an earlier start"), "{why}");
}

#[test]
fn a_unit_that_restarts_meanwhile_has_shown_nothing() {
    let says = |question| unit(std::process::id(), &own_group(), question);
    let why = found(Some(application(true, true)), digest(), false, says).unwrap_err();
    assert_eq!(why, "it restarts");
}

#[tokio::test(start_paused = true)]
async fn who_is_ready_or_gone_is_not_waited_for_and_nobody_for_ever() {
    let wait = Duration::from_secs(3);
    let began = tokio::time::Instant::now();
    let (farewells, mut heard) = mpsc::channel(1);
    let connected = Application { farewells, ..application(true, true) };
    let (sender, applications) = watch::channel(Some(connected));
    let answers = tokio::spawn(async move {
        drop(heard.recv().await.unwrap().done);
        heard.recv().await.unwrap().done.send(()).unwrap();
        heard.recv().await
    });
    farewell(&applications, wait).await;
    farewell(&applications, wait).await;
    farewell(&applications, Duration::ZERO).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    farewell(&applications, wait).await;
    assert!(answers.await.unwrap().is_some(), "it was heard, and is not answered");
    sender.send_replace(None);
    farewell(&applications, wait).await;
    assert!(began.elapsed() <= wait);
}
