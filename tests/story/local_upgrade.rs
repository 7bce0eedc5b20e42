//! The main job, black box: DJI Assistant 2's "local upgrade" through the real binaries.
//! `uplift-sim aircraft` at one end of a pseudo-terminal, `uplift daemon` and an FTP server at the
//! other, and a restart that kills and starts processes.

mod bad_files;
mod interruptions;
mod sealed;
mod success;

use std::path::{Path, PathBuf};

use serde_json::Value;
use uplift::model::version::Version;

use crate::world::payload::{OLD, Payload, Setup, Transfer};

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// A payload with a line, and with uplift's own FTP server if the transfer is FTP.
fn setup(transfer: Transfer) -> Setup {
    Payload::setup().link("921600", None).ftp_server(transfer == Transfer::Ftp)
}

/// The same with these lines in the section `[package]`.
fn with_package(transfer: Transfer, package: &str) -> Payload {
    setup(transfer).sections(&format!("[package]\n{package}\n")).start()
}

impl Payload {
    /// A firmware file of this name with these bytes.
    fn file_of(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.root().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// An upgrade that gets to the restart, which is carried out. The aircraft's verdict.
    fn upgrade_by(&mut self, transfer: Transfer, firmware: &Path, arguments: &[&str]) -> Value {
        let aircraft = self.aircraft(transfer, firmware, arguments);
        if let Err(error) = self.wait_for_restart_request() {
            panic!("{error:#}\n{}", aircraft.verdict());
        }
        self.reboot();
        aircraft.verdict()
    }

    /// The same, which succeeds.
    fn is_upgraded_by(&mut self, transfer: Transfer, firmware: &Path) {
        let verdict = self.upgrade_by(transfer, firmware, &[]);
        assert_eq!(verdict["result"], "success", "{transfer:?}: {verdict}");
    }

    /// An upgrade that is refused before the restart. The aircraft's verdict.
    fn refused(&self, transfer: Transfer, firmware: &Path, arguments: &[&str]) -> Value {
        let verdict = self.aircraft(transfer, firmware, arguments).hears("failure");
        assert_eq!(self.reported_version().unwrap(), OLD);
        verdict
    }
}
