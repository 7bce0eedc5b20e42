//! systemd itself finds no mistake in the units, and little that they leave open.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// Highest exposure of each service, in tenths, as `systemd-analyze security` rates it.
const EXPOSURES: [(&str, u8); 5] = [
    ("uplift.service", 30),
    ("uplift-ftp.service", 15),
    ("uplift-channels.service", 15),
    ("uplift-rescue.service", 20),
    ("uplift-rescue-deadline.service", 20),
];

/// The units, with the programs of this build: systemd looks whether they are there.
fn units() -> TempDir {
    let directory = TempDir::new().unwrap();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::write(directory.path().join(path.file_name().unwrap()), built(&path)).unwrap();
        }
    }
    directory
}

fn built(unit: &Path) -> String {
    let text = fs::read_to_string(unit).unwrap();
    let rescue = text.replace("/usr/bin/uplift-rescue", env!("CARGO_BIN_EXE_uplift-rescue"));
    rescue.replace("/usr/bin/uplift ", &format!("{} ", env!("CARGO_BIN_EXE_uplift")))
}

fn analyze(units: &TempDir, arguments: &[&str], unit: &str) {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .arg(units.path().join(unit))
        .env("SYSTEMD_UNIT_PATH", units.path())
        .output();
    let output = output.expect("systemd-analyze can't be run; `tests/run` installs it");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains(unit), "{unit}: {said}");
}

#[test]
fn no_unit_has_a_mistake() {
    let units = units();
    let names = [
        "uplift.service",
        "uplift-ftp.service",
        "uplift-channels.service",
        "uplift-rescue.service",
        "uplift-rescue-deadline.service",
        "uplift-rescue.timer",
    ];
    for unit in names {
        analyze(&units, &["verify", "--man=no", "--recursive-errors=no"], unit);
    }
}

#[test]
fn the_drop_in_of_a_daemon_that_upgrades_itself_has_none_either() {
    let units = units();
    let example = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("systemd/uplift.service.d/self-upgrade.conf.example");
    let text = fs::read_to_string(example).unwrap().replace(
        "/usr/local/bin/uplift daemon",
        &format!("{} daemon", env!("CARGO_BIN_EXE_uplift")),
    );
    let directory = units.path().join("uplift.service.d");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("self-upgrade.conf"), text).unwrap();
    analyze(&units, &["verify", "--man=no", "--recursive-errors=no"], "uplift.service");
}

#[test]
fn the_services_leave_little_open() {
    let units = units();
    for (unit, tenths) in EXPOSURES {
        analyze(
            &units,
            &["security", "--offline=yes", "--no-pager", &format!("--threshold={tenths}")],
            unit,
        );
    }
}

/// A root directory in which nothing is installed yet but the users that every one has.
fn empty_root() -> TempDir {
    let root = TempDir::new().unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    fs::write(root.path().join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    fs::write(root.path().join("etc/group"), "root:x:0:\n").unwrap();
    root
}

fn apply(tool: &str, arguments: &[&str], root: &TempDir, fragment: &str) {
    let fragment = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(fragment);
    let output = Command::new(tool)
        .args(arguments)
        .arg(format!("--root={}", root.path().display()))
        .arg(fragment)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success()
            && !said.contains("uplift.sysusers:")
            && !said.contains("uplift.tmpfiles:"),
        "{tool}: {said}"
    );
}

/// The user that may log in nowhere, the group, and a directory that is the user's alone.
#[test]
fn user_group_and_upload_area_are_made() {
    assert!(nix::unistd::geteuid().is_root(), "this test gives a directory away: run it as root");
    let root = empty_root();
    apply("systemd-sysusers", &[], &root, "uplift.sysusers");
    apply("systemd-tmpfiles", &["--create"], &root, "uplift.tmpfiles");
    let read = |file: &str| fs::read_to_string(root.path().join(file)).unwrap();
    assert!(
        read("etc/group").lines().any(|line| line.starts_with("uplift:")),
        "{}",
        read("etc/group")
    );
    let passwd = read("etc/passwd");
    let user: Vec<&str> = passwd
        .lines()
        .find(|line| line.starts_with("uplift-ftp:"))
        .expect("the user")
        .split(':')
        .collect();
    assert_eq!(user[4..], ["uplift upload server", "/upgrade", "/usr/sbin/nologin"]);
    let area = fs::metadata(root.path().join("upgrade")).unwrap();
    assert_eq!(
        (area.mode() & 0o7777, area.uid().to_string().as_str(), area.gid().to_string().as_str()),
        (0o700, user[2], user[3])
    );
}
