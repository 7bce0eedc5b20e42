//! The packaged units under a real systemd, with everything that they forbid forbidden: what they
//! let uplift do is enough for whole upgrades, and little more.
//!
//! A binary of its own: its tests boot machines, and no others run beside them.

#![allow(clippy::disallowed_methods, reason = "files of a test need not survive anything")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on should stop where it is"
)]

mod channels;
#[path = "../world/psdk_app.rs"]
mod example;
mod machine;
#[path = "../world/programs.rs"]
mod programs;
mod psdk_app;
mod trees;
mod updater;

use uplift::model::{FailureKind, Outcome, Report, RunningEvidence};
use uplift_fixtures::untested;

use machine::{Machine, NEW, OLD, PRODUCT, program};

/// Of root's with all its capabilities, as most payload programs are: more than the daemon has.
const UNIT: &str = "[Service]\nExecStart=/usr/local/bin/payload\nRestart=on-failure\nRestartSec=100ms\n[Install]\nWantedBy=multi-user.target\n";
/// The unit with which a trial begins before its program.
const ORDER: &str = include_str!("../../systemd/program.service.d/uplift.conf.example");

fn configuration(program: &str, sections: &str) -> String {
    format!(
        "[component.program]\npath = \"/usr/local/bin/payload\"\nproduct = \"{PRODUCT}\"\nunit = \"payload.service\"\nversion_command = [\"--version\"]\n{program}\n{sections}\n"
    )
}

/// A payload whose program and daemon run.
fn payload(program_section: &str, sections: &str) -> Machine {
    let machine = Machine::boot();
    machine.write("/etc/uplift/uplift.toml", configuration(program_section, sections).as_bytes());
    start(&machine);
    machine
}

/// Starts the program and what is configured.
fn start(machine: &Machine) {
    machine.install_program("/usr/local/bin/payload", program(OLD));
    start_unit(machine);
}

fn start_unit(machine: &Machine) {
    machine.write("/etc/systemd/system/payload.service", UNIT.as_bytes());
    machine.write("/etc/systemd/system/payload.service.d/uplift.conf", ORDER.as_bytes());
    machine.done(&["systemctl", "daemon-reload"]);
    machine.done(&["systemctl", "enable", "--now", "payload.service"]);
    machine.done(&["systemctl", "start", "uplift-ftp.socket", "uplift-rescue.timer"]);
}

#[track_caller]
fn assert_succeeded(machine: &Machine, report: &Report) {
    assert_runs(machine, report, RunningEvidence::Verified);
}

/// It succeeded, and this is what was seen of its process.
#[track_caller]
fn assert_runs(machine: &Machine, report: &Report, wanted: RunningEvidence) {
    let running = report.evidence.as_ref().map(|evidence| evidence.running);
    assert!(
        report.outcome == Outcome::Succeeded && running == Some(wanted),
        "{report:?}\n{}",
        machine.journal()
    );
    assert_eq!(machine.running("payload.service"), NEW);
}

/// What `config check` found, but for what is so on each such machine: the root directory is an
/// overlay that is thrown away, and the upload server's socket listens though the configuration has
/// no link.
fn found_beside_the_machine_s_own(checked: &str) -> Vec<&str> {
    let is_finding = |line: &&str| line.starts_with("error: ") || line.starts_with("warning: ");
    let is_the_machine_s = |line: &str| {
        line.contains("the upper layer of the overlay at / ")
            || line.contains("uplift-ftp.socket takes connections")
    };
    assert!(checked.contains("\n0 errors, "), "{checked}");
    checked.lines().filter(is_finding).filter(|line| !is_the_machine_s(line)).collect()
}

/// The version is asked, and the health too, in units of their own. The restarted process is
/// another user's.
#[test]
fn a_unit_is_restarted_and_owner_mode_and_capabilities_stay() {
    let machine = payload(
        "restart = \"unit\"",
        "[trial]\nwindow = \"1s\"\nhealth_command = [\"test\", \"-x\", \"/usr/local/bin/payload\"]",
    );
    machine.done(&["chown", "uplift-ftp:games", "/usr/local/bin/payload"]);
    machine.done(&["chmod", "6755", "/usr/local/bin/payload"]);
    machine.done(&["setcap", "cap_net_raw=ep", "/usr/local/bin/payload"]);
    let firmware = machine.firmware(program(NEW).filled_to(600_000));
    // In /root, where the user without rights that would run it can't come.
    machine.done(&["chmod", "755", &firmware]);
    let explained = machine.done(&["uplift", "check", &firmware]);
    assert!(
        explained.contains("the daemon asks it for its version once it is staged"),
        "{explained}"
    );
    machine.done(&["uplift", "install", &firmware]);
    assert_succeeded(&machine, &machine.report());
    assert_eq!(
        machine.done(&["stat", "--format=%U:%G %a", "/usr/local/bin/payload"]),
        "uplift-ftp:games 6755\n"
    );
    assert!(machine.done(&["getcap", "/usr/local/bin/payload"]).contains("cap_net_raw=ep"));
}

/// The helper that decodes runs as a unit of its own, and so does not run as root.
#[test]
fn a_container_is_decoded_in_a_unit_without_rights() {
    let machine = payload("restart = \"unit\"", "[trial]\nwindow = \"1s\"");
    let firmware = machine.firmware(program(NEW).filled_to(600_000));
    let built = machine.done(&["sha256sum", &firmware]);
    let pack = ["uplift", "pack", "--compress", "--unsigned", "--force", "--product", PRODUCT];
    machine.done(&[&pack[..], &["--version", NEW, "--out", "/root", &firmware]].concat());
    machine.done(&["uplift", "install", &firmware]);
    assert_succeeded(&machine, &machine.report());
    let installed = machine.done(&["sha256sum", "/usr/local/bin/payload"]);
    assert_eq!(installed.split(' ').next(), built.split(' ').next());
    assert!(machine.journal().contains("uplift decode zstd"), "{}", machine.journal());
}

/// Names go to systemd as they are, whatever it would make of them: into drop-ins, the rescue's
/// call, and where the version is asked.
#[test]
fn a_program_and_a_state_in_directories_whose_names_systemd_would_change() {
    const DIRECTORY: &str = r#"/opt/pay: lo\ad's "100%" ${HOME} $x"#;
    const STATE: &str = r#"/data/5%d $$x ${HOME} \"state's"#;
    let machine = Machine::boot();
    let path = format!("{DIRECTORY}/payload");
    let configuration = configuration(
        "restart = \"unit\"",
        &format!("[trial]\nwindow = \"2s\"\n[paths]\nstate = {STATE:?}"),
    );
    let elsewhere = configuration.replace("\"/usr/local/bin/payload\"", &format!("{path:?}"));
    machine.write("/etc/uplift/uplift.toml", elsewhere.as_bytes());
    machine.done(&["mkdir", "--parents", DIRECTORY, STATE]);
    machine.install_program(&path, program(OLD));
    // By a link: systemd itself starts nothing in such a place.
    machine.done(&["ln", "--symbolic", &path, "/usr/local/bin/payload"]);
    start_unit(&machine);
    let findings = || machine.done(&["sh", "-c", "uplift config check || true"]);
    assert!(
        findings().contains("ReadWritePaths=") && findings().contains("ExecStart="),
        "{}",
        findings()
    );
    machine.done(&["uplift", "config", "sandbox", "--write"]);
    machine.done(&["systemctl", "daemon-reload"]);
    machine.done(&["systemctl", "restart", "uplift.service"]);
    assert_eq!(found_beside_the_machine_s_own(&findings()), Vec::<&str>::new());
    let firmware = machine.firmware(program(NEW));
    machine.starts(&["uplift", "install", &firmware]);
    machine.wait_for("the trial", || machine.done(&["uplift", "status"]).contains("trial"));
    machine.done(&["systemctl", "start", "uplift-rescue-deadline.service"]);
    // It says so once it has written its file.
    machine.wait_for("the rescue's look", || machine.journal().contains("is on trial, boot"));
    assert_succeeded(&machine, &machine.report());
}

/// systemd has variables of its own, and puts them into the arguments of what it starts.
#[test]
fn dollar_signs_are_the_health_commands_own() {
    let fails = r#"["/bin/sh", "-c", "f=/run/sensor-works; test -e ${f}"]"#;
    let succeeds = r#"["/bin/sh", "-c", "x=ok; test \"${x}\" = ok && test $$ -gt 1 && test \"$0\" = '$x'", "$x"]"#;
    let trial = |command: &str| {
        format!("[trial]\nwindow = \"100ms\"\ndeadline = \"2s\"\nhealth_command = {command}")
    };
    let machine = payload("restart = \"unit\"", &trial(fails));
    let firmware = machine.firmware(program(NEW));
    assert!(
        !machine.output(&["uplift", "install", &firmware]).status.success(),
        "{}",
        machine.journal()
    );
    let report = machine.report();
    assert_eq!(
        (report.outcome, report.failure.map(|failure| failure.kind)),
        (Outcome::RolledBack, Some(FailureKind::Unhealthy))
    );
    machine.write(
        "/etc/uplift/uplift.toml",
        configuration("restart = \"unit\"", &trial(succeeds)).as_bytes(),
    );
    machine.done(&["systemctl", "restart", "uplift.service"]);
    machine.done(&["uplift", "install", "--force", &firmware]);
    assert_eq!(machine.running("payload.service"), NEW);
}

/// A small Debian has no bus, and the rights of the daemon are all that is left to ask a program
/// with.
#[test]
fn without_a_bus_commands_run_with_the_daemons_rights_and_the_check_says_so() {
    let trial =
        "[trial]\nwindow = \"100ms\"\nhealth_command = [\"sh\", \"-c\", \"test $(id -u) = 0\"]";
    let machine = payload("restart = \"unit\"", trial);
    let findings = || machine.done(&["sh", "-c", "uplift config check || true"]);
    assert!(!findings().contains("without its bus"), "{}", findings());
    machine.done(&["systemctl", "stop", "dbus.socket", "dbus.service"]);
    assert!(
        findings().contains(
            "warning: component.program.isolate_commands: systemd runs here without its bus"
        ),
        "{}",
        findings()
    );
    machine.done(&["uplift", "install", &machine.firmware(program(NEW))]);
    assert_succeeded(&machine, &machine.report());
    let always = configuration("restart = \"unit\"\nisolate_commands = \"always\"", trial);
    machine.write("/etc/uplift/uplift.toml", always.as_bytes());
    assert!(
        findings().contains(
            "error: component.program.isolate_commands: systemd runs here without its bus"
        ),
        "{}",
        findings()
    );
}

/// A payload whose unit has an alias, says its version at each start, and is not started again when
/// it fails.
fn talkative_payload(restart: &str, trial: &str) -> Machine {
    let machine = Machine::boot();
    let configuration = configuration(restart, trial).replace("payload.service", "sensor.service");
    machine.write("/etc/uplift/uplift.toml", configuration.as_bytes());
    machine.write(
        "/etc/systemd/system/payload.service.d/words.conf",
        b"[Service]\nRestart=no\nExecStartPre=/usr/local/bin/payload --version\n",
    );
    machine.done(&["ln", "--symbolic", "payload.service", "/etc/systemd/system/sensor.service"]);
    start(&machine);
    machine
}

#[track_caller]
fn assert_last_words(machine: &Machine) {
    let report = machine.report();
    let has = |word: &str| report.program_log.iter().any(|line| line.contains(word));
    assert_eq!(report.outcome, Outcome::RolledBack, "{}", machine.journal());
    assert!(has(NEW) && !has(OLD), "{:?}\n{}", report.program_log, machine.journal());
}

/// What the version before said is no explanation; the journal knows no alias.
#[test]
fn last_words_are_of_the_failed_program_whatever_its_unit_is_called() {
    let trial = "[trial]\nwindow = \"1s\"\ndeadline = \"2s\"\nhealth_command = [\"false\"]";
    let machine = talkative_payload("restart = \"unit\"", trial);
    assert!(
        !machine.output(&["uplift", "install", &machine.firmware(program(NEW))]).status.success()
    );
    assert_last_words(&machine);
}

#[test]
fn last_words_are_of_the_boots_of_the_trial() {
    let mut machine = talkative_payload(
        "",
        "[trial]\nwindow = \"1s\"\ndeadline = \"2m\"\nconfirm = \"explicit\"",
    );
    let firmware = machine.firmware(program(NEW));
    machine.reboots_after(|machine| machine.starts(&["uplift", "install", &firmware]));
    machine.wait_for("the trial", || {
        machine.done(&["uplift", "status"]).contains("waits for `uplift confirm`")
    });
    machine.reboots_after(|machine| {
        machine.starts(&["systemctl", "kill", "--signal=SEGV", "payload.service"]);
    });
    assert_last_words(&machine);
}

/// A program of this version that does this when it is started without arguments.
fn compiled(version: &str, body: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("program");
    let source = format!(
        "#include <signal.h>\n#include <stdio.h>\n#include <unistd.h>\nint main(int count, char **words) {{\n(void)words;\n\
         if (count > 1) {{ puts(\"{version}\"); return 0; }}\n{body}\nreturn 1;\n}}\n"
    );
    std::fs::write(directory.path().join("program.c"), source).unwrap();
    let compiler = std::process::Command::new("cc")
        .arg("-o")
        .arg(&file)
        .arg(directory.path().join("program.c"))
        .status();
    assert!(compiler.expect("a C compiler links this test, too").success());
    std::fs::read(file).unwrap()
}

/// systemd kills it after the time that its unit says, and the restart comes only then.
#[test]
fn a_program_that_does_not_end_when_it_is_told_to_can_be_upgraded() {
    let machine = payload("restart = \"unit\"", "[trial]\nwindow = \"2s\"");
    machine.write_executable(
        "/usr/local/bin/payload.new",
        &compiled(OLD, "signal(SIGTERM, SIG_IGN); for (;;) pause();"),
    );
    machine.done(&["mv", "/usr/local/bin/payload.new", "/usr/local/bin/payload"]);
    machine.write(
        "/etc/systemd/system/payload.service.d/time.conf",
        b"[Service]\nTimeoutStopSec=2\nTimeoutStartSec=100\n",
    );
    machine.done(&["systemctl", "daemon-reload"]);
    machine.done(&["systemctl", "restart", "payload.service"]);
    assert!(
        machine.done(&["uplift", "config", "check"]).contains("it must begin within 1m 52s"),
        "{}",
        machine.done(&["uplift", "config", "check"])
    );
    machine.starts(&["uplift", "install", &machine.firmware(program(NEW))]);
    machine.wait_for("the trial", || machine.done(&["uplift", "status"]).contains("trial"));
    let state: serde_json::Value =
        serde_json::from_str(&machine.read("/var/lib/uplift/state.json")).unwrap();
    assert_eq!(state["upgrade"]["swap"]["terms"]["restart_deadline"], 112_000, "{state}");
    assert_succeeded(&machine, &machine.report());
    assert!(
        machine.journal().contains("payload.service: State 'stop-sigterm' timed out. Killing."),
        "{}",
        machine.journal()
    );
}

/// As an AppImage does, or a script that was compiled.
#[test]
fn a_program_that_becomes_another_one_is_refused_at_once_unless_the_configuration_says_so() {
    let itself = "restart = \"unit\"";
    let trial = "[trial]\nwindow = \"1s\"\ndeadline = \"10m\"";
    let machine = payload(itself, trial);
    let firmware = format!("/root/{PRODUCT}_{NEW}.bin");
    machine
        .write(&firmware, &compiled(NEW, "execl(\"/bin/sleep\", \"sleep\", \"1000\", (char *)0);"));
    let output = machine.output(&["uplift", "install", &firmware]);
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(
        said.contains("payload.service runs /usr/bin/sleep")
            && said.contains("`runs = \"another\"`"),
        "{said}\n{}",
        machine.journal()
    );
    assert_eq!(machine.report().outcome, Outcome::RolledBack);
    machine.write(
        "/etc/uplift/uplift.toml",
        configuration(&format!("{itself}\nruns = \"another\""), trial).as_bytes(),
    );
    machine.done(&["systemctl", "restart", "uplift.service"]);
    let said = machine.done(&["uplift", "install", "--force", &firmware]);
    assert!(said.contains("what that process runs was not looked at"), "{said}");
    let status = machine.done(&["uplift", "status"]);
    assert!(status.contains("what that process runs was not looked at"), "{status}");
    assert_eq!(
        found_beside_the_machine_s_own(&machine.done(&["uplift", "config", "check"])),
        Vec::<&str>::new()
    );
}

#[test]
fn the_machine_restarts_and_the_new_program_is_proved_after_it() {
    let mut machine = payload("", "[trial]\nwindow = \"1s\"");
    let firmware = machine.firmware(program(NEW));
    machine.reboots_after(|machine| machine.starts(&["uplift", "install", &firmware]));
    assert_succeeded(&machine, &machine.report());
}

/// By FTP from the upload server on port 21, then by DCFTP; the port is a pseudo-terminal in /run,
/// which the drop-in lets in.
#[test]
fn the_payload_link_under_the_drop_in_that_was_printed() {
    let machine = payload(
        "restart = \"unit\"",
        "[channel.psdk]\ndevice = \"/run/ttyPayload\"\nbaud = 115200\n[trial]\nwindow = \"1s\"",
    );
    let firmware = machine.firmware(program(NEW).filled_to(300_000));
    let aircraft = [
        "uplift-sim",
        "aircraft",
        "--make-pty",
        "/run/ttyPayload",
        "--firmware",
        &firmware,
        "--via",
        "ftp",
    ];
    assert!(
        machine
            .done(&["uplift", "config", "sandbox", "--write"])
            .contains("wrote /etc/systemd/system/uplift.service.d/uplift-sandbox.conf")
    );
    machine.done(&["systemctl", "daemon-reload"]);
    machine.done(&["systemctl", "restart", "uplift.service"]);
    machine.done(&aircraft);
    assert_succeeded(&machine, &machine.report());
}

/// Whether systemd can do what a unit's `DevicePolicy=` asks for: many a container keeps from it
/// what that takes (BPF).
fn closes_devices(machine: &Machine) -> bool {
    let open = ["sh", "-c", ": <>/dev/ttyS0"];
    let closed = [
        "systemd-run",
        "--quiet",
        "--collect",
        "--wait",
        "--pipe",
        "--property=DevicePolicy=closed",
        "--",
    ];
    let is_forbidden = |words: &[&str]| {
        String::from_utf8_lossy(&machine.output(words).stderr).contains("Operation not permitted")
    };
    is_forbidden(&[&closed[..], &open].concat()) && !is_forbidden(&open)
}

/// The driver of such adapters is not even there, as before the first one is plugged in: the kernel
/// says so, not the sandbox.
#[test]
fn a_usb_adapter_may_come_at_any_time_and_no_other_device_may_be_opened() {
    let machine = payload("restart = \"unit\"", "[channel.psdk]\ndevice = \"/dev/ttyUSB0\"");
    if !closes_devices(&machine) {
        return untested::say(
            "this container keeps systemd from closing devices to a unit, or has none to close",
        );
    }
    let status = || machine.done(&["uplift", "status"]);
    machine.wait_for("the refusal", || status().contains("/dev/ttyUSB0 can't be opened"));
    assert!(status().contains("No such device"), "{}", status());
    let config = machine.read("/etc/uplift/uplift.toml").replace("ttyUSB0", "ttyS0");
    machine.write("/etc/uplift/uplift.toml", config.as_bytes());
    machine.done(&["systemctl", "restart", "uplift.service"]);
    machine.wait_for("the refusal", || {
        status().contains("/dev/ttyS0 can't be opened: Operation not permitted")
    });
    assert!(
        machine
            .done(&["sh", "-c", "uplift config check || true"])
            .contains("uplift.service has no DeviceAllow=/dev/ttyS0 rw")
    );
    machine.done(&["uplift", "config", "sandbox", "--write"]);
    machine.done(&["systemctl", "daemon-reload"]);
    machine.done(&["systemctl", "restart", "uplift.service"]);
    assert!(!machine.done(&["sh", "-c", "uplift config check || true"]).contains("DeviceAllow"));
    machine.wait_for("another word", || !status().contains("Operation not permitted"));
}

/// The host and the daemon both log in with it, and nobody with the vendor's any more.
#[test]
fn a_password_of_ones_own_is_a_credential_of_both_services() {
    let machine = Machine::boot();
    let secrets = "[channel.psdk]\ndevice = \"/run/ttyPayload\"\nbaud = 115200\ntransfer = \"ftp\"\n\
                   [transfer.ftp]\npassword_file = \"/run/credentials/uplift.service/ftp-password\"\n\
                   [ftp_server]\npassword_file = \"/run/credentials/uplift-ftp.service/ftp-password\"\n[trial]\nwindow = \"1s\"";
    machine
        .write("/etc/uplift/uplift.toml", configuration("restart = \"unit\"", secrets).as_bytes());
    machine.write("/etc/uplift/ftp-password", b"secret\n");
    machine.done(&["uplift", "config", "sandbox", "--write"]);
    start(&machine);
    let firmware = machine.firmware(program(NEW));
    let aircraft = |password: &str| {
        let words = [
            "uplift-sim",
            "aircraft",
            "--make-pty",
            "/run/ttyPayload",
            "--firmware",
            &firmware,
            "--ftp-password",
            password,
        ];
        machine.output(&words).status.success()
    };
    assert!(!aircraft("DJi_#$31"));
    assert!(aircraft("secret"), "{}", machine.journal());
    machine.wait_for("the report", || machine.done(&["uplift", "history"]).contains("succeeded"));
}

/// The daemon is gone for good in the trial's boots: the rescue counts them, and puts the old
/// program back before it starts.
#[test]
fn the_rescue_puts_the_old_program_back_when_the_daemon_does_not_come() {
    let mut machine = payload("", "[trial]\nwindow = \"1s\"\nboots = 1");
    let firmware = machine.firmware(program(NEW));
    rolled_back_without_daemon(&mut machine, &firmware);
}

/// An upgrade for which the daemon does not come back, to be ended by the rescue after one boot, until the
/// daemon is there again and has reported it.
fn rolled_back_without_daemon(machine: &mut Machine, firmware: &str) {
    machine.write(
        "/etc/systemd/system/uplift.service.d/broken.conf",
        b"[Service]\nExecStartPre=/usr/bin/test ! -e /etc/broken\nRestart=no\n",
    );
    machine.done(&["systemctl", "daemon-reload"]);
    machine.write("/etc/broken", b"");
    machine.reboots_after(|machine| machine.starts(&["uplift", "install", firmware]));
    assert_eq!(machine.running("payload.service"), NEW);
    machine.reboots_after(|machine| machine.starts(&["systemctl", "reboot"]));
    assert_eq!(machine.running("payload.service"), OLD, "{}", machine.journal());
    machine.done(&["rm", "/etc/broken"]);
    machine.done(&["systemctl", "start", "uplift.service"]);
    let report = machine.report();
    assert_eq!(
        (report.outcome, report.failure.map(|failure| failure.kind)),
        (Outcome::RolledBack, Some(FailureKind::Unhealthy))
    );
}

/// A check that the operating system has of its own decides about the trial, by the word of the
/// example's unit.
#[test]
fn a_boot_that_is_never_complete_ends_a_trial() {
    let mut machine = payload(
        "",
        "[trial]\nwindow = \"1s\"\ndeadline = \"5s\"\nhealth_command = [\"test\", \"-e\", \"/run/uplift-boot/complete\"]",
    );
    machine.write(
        "/etc/systemd/system/uplift-boot-complete.service",
        include_bytes!("../../systemd/uplift-boot-complete.service.example"),
    );
    let check = "[Unit]\nBefore=boot-complete.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/test ! -e /etc/broken\n\
                 [Install]\nRequiredBy=boot-complete.target\n";
    machine.write("/etc/systemd/system/own-check.service", check.as_bytes());
    machine.done(&["systemctl", "daemon-reload"]);
    machine.done(&[
        "systemctl",
        "enable",
        "--now",
        "uplift-boot-complete.service",
        "own-check.service",
    ]);
    let firmware = machine.firmware(program(NEW));
    machine.write("/etc/broken", b"");
    machine.reboots_after(|machine| machine.starts(&["uplift", "install", &firmware]));
    let before = machine.boot_id().unwrap();
    machine.wait_for_boot(&before);
    let report = machine.report();
    assert_eq!(
        (report.outcome, report.failure.map(|failure| failure.kind)),
        (Outcome::RolledBack, Some(FailureKind::Unhealthy))
    );
    assert_eq!(machine.running("payload.service"), OLD);
    machine.done(&["rm", "/etc/broken"]);
    machine.reboots_after(|machine| machine.starts(&["uplift", "install", "--force", &firmware]));
    machine.wait_for("the second report", || {
        machine.done(&["uplift", "history"]).contains("succeeded")
    });
    assert_eq!(machine.running("payload.service"), NEW);
}

/// systemd starts no socket whose service runs, but restarts both: the service needs its socket,
/// and stops first.
#[test]
fn the_command_that_is_printed_moves_a_server_that_runs_to_another_port() {
    let machine = payload("", "");
    machine.done(&["systemctl", "start", "uplift-ftp.service"]);
    machine.done(&["install", "--directory", "--owner=uplift-ftp", "/srv/upgrade"]);
    for (server, units, listens) in [
        ("listen = \"0.0.0.0:2121\"", "uplift-ftp.socket", "0.0.0.0:2121 (Stream)"),
        (
            "listen = \"0.0.0.0:2122\"\nhome = \"/srv/upgrade\"",
            "uplift-ftp.socket uplift-ftp.service",
            "0.0.0.0:2122 (Stream)",
        ),
        ("", "uplift-ftp.socket uplift-ftp.service", "[::]:21 (Stream)"),
    ] {
        machine.write(
            "/etc/uplift/uplift.toml",
            configuration("", &format!("[ftp_server]\n{server}")).as_bytes(),
        );
        let said = machine.done(&["uplift", "config", "sandbox", "--write"]);
        let command = said.lines().find_map(|line| line.strip_prefix("now: ")).unwrap();
        assert!(command.ends_with(&format!(" restart {units}")), "{said}");
        machine.done(&["sh", "-c", command]);
        assert_eq!(
            machine
                .done(&["systemctl", "show", "--property=Listen", "--value", "uplift-ftp.socket"])
                .trim(),
            listens
        );
        assert_eq!(machine.done(&["systemctl", "is-active", "uplift-ftp.socket"]), "active\n");
        machine.wait_for("the server", || {
            machine.output(&["systemctl", "is-active", "uplift-ftp.service"]).stdout == b"active\n"
        });
    }
}
