//! Nothing outside the home is read, written or named.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;

use super::peer::Peer;
use super::server::{PATIENCE, Server, drain};

/// Names that lead out of the home, or would if something took them for paths.
const OUTSIDE: [&str; 8] = [
    "../escaped",
    "/../escaped",
    "../../../../../../tmp/escaped",
    "/tmp/escaped",
    "a/../../escaped",
    "directory/a",
    "..",
    ".hidden",
];

#[test]
fn no_command_takes_a_path_that_leads_out() {
    let server = Server::start();
    let secret = server.directory.path().join("escaped");
    std::fs::File::create(&secret).unwrap();
    std::fs::create_dir(server.home().join("directory")).unwrap();
    let mut peer = server.login();
    for path in OUTSIDE {
        for verb in ["STOR", "RETR", "SIZE", "MDTM", "DELE", "RNFR", "LIST", "NLST", "MLSD", "MLST"]
        {
            peer.data_port();
            peer.ask(&format!("{verb} {path}"), 553);
        }
        peer.ask(&format!("CWD {path}"), 550);
        peer.ask(&format!("MKD {path}"), 550);
    }
    // A file of the area does not get out by a new name either.
    peer.upload("own.bin", b"");
    for path in OUTSIDE {
        peer.ask("RNFR own.bin", 350);
        peer.ask(&format!("RNTO {path}"), 553);
    }
    peer.ask("RNTO other.bin", 503);
    peer.ask("DELE own.bin", 250);
    peer.ask("CDUP", 550);
    peer.ask("CWD directory", 550);
    assert_eq!(server.names(), ["directory"]);
    assert!(secret.exists() && !std::path::Path::new("/tmp/escaped").exists());
}

#[test]
fn the_home_is_the_root_under_both_its_names() {
    let server = Server::start();
    let mut peer = server.login();
    let home = server.home().to_str().unwrap().to_owned();
    for root in ["/", ".", "//", &home, home.trim_start_matches('/'), &format!("/{home}//")] {
        peer.ask(&format!("CWD {root}"), 250);
        peer.ask(&format!("MKD {root}"), 521);
    }
    for path in [
        "./c.bin".to_owned(),
        format!("{home}//c.bin"),
        format!("{}/c.bin", home.trim_start_matches('/')),
    ] {
        peer.upload(&path, path.as_bytes());
        assert_eq!(server.content("c.bin"), path.as_bytes());
    }
    peer.ask("DELE c.bin", 250);
    peer.upload("/a.bin", b"a");
    peer.upload(&format!("{home}/b.bin"), b"b");
    assert_eq!(server.names(), ["a.bin", "b.bin"]);
    peer.ask(&format!("STOR {home}/../c.bin"), 553);
}

#[test]
fn symbolic_links_are_not_followed_in_either_direction() {
    let server = Server::start();
    let outside = server.directory.path().join("outside");
    std::io::Write::write_all(&mut std::fs::File::create(&outside).unwrap(), b"outside").unwrap();
    symlink(&outside, server.home().join("link")).unwrap();
    symlink(server.directory.path(), server.home().join("parent")).unwrap();
    symlink(server.directory.path().join("nothing"), server.home().join("dangling")).unwrap();
    let mut peer = server.login();
    for name in ["link", "parent", "dangling"] {
        for verb in ["RETR", "STOR", "SIZE", "MDTM", "DELE", "RNFR", "MLST", "LIST"] {
            peer.data_port();
            peer.ask(&format!("{verb} {name}"), 550);
        }
    }
    peer.ask("RETR parent/outside", 553);
    assert_eq!(peer.download("LIST"), b"");
    assert_eq!(std::fs::read(&outside).unwrap(), b"outside");
    assert!(!server.directory.path().join("nothing").exists());
}

#[test]
fn a_pipe_in_the_home_blocks_nobody() {
    let server = Server::start();
    nix::unistd::mkfifo(&server.home().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut peer = server.login();
    for verb in ["RETR", "STOR", "SIZE", "DELE"] {
        peer.data_port();
        peer.ask(&format!("{verb} pipe"), 550);
    }
}

#[test]
fn a_data_connection_from_another_address_is_refused_and_the_client_s_own_is_served() {
    let server = Server::with("listen = \"0.0.0.0:0\"");
    server.put("a.bin", b"secret");
    let mut peer = Peer::new(TcpStream::connect(("127.0.0.1", server.address.port())).unwrap());
    peer.expect(220);
    peer.ask(&format!("USER {}", super::server::USER), 331);
    peer.ask(&format!("PASS {}", super::server::PASSWORD), 230);
    let port = peer.data_port();
    let thief = connect_from("127.0.0.2", port);
    peer.say("RETR a.bin");
    assert_eq!(drain(thief), b"");
    let own = TcpStream::connect(port).unwrap();
    peer.expect(150);
    assert_eq!(drain(own), b"secret");
    peer.expect(226);
}

/// A connection from another address of this machine.
fn connect_from(local: &str, remote: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{local}:0").parse().unwrap()).unwrap();
        socket.connect(remote).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}
