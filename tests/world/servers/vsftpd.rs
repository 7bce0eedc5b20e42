//! vsftpd as in the vendor's tutorial: a local account `psdk_payload_ftp`, confined to its home,
//! and nothing of it left on the machine afterwards. Other servers of Debian's run in the same way
//! ([`Inetd`]).
//!
//! It is not installed: `tests/install-packages` unpacks it (Debian lets a machine have one FTP
//! server). The account and PAM's rules exist only in a private mount namespace, in which our own
//! files lie over those in /etc. Started for each connection with the socket as its standard input
//! (inetd's way), so that no port has to be guessed.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Where it is unpacked.
pub(crate) const SERVERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/servers");
/// An id that no account has.
pub(crate) const ACCOUNT_ID: u32 = 61_021;
/// The vendor's password, as crypt(3) keeps it.
pub(crate) const PASSWORD: &str = "$6$uplift$y6djftf6k0IFktLlGSVVYHfvJZuTITbKFG3kfjK8lCOBtFLAiZK2xvnq4BQ0NSrMIGCqNgCPZgq5RdyPv.1hD0";

const CONFIGURATION: &str = "\
listen=NO
listen_ipv6=NO
anonymous_enable=NO
local_enable=YES
write_enable=YES
local_umask=022
chroot_local_user=YES
allow_writeable_chroot=YES
connect_from_port_20=NO
xferlog_enable=NO
pam_service_name=vsftpd
secure_chroot_dir=/run
";

/// A running vsftpd.
pub(crate) struct Vsftpd(Inetd);

impl Vsftpd {
    /// Starts it, with an empty home.
    pub(crate) fn start() -> Self {
        Self(Inetd::start("\"$1/usr/sbin/vsftpd\" \"$0/conf\"", CONFIGURATION))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// The directory that clients see.
    pub(crate) fn home(&self) -> PathBuf {
        self.0.home()
    }
}

/// A stock server for the account, started anew for each connection.
pub(crate) struct Inetd {
    pub(crate) address: SocketAddr,
    root: tempfile::TempDir,
    stop: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

pub(crate) fn write(path: &Path, mode: u32, text: &str) {
    let mut file = File::create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.set_permissions(Permissions::from_mode(mode)).unwrap();
}

impl Inetd {
    /// Starts what the shell calls `command`, in which `$0` is a directory with the file `conf`,
    /// and `$1` has the servers.
    pub(crate) fn start(command: &'static str, configuration: &str) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "the tests against stock servers need root for their mount namespace; `tests/run` runs them as root"
        );
        assert!(
            Path::new(SERVERS).join("complete").exists(),
            "the servers are not there; `tests/install-packages` unpacks them"
        );
        let root = tempfile::tempdir().unwrap();
        let path = root.path().to_owned();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        let home = path.join("upgrade");
        fs::create_dir(&home).unwrap();
        std::os::unix::fs::chown(&home, Some(ACCOUNT_ID), Some(ACCOUNT_ID)).unwrap();
        let account =
            format!("psdk_payload_ftp:x:{ACCOUNT_ID}:{ACCOUNT_ID}::{}:/bin/sh\n", home.display());
        write(
            &path.join("passwd"),
            0o644,
            &(fs::read_to_string("/etc/passwd").unwrap() + &account),
        );
        write(
            &path.join("shadow"),
            0o600,
            &format!("psdk_payload_ftp:{PASSWORD}:20000:0:99999:7:::\n"),
        );
        write(&path.join("conf"), 0o600, &configuration.replace("HERE", path.to_str().unwrap()));
        fs::create_dir(path.join("pam.d")).unwrap();
        for rules in [Path::new("/etc/pam.d"), &Path::new(SERVERS).join("etc/pam.d")] {
            for file in fs::read_dir(rules).unwrap().map(Result::unwrap) {
                write(
                    &path.join("pam.d").join(file.file_name()),
                    0o644,
                    &fs::read_to_string(file.path()).unwrap(),
                );
            }
        }

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let acceptor = std::thread::spawn(move || {
            let mut children = Vec::new();
            for connection in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                children.push(serve(&path, command, connection.unwrap()));
            }
            for mut child in children {
                let _ = child.kill();
                let _ = child.wait();
            }
        });
        Self { address, root, stop, acceptor: Some(acceptor) }
    }

    /// The directory that clients see.
    pub(crate) fn home(&self) -> PathBuf {
        self.root.path().join("upgrade")
    }
}

fn serve(root: &Path, server: &str, connection: TcpStream) -> Child {
    let script = format!(
        "for name in passwd shadow pam.d; do mount --bind \"$0/$name\" \"/etc/$name\" || exit; done; exec {server}"
    );
    let socket = OwnedFd::from(connection);
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", &script])
        .arg(root)
        .arg(SERVERS);
    command
        .stdout(Stdio::from(socket.try_clone().unwrap()))
        .stdin(Stdio::from(socket))
        .stderr(Stdio::inherit());
    command.spawn().unwrap()
}

impl Drop for Inetd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}
