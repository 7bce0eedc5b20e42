//! Uploads: what is published, when, and that nothing else is left behind.

use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::peer::reset;
use super::server::{Server, drain, firmware};

const NAME: &str = "DEMO_V01.02.03.04.bin";

#[test]
fn a_file_has_its_name_when_226_is_said_and_not_before() {
    let server = Server::start();
    let (mut peer, mut watcher) = (server.login(), server.login());
    let content = firmware(3 << 20);
    let mut data = peer.begin_upload(NAME);
    data.write_all(&content).unwrap();
    assert_eq!(watcher.download("NLST"), b"");
    assert_eq!(watcher.download("LIST"), b"");
    assert_eq!(watcher.download("MLSD"), b"");
    watcher.ask(&format!("SIZE {NAME}"), 550);
    let names = server.names();
    assert!(names.len() == 1 && names[0].starts_with('.'), "{names:?}");
    for hidden in [
        format!("SIZE {}", names[0]),
        format!("MLST {}", names[0]),
        format!("RETR {}", names[0]),
        format!("DELE {}", names[0]),
    ] {
        let reply = {
            watcher.say(&hidden);
            watcher.reply()
        };
        assert!(reply.starts_with("55"), "{hidden}: {reply}");
    }
    drop(data);
    peer.expect(226);
    assert_eq!(server.names(), [NAME]);
    assert_eq!(server.content(NAME), content);
    assert_eq!(watcher.download("NLST"), format!("{NAME}\r\n").as_bytes());
}

#[test]
fn an_empty_file_is_a_file() {
    let server = Server::start();
    server.login().upload(NAME, b"");
    assert_eq!(server.content(NAME), b"");
}

/// Stream mode ends a file by the end of its connection: no server can know that more was to come.
/// Size and digest tell the daemon.
#[test]
fn a_connection_that_ends_early_but_in_order_is_a_shorter_file() {
    let server = Server::start();
    let mut peer = server.login();
    peer.ask("ALLO 1000000", 200);
    peer.upload(NAME, &firmware(1000));
    assert!(peer.ask(&format!("SIZE {NAME}"), 213).starts_with("213 1000\r"));
}

#[test]
fn a_reset_data_connection_leaves_nothing() {
    let server = Server::start();
    let mut peer = server.login();
    let mut data = peer.begin_upload(NAME);
    data.write_all(&firmware(500_000)).unwrap();
    reset(data);
    peer.expect(426);
    assert!(server.names().is_empty(), "{:?}", server.names());
    peer.upload(NAME, b"again");
    assert_eq!(server.content(NAME), b"again");
}

#[test]
fn a_stalled_upload_is_broken_off() {
    let server = Server::with("stall_timeout = \"1500ms\"");
    let mut peer = server.login();
    let mut data = peer.begin_upload(NAME);
    let start = Instant::now();
    data.write_all(&firmware(100_000)).unwrap();
    let reply = peer.expect(426);
    assert!(reply.contains("1s 500ms"), "{reply}");
    assert!(start.elapsed() >= Duration::from_millis(1500), "{:?}", start.elapsed());
    assert!(server.names().is_empty(), "{:?}", server.names());
    peer.ask("NOOP", 200);
}

#[test]
fn a_slow_upload_is_not_a_stalled_one() {
    let server = Server::with("stall_timeout = \"3s\"");
    let mut peer = server.login();
    let mut data = peer.begin_upload(NAME);
    // More than the stall time as a whole, never nearly as much between two bytes.
    for byte in 0..40 {
        data.write_all(&[byte; 400]).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(data);
    peer.expect(226);
    assert_eq!(server.content(NAME).len(), 40 * 400);
}

#[test]
fn an_abort_is_answered_by_426_then_226_and_leaves_nothing() {
    let server = Server::start();
    for abort in [&b"ABOR\r\n"[..], b"\xFF\xF4\xFF\xF2ABOR\r\n", b"abor\n"] {
        let mut peer = server.login();
        let mut data = peer.begin_upload(NAME);
        data.write_all(&firmware(200_000)).unwrap();
        peer.send(abort);
        peer.expect(426);
        peer.expect(226);
        assert!(server.names().is_empty(), "{:?}", server.names());
        peer.ask("NOOP", 200);
        peer.upload(NAME, b"after");
        peer.ask(&format!("DELE {NAME}"), 250);
    }
}

#[test]
fn an_abort_sent_as_urgent_data_is_heard() {
    use nix::sys::socket::{MsgFlags, send};
    use std::os::fd::AsRawFd;
    let server = Server::start();
    let mut peer = server.login();
    let _data = peer.begin_upload(NAME);
    send(peer.stream.as_raw_fd(), b"ABOR\r\n", MsgFlags::MSG_OOB).unwrap();
    peer.expect(426);
    peer.expect(226);
    peer.ask("NOOP", 200);
}

#[test]
fn an_abort_right_before_the_data_ends_takes_the_file_back() {
    let server = Server::start();
    let mut peer = server.login();
    for _ in 0..50 {
        let mut data = peer.begin_upload(NAME);
        data.write_all(b"half of it").unwrap();
        peer.send(b"ABOR\r\n");
        drop(data);
        peer.expect(426);
        peer.expect(226);
        assert!(server.names().is_empty(), "{:?}", server.names());
    }
}

#[test]
fn an_abort_before_the_data_connection_came_ends_the_wait() {
    let server = Server::start();
    let mut peer = server.login();
    peer.data_port();
    peer.say(&format!("STOR {NAME}"));
    peer.say("ABOR");
    peer.expect(426);
    peer.expect(226);
    server.wait_for_names(&[]);
    peer.ask("ABOR", 226);
}

#[test]
fn a_lost_control_connection_takes_its_upload_with_it() {
    let server = Server::start();
    for by_reset in [false, true] {
        let mut peer = server.login();
        let mut data = peer.begin_upload(NAME);
        data.write_all(&firmware(200_000)).unwrap();
        assert_eq!(server.names().len(), 1);
        if by_reset {
            peer.reset();
        } else {
            peer.stream.shutdown(Shutdown::Write).unwrap();
        }
        server.wait_for_names(&[]);
        drop(data);
        server.wait_for_names(&[]);
    }
}

/// Which of the two ended first, a server can't know where the kernel brings the ends in the other
/// order, as it may where both processors are busy: then the file is one that ended as it should.
#[test]
fn connections_that_end_together_publish_nothing_or_all_that_was_sent() {
    let server = Server::start();
    let sent = firmware(200_000);
    for _ in 0..50 {
        let mut peer = server.login();
        let mut data = peer.begin_upload(NAME);
        data.write_all(&sent).unwrap();
        // The other order, which the kernel takes when it closes for a killed process, is in
        // `clients`.
        drop(peer);
        drop(data);
        server.wait_for(|names| names.is_empty() || names == [NAME]);
        if !server.names().is_empty() {
            assert_eq!(server.content(NAME), sent);
            std::fs::remove_file(server.home().join(NAME)).unwrap();
        }
    }
}

#[test]
fn a_stopped_server_leaves_nothing_and_exits_with_0() {
    for signal in [nix::sys::signal::Signal::SIGTERM, nix::sys::signal::Signal::SIGINT] {
        let mut server = Server::start();
        let mut peer = server.login();
        let mut data = peer.begin_upload(NAME);
        data.write_all(&firmware(300_000)).unwrap();
        assert!(server.stop(signal).success());
        assert!(server.names().is_empty(), "{:?}", server.names());
    }
}

#[test]
fn what_a_killed_server_left_is_removed_at_the_next_start() {
    let mut server = Server::start();
    let mut peer = server.login();
    peer.upload("kept.bin", b"kept");
    let mut data = peer.begin_upload(NAME);
    data.write_all(&firmware(300_000)).unwrap();
    server.stop(nix::sys::signal::Signal::SIGKILL);
    assert_eq!(server.names().len(), 2);
    let directory = tempfile::tempdir().unwrap();
    let program = std::process::Command::new(env!("CARGO_BIN_EXE_uplift"));
    let next = Server::launch(directory, server.home().to_owned(), "", program);
    assert_eq!(next.names(), ["kept.bin"]);
}

#[test]
fn a_file_is_replaced_in_one_step() {
    let server = Server::start();
    let mut peer = server.login();
    let (old, new) = (firmware(400_000), firmware(900_000));
    peer.upload(NAME, &old);
    let mut data = peer.begin_upload(NAME);
    data.write_all(&new[..500_000]).unwrap();
    assert_eq!(server.content(NAME), old);
    let mut reader = server.login();
    let reading = reader.data();
    reader.ask(&format!("RETR {NAME}"), 150);
    data.write_all(&new[500_000..]).unwrap();
    drop(data);
    peer.expect(226);
    assert_eq!(server.content(NAME), new);
    assert_eq!(drain(reading), old);
    reader.expect(226);
}

#[test]
fn a_broken_replacement_leaves_the_old_file() {
    let server = Server::start();
    let mut peer = server.login();
    peer.upload(NAME, b"old");
    let mut data = peer.begin_upload(NAME);
    data.write_all(b"new").unwrap();
    reset(data);
    peer.expect(426);
    assert_eq!(server.names(), [NAME]);
    assert_eq!(server.content(NAME), b"old");
}

#[test]
fn of_two_uploads_with_one_name_the_last_to_end_stays_whole() {
    let server = Server::start();
    let (mut one, mut other) = (server.login(), server.login());
    let (first, second) = (vec![1; 300_000], vec![2; 200_000]);
    let (mut first_data, mut second_data) = (one.begin_upload(NAME), other.begin_upload(NAME));
    first_data.write_all(&first[..100_000]).unwrap();
    second_data.write_all(&second).unwrap();
    first_data.write_all(&first[100_000..]).unwrap();
    drop(first_data);
    one.expect(226);
    assert_eq!(server.content(NAME), first);
    drop(second_data);
    other.expect(226);
    assert_eq!(server.content(NAME), second);
    assert_eq!(server.names(), [NAME]);
}

#[test]
fn a_text_upload_is_refused_before_it_can_change_a_byte() {
    let server = Server::start();
    let mut peer = server.login();
    peer.ask("TYPE A", 200);
    let _data = peer.data();
    let reply = peer.ask(&format!("STOR {NAME}"), 550);
    assert!(reply.contains("TYPE I"), "{reply}");
    peer.ask("TYPE I", 200);
    let content = firmware(10_000);
    peer.upload(NAME, &content);
    assert_eq!(server.content(NAME), content);
}

#[test]
fn an_upload_can_t_be_continued_and_says_so() {
    let server = Server::start();
    let mut peer = server.login();
    peer.upload(NAME, b"complete");
    peer.ask("REST 4", 350);
    peer.data_port();
    peer.ask(&format!("STOR {NAME}"), 554);
    peer.ask(&format!("APPE {NAME}"), 502);
    assert_eq!(server.content(NAME), b"complete");
    peer.ask("REST 0", 350);
    peer.upload(NAME, b"from the start");
    assert_eq!(server.content(NAME), b"from the start");
}
