//! The control connection: logging in, odd lines, waiting too long, and the replies that clients
//! build on.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use uplift_sim::ports::free_address;

use super::neighbours::{HOST, Neighbour, SERVER, in_a_network, into_network_of};
use super::peer::Peer;
use super::server::{PASSWORD, Server, USER, firmware, refused, wait_until};

#[test]
fn both_account_names_of_the_vendor_s_documents_come_in() {
    let server = Server::start();
    for user in [USER, "dji_payload_ftp"] {
        let mut peer = server.connect();
        peer.ask(&format!("USER {user}"), 331);
        peer.ask(&format!("PASS {PASSWORD}"), 230);
    }
}

#[test]
fn nothing_is_done_for_who_is_not_logged_in() {
    let server = Server::start();
    server.put("a.bin", b"secret");
    let mut peer = server.connect();
    for line in [
        "RETR a.bin",
        "STOR b.bin",
        "DELE a.bin",
        "LIST",
        "EPSV",
        "PASV",
        "SIZE a.bin",
        "MLST a.bin",
        "CWD /",
        "PWD",
        "ALLO 1",
        "ABOR",
    ] {
        peer.ask(line, 530);
    }
    peer.ask("PASS x", 503);
    for (line, code) in [
        ("SYST", 215),
        ("ACCT x", 202),
        ("FEAT", 211),
        ("NOOP", 200),
        ("OPTS UTF8 ON", 200),
        ("QUIT", 221),
    ] {
        peer.ask(line, code);
    }
    peer.expect_end();
    assert_eq!(server.names(), ["a.bin"]);
}

#[test]
fn the_third_wrong_password_ends_the_session_and_keeps_nobody_of_this_machine_out() {
    let server = Server::start();
    let mut waiting = server.connect();
    waiting.ask(&format!("USER {USER}"), 331);
    for _ in 0..2 {
        let mut peer = server.connect();
        for (user, code) in [(USER, 530), ("root", 530), (USER, 421)] {
            peer.ask(&format!("USER {user}"), 331);
            peer.ask("PASS wrong-and-hidden", code);
        }
        peer.expect_end();
    }
    waiting.ask(&format!("PASS {PASSWORD}"), 230);
    let log = server.log();
    assert!(
        log.contains("wrong user name or password")
            && !log.contains("hidden")
            && !log.contains(PASSWORD),
        "{log}"
    );
    server.login();
}

/// A machine of its own with the addresses of two, as far as the server can tell.
#[test]
fn the_third_wrong_password_locks_another_machine_out_for_a_while() {
    const OTHER: &str = HOST;
    let server = in_a_network("");
    let says = |from: &str, to: &str, password: &str| login_from(&server, from, to, password);
    // On a slow machine a lock-out may be over before it is seen; the next one is longer.
    let locked_out = || {
        (0..3).for_each(|_| drop(says(OTHER, SERVER, "wrong")));
        says(OTHER, SERVER, PASSWORD).contains("421 Too many wrong passwords; try again in")
    };
    wait_until(locked_out, || says(OTHER, SERVER, PASSWORD));
    // This machine has many wrong passwords too, under each of its addresses, and comes in.
    for own in [SERVER, "127.0.0.1"] {
        (0..4).for_each(|_| drop(says(own, own, "wrong")));
        let said = says(own, own, PASSWORD);
        assert!(said.contains("230 Logged in"), "{said}");
    }
    // The lock-out ends by itself.
    let comes_in = || says(OTHER, SERVER, PASSWORD).contains("230 Logged in");
    wait_until(comes_in, || "still locked out".into());
}

/// The conversation of a client in the server's network, that comes from one of its addresses.
fn login_from(server: &Server, from: &str, to: &str, password: &str) -> String {
    let wrapper = into_network_of(server);
    let mut client = Command::new(&wrapper[0]);
    client.args(&wrapper[1..]).args([
        "curl",
        "--silent",
        "--verbose",
        "--interface",
        from,
        "--user",
        &format!("{USER}:{password}"),
    ]);
    let output = client.arg(format!("ftp://{to}:{}/", server.address.port())).output().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The lock-out is asked for again when the password comes: an address may have many sessions that
/// try side by side.
#[test]
fn a_session_that_was_there_before_the_lock_out_does_not_come_in_by_the_right_password() {
    let server = in_a_network("");
    let host = Neighbour::at(&server, HOST);
    let mut waiting: Vec<Peer> = (0..3).map(|_| host.dial(&server)).collect();
    for peer in &mut waiting {
        peer.expect(220);
        peer.ask(&format!("USER {USER}"), 331);
    }
    let guesses = |number: u32| {
        let mut guessing = host.dial(&server);
        guessing.expect(220);
        for code in [530, 530, 421] {
            guessing.ask(&format!("USER {USER} {number}"), 331);
            guessing.ask("PASS wrong", code);
        }
    };
    // The lock-out lasts for seconds, and a machine that is slow enough may be late once; the next
    // one is longer.
    let refused = waiting.iter_mut().zip(0..).any(|(peer, number)| {
        guesses(number);
        peer.say(&format!("PASS {PASSWORD}"));
        peer.reply().starts_with("421 Too many wrong passwords")
    });
    assert!(refused, "the right password came in while the address was locked out");
}

#[test]
fn a_password_that_comes_again_logs_nobody_out() {
    let server = Server::start();
    let mut peer = server.login();
    for password in [PASSWORD, "wrong"] {
        peer.ask(&format!("PASS {password}"), 503);
        peer.ask("PWD", 257);
    }
    peer.upload("a.bin", b"as before");
}

#[test]
fn a_wrong_password_delays_nobody_else() {
    let server = Server::start();
    let (mut wrong, mut right) = (server.connect(), server.connect());
    wrong.ask(&format!("USER {USER}"), 331);
    right.ask(&format!("USER {USER}"), 331);
    wrong.say("PASS wrong");
    right.ask(&format!("PASS {PASSWORD}"), 230);
    wrong.stream.set_nonblocking(true).unwrap();
    let mut byte = [0];
    let unanswered = wrong.stream.peek(&mut byte).is_err();
    assert!(unanswered, "the wrong password was answered first");
    wrong.stream.set_nonblocking(false).unwrap();
    wrong.expect(530);
}

#[test]
fn the_password_comes_from_a_file_where_one_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("credential");
    writeln!(std::fs::File::create(&path).unwrap(), "from the file\nsecond line").unwrap();
    let server = Server::with(&format!("password_file = \"{}\"", path.display()));
    let mut peer = server.connect();
    peer.ask(&format!("USER {USER}"), 331);
    peer.ask(&format!("PASS {PASSWORD}"), 530);
    peer.ask(&format!("USER {USER}"), 331);
    peer.ask("PASS from the file", 230);
}

#[test]
fn a_server_that_can_t_work_says_why_and_does_not_start() {
    let home = tempfile::tempdir().unwrap();
    let missing = home.path().join("missing");
    for (home, settings, expected) in [
        (missing.as_path(), "", "missing can't be used: No such file or directory"),
        (home.path(), "password_file = \"/nonexistent\"", "/nonexistent can't be read"),
        (home.path(), "password_file = \"/dev/null\"", "password is empty"),
        (home.path(), "listen = \"192.0.2.1:21\"", "192.0.2.1:21 can't be listened on"),
    ] {
        let (code, text) = refused(home, settings);
        assert_eq!(code, Some(1), "{settings}: {text}");
        assert!(text.contains(expected) && text.contains("\nhint: "), "{settings}: {text}");
    }
}

#[test]
fn settings_with_which_nobody_can_be_served_are_no_configuration() {
    let home = tempfile::tempdir().unwrap();
    for (settings, expected) in [
        ("password = \"\"", "password is empty"),
        ("passive_ports = [5, 4]", "smaller one first"),
        ("max_connections = 0", "max_connections"),
    ] {
        let (code, text) = refused(home.path(), settings);
        assert_eq!(code, Some(2), "{settings}: {text}");
        assert!(
            text.contains(expected) && text.contains("field ftp_server."),
            "{settings}: {text}"
        );
    }
}

#[test]
fn two_servers_don_t_share_a_directory() {
    let server = Server::start();
    let (code, text) = refused(server.home(), "");
    assert_eq!(code, Some(1));
    assert!(text.contains("another server serves this directory"), "{text}");
}

#[test]
fn odd_lines_are_refused_and_harm_nothing() {
    let server = Server::start();
    let mut peer = server.login();
    peer.ask("", 502);
    peer.ask("GIBBERISH", 502);
    peer.ask("STOR a\0b", 501);
    peer.ask("STOR a\rb", 501);
    peer.send(b"USER \xFF\xFE\r\n");
    peer.expect(501);
    peer.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03\n");
    peer.expect(501);
    peer.ask(&format!("STOR {}", "x".repeat(300)), 553);
    peer.ask(&"x".repeat(100_000), 500);
    peer.ask("PORT 127,0,0,1,4", 501);
    peer.ask("EPRT |1|127.0.0.1|1025", 501);
    peer.ask("NOOP", 200);
    assert!(server.names().is_empty());
}

#[test]
fn an_idle_session_is_closed() {
    let server = Server::with("idle_timeout = \"2s\"");
    let mut peer = server.login();
    let start = Instant::now();
    peer.expect(421);
    peer.expect_end();
    assert!(start.elapsed() >= Duration::from_millis(1500), "{:?}", start.elapsed());
    // Half a command is no command.
    let mut peer = server.connect();
    peer.send(b"NOO");
    peer.expect(421);
    peer.expect_end();
}

#[test]
fn a_transfer_is_not_idle() {
    let server = Server::with("idle_timeout = \"2s\"\nstall_timeout = \"30s\"");
    let mut peer = server.login();
    let mut data = peer.begin_upload("a.bin");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        data.write_all(b"x").unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(data);
    peer.expect(226);
}

#[test]
fn commands_sent_ahead_are_answered_in_their_order() {
    let server = Server::start();
    let mut peer = server.login();
    let mut data = peer.data();
    peer.send(b"STOR a.bin\r\nSIZE a.bin\r\nNOOP\r\nQUIT\r\n");
    peer.expect(150);
    data.write_all(&firmware(70_000)).unwrap();
    drop(data);
    peer.expect(226);
    assert!(peer.expect(213).starts_with("213 70000\r"));
    peer.expect(200);
    peer.expect(221);
    peer.expect_end();
}

#[test]
fn a_flood_of_commands_during_a_transfer_ends_the_session() {
    let server = Server::start();
    let mut peer = server.login();
    let _data = peer.begin_upload("a.bin");
    peer.send("NOOP\r\n".repeat(1000).as_bytes());
    peer.expect_end();
    server.wait_for_names(&[]);
}

#[test]
fn facts_and_listings_tell_the_same() {
    let server = Server::start();
    server.put("b.bin", b"12345");
    server.put("a b.bin", b"1");
    server.put(".hidden", b"1");
    std::fs::create_dir(server.home().join("directory")).unwrap();
    let file = std::fs::File::options().write(true).open(server.home().join("b.bin")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
        .unwrap();
    let mut peer = server.login();
    assert_eq!(peer.download("NLST"), b"a b.bin\r\nb.bin\r\n");
    let list = String::from_utf8(peer.download("LIST -la")).unwrap();
    assert!(
        list.ends_with("            5 Sep 09  2001 b.bin\r\n") && list.lines().count() == 2,
        "{list}"
    );
    assert_eq!(peer.download("MLSD b.bin"), b"type=file;size=5;modify=20010909014640; b.bin\r\n");
    assert!(
        peer.ask("MLST b.bin", 250)
            .contains("\r\n type=file;size=5;modify=20010909014640; b.bin\r\n")
    );
    assert!(peer.ask("MLST", 250).contains("type=dir;"));
    assert!(peer.ask("SIZE b.bin", 213).starts_with("213 5\r"));
    assert!(peer.ask("MDTM b.bin", 213).starts_with("213 20010909014640.000000000\r"));
    for line in [
        "SIZE directory",
        "MDTM nothing",
        "LIST nothing",
        "DELE directory",
        "DELE nothing",
        "RETR nothing",
        "SIZE /",
    ] {
        peer.ask(line, 550);
    }
    assert!(peer.ask("PWD", 257).contains("\"/\""));
}

#[test]
fn a_download_starts_where_rest_says() {
    let server = Server::start();
    let content = firmware(1 << 20);
    server.put("a.bin", &content);
    let mut peer = server.login();
    peer.ask("REST 1000", 350);
    assert_eq!(peer.download("RETR a.bin"), &content[1000..]);
    assert_eq!(peer.download("RETR a.bin"), content);
    peer.ask(&format!("REST {}", 1 << 20), 350);
    assert_eq!(peer.download("RETR a.bin"), b"");
    peer.ask(&format!("REST {}", (1 << 20) + 1), 350);
    peer.ask("RETR a.bin", 554);
    peer.ask("REST 18446744073709551615", 350);
    peer.ask("RETR a.bin", 554);
}

#[test]
fn an_aborted_download_ends_in_the_right_order_too() {
    let server = Server::start();
    server.put("a.bin", &firmware(32 << 20));
    let mut peer = server.login();
    let data = peer.data();
    peer.ask("RETR a.bin", 150);
    peer.say("ABOR");
    peer.expect(426);
    peer.expect(226);
    drop(data);
    peer.ask("NOOP", 200);
}

#[test]
fn ipv6_is_served_by_epsv() {
    let server = Server::with("listen = \"[::]:0\"");
    let port = server.address.port();
    let mut peer = Peer::new(TcpStream::connect(("::1", port)).unwrap());
    peer.expect(220);
    peer.ask(&format!("USER {USER}"), 331);
    peer.ask(&format!("PASS {PASSWORD}"), 230);
    peer.ask("PASV", 425);
    peer.ask("EPSV 1", 522);
    peer.upload("a.bin", b"over IPv6");
    // The same socket serves IPv4, whose clients must get IPv4 answers.
    let mut peer = Peer::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
    peer.expect(220);
    peer.ask(&format!("USER {USER}"), 331);
    peer.ask(&format!("PASS {PASSWORD}"), 230);
    peer.ask("EPSV 2", 522);
    assert!(peer.ask("PASV", 227).contains("(127,0,0,1,"));
    peer.upload("b.bin", b"over IPv4");
    assert_eq!(server.names(), ["a.bin", "b.bin"]);
}

#[test]
fn epsv_all_forbids_pasv() {
    let server = Server::start();
    let mut peer = server.login();
    peer.ask("EPSV ALL", 200);
    peer.ask("PASV", 501);
    peer.upload("a.bin", b"x");
}

/// What a client with windows says: encryption is tried first, then the extensions, then a listing
/// before and after the upload.
#[test]
fn a_graphical_client_s_sequence_works() {
    let server = Server::start();
    let mut peer = server.connect();
    peer.ask("AUTH TLS", 502);
    peer.ask("AUTH SSL", 502);
    peer.ask(&format!("USER {USER}"), 331);
    peer.ask(&format!("PASS {PASSWORD}"), 230);
    peer.ask("SYST", 215);
    let features = peer.ask("FEAT", 211);
    assert!(
        features.contains(" MLST")
            && features.contains(" UTF8")
            && features.contains(" REST STREAM"),
        "{features}"
    );
    peer.ask("OPTS UTF8 ON", 200);
    peer.ask("OPTS MLST type;size;modify;", 200);
    peer.ask("PWD", 257);
    peer.ask("TYPE I", 200);
    assert_eq!(peer.download("MLSD"), b"");
    peer.ask("CWD /", 250);
    peer.upload("DEMO_V01.00.00.01.bin", b"firmware");
    let listed = String::from_utf8(peer.download("MLSD")).unwrap();
    assert!(
        listed.starts_with("type=file;size=8;modify=")
            && listed.ends_with("; DEMO_V01.00.00.01.bin\r\n"),
        "{listed}"
    );
    peer.ask("QUIT", 221);
}

#[test]
fn the_server_connects_to_an_unprivileged_port_of_the_client_itself_and_nowhere_else() {
    let server = Server::start();
    let mut peer = server.login();
    // Nobody else has this port when nobody waits there any more.
    let waiting = std::net::TcpListener::bind(free_address().unwrap()).unwrap();
    let port = waiting.local_addr().unwrap().port();
    let [high, low] = port.to_be_bytes();
    for (content, line) in [
        ("one", format!("PORT 127,0,0,1,{high},{low}")),
        ("two", format!("EPRT |1|127.0.0.1|{port}|")),
    ] {
        peer.ask(&line, 200);
        peer.say("STOR a.bin");
        let (mut data, from) = waiting.accept().unwrap();
        assert_eq!(from.ip(), server.address.ip());
        peer.expect(150);
        data.write_all(content.as_bytes()).unwrap();
        drop(data);
        peer.expect(226);
        assert_eq!(server.content("a.bin"), content.as_bytes());
    }
    for line in [
        format!("PORT 127,0,0,2,{high},{low}"),
        format!("PORT 192,0,2,1,{high},{low}"),
        "PORT 127,0,0,1,3,255".into(),
        "PORT 127,0,0,1,0,0".into(),
        format!("EPRT |1|127.0.0.2|{port}|"),
        format!("EPRT |2|::1|{port}|"),
        "EPRT |1|127.0.0.1|1023|".into(),
    ] {
        peer.ask(&line, 501);
        peer.ask("LIST", 425);
    }
    // Nobody waits there any more.
    drop(waiting);
    peer.ask(&format!("PORT 127,0,0,1,{high},{low}"), 200);
    peer.ask("LIST", 425);
    peer.ask("EPSV ALL", 200);
    peer.ask(&format!("PORT 127,0,0,1,{high},{low}"), 501);
}

#[test]
fn a_name_is_bytes() {
    let server = Server::start();
    let mut peer = server.login();
    let name = b"caf\xE9.bin";
    let mut data = peer.data();
    peer.send(&[b"STOR ", &name[..], b"\r\n"].concat());
    peer.expect(150);
    data.write_all(b"content").unwrap();
    drop(data);
    peer.expect(226);
    let path =
        server.home().join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name));
    assert_eq!(std::fs::read(path).unwrap(), b"content");
    assert_eq!(peer.download("NLST"), [&name[..], b"\r\n"].concat());
    peer.send(&[b"DELE ", &name[..], b"\r\n"].concat());
    peer.expect(250);
}
