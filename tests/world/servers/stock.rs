//! Debian's other FTP servers, with their defaults.

use std::path::Path;
use std::process::Command;

use super::vsftpd::{ACCOUNT_ID, Inetd, PASSWORD, SERVERS, write};

/// Debian's template without what is for a server of the whole machine: its user, its logs, its
/// modules. The account is confined to its home, as the vendor's is; the address, because the name
/// of this machine need not be one of its own.
const PROFTPD: &str = "\
ServerType inetd
ServerName Debian
DefaultAddress 127.0.0.1
UseIPv6 on
DeferWelcome off
DefaultServer on
ShowSymlinks on
TimeoutNoTransfer 600
TimeoutStalled 600
TimeoutIdle 1200
ListOptions -l
DenyFilter \\*.*/
MaxInstances 30
Umask 022 022
AllowOverwrite on
User nobody
Group nogroup
TransferLog none
SystemLog none
WtmpLog off
ScoreboardFile HERE/scoreboard
DefaultRoot ~
";

/// ProFTPD.
pub(crate) fn proftpd() -> Inetd {
    Inetd::start("\"$1/usr/sbin/proftpd\" --config \"$0/conf\"", PROFTPD)
}

/// Pure-FTPd with the machine's accounts, each confined to its home.
pub(crate) fn pure_ftpd() -> Inetd {
    Inetd::start("\"$1/usr/sbin/pure-ftpd\" --login unix --chrooteveryone", "")
}

/// Pure-FTPd with a user of its own. The password is hashed as the machine's are: as `pure-pw` does
/// it, a login takes so long that a loaded machine would fail tests.
pub(crate) fn pure_ftpd_with_virtual_users() -> Inetd {
    let server = Inetd::start("\"$1/usr/sbin/pure-ftpd\" --login puredb:\"$0/users.pdb\"", "");
    let home = server.home();
    let directory = home.parent().unwrap();
    let line = format!(
        "psdk_payload_ftp:{PASSWORD}:{ACCOUNT_ID}:{ACCOUNT_ID}::{}/./::::::::::::\n",
        home.display()
    );
    write(&directory.join("users"), 0o644, &line);
    let made = Command::new(Path::new(SERVERS).join("usr/bin/pure-pw"))
        .arg("mkdb")
        .arg(directory.join("users.pdb"))
        .arg("-f")
        .arg(directory.join("users"))
        .status()
        .unwrap();
    assert!(made.success());
    server
}
