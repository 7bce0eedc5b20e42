//! Limits: size, space, files, connections, ports.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use uplift_sim::ports::free_address;

use super::peer::{Peer, pour};
use super::server::{Server, firmware};

#[test]
fn a_file_above_the_limit_is_refused_when_announced_and_when_sent() {
    let server = Server::with("max_size = \"1MiB\"");
    let mut peer = server.login();
    peer.ask("ALLO 1048577", 552);
    let reply = peer.ask("ALLO 99999999999999", 552);
    assert!(reply.contains("1048576"), "{reply}");
    // What was announced and refused is not begun, and is forgotten then.
    peer.data_port();
    peer.ask("STOR a.bin", 552);
    let mut data = peer.begin_upload("a.bin");
    pour(&mut data, 8 << 20);
    drop(data);
    peer.expect(552);
    assert!(server.names().is_empty(), "{:?}", server.names());
    peer.ask("ALLO 1048576", 200);
    peer.upload("a.bin", &firmware(1 << 20));
    assert_eq!(server.content("a.bin").len(), 1 << 20);
}

#[test]
fn space_that_must_stay_free_is_not_used() {
    let server = Server::with("keep_free = \"1000000000GiB\"");
    let mut peer = server.login();
    peer.ask("ALLO 1", 452);
    peer.data_port();
    peer.ask("STOR a.bin", 452);
    assert!(server.names().is_empty());
}

#[test]
fn a_full_disk_is_452_and_leaves_nothing() {
    let server = on_small_disk("keep_free = 0");
    let mut peer = server.login();
    peer.ask("ALLO 100000000", 452);
    peer.data_port();
    peer.ask("STOR a.bin", 452);
    let mut data = peer.begin_upload("a.bin");
    pour(&mut data, 64 << 20);
    drop(data);
    peer.expect(452);
    assert_eq!(peer.download("NLST"), b"");
    // All of the space is there again.
    peer.upload("a.bin", &firmware(3 << 20));
    assert!(peer.ask("SIZE a.bin", 213).contains("3145728"));
}

#[test]
fn space_is_watched_while_an_upload_runs() {
    let server = on_small_disk_of("64M", "keep_free = \"32MiB\"");
    let mut peer = server.login();
    let mut data = peer.begin_upload("a.bin");
    pour(&mut data, 60 << 20);
    drop(data);
    peer.expect(452);
    peer.upload("a.bin", &firmware(1 << 20));
}

fn on_small_disk(settings: &str) -> Server {
    on_small_disk_of("4M", settings)
}

/// A server whose home is a small file system of its own, in a mount namespace that only it sees.
fn on_small_disk_of(size: &str, settings: &str) -> Server {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("upgrade");
    std::fs::create_dir(&home).unwrap();
    let mut program = Command::new("unshare");
    program.args(if nix::unistd::geteuid().is_root() {
        &["--mount"][..]
    } else {
        &["--mount", "--user", "--map-root-user"]
    });
    let script =
        format!("mount -t tmpfs -o size={size} tmpfs '{}' && exec \"$0\" \"$@\"", home.display());
    program.args(["sh", "-c", &script, env!("CARGO_BIN_EXE_uplift")]);
    Server::launch(directory, home, settings, program)
}

#[test]
fn the_number_of_files_is_limited() {
    let server = Server::start();
    for index in 0..64 {
        server.put(&format!("{index}.bin"), b"");
    }
    let mut peer = server.login();
    peer.data_port();
    peer.ask("STOR one-more.bin", 552);
    peer.upload("7.bin", b"replaced");
    peer.ask("DELE 8.bin", 250);
    peer.upload("one-more.bin", b"fits now");
}

#[test]
fn connections_are_limited_and_a_place_becomes_free_again() {
    let server = Server::with("max_connections = 2");
    // This machine has two places more. All of them are at work.
    let mut peers: Vec<Peer> = (0..4).map(|_| server.login()).collect();
    let mut uploads: Vec<TcpStream> = peers
        .iter_mut()
        .zip(0..)
        .map(|(peer, number)| peer.begin_upload(&format!("{number}.bin")))
        .collect();
    let mut fifth = Peer::new(TcpStream::connect(server.address).unwrap());
    fifth.expect(421);
    fifth.expect_end();
    drop((uploads.remove(0), peers.remove(0)));
    super::server::wait_until(
        || Peer::new(TcpStream::connect(server.address).unwrap()).reply().starts_with("220"),
        || "no place became free".into(),
    );
}

#[test]
fn who_does_not_log_in_keeps_nobody_out() {
    let server = Server::with("max_connections = 2");
    let mut silent: Vec<Peer> = (0..20).map(|_| server.connect()).collect();
    let mut peer = server.login();
    peer.upload("a.bin", b"in spite of all of them");
    silent[0].expect(421);
    silent[0].expect_end();
    // Who has logged in keeps its place, whoever comes.
    let _crowd: Vec<Peer> = (0..20).map(|_| server.connect()).collect();
    peer.ask("NOOP", 200);
}

#[test]
fn a_trickle_of_bytes_does_not_hold_an_upload_for_ever() {
    let server = Server::with("stall_timeout = \"300ms\"");
    let mut peer = server.login();
    let mut data = peer.begin_upload("a.bin");
    // Never silent for long, and never fast enough.
    let deadline = std::time::Instant::now() + super::server::PATIENCE;
    while data.write_all(b"x").is_ok() {
        assert!(std::time::Instant::now() < deadline, "the trickle was taken for an upload");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    peer.expect(426);
    server.wait_for_names(&[]);
}

#[test]
fn all_places_transfer_at_once() {
    let server = Server::with("max_connections = 8");
    let content = firmware(300_000);
    let mut peers: Vec<Peer> = (0..8).map(|_| server.login()).collect();
    let mut streams: Vec<TcpStream> = peers
        .iter_mut()
        .zip(0..)
        .map(|(peer, index)| peer.begin_upload(&format!("{index}.bin")))
        .collect();
    for stream in &mut streams {
        stream.write_all(&content).unwrap();
    }
    drop(streams);
    for peer in &mut peers {
        peer.expect(226);
    }
    assert!((0..8).all(|index| server.content(&format!("{index}.bin")) == content));
}

#[test]
fn data_ports_come_from_the_range() {
    let port = free_address().unwrap().port();
    let server = Server::with(&format!("passive_ports = [{port}, {port}]"));
    let mut peer = server.login();
    let reply = peer.ask("EPSV", 229);
    assert!(reply.contains(&format!("(|||{port}|)")), "{reply}");
    // The session's own old port makes room for its new one, and then for another's, as nobody
    // has connected to it.
    peer.ask("EPSV", 229);
    let mut other = server.login();
    other.upload("a.bin", b"by the only port");
    peer.ask("STOR b.bin", 425);
    // So does one that a transfer waits for.
    peer.ask("EPSV", 229);
    peer.say("STOR b.bin");
    other.upload("a.bin", b"again");
    peer.expect(425);
    // One on which a transfer runs stays.
    let data = peer.begin_upload("b.bin");
    other.ask("NOOP", 200);
    drop(data);
    peer.expect(226);
}

#[test]
fn a_data_port_to_which_nobody_connects_is_given_back() {
    let server = Server::with("stall_timeout = \"1s\"");
    let mut peer = server.login();
    let port = peer.data_port();
    super::server::wait_until(
        || std::net::TcpListener::bind(port).is_ok(),
        || format!("{port} is still taken"),
    );
    peer.ask("STOR a.bin", 425);
    peer.upload("a.bin", b"by the next one");
}

#[test]
fn a_transfer_without_a_data_port_is_refused() {
    let server = Server::with("stall_timeout = \"200ms\"");
    let mut peer = server.login();
    peer.ask("STOR a.bin", 425);
    peer.ask("LIST", 425);
    // Asked for, but never connected to.
    peer.data_port();
    peer.ask("STOR a.bin", 425);
    server.wait_for_names(&[]);
}

#[test]
fn memory_does_not_grow_with_the_file() {
    let server = Server::start();
    let mut peer = server.login();
    peer.upload("small.bin", &firmware(1 << 20));
    let before = peak_kib(&server);
    let mut data = peer.begin_upload("large.bin");
    let chunk = firmware(1 << 20);
    for _ in 0..128 {
        data.write_all(&chunk).unwrap();
    }
    drop(data);
    peer.expect(226);
    let after = peak_kib(&server);
    assert!(after <= before + 1024, "{before} KiB grew to {after} KiB");
}

/// The most memory that the server ever had resident.
fn peak_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
