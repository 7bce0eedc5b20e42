//! `uplift config sandbox`: prints the drop-ins, writes them, and takes away what is no longer
//! needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A directory with a configuration file.
struct Configured(TempDir);

impl Configured {
    fn new(program: &str) -> Self {
        let configured = Self(TempDir::new().unwrap());
        configured.configure(program);
        configured
    }

    fn configure(&self, program: &str) {
        let text = format!(
            "[component.program]\nproduct = \"P\"\n{program}\n[ftp_server]\nlisten = \"0.0.0.0:2121\"\n"
        );
        fs::write(self.config(), text).unwrap();
    }

    fn config(&self) -> PathBuf {
        self.0.path().join("uplift.toml")
    }

    fn said(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_uplift"));
        let output = command
            .args(["config", "sandbox", "--config"])
            .arg(self.config())
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn drop_in(&self, unit: &str) -> PathBuf {
        self.0.path().join(format!("units/{unit}.d/uplift-sandbox.conf"))
    }
}

const SOCKET: &str = "# Made by `uplift config sandbox`.\n[Socket]\n# ftp_server.listen\nListenStream=\nListenStream=0.0.0.0:2121\n";

#[test]
fn each_drop_in_is_printed_with_the_name_that_it_should_have() {
    let configured = Configured::new("path = \"/opt/payload/sensor\"");
    let daemon = "# /etc/systemd/system/uplift.service.d/uplift-sandbox.conf\n# Made by `uplift config sandbox`.\n[Service]\n# component.program.path\n\
                  ReadWritePaths=\nReadWritePaths=/opt/payload\n\n";
    let socket =
        format!("# /etc/systemd/system/uplift-ftp.socket.d/uplift-sandbox.conf\n{SOCKET}\n");
    assert_eq!(configured.said(&[]), format!("{daemon}{socket}"));
}

#[test]
fn they_are_written_and_taken_away() {
    let configured = Configured::new("path = \"/usr/bin/sensor\"");
    let units = configured.0.path().join("units");
    let write = ["--write", units.to_str().unwrap()];
    let said = configured.said(&write);
    let restart =
        "now: systemctl daemon-reload && systemctl restart uplift.service uplift-ftp.socket\n";
    assert!(said.contains("wrote ") && said.ends_with(restart), "{said}");
    assert_eq!(fs::read_to_string(configured.drop_in("uplift-ftp.socket")).unwrap(), SOCKET);
    assert!(
        configured.drop_in("uplift-rescue.service").exists()
            && configured.drop_in("uplift-rescue-deadline.service").exists()
    );
    configured.configure("name = \"sensor\"");
    assert!(configured.said(&write).contains("removed "));
    assert!(
        !configured.drop_in("uplift.service").exists()
            && configured.drop_in("uplift-ftp.socket").exists()
    );
    // The socket's drop-in is as it was, and written again.
    assert!(
        configured
            .said(&write)
            .ends_with("now: systemctl daemon-reload && systemctl restart uplift-ftp.socket\n")
    );
}

/// systemd finds no mistake in the units with what is written, white space and percent signs
/// included.
#[test]
fn systemd_reads_what_is_written() {
    let configured = Configured::new("path = \"/home/100% sure/sensor\"");
    let units = configured.0.path().join("units");
    configured.said(&["--write", units.to_str().unwrap()]);
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let text = fs::read_to_string(&path)
                .unwrap()
                .replace("/usr/bin/uplift-rescue", "/bin/true")
                .replace("/usr/bin/uplift", "/bin/true");
            fs::write(units.join(path.file_name().unwrap()), text).unwrap();
        }
    }
    for unit in [
        "uplift.service",
        "uplift-rescue.service",
        "uplift-rescue-deadline.service",
        "uplift-ftp.socket",
    ] {
        let mut verify = Command::new("systemd-analyze");
        let verify = verify
            .args(["verify", "--man=no", "--recursive-errors=no"])
            .arg(units.join(unit))
            .env("SYSTEMD_UNIT_PATH", &units);
        let said = String::from_utf8_lossy(&verify.output().unwrap().stderr).into_owned();
        assert!(!said.contains(unit), "{said}");
    }
}
