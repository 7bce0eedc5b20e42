//! Clients of other machines and other users of this one, as far as the server can tell:
//! connections that others made, handed over.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::peer::Peer;
use super::server::Server;

/// Connects, and gives the connection away through its standard input.
const CONNECT: &str = r#"
import socket, sys
source, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
connection = socket.create_connection((host, port), 20, (source, 0) if source else None)
connection.setblocking(True)
socket.send_fds(socket.socket(fileno=0), [b"x"], [connection.fileno()])
"#;

/// Where a client is.
#[derive(Clone)]
pub(crate) struct Neighbour {
    /// What puts a program there.
    wrapper: Vec<String>,
    /// Its address, where it is not the usual one.
    address: &'static str,
}

/// The address of a server of [`in_a_network`].
pub(crate) const SERVER: &str = "192.0.2.1";
/// Two machines beside it.
pub(crate) const HOST: &str = "192.0.2.2";
pub(crate) const STRANGER: &str = "192.0.2.3";

/// A server in a network namespace, whose loopback interface has the addresses of its neighbours as
/// well.
pub(crate) fn in_a_network(settings: &str) -> Server {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("upgrade");
    std::fs::create_dir(&home).unwrap();
    let mut program = Command::new("unshare");
    program.arg("--net").args(if may_set_up_networks() {
        &[][..]
    } else {
        &["--user", "--map-root-user"]
    });
    let addresses: String = [SERVER, HOST, STRANGER]
        .map(|address| format!("ip addr add {address}/24 dev lo && "))
        .concat();
    program.args([
        "sh",
        "-c",
        &format!("ip link set lo up && {addresses}exec \"$0\" \"$@\""),
        env!("CARGO_BIN_EXE_uplift"),
    ]);
    Server::launch(directory, home, &format!("listen = \"0.0.0.0:0\"\n{settings}"), program)
}

/// Whether the effective capabilities have CAP_NET_ADMIN, number 12, which the root of many a
/// container lacks. Who lacks it has it in a user namespace of its own.
fn may_set_up_networks() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(capabilities.trim(), 16).unwrap() & 1 << 12 != 0
}

/// What puts a program into the server's network.
pub(crate) fn into_network_of(server: &Server) -> Vec<String> {
    let mut wrapper = ["nsenter", "--net", "--target"].map(String::from).to_vec();
    wrapper.push(server.child.id().to_string());
    if !may_set_up_networks() {
        wrapper.extend(["--user", "--preserve-credentials"].map(String::from));
    }
    wrapper
}

impl Neighbour {
    /// A machine with this address in the server's network.
    pub(crate) fn at(server: &Server, address: &'static str) -> Self {
        Self { wrapper: into_network_of(server), address }
    }

    /// Another user of this machine.
    pub(crate) fn user(uid: u32) -> Self {
        let wrapper =
            ["setpriv".into(), format!("--reuid={uid}"), "--clear-groups".into(), "--".into()];
        Self { wrapper: wrapper.to_vec(), address: "" }
    }

    /// A connection from there.
    pub(crate) fn connect(&self, to: SocketAddr) -> TcpStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (program, arguments) = self.wrapper.split_first().unwrap();
        let mut connecting = Command::new(program);
        connecting.args(arguments).args([
            "/usr/bin/python3",
            "-c",
            CONNECT,
            self.address,
            &to.ip().to_string(),
            &to.port().to_string(),
        ]);
        let output = connecting.stdin(Stdio::from(OwnedFd::from(theirs))).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        drop(connecting);
        received(&ours)
    }

    /// A peer there, which has not said anything.
    pub(crate) fn dial(&self, server: &Server) -> Peer {
        let ip =
            if self.address.is_empty() { [127, 0, 0, 1].into() } else { SERVER.parse().unwrap() };
        let there = self.clone();
        let peer = Peer::new(self.connect(SocketAddr::new(ip, server.address.port())));
        peer.with_data_by(move |to| there.connect(to))
    }

    /// A peer that is logged in.
    pub(crate) fn login(&self, server: &Server) -> Peer {
        self.dial(server).logged_in()
    }

    /// The same at a server of this machine.
    pub(crate) fn login_at(&self, server: SocketAddr) -> Peer {
        let there = self.clone();
        let peer = Peer::new(self.connect(server)).with_data_by(move |to| there.connect(to));
        peer.logged_in()
    }
}

fn received(from: &UnixStream) -> TcpStream {
    let (mut byte, mut space) = ([0], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))]);
    let mut messages = RecvAncillaryBuffer::new(&mut space);
    recvmsg(from, &mut [IoSliceMut::new(&mut byte)], &mut messages, RecvFlags::CMSG_CLOEXEC)
        .unwrap();
    let descriptor = messages.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    descriptor.unwrap().into()
}
