//! Places: who makes room for whom, and that nobody holds one by not reading.

use std::io::{ErrorKind, Write as _};
use std::net::TcpStream;

use super::neighbours::{HOST, Neighbour, STRANGER, in_a_network};
use super::peer::Peer;
use super::server::{Server, USER, wait_until};

/// Descriptors that the server has open.
fn descriptors(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap().count()
}

/// A connection on which commands come ahead of their answers, none of which is read, until the
/// server takes no more.
fn unread(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_nonblocking(true).unwrap();
    let commands = b"FEAT\r\n".repeat(1000);
    for _ in 0..60 {
        match stream.write(&commands) {
            Ok(length) if length == commands.len() => {}
            Ok(_) => break,
            Err(error) => {
                assert!(
                    [ErrorKind::WouldBlock, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe]
                        .contains(&error.kind()),
                    "{error}"
                );
                break;
            }
        }
    }
    stream
}

#[test]
fn connections_whose_answers_nobody_reads_are_closed_to_make_room() {
    let server = Server::with("max_connections = 4");
    let before = descriptors(&server);
    let mut hostile = Vec::new();
    for _ in 0..60 {
        hostile.push(unread(&server));
        // Each place has a connection, and one is being accepted.
        let now = descriptors(&server);
        assert!(
            now <= before + 4 + 2 + 1,
            "{before} became {now} with {} connections",
            hostile.len()
        );
    }
    server.login().upload("a.bin", b"in spite of all of them");
    assert!(descriptors(&server) <= before + 4 + 2 + 1);
}

#[test]
fn a_session_without_a_command_makes_room_for_another_of_its_address() {
    let server = Server::with("max_connections = 2");
    // This machine has two places more.
    let mut peers: Vec<Peer> = (0..4).map(|_| server.login()).collect();
    let mut fifth = server.login();
    peers[0].expect(421);
    peers[0].expect_end();
    for peer in peers[1..].iter_mut().chain([&mut fifth]) {
        peer.ask("NOOP", 200);
    }
}

#[test]
fn who_begins_to_log_in_again_makes_room_before_who_is_logged_in() {
    let server = Server::with("max_connections = 2");
    let mut peers: Vec<Peer> = (0..4).map(|_| server.login()).collect();
    peers[2].ask(&format!("USER {USER}"), 331);
    server.login();
    peers[2].expect(421);
    peers[2].expect_end();
    peers[0].ask("NOOP", 200);
}

#[test]
fn a_neighbour_s_sessions_keep_nobody_out() {
    let server = in_a_network("max_connections = 4");
    let stranger = Neighbour::at(&server, STRANGER);
    let mut idle: Vec<Peer> = (0..4).map(|_| stranger.login(&server)).collect();
    let mut host = Neighbour::at(&server, HOST).login(&server);
    idle[0].expect(421);
    host.upload("a.bin", b"the first of them made room");
    // Those who transfer do, too, as long as they have more.
    let uploads: Vec<TcpStream> = idle[1..]
        .iter_mut()
        .zip(1..)
        .map(|(peer, number)| peer.begin_upload(&format!("{number}.bin")))
        .collect();
    let mut second = Neighbour::at(&server, HOST).login(&server);
    second.ask("NOOP", 200);
    host.ask("NOOP", 200);
    wait_until(
        || uploads.iter().any(|mut upload| upload.write_all(&[0; 1000]).is_err()),
        || "no upload made room".into(),
    );
    // But whoever has less is not sent away for one who has more.
    let _crowd: Vec<Peer> = (0..8).map(|_| stranger.dial(&server)).collect();
    host.ask("NOOP", 200);
    second.ask("NOOP", 200);
}

#[test]
fn other_users_of_this_machine_keep_the_daemon_out_of_nothing() {
    assert!(nix::unistd::geteuid().is_root(), "this test connects as another user: run it as root");
    let server = Server::with("max_connections = 2");
    let nobody = Neighbour::user(65534);
    let mut others: Vec<Peer> = (0..4).map(|_| nobody.login(&server)).collect();
    let uploads: Vec<TcpStream> = others
        .iter_mut()
        .zip(0..)
        .map(|(peer, number)| peer.begin_upload(&format!("{number}.bin")))
        .collect();
    // All places of this machine are busy, and not by the daemon.
    let (mut pull, mut prepare) = (server.login(), server.login());
    pull.ask("NOOP", 200);
    let _crowd: Vec<Peer> = (0..8).map(|_| nobody.dial(&server)).collect();
    pull.ask("NOOP", 200);
    prepare.ask("NOOP", 200);
    drop(uploads);
}
