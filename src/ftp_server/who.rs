//! Whose a session is: what places, uploads and data ports are counted by.
//!
//! An address proves little: one machine may have many, and a router hides many machines behind
//! one. For users of this machine the kernel is asked, so that none of them passes for the daemon.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::login::network;

/// The kernel's sockets, for each family. This process' own view: `/proc/net` is hidden by a unit's
/// `ProcSubset=pid`.
const TABLES: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
/// The state of a connection of which neither end is closed. In all others the user in the table
/// may be nobody's.
const ESTABLISHED: &str = "01";

/// Whose a session is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    /// Root of this machine or the server's own user: the daemon is one of them.
    Machine,
    /// Another user of this machine; `None` where it is not known which.
    User(Option<u32>),
    /// Another machine, by its address; of IPv6 a whole network is one.
    Address(IpAddr),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine => f.write_str("this machine"),
            Self::User(Some(uid)) => write!(f, "uid {uid} of this machine"),
            Self::User(None) => f.write_str("a user of this machine"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl Who {
    /// Whose a new connection from `peer` to `local` is, as far as the addresses tell.
    pub(crate) fn by_address(local: IpAddr, peer: IpAddr) -> Self {
        if is_this_machine(local, peer) {
            Self::User(None)
        } else {
            Self::Address(network(peer.to_canonical()))
        }
    }

    /// Whose a new connection is, by the kernel's word for users of this machine. Reads a table
    /// that may be long: for blocking threads.
    pub(crate) fn of(local: SocketAddr, peer: SocketAddr) -> Self {
        let who = Self::by_address(local.ip(), peer.ip());
        if who != Self::User(None) {
            return who;
        }
        match TABLES
            .iter()
            .try_fold(None, |found, table| Ok(found.or(owner(File::open(table)?, peer, local)?)))
        {
            Ok(uid) => Self::by_user(uid, nix::unistd::geteuid().as_raw()),
            Err::<_, io::Error>(error) => {
                // What the address says is all that there is then; the daemon must come in.
                tracing::warn!("the kernel's table of connections can't be read: {error}");
                Self::Machine
            }
        }
    }

    /// Whose a connection of this user of the machine is to a server of the user `own`.
    fn by_user(uid: Option<u32>, own: u32) -> Self {
        if uid == Some(0) || uid == Some(own) { Self::Machine } else { Self::User(uid) }
    }

    /// Whether it is this machine itself, which may do everything.
    pub(crate) fn is_machine(&self) -> bool {
        *self == Self::Machine
    }
}

/// Whether `peer` is this machine: a connection from outside has neither a loopback address nor the
/// one that it goes to, because the kernel drops such packets.
pub(crate) fn is_this_machine(local: IpAddr, peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback() || peer.to_canonical() == local.to_canonical()
}

/// The user of the socket at `here` that is connected to `there`.
fn owner(table: impl io::Read, here: SocketAddr, there: SocketAddr) -> io::Result<Option<u32>> {
    let ends = [true, false].map(|mapped| (written(here, mapped), written(there, mapped)));
    for line in BufReader::new(table).lines() {
        let line = line?;
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (Some(local), Some(remote), Some(state)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (Some(uid), Some(inode)) = (fields.nth(3), fields.nth(1)) else { continue };
        // A socket that no process has any more is root's in the table.
        if state == ESTABLISHED
            && inode != "0"
            && ends.iter().any(|(here, there)| local == here && remote == there)
        {
            return Ok(uid.parse().ok());
        }
    }
    Ok(None)
}

/// An address as the table has it: each word of it as a number of this machine. A socket of IPv6
/// may hold one of IPv4, mapped.
fn written(address: SocketAddr, mapped: bool) -> String {
    let words = |bytes: &[u8]| -> String {
        let words = bytes.chunks_exact(4).filter_map(|word| word.try_into().ok());
        words.map(|word| format!("{:08X}", u32::from_ne_bytes(word))).collect()
    };
    let ip = match address.ip().to_canonical() {
        IpAddr::V4(v4) if mapped => words(&v4.to_ipv6_mapped().octets()),
        IpAddr::V4(v4) => words(&v4.octets()),
        IpAddr::V6(v6) => words(&Ipv6Addr::octets(&v6)),
    };
    format!("{ip}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_loopback_and_by_its_own_address() {
        for (local, peer, expected) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", true),
            ("::ffff:127.0.0.1", "::ffff:127.0.0.1", true),
            ("::1", "::1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("fe80::1", "fe80::1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
            ("fe80::1", "fe80::2", false),
        ] {
            assert_eq!(
                is_this_machine(local.parse().unwrap(), peer.parse().unwrap()),
                expected,
                "{peer} to {local}"
            );
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_and_a_mapped_address_is_of_ipv4() {
        let who =
            |peer: &str| Who::by_address("2001:db8:9::1".parse().unwrap(), peer.parse().unwrap());
        assert_eq!(who("2001:db8::1"), who("2001:db8::2"));
        assert_ne!(who("2001:db8::1"), who("2001:db8:0:1::1"));
        assert_eq!(who("::ffff:192.0.2.7"), Who::Address("192.0.2.7".parse().unwrap()));
    }

    #[test]
    fn root_and_the_server_s_own_user_are_the_machine_and_the_log_tells_who_is_not() {
        for (uid, told) in [
            (Some(0), "this machine"),
            (Some(7), "this machine"),
            (Some(8), "uid 8 of this machine"),
            (None, "a user of this machine"),
        ] {
            let who = Who::by_user(uid, 7);
            assert_eq!((who.is_machine(), &*who.to_string()), (told == "this machine", told));
        }
        assert_eq!(Who::Address([192, 0, 2, 7].into()).to_string(), "192.0.2.7");
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn the_kernel_s_table_tells_the_user_of_a_connection_that_is_open() {
        const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:0015 0100007F:9C40 01 00000000:00000000 00:00000000 00000000   999        0 11 1 0 20 4 30 10 -1\n\
            1: 0100007F:9C40 0100007F:0015 01 00000000:00000000 00:00000000 00000000  1000        0 12 1 0 20 4 30 10 -1\n\
            2: 0100007F:9C41 0100007F:0015 06 00000000:00000000 03:00000A5F 00000000     0        0 0 3 0\n\
            3: 0100007F:9C42 0100007F:0015 01 00000000:00000000 00:00000000 00000000     0        0 0 1 0 20 4 30 10 -1\n\
            4: 0000000000000000FFFF00000100007F:9C43 0000000000000000FFFF00000100007F:0015 01 00000000:00000000 00:00000000 00000000 7 0 13\n";
        let server = "127.0.0.1:21".parse().unwrap();
        for (port, uid) in
            [(40000, Some(1000)), (40001, None), (40002, None), (40003, Some(7)), (40004, None)]
        {
            let client = SocketAddr::new([127, 0, 0, 1].into(), port);
            assert_eq!(owner(TABLE.as_bytes(), client, server).unwrap(), uid, "{port}");
        }
    }

    #[test]
    fn this_process_is_the_machine() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (local, peer) = (listener.local_addr().unwrap(), client.local_addr().unwrap());
        assert_eq!(Who::of(local, peer), Who::Machine);
    }
}
