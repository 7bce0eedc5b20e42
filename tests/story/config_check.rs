//! `uplift config check`: what is wrong on this machine is told before the daemon starts, in one
//! list, each with a hint.

mod policy;
mod storage;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use tokio::net::TcpSocket;
use uplift_fixtures::{executable, untested};
use uplift_sim::ports::free_address;
use uplift_sim::sandbox::Sandbox;

use crate::world::watched::Watched as _;
use storage::check_as_it_is_after;

/// Exit code, standard output and standard error.
type Said = (Option<i32>, String, String);

pub(super) fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
    sandbox.install_by_hand("V01.00.00.00".parse().unwrap()).unwrap();
    sandbox
}

fn check(sandbox: &Sandbox, program: &str, sections: &str) -> Said {
    sandbox.configure(program, sections).unwrap();
    said(sandbox, &["config", "check"])
}

fn said(sandbox: &Sandbox, arguments: &[&str]) -> Said {
    output(&mut sandbox.command(arguments))
}

fn output(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[track_caller]
fn assert_error(said: &Said, finding: &str) {
    assert_eq!(said.0, Some(1), "{said:?}");
    assert!(
        said.1.lines().any(|line| line.starts_with("error: ") && line.contains(finding)),
        "{}",
        said.1
    );
}

#[track_caller]
fn assert_warning(said: &Said, finding: &str) {
    assert_eq!(said.0, Some(0), "{said:?}");
    assert!(
        said.1.lines().any(|line| line.starts_with("warning: ") && line.contains(finding)),
        "{}",
        said.1
    );
}

#[test]
fn warnings_alone_are_no_failure_and_each_has_a_hint() {
    let sandbox = sandbox();
    let said = check(&sandbox, &sandbox.restart_line(), "");
    assert_warning(&said, "component.program.unit: no unit is named");
    assert!(said.1.contains("0 errors, "), "{}", said.1);
    assert_eq!(
        said.1.matches("\nwarning: ").count() + said.1.matches("\nadvice: ").count(),
        said.1.matches("\n  hint: ").count(),
        "{}",
        said.1
    );
}

/// An address at which nobody answers as long as the socket is kept: it is bound and does not
/// listen, so that no other test's server gets it.
fn silent_address() -> (SocketAddr, TcpSocket) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    (socket.local_addr().unwrap(), socket)
}

#[test]
fn all_that_is_wrong_comes_in_one_list() {
    let sandbox = sandbox();
    let (server, _nobody) = silent_address();
    let sections = format!(
        "[channel.psdk]\ndevice = \"/dev/no-such-port\"\ntransfer = \"ftp\"\n[transfer.ftp]\naddress = \"{server}\"\n\
         [trial]\nhealth_command = [\"/no/such/health\", \"--quick\"]\n"
    );
    let said = check(&sandbox, "restart = [\"/no/such/command\"]", &sections);
    assert_error(&said, "component.program.restart: \"/no/such/command\" is not a program");
    assert_error(&said, "trial.health_command: \"/no/such/health\" is not a program");
    assert_error(&said, &format!("ftp: {server}"));
    assert!(
        said.1.contains("warning: channel.psdk.device: /dev/no-such-port is not there"),
        "{}",
        said.1
    );
    assert!(said.1.contains("3 errors, "), "{}", said.1);
}

#[test]
fn an_ftp_server_that_does_not_answer_only_costs_time_where_dcftp_may_be_used() {
    let sandbox = sandbox();
    let (server, _nobody) = silent_address();
    let said = check(
        &sandbox,
        &sandbox.restart_line(),
        &format!("[channel.psdk]\n[transfer.ftp]\naddress = \"{server}\"\n"),
    );
    assert_warning(&said, &format!("ftp: {server}"));
}

#[test]
fn an_ftp_server_that_answers_is_no_finding_and_keeps_its_files() {
    let mut sandbox = sandbox();
    let server = free_address().unwrap();
    let home = sandbox.upload_area();
    let sections = format!(
        "[channel.psdk]\n[transfer.ftp]\naddress = \"{server}\"\n[ftp_server]\nlisten = \"{server}\"\nhome = {home:?}\n"
    );
    sandbox.configure(&sandbox.restart_line(), &sections).unwrap();
    sandbox.start_ftp_server().unwrap();
    fs::File::create(home.join("kept.bin")).unwrap();
    let (code, out, _) = said(&sandbox, &["config", "check"]);
    assert!(code == Some(0) && !out.contains(": ftp"), "{out}");
    assert!(home.join("kept.bin").exists());
}

#[test]
fn a_directory_that_is_missing() {
    let sandbox = sandbox();
    fs::remove_dir_all(sandbox.root().join("bin")).unwrap();
    assert_error(&check(&sandbox, &sandbox.restart_line(), ""), "component.program.path: ");
}

#[test]
fn a_password_file_that_can_not_be_read() {
    let sandbox = sandbox();
    let said = check(
        &sandbox,
        &sandbox.restart_line(),
        "[transfer.ftp]\npassword_file = \"/no/such/file\"\n",
    );
    assert_error(&said, "transfer.ftp.password_file: /no/such/file can't be read");
}

#[test]
fn a_token_of_a_network_channel_that_can_not_be_read() {
    let sandbox = sandbox();
    let section = |file: &str| {
        format!(
            "[channel.hawkbit]\nserver = \"https://h\"\ncontroller_id = \"P\"\nunsealed = \"lab\"\n\
             target_token_file = \"{file}\"\n"
        )
    };
    let said = check(&sandbox, &sandbox.restart_line(), &section("/no/such/file"));
    assert_error(&said, "channel.hawkbit.target_token_file: /no/such/file can't be read");
    let credential = "/run/credentials/uplift-channels.service/token";
    let (code, said, _) = check(&sandbox, &sandbox.restart_line(), &section(credential));
    assert!(code == Some(0) && said.contains("uplift config sandbox"), "{said}");
}

#[test]
fn a_password_file_that_is_empty_or_has_no_end() {
    let sandbox = sandbox();
    let file = sandbox.root().join("password");
    fs::write(&file, b"\nsecond line\n").unwrap();
    let said = check(
        &sandbox,
        &sandbox.restart_line(),
        &format!("[ftp_server]\npassword_file = {file:?}\n"),
    );
    assert_error(&said, "ftp_server.password_file: the first line of ");
    let said =
        check(&sandbox, &sandbox.restart_line(), "[transfer.ftp]\npassword_file = \"/dev/zero\"\n");
    assert_error(
        &said,
        "transfer.ftp.password_file: /dev/zero can't be read: the file is too large",
    );
}

/// systemd sends to the journal what the daemon says.
#[test]
fn no_password_comes_to_the_journal() {
    let sandbox = sandbox();
    for (section, wrong) in [
        ("ftp", "password = \"s3cret\\q\""),
        ("ftp_server", "password = \"\"\"\ns3cret\\q\"\"\""),
        ("ftp", "password = 53"),
    ] {
        sandbox.configure(&sandbox.restart_line(), &format!("[{section}]\n{wrong}\n")).unwrap();
        for arguments in [&["daemon"][..], &["ftp-server"], &["config", "check"]] {
            let (code, out, error) = said(&sandbox, arguments);
            assert!(code == Some(2) && error.contains(", line 1"), "{error}");
            assert!(
                !out.contains("53") && !error.contains("53") && !error.contains("s3cret"),
                "{error}"
            );
        }
    }
}

#[test]
fn a_configuration_without_an_end_or_in_one_long_line() {
    let sandbox = sandbox();
    let (code, _, error) = output(Command::new(env!("CARGO_BIN_EXE_uplift")).args([
        "config",
        "check",
        "--config",
        "/dev/zero",
    ]));
    assert!(code == Some(2) && error.contains("too large"), "{error}");
    let text =
        format!("component.program = {{ name = \"{}\", product = 5 }}", "x".repeat(1_000_000));
    fs::write(sandbox.config(), text).unwrap();
    let (code, _, error) = said(&sandbox, &["config", "check"]);
    assert!(
        code == Some(2)
            && error.contains("field component.program.product")
            && error.contains("product = 5")
            && error.len() < 1_000,
        "{error}"
    );
}

#[test]
fn a_program_that_does_not_tell_its_version() {
    let sandbox = sandbox();
    fs::write(sandbox.program(), b"#!/bin/sh\n").unwrap();
    assert_warning(
        &check(&sandbox, &sandbox.restart_line(), ""),
        "component.program.version_command: ",
    );
}

#[test]
fn a_second_deadline_that_nobody_keeps() {
    let mut sandbox = sandbox();
    sandbox.set_rescue_timer("uplift-no-such.timer");
    assert_warning(
        &check(&sandbox, &sandbox.restart_line(), ""),
        "paths.rescue_timer: no trial has a second deadline",
    );
    sandbox.set_rescue_timer("");
    assert!(!check(&sandbox, &sandbox.restart_line(), "").1.contains("rescue_timer"));
}

/// Told by the check, and by the daemon before anybody sends a file.
#[test]
fn a_symbolic_link_at_the_path() {
    let mut sandbox = sandbox();
    let elsewhere = sandbox.root().join("elsewhere");
    fs::rename(sandbox.program(), &elsewhere).unwrap();
    symlink(&elsewhere, sandbox.program()).unwrap();
    assert_error(&check(&sandbox, &sandbox.restart_line(), ""), "is a symbolic link");
    sandbox.start_daemon().unwrap();
    assert!(said(&sandbox, &["status"]).1.contains("is a symbolic link"));
}

#[test]
fn a_configuration_that_is_missing_or_misspelt_is_a_usage_error_with_the_place() {
    let sandbox = sandbox();
    let (code, _, error) = said(&sandbox, &["config", "check"]);
    assert!(
        code == Some(2) && error.contains("can't be read") && error.contains("hint: "),
        "{error}"
    );
    let (code, _, error) = check(&sandbox, "unti = \"x.service\"", "");
    assert!(
        code == Some(2)
            && error.contains("line 6, field component.program")
            && error.contains("`unit`"),
        "{error}"
    );
}

/// A systemd that shows its units as files say.
pub(super) fn systemd(sandbox: &mut Sandbox, units: &[(&str, &str)]) {
    let directory = sandbox.root().join("systemd");
    fs::create_dir(&directory).unwrap();
    for (unit, properties) in units {
        fs::write(directory.join(unit), properties).unwrap();
    }
    let script = format!(
        "#!/bin/sh\nfor unit; do :; done\ncat \"{}/$unit\" 2>/dev/null || echo LoadState=not-found\n",
        directory.display()
    );
    executable::write(&directory.join("systemctl"), script.as_bytes()).unwrap();
    sandbox.set_environment(
        "PATH",
        &format!("{}:{}", directory.display(), std::env::var("PATH").unwrap()),
    );
}

#[test]
fn a_unit_that_is_unknown_or_runs_another_program() {
    let mut sandbox = sandbox();
    let other = format!("LoadState=loaded\nActiveState=active\nMainPID={}\n", std::process::id());
    systemd(&mut sandbox, &[("other.service", &other), ("masked.service", "LoadState=masked\n")]);
    let with = |unit: &str| {
        check(&sandbox, &format!("{}\nunit = \"{unit}.service\"", sandbox.restart_line()), "")
    };
    assert_error(&with("unknown"), "component.program.unit: systemd knows no unit unknown.service");
    assert_error(&with("masked"), "component.program.unit: the unit masked.service is masked");
    assert_error(&with("other"), "component.program.unit: the main process of other.service runs ");
}

#[test]
fn a_restart_that_has_less_time_than_its_unit_may_take() {
    let mut sandbox = sandbox();
    let slow = "LoadState=loaded\nTimeoutStopUSec=1min 30s\nTimeoutStartUSec=1min 30s\n";
    systemd(
        &mut sandbox,
        &[
            ("slow.service", slow),
            ("endless.service", "LoadState=loaded\nTimeoutStopUSec=infinity\n"),
        ],
    );
    let with = |fields: &str, sections: &str| {
        check(&sandbox, &format!("{}\n{fields}", sandbox.restart_line()), sections)
    };
    let warning = |unit, takes| {
        format!(
            "warning: component.program.restart_deadline: {unit}.service may take {takes} to stop"
        )
    };
    let (_, said, _) = with("unit = \"slow.service\"\nrestart_deadline = \"60s\"", "");
    assert!(
        said.contains(&warning("slow", "1m 30s")) && said.contains("must begin within 1m"),
        "{said}"
    );
    let (_, said, _) = with("unit = \"slow.service\"", "");
    assert!(
        !said.contains("restart_deadline") && said.contains("must begin within 3m 10s"),
        "{said}"
    );
    let (_, said, _) = with("unit = \"endless.service\"", "");
    assert!(
        said.contains(&warning("endless", "for ever")) && said.contains("must begin within 10m"),
        "{said}"
    );
}

#[test]
fn a_sandbox_that_lacks_what_is_configured_and_one_that_has_it() {
    let mut sandbox = sandbox();
    let hidden =
        "LoadState=loaded\nProtectSystem=strict\nReadWritePaths=-/usr/local/bin\nPrivateTmp=yes\n";
    systemd(&mut sandbox, &[("uplift.service", hidden)]);
    let directory = sandbox.root().join("bin").display().to_string();
    let said = check(&sandbox, &sandbox.restart_line(), "");
    assert_error(
        &said,
        &format!("component.program.path: uplift.service has no ReadWritePaths={directory}"),
    );
    assert!(said.1.contains("`uplift config sandbox --write` makes the drop-in"), "{}", said.1);
    let root = sandbox.root().display();
    let open =
        format!("LoadState=loaded\nProtectSystem=strict\nReadWritePaths={root}\nPrivateTmp=no\n");
    fs::write(sandbox.root().join("systemd/uplift.service"), open).unwrap();
    let said = check(&sandbox, &sandbox.restart_line(), "");
    assert!(said.0 == Some(0) && !said.1.contains("uplift.service has no"), "{}", said.1);
}

#[test]
fn a_rescue_that_is_not_called_at_the_boot() {
    let mut sandbox = sandbox();
    let disabled = "LoadState=loaded\nUnitFileState=disabled\n";
    systemd(
        &mut sandbox,
        &[("uplift-rescue.timer", "LoadState=loaded\n"), ("uplift-rescue.service", disabled)],
    );
    sandbox.set_rescue_timer("uplift-rescue.timer");
    let said = check(&sandbox, &sandbox.restart_line(), "");
    let warning =
        "warning: paths.rescue_timer: nobody counts the boots of a trial before the program starts";
    assert!(said.1.contains(warning), "{}", said.1);
}

#[test]
fn an_upload_port_that_nobody_needs() {
    let mut sandbox = sandbox();
    systemd(&mut sandbox, &[("uplift-ftp.socket", "LoadState=loaded\nActiveState=active\n")]);
    for sections in ["", "[channel.psdk]\ntransfer = \"dcftp\""] {
        assert_warning(
            &check(&sandbox, &sandbox.restart_line(), sections),
            "ftp_server: uplift-ftp.socket takes connections",
        );
    }
    let said = check(&sandbox, &sandbox.restart_line(), "[channel.psdk]");
    assert!(!said.1.contains("uplift-ftp.socket takes connections"), "{}", said.1);
}

/// systemd's word on the daemon that asks, and on a socket whose port another server has; it writes
/// down what it is asked to start.
const TAKEN: &str = "#!/bin/sh
case \"$*\" in
    *show*uplift.service) echo MainPID=$PPID ;;
    *show*uplift-ftp.socket) printf 'LoadState=loaded\\nActiveState=failed\\n' ;;
    start*uplift-ftp.socket) echo started >> \"$0.log\"; echo 'Address already in use' >&2; exit 1 ;;
    *) exit 1 ;;
esac
";

#[test]
fn an_upload_port_that_the_daemon_can_t_have_opened_is_a_notice_and_without_a_link_it_does_not_try()
{
    let mut sandbox = sandbox();
    systemd(&mut sandbox, &[]);
    let systemctl = sandbox.root().join("systemd/systemctl");
    fs::write(&systemctl, TAKEN).unwrap();
    for (sections, tries) in
        [("", false), ("[channel.psdk]\ndevice = \"/dev/no-such-device\"\n", true)]
    {
        sandbox.configure(&sandbox.restart_line(), sections).unwrap();
        sandbox.start_daemon().unwrap();
        if tries {
            let told = |notice: &String| {
                notice.contains("uplift-ftp.socket can't be started")
                    && notice.contains("Address already in use")
            };
            sandbox.wait_for_status(|status| status.notices.iter().any(told)).unwrap();
        }
        assert!(said(&sandbox, &["status"]).1.contains("uplift-ftp.socket") == tries);
        assert_eq!(systemctl.with_extension("log").exists(), tries);
        sandbox.kill_daemon();
    }
}

/// It listens, and greets nobody.
#[test]
fn a_port_that_another_server_has() {
    let sandbox = sandbox();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let sections = format!(
        "[channel.psdk]\ntransfer = \"ftp\"\n[transfer.ftp]\naddress = \"{address}\"\ntimeout = \"200ms\"\n"
    );
    let said = check(&sandbox, &sandbox.restart_line(), &sections);
    assert_error(&said, "a server that is not uplift's has the port");
    assert!(said.1.contains(&format!("`ss -ltnp sport = :{}`", address.port())), "{}", said.1);
}

#[test]
fn a_seal_that_nobody_could_check_is_a_usage_error() {
    let sandbox = sandbox();
    let (code, _, error) =
        check(&sandbox, &sandbox.restart_line(), "[package]\nseal = \"required\"\n");
    assert!(
        code == Some(2) && error.contains("package.seal") && error.contains("needs a key"),
        "{error}"
    );
    let (code, _, error) = check(
        &sandbox,
        &sandbox.restart_line(),
        "[package]\nkeys = [{ public = \"/etc/uplift/release.pub\" }]\n",
    );
    assert!(code == Some(2) && error.contains("package.keys[0].public"), "{error}");
}

#[test]
fn a_previous_program_that_is_gone() {
    let sandbox = sandbox();
    let record = format!("{{\"version\":\"V01.00.00.00\",\"digest\":\"{}\"}}", "0".repeat(64));
    let state = format!(
        "{{\"format\":1,\"upgrade\":null,\"unacknowledged\":[],\"installed\":{record},\"previous\":{record},\"known_bad\":[]}}"
    );
    fs::write(sandbox.state().join("state.json"), state).unwrap();
    assert_warning(
        &check(&sandbox, &sandbox.restart_line(), ""),
        "the program before the last upgrade is missing",
    );
    let stage = sandbox.root().join("bin/.uplift");
    fs::create_dir(&stage).unwrap();
    fs::hard_link(sandbox.program(), stage.join("payload.previous")).unwrap();
    assert!(
        !check(&sandbox, &sandbox.restart_line(), "")
            .1
            .contains("is missing from the staging area")
    );
}

/// Makes a device of this number.
fn device(sandbox: &Sandbox, major: u64, minor: u64) -> String {
    let path = sandbox.root().join(format!("device-{major}-{minor}"));
    let made = nix::sys::stat::mknod(
        &path,
        nix::sys::stat::SFlag::S_IFCHR,
        nix::sys::stat::Mode::S_IRUSR,
        nix::sys::stat::makedev(major, minor),
    );
    made.expect("this test makes a device: run it as root");
    path.display().to_string()
}

#[test]
fn a_link_that_is_a_console_or_a_virtual_terminal() {
    let sandbox = sandbox();
    let terminal = device(&sandbox, 4, 1);
    let said = check(
        &sandbox,
        &sandbox.restart_line(),
        &format!("[channel.psdk]\ndevice = \"{terminal}\"\ntransfer = \"dcftp\"\n"),
    );
    assert_error(&said, "device-4-1 is a terminal of this machine's screen");
    let port = device(&sandbox, 4, 77);
    sandbox
        .configure(
            &sandbox.restart_line(),
            &format!("[channel.psdk]\ndevice = \"{port}\"\ntransfer = \"dcftp\"\n"),
        )
        .unwrap();
    let consoles = sandbox.root().join("consoles");
    fs::write(&consoles, b"ttyS13               -W- (EC  p a)    4:77\n").unwrap();
    let said = check_as_it_is_after(
        &sandbox,
        &format!("mount --bind {} /proc/consoles", consoles.display()),
    );
    assert_warning(&said, "device-4-77 is a console of the kernel");
    assert!(!check_as_it_is_after(&sandbox, "true").1.contains("is a console"));
}

#[test]
fn a_program_for_braille_displays_that_takes_adapters() {
    let sandbox = sandbox();
    sandbox
        .configure(
            &sandbox.restart_line(),
            "[channel.psdk]\ndevice = \"/dev/no-such-port\"\ntransfer = \"dcftp\"\n",
        )
        .unwrap();
    let rules = r#"ENV{PRODUCT}==\"1a86/7523/*\", ENV{BRLTTY_BRAILLE_DRIVER}=\"bm\", GOTO=\"brltty_usb_run\""#;
    let install = format!(
        "mkdir -p /etc/udev/rules.d && mount -t tmpfs tmpfs /etc/udev/rules.d && echo \"{rules}\" >/etc/udev/rules.d/85-brltty.rules"
    );
    let said = check_as_it_is_after(&sandbox, &install);
    assert_warning(&said, "channel.psdk.device: `brltty` takes adapters");
    assert!(said.1.contains("ln -s /dev/null /etc/udev/rules.d/85-brltty.rules"), "{}", said.1);
    assert!(!check_as_it_is_after(&sandbox, "true").1.contains("brltty"));
}

#[test]
fn what_another_updater_installs_has_no_window_and_may_have_a_short_deadline() {
    let sandbox = Sandbox::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
    let modem = |trial: &str| {
        format!(
            "[component.modem]\nkind = \"command\"\nproduct = \"MODEM\"\ninstall = [\"/bin/true\", \"{{file}}\"]\n\
             version_command = [\"/bin/echo\", \"V01.00.00.00\"]\ntrial = {{ {trial} }}\n"
        )
    };
    sandbox.configure(&sandbox.restart_line(), &modem("deadline = \"2s\"")).unwrap();
    let checked = sandbox.command(&["config", "check"]).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    sandbox.configure(&sandbox.restart_line(), &modem("window = \"1s\"")).unwrap();
    let checked = sandbox.command(&["config", "check"]).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(
        !checked.status.success()
            && said.contains("component.modem.trial.window")
            && said.contains("belongs to a component of the kind \"program\""),
        "{said}"
    );
}
