//! What only a server that does wrong shows, or one that stops.

use super::*;

fn scripted(file: &[u8], faults: &[Fault]) -> Scripted {
    let files = BTreeMap::from([(NAME.into(), (file.to_vec(), LONG_AGO))]);
    Scripted::start(Script { files, faults: faults.iter().copied().collect(), ..Script::default() })
}

fn downloads(server: &Scripted) -> Vec<String> {
    let log = &server.script().log;
    log.iter()
        .filter(|line| line.starts_with("REST") || line.starts_with("RETR"))
        .cloned()
        .collect()
}

#[test]
fn a_broken_download_is_resumed_where_it_broke() {
    let file = bytes(1_000_000);
    let server = scripted(&file, &[Fault::Break(400_000), Fault::Break(0), Fault::Done(500_000)]);
    assert!(pull(&server.client("")).unwrap() == file);
    let retrieve = format!("RETR {NAME}");
    let log = downloads(&server);
    assert_eq!(log.iter().filter(|line| **line == retrieve).count(), 4, "{log:?}");
    assert_eq!(log.last(), Some(&retrieve));
    assert_eq!(log[log.len() - 2], "REST 900000", "{log:?}");
}

#[test]
fn a_stalled_download_is_resumed_after_the_time_out() {
    let file = bytes(100_000);
    let server = scripted(&file, &[Fault::Stall(60_000)]);
    assert!(pull(&server.client("timeout = \"300ms\"")).unwrap() == file);
    assert!(downloads(&server).contains(&"REST 60000".to_owned()));
}

#[test]
fn a_server_that_can_not_resume_is_asked_for_the_whole_file() {
    let file = bytes(100_000);
    let server = scripted(&file, &[Fault::Break(60_000)]);
    server.script().without_rest = true;
    assert!(pull(&server.client("")).unwrap() == file);
}

#[test]
fn a_server_that_ends_a_transfer_only_when_the_client_has_closed_it() {
    let file = bytes(100_000);
    let server = scripted(&file, &[]);
    server.script().waits_for_the_client = true;
    let client = server.client("timeout = \"1m\"");
    let pulling = Pulling::start(&client);
    wait_until("it was fetched ahead", || !downloads(&server).is_empty());
    assert!(pulling.finish().unwrap() == file);
    client.prepare().unwrap();
    assert!(server.script().files.is_empty());
}

fn logins(server: &Scripted) -> usize {
    server.script().log.iter().filter(|line| line.starts_with("PASS")).count()
}

#[test]
fn one_login_is_enough_for_all_steps_of_an_upgrade() {
    let server = scripted(b"old", &[]);
    let client = server.client("");
    client.wake().unwrap();
    client.prepare().unwrap();
    let pulling = Pulling::start(&client);
    server.script().files.insert(NAME.into(), (b"new".to_vec(), LONG_AGO));
    assert!(pulling.finish().unwrap() == b"new");
    client.prepare().unwrap();
    assert!(server.script().files.is_empty());
    assert_eq!(logins(&server), 1, "{:?}", server.script().log);
}

#[test]
fn a_session_that_the_server_closed_between_two_steps_is_made_anew() {
    let server = scripted(b"old", &[]);
    let client = server.client("");
    for login in 1..4 {
        client.prepare().unwrap();
        assert_eq!(logins(&server), login);
        server.hang_up();
    }
    assert_eq!(pull(&client).unwrap_err().sentence, "no file was uploaded");
}

#[test]
fn a_server_without_times_of_change_will_do() {
    let file = bytes(100_000);
    let server = scripted(&file, &[]);
    server.script().without_mdtm = true;
    assert!(pull(&server.client("")).unwrap() == file);
}

/// How often the server's upload area was looked at.
fn looks(server: &Scripted) -> usize {
    server.script().log.iter().filter(|line| *line == "NLST").count()
}

#[test]
fn an_upload_that_only_its_bytes_tell_from_the_one_before_is_what_is_taken() {
    let server = scripted(&[1; 1000], &[]);
    server.script().without_mdtm = true;
    let pulling = Pulling::start(&server.client(""));
    wait_until("it was looked at", || looks(&server) >= 4);
    server.script().files.insert(NAME.into(), (vec![2; 1000], LONG_AGO));
    assert!(pulling.finish().unwrap() == [2; 1000]);
}

#[test]
fn an_upload_in_the_second_of_the_one_before_is_what_is_taken() {
    // Only on a slow machine the second is over before three looks are, and the first upload is
    // fetched.
    let taken = (0..10).find_map(|_| {
        let server = scripted(&[1; 1000], &[]);
        let pulling = Pulling::start(&server.client(""));
        wait_until("it was looked at", || looks(&server) >= 3);
        {
            let mut script = server.script();
            if script.log.iter().any(|line| line.starts_with("RETR")) {
                return None;
            }
            script.files.insert(NAME.into(), (vec![2; 1000], LONG_AGO));
        }
        Some(pulling.finish().unwrap())
    });
    assert!(taken.expect("it was fetched too early") == [2; 1000]);
}

#[test]
fn an_upload_that_a_fraction_of_a_second_tells_from_the_one_before_is_what_is_taken() {
    let server = scripted(&[], &[]);
    let upload = |byte, time| server.script().files.insert(NAME.into(), (vec![byte; 1000], time));
    upload(1, "20260101000000.25");
    let pulling = Pulling::start(&server.client(""));
    wait_until("it was fetched ahead", || !downloads(&server).is_empty());
    upload(2, "20260101000000.5");
    assert!(pulling.finish().unwrap() == [2; 1000]);
}

#[test]
fn what_changes_in_whole_seconds_is_fetched_ahead_when_they_are_over() {
    let began = Instant::now();
    let server = scripted(&[1; 1000], &[]);
    let pulling = Pulling::start(&server.client(""));
    wait_until("it was fetched ahead", || !downloads(&server).is_empty());
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert!(pulling.finish().unwrap() == [1; 1000]);
    assert_eq!(downloads(&server), [format!("RETR {NAME}")], "it was not fetched again");
}

#[test]
fn a_server_that_always_stops_early_is_given_up() {
    let server = scripted(&bytes(1000), &[]);
    server.script().told_size = Some("1001".into());
    let failure = pull(&server.client("")).unwrap_err();
    assert_eq!(failure.kind, FailureKind::TransferFailed);
    assert!(failure.sentence.contains("broke off after 1000 of 1001 bytes"), "{failure}");
}

#[test]
fn sizes_that_are_none_are_a_failure() {
    for size in ["-1", "99999999999999999999", "many", ""] {
        let server = scripted(&bytes(1000), &[]);
        server.script().told_size = Some(size.into());
        assert_eq!(
            pull(&server.client("")).unwrap_err().kind,
            FailureKind::TransferFailed,
            "{size}"
        );
    }
}

#[test]
fn a_size_above_the_limit_is_refused_before_a_byte_is_fetched() {
    let server = scripted(&bytes(1000), &[]);
    server.script().told_size = Some((MAX_SIZE + 1).to_string());
    assert_eq!(pull(&server.client("")).unwrap_err().kind, FailureKind::TooLarge);
    assert!(downloads(&server).is_empty());
}

#[test]
fn a_file_that_grows_once_is_fetched_again() {
    let server = scripted(&bytes(1000), &[]);
    server.script().grows = 1;
    assert_eq!(pull(&server.client("")).unwrap().len(), 1001);
    assert_eq!(downloads(&server).len(), 2);
}

#[test]
fn a_file_with_more_bytes_than_were_told_is_never_taken_cut() {
    let server = scripted(&bytes(1000), &[]);
    server.script().told_size = Some("999".into());
    let pulling = Pulling::start(&server.client(""));
    pulling.pull.now();
    wait_until("it was tried twice", || downloads(&server).len() >= 2);
    server.script().told_size = None;
    assert_eq!(pulling.result().unwrap().len(), 1000);
}

#[test]
fn hostile_names_are_never_asked_for() {
    let server = scripted(b"x", &[]);
    let hostile = [
        &b"../DEMO_V02.00.00.00.bin"[..],
        b"DEMO\xff_V02.00.00.00.bin",
        b"/etc/DEMO_V02.00.00.00.bin",
        b"\x1b[31mred",
    ];
    {
        let mut script = server.script();
        script.files =
            hostile.iter().map(|name| (name.to_vec(), (b"evil".to_vec(), LONG_AGO))).collect();
    }
    let failure = pull(&server.client("")).unwrap_err();
    assert!(
        failure.sentence.contains("no uploaded file is for this payload")
            && !failure.to_string().contains('\x1b'),
        "{failure}"
    );
    assert!(
        !server
            .script()
            .log
            .iter()
            .any(|line| line.starts_with("SIZE") || line.starts_with("RETR"))
    );
}

#[test]
fn one_file_of_another_product_or_with_a_wrong_name_is_told_as_such_under_its_name() {
    for (name, kind) in [
        ("OTHER_V02.00.00.00.bin", FailureKind::WrongProduct),
        ("firmware.bin", FailureKind::NameInvalid),
    ] {
        let server = scripted(b"x", &[]);
        server.script().files = BTreeMap::from([(name.into(), (b"x".to_vec(), LONG_AGO))]);
        assert_eq!(pull(&server.client("")).unwrap_err().kind, kind);
        let (announced, names) = std::sync::mpsc::channel();
        let receive = move |file: Announced| {
            announced.send(file.file_name).unwrap();
            Err(Failure::new(kind, "refused by whoever was told"))
        };
        let (pull, answer) = Pull::start(
            &server.client(""),
            |product| product == "DEMO",
            receive,
            nothing_goes_through(),
        )
        .unwrap();
        pull.now();
        assert_eq!(
            answer.blocking_recv().unwrap().unwrap_err().sentence,
            "refused by whoever was told"
        );
        assert_eq!(names.iter().collect::<Vec<_>>(), [Some(name.to_owned())]);
        assert!(downloads(&server).is_empty());
    }
}

#[test]
fn a_listing_without_end_is_a_failure() {
    let server = scripted(b"x", &[]);
    server.script().endless_listing = true;
    let failure = pull(&server.client("")).unwrap_err();
    assert!(failure.sentence.contains("a listing without end"), "{failure}");
}

#[test]
fn a_server_that_drips_is_not_waited_for() {
    let server = scripted(b"x", &[]);
    server.script().drips = true;
    let began = Instant::now();
    assert_eq!(server.client("").prepare().unwrap_err().kind, FailureKind::Timeout);
    assert!(began.elapsed() < PATIENCE / 4);
}

#[test]
fn no_server_is_a_failure_and_not_a_wait() {
    // The port of a client has no listener, and nobody else gets it.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let address = client.local_addr().unwrap();
    struct Nobody(SocketAddr);
    impl Server for Nobody {
        fn address(&self) -> SocketAddr {
            self.0
        }
    }
    let failure = Nobody(address).client("").prepare().unwrap_err();
    assert!(failure.to_string().contains("Connection refused"), "{failure}");
    assert_eq!(pull(&Nobody(address).client("")).unwrap_err().kind, FailureKind::TransferFailed);
}

#[test]
fn a_server_that_comes_back_before_the_host_is_done_is_used() {
    let file = bytes(100_000);
    let server = scripted(&file, &[]);
    server.script().drips = true;
    let pulling = Pulling::start(&server.client("timeout = \"100ms\""));
    server.script().drips = false;
    assert!(pulling.finish().unwrap() == file);
}

#[test]
fn a_pull_that_is_dropped_ends_at_once_and_leaves_nothing() {
    let server = scripted(&bytes(100_000), &[Fault::Stall(50_000)]);
    let pulling = Pulling::start(&server.client(""));
    pulling.pull.now();
    wait_until("the download began", || !downloads(&server).is_empty());
    let Pulling { pull, answer, directory } = pulling;
    let began = Instant::now();
    drop(pull);
    let failure = answer.blocking_recv().unwrap().unwrap_err();
    assert_eq!(failure.kind, FailureKind::Cancelled);
    assert!(began.elapsed() < Duration::from_secs(5), "the time-out of the connection is 10 s");
    // No part of the file is left; the staging area itself stays for the next one.
    let left: Vec<_> = directory
        .path()
        .join(".uplift")
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(left.iter().all(|name| name == "lock"), "{left:?}");
}
