//! The payload link's device, and the FTP server that the daemon pulls from.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::time::Duration;

use nix::sys::stat::{major, minor};

use super::units::Systemd;
use super::{Findings, Level};
use crate::channel::psdk::serial::link::held_back;
use crate::config::{Config, Link, Password, TransferChoice};
use crate::transfer::ftp_client::FtpClient;

/// Where systemd lays a unit's credentials; what is there exists only while the unit runs.
const CREDENTIALS: &str = "/run/credentials";
/// What udev knows of devices, one file a device.
const UDEV: &str = "/run/udev/data";
/// Longest wait for a connection to this machine itself.
const KNOCK: Duration = Duration::from_secs(1);

impl Findings {
    pub(super) fn device(&mut self, link: &Link) {
        self.serial_port("channel.psdk.device", &link.device);
    }

    pub(super) fn serial_port(&mut self, field: &str, path: &Path) {
        let device = path.display();
        match fs::metadata(path) {
            Ok(metadata) if metadata.file_type().is_char_device() => {}
            Ok(_) => self.error(field, format!("{device} is not a device"), "name the serial port"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.warning(
                    field,
                    format!("{device} is not there"),
                    "the daemon waits for it; plug the adapter in, or correct the name",
                );
            }
            Err(error) => self.error(
                field,
                format!("{device} can't be looked at: {error}"),
                "correct the name",
            ),
        }
    }

    pub(super) fn ftp(&mut self, systemd: &Systemd, config: &Config, transfer: TransferChoice) {
        if transfer == TransferChoice::Dcftp
            || unreadable(config.ftp.password_file.as_deref()).is_some()
        {
            return; // not used, or told already
        }
        let Err(failure) = FtpClient::new(config.ftp.clone()).examine() else { return };
        let sentence = format!("{}: {failure}", config.ftp.address);
        if self.taken(systemd, config.ftp.address, &sentence, transfer) {
            return;
        }
        match transfer {
            TransferChoice::Auto => {
                let hint = "start the FTP server (`systemctl start uplift-ftp.socket`); until it answers, DCFTP is offered, which is slow";
                self.warning("ftp", sentence, hint);
            }
            _ => self.error("ftp", sentence, "start the FTP server (`systemctl start uplift-ftp.socket`), or correct the [transfer.ftp] section"),
        }
        if config.ftp.address.ip().is_loopback() && !config.ftp_server.home.is_dir() {
            let sentence = format!("{} is no directory", config.ftp_server.home.display());
            self.warning(
                "ftp_server.home",
                sentence,
                "make it for the user of `uplift ftp-server`; another FTP server does not need it",
            );
        }
    }

    /// A port that is open, though no host is told of it.
    pub(super) fn needless_port(&mut self, systemd: &Systemd, config: &Config) {
        let is_told =
            config.link.as_ref().is_some_and(|link| link.transfer != TransferChoice::Dcftp);
        if !is_told
            && systemd.unit("uplift-ftp.socket").is_ok_and(|unit| unit.active_state == "active")
        {
            let sentence = "uplift-ftp.socket takes connections, and nobody needs it: no [channel.psdk] section offers FTP. The vendor's documents \
                            publish its default password";
            self.warning(
                "ftp_server",
                sentence,
                "`systemctl disable --now uplift-ftp.socket uplift-ftp.service` closes the port",
            );
        }
    }

    pub(super) fn password_files(&mut self, config: &Config) {
        let files = [
            ("transfer.ftp.password_file", &config.ftp.password_file),
            ("ftp_server.password_file", &config.ftp_server.password_file),
        ];
        let files = files.map(|(field, file)| (field.to_owned(), file.as_deref()));
        // Keys are examined with their certificates.
        let of_network =
            config.network_secrets().filter(|(field, _)| !field.ends_with("client_key"));
        for (field, file) in files.into_iter().chain(of_network) {
            let Some((file, error)) = unreadable(file) else { continue };
            let sentence = format!("{} can't be read: {error}", file.display());
            if file.starts_with(CREDENTIALS) {
                self.warning(field.as_str(), sentence, "a credential is there only for its unit, while that runs; `uplift config sandbox` prints the `LoadCredential=` that makes it");
            } else {
                self.error(
                    field.as_str(),
                    sentence,
                    "correct the name, or let the service's user read it",
                );
            }
        }
    }

    /// The upload server does not start with such a file: anybody could come in.
    pub(super) fn empty_password(&mut self, config: &Config) {
        let file = config.ftp_server.password_file.as_deref();
        if let Some((file, Ok(password))) = file.map(|file| (file, Password::read(file)))
            && password.reveal().is_empty()
        {
            let sentence = format!("the first line of {} is empty", file.display());
            self.error(
                "ftp_server.password_file",
                sentence,
                "write the password into its first line",
            );
        }
    }

    /// What an adapter on USB needs of udev.
    pub(super) fn adapter(&mut self, systemd: &Systemd, link: &Link) {
        let hint = "install packaging/udev/70-uplift.rules, then plug the adapter in again";
        if let Some(milliseconds) =
            held_back(Path::new("/sys"), &link.device).filter(|&milliseconds| milliseconds > 1)
        {
            self.warning(
                "channel.psdk.device",
                format!("the adapter holds bytes back for {milliseconds} ms"),
                hint,
            );
        }
        self.modem_manager(systemd, "channel.psdk.device", &link.device, hint);
    }

    /// It asks each port that may be a modem's.
    pub(super) fn modem_manager(
        &mut self,
        systemd: &Systemd,
        field: &str,
        device: &Path,
        hint: &str,
    ) {
        let manager = "ModemManager.service";
        if systemd.unit(manager).is_ok_and(|unit| unit.active_state == "active")
            && !is_left_alone(Path::new(UDEV), device)
        {
            self.warning(field, "ModemManager runs, and may talk to the adapter", hint);
        }
    }

    /// Whether something else answers at the address of uplift's own server.
    fn taken(
        &mut self,
        systemd: &Systemd,
        address: SocketAddr,
        sentence: &str,
        transfer: TransferChoice,
    ) -> bool {
        let own = systemd.unit("uplift-ftp.socket").is_ok_and(|unit| unit.active_state == "active");
        if own
            || !address.ip().is_loopback()
            || TcpStream::connect_timeout(&address, KNOCK).is_err()
        {
            return false;
        }
        let port = address.port();
        let level = if transfer == TransferChoice::Auto { Level::Warning } else { Level::Error };
        let sentence = format!("{sentence}; a server that is not uplift's has the port");
        let hint = format!(
            "`ss -ltnp sport = :{port}` names it: stop it and start uplift-ftp.socket, or give its account in the [transfer.ftp] section"
        );
        self.add(level, "transfer.ftp.address", sentence, hint);
        true
    }
}

/// Whether udev tells ModemManager to keep away from a device.
fn is_left_alone(udev: &Path, device: &Path) -> bool {
    let Ok(metadata) = device.metadata() else { return true }; // a device that is missing is another finding
    let number = metadata.rdev();
    let known = fs::read_to_string(udev.join(format!("c{}:{}", major(number), minor(number))))
        .unwrap_or_default();
    known.lines().any(|line| line == "E:ID_MM_DEVICE_IGNORE=1" || line == "E:ID_MM_PORT_IGNORE=1")
}

fn unreadable(file: Option<&Path>) -> Option<(&Path, io::Error)> {
    let file = file?;
    Password::read(file).err().map(|error| (file, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn udev_says_what_modem_manager_leaves_alone() {
        let udev = tempfile::tempdir().unwrap();
        let device = Path::new("/dev/null");
        assert!(!is_left_alone(udev.path(), device));
        fs::File::create(udev.path().join("c1:3"))
            .and_then(|mut file| io::Write::write_all(&mut file, b"I:1\nE:ID_MM_DEVICE_IGNORE=1\n"))
            .unwrap();
        assert!(is_left_alone(udev.path(), device));
    }
}
