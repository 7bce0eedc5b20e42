//! Whose an upload is: what another machine and another user of this one can't do with it.

use std::io::Write as _;

use super::neighbours::{HOST, Neighbour, STRANGER, in_a_network};
use super::peer::Peer;
use super::server::{Server, wait_until};

/// All that would change or show a file, by somebody who has one of his own.
#[track_caller]
fn can_do_nothing(other: &mut Peer, file: &str) {
    for command in ["STOR", "RETR", "DELE", "RNFR"] {
        other.data_port();
        let reply = other.ask(&format!("{command} {file}"), 550);
        assert!(reply.contains("another's"), "{command}: {reply}");
    }
    other.ask("RNFR own.bin", 350);
    other.ask(&format!("RNTO {file}"), 550);
}

#[test]
fn another_machine_can_neither_replace_delete_rename_nor_read_an_upload() {
    let server = in_a_network("");
    let (mut host, mut stranger) = (
        Neighbour::at(&server, HOST).login(&server),
        Neighbour::at(&server, STRANGER).login(&server),
    );
    stranger.upload("own.bin", b"of a stranger");
    // From its first byte on.
    let mut upload = host.begin_upload("a.bin");
    stranger.data_port();
    stranger.ask("STOR a.bin", 550);
    upload.write_all(b"of the host").unwrap();
    drop(upload);
    host.expect(226);
    can_do_nothing(&mut stranger, "a.bin");
    assert_eq!(server.content("a.bin"), b"of the host");
    // Its session ends, and it waits.
    host.ask("QUIT", 221);
    can_do_nothing(&mut stranger, "a.bin");
    let mut again = Neighbour::at(&server, HOST).login(&server);
    assert_eq!(again.download("RETR a.bin"), b"of the host");
    again.ask("RNFR a.bin", 350);
    again.ask("RNTO b.bin", 250);
    can_do_nothing(&mut stranger, "b.bin");
    again.upload("b.bin", b"once more");
    // The daemon, and who is root beside it.
    let mut machine = Neighbour::at(&server, "127.0.0.1").login(&server);
    assert_eq!(machine.download("RETR b.bin"), b"once more");
    for file in ["b.bin", "own.bin"] {
        machine.ask(&format!("DELE {file}"), 250);
    }
    stranger.upload("b.bin", b"the name is free");
}

#[test]
fn another_user_of_this_machine_is_another() {
    assert!(nix::unistd::geteuid().is_root(), "this test connects as another user: run it as root");
    let server = Server::start();
    let mut nobody = Neighbour::user(65534).login(&server);
    nobody.upload("own.bin", b"of nobody");
    server.login().upload("a.bin", b"of root");
    can_do_nothing(&mut nobody, "a.bin");
    assert_eq!(server.login().download("RETR own.bin"), b"of nobody");
}

#[test]
fn what_was_there_before_is_read_by_this_machine_alone() {
    let server = in_a_network("");
    server.put("a.bin", b"found");
    let mut host = Neighbour::at(&server, HOST).login(&server);
    host.data_port();
    host.ask("RETR a.bin", 550);
    assert_eq!(Neighbour::at(&server, "127.0.0.1").login(&server).download("RETR a.bin"), b"found");
    host.upload("a.bin", b"replaced");
    assert_eq!(host.download("RETR a.bin"), b"replaced");
}

#[test]
fn the_log_says_who_did_what_with_which_file() {
    let server = in_a_network("");
    let mut host = Neighbour::at(&server, HOST).login(&server);
    host.upload("a.bin", b"content");
    host.ask("RNFR a.bin", 350);
    host.ask("RNTO b.bin", 250);
    host.download("RETR b.bin");
    host.ask("DELE b.bin", 250);
    host.ask("DELE b.bin", 550);
    let here = host.stream.local_addr().unwrap();
    for said in [
        format!("{here} logged in as \"psdk_payload_ftp\""),
        format!("{here} has uploaded \"a.bin\", 7 bytes"),
        format!("{here} renamed \"a.bin\" to \"b.bin\""),
        format!("{here} downloads \"b.bin\""),
        format!("{here} deleted \"b.bin\""),
        format!("{here} may not delete a file: No such file"),
    ] {
        wait_until(|| server.log().contains(&said), || format!("{said}: {}", server.log()));
    }
}
