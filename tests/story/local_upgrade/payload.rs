//! A payload in a sandbox with a link, and the aircraft at its other end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::world::watched::Watched as _;
use serde_json::Value;
use uplift::model::version::Version;
use uplift::model::{Report, Status};
use uplift_sim::sandbox::{Sandbox, free_address};

pub(crate) fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// What the payload runs before the upgrade.
pub(crate) const OLD: &str = "V01.00.00.00";
/// What it is upgraded to.
pub(crate) const NEW: &str = "V02.00.00.00";
/// Bytes of the new firmware: more than one write, few enough for a serial line without a pace.
pub(crate) const SIZE: u64 = 300_000;

/// The payload; the aircraft finds it at `run/ttyPayload`.
pub(crate) struct Payload {
    pub(crate) sandbox: Sandbox,
}

/// How the file is to be transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    Ftp,
    Dcftp,
    /// As the payload offers.
    Any,
}

impl Transfer {
    pub(crate) const BOTH: [Self; 2] = [Self::Ftp, Self::Dcftp];

    fn name(self) -> &'static str {
        match self {
            Self::Ftp => "ftp",
            Self::Dcftp => "dcftp",
            Self::Any => "auto",
        }
    }
}

impl Payload {
    /// With uplift's own FTP server if the transfer is FTP, without any if it is DCFTP. The daemon
    /// runs.
    pub(crate) fn new(transfer: Transfer) -> Self {
        Self::configured(transfer, "", "")
    }

    /// With lines of its own in the sections `[component.program]` and `[package]`.
    pub(crate) fn configured(transfer: Transfer, program: &str, package: &str) -> Self {
        let mut payload = Self::stopped(program, package);
        if transfer == Transfer::Ftp {
            payload.sandbox.start_ftp_server().unwrap();
        }
        payload.sandbox.start_daemon().unwrap();
        payload
    }

    /// Nothing runs yet.
    pub(crate) fn stopped(program: &str, package: &str) -> Self {
        Self::with_ftp_at(free_address().unwrap(), program, package)
    }

    /// The FTP server's address is given; nothing runs yet.
    pub(crate) fn with_ftp_at(ftp: std::net::SocketAddr, program: &str, package: &str) -> Self {
        let sandbox = Sandbox::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
        sandbox.install_by_hand(OLD.parse().unwrap()).unwrap();
        let root = sandbox.root().display();
        let sections = format!(
            r#"
[package]
{package}
[channel.psdk]
device = "{root}/run/ttyPayload"
baud = 921600
[transfer.ftp]
address = "{ftp}"
timeout = "3s"
[ftp_server]
listen = "{ftp}"
home = "{root}/upgrade"
keep_free = 0
"#
        );
        let program = if program.contains("restart = ") {
            program.to_owned()
        } else {
            format!("{}\n{program}", sandbox.restart_line())
        };
        sandbox.configure(&program, &sections).unwrap();
        Self { sandbox }
    }

    /// Good firmware, newer than what runs.
    pub(crate) fn firmware(&self) -> PathBuf {
        self.sandbox.firmware(NEW.parse().unwrap(), Some(SIZE)).unwrap()
    }

    /// A firmware file of this name with these bytes.
    pub(crate) fn firmware_of(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.sandbox.root().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The aircraft with Assistant 2, about to upgrade the payload with this file.
    pub(crate) fn aircraft(
        &self,
        transfer: Transfer,
        firmware: &Path,
        arguments: &[&str],
    ) -> Command {
        let mut command = Command::new(crate::world::programs::uplift_sim());
        command
            .arg("aircraft")
            .arg("--make-pty")
            .arg(self.sandbox.root().join("run/ttyPayload"))
            .arg("--firmware")
            .arg(firmware);
        command
            .args(["--json", "--quiet", "--via", transfer.name(), "--chunk", "1000"])
            .args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// An upgrade that gets to the restart, which is carried out. The aircraft's verdict.
    pub(crate) fn upgrade(
        &mut self,
        transfer: Transfer,
        firmware: &Path,
        arguments: &[&str],
    ) -> Value {
        let aircraft = self.aircraft(transfer, firmware, arguments).spawn().unwrap();
        if let Err(error) = self.sandbox.wait_for_restart_request() {
            panic!("{error:#}\n{}\n{:?}", self.log(), finish(aircraft));
        }
        self.sandbox.reboot().unwrap();
        verdict(&finish(aircraft))
    }

    /// An upgrade that is refused before the restart. The aircraft's verdict.
    pub(crate) fn refused(&self, transfer: Transfer, firmware: &Path, arguments: &[&str]) -> Value {
        let verdict =
            verdict(&finish(self.aircraft(transfer, firmware, arguments).spawn().unwrap()));
        assert_eq!(verdict["result"], "failure", "{verdict}\n{}", self.log());
        assert_eq!(self.sandbox.reported_version().unwrap(), OLD);
        verdict
    }

    pub(crate) fn status(&self) -> Status {
        self.sandbox.status().unwrap()
    }

    pub(crate) fn history(&self) -> Vec<Report> {
        let output = self.sandbox.command(&["history", "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) fn last_report(&self) -> Report {
        self.history().pop().expect("there is a report")
    }

    /// What the daemon and the FTP server said, for the message of a test that fails.
    pub(crate) fn log(&self) -> String {
        ["daemon", "ftp-server"]
            .map(|name| fs::read_to_string(self.sandbox.log(name)).unwrap_or_default())
            .concat()
    }
}

/// Waits for the aircraft's end.
pub(crate) fn finish(aircraft: Child) -> Output {
    aircraft.wait_with_output().unwrap()
}

/// The verdict that the aircraft printed.
pub(crate) fn verdict(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
    })
}
