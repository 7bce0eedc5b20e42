//! The whole configuration: what it is, and what it must not be.

use std::time::Duration;

use super::shipped::{fields, is_field, shipped};
use super::*;
use crate::model::{Form, Restart, Runs};

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("uplift.toml")).map_err(|error| error.to_string())
}

fn of_tree(fields: &str, sections: &str) -> Result<Config, String> {
    let text =
        format!("[component.sensor]\nkind = \"tree\"\nproduct = \"S\"\n{fields}\n{sections}\n");
    Config::parse(&text, Path::new("uplift.toml")).map_err(|error| error.to_string())
}

#[test]
fn a_tree_is_swapped_like_a_program_and_proved_by_its_start() {
    let unit = "path = \"/opt/sensor\"\nunit = \"s.service\"\nrestart = \"unit\"";
    for (fields, runs, set_id) in [
        (unit.to_owned(), Runs::Another, false),
        (format!("{unit}\nset_id = true"), Runs::Another, true),
        ("path = \"/opt/sensor\"".to_owned(), Runs::Itself, false),
    ] {
        let config = of_tree(&fields, "").unwrap();
        let tree = config.components.programs().next().unwrap();
        assert_eq!((tree.form, tree.runs), (Form::Tree, runs), "{fields}");
        assert_eq!(tree.terms().form, Form::Tree);
        assert_eq!(tree.common.format, Format::Tree(TreeFormat { set_id }));
    }
}

#[test]
fn a_tree_that_can_not_be_is_an_error_at_its_field() {
    let path = "path = \"/opt/sensor\"";
    let program = "[component.program]\nproduct = \"P\"\n";
    for (fields, sections, field, right) in [
        ("", String::new(), "component.sensor", "give the `path` of the directory"),
        ("name = \"sensor\"", String::new(), "component.sensor.name", "a tree has a `path`"),
        (
            "path = \"/opt/sensor\"\nformat = \"any\"",
            String::new(),
            "component.sensor.format",
            "no other format",
        ),
        (
            "path = \"/opt/sensor\"\nversion_command = [\"--version\"]",
            String::new(),
            "component.sensor.version_command",
            "a tree is not asked",
        ),
        (
            path,
            "[paths]\nstate = \"/opt/sensor/state\"".to_owned(),
            "component.sensor.path",
            "`state` of [paths] lies in it",
        ),
        (
            path,
            format!("{program}path = \"/opt/sensor/bin/p\""),
            "component.sensor.path",
            "[component.program] lies in it",
        ),
        (
            path,
            format!("{program}name = \"p\"\nset_id = true"),
            "component.program.set_id",
            "of the kind \"tree\"",
        ),
    ] {
        let error = of_tree(fields, &sections).unwrap_err();
        assert!(error.contains(&format!("field {field}: ")) && error.contains(right), "{error}");
    }
}

#[test]
fn the_smallest_configuration_has_the_documented_defaults() {
    let config =
        parse("[component.program]\nname = \"demo\"\nproduct = \"PSDK_APPALIAS\"").unwrap();
    assert_eq!(config.components.programs().next().unwrap().path, Path::new("/usr/local/bin/demo"));
    assert_eq!(config.components.programs().next().unwrap().restart, Restart::Reboot);
    assert!(config.link.is_none());
    assert_eq!(config.ftp.address.port(), 21);
    assert!(config.ftp_server.users.contains(VENDOR_ACCOUNT_NEWER));
}

/// The file that is shipped lists every field with its default: with all comment signs in front
/// of fields taken away it must still parse, and mean the same as the file itself, but for the
/// fields that have no default.
#[test]
fn the_shipped_configuration_lists_every_field_with_its_default() {
    let (shipped, _) = shipped();
    let shipped = shipped.as_str();
    let without_default = [
        "path",
        "unit",
        "seal",
        "version",
        "version_command",
        "password_file",
        "health_command",
        "health",
        "socket",
        "restart_deadline",
        "components",
        "install",
        "revert",
        "suffix",
        "unchanged_exit_codes",
        "command_deadline",
        "port",
        "baud",
        "mode",
        "bootloader",
        "entry",
        "copy_deadline",
        "device_id",
        "version_at",
        "set_id",
        "clock_file",
        "ready_command",
        "ca_file",
        "client_certificate",
        "client_key",
    ];
    let all: String = shipped
        .lines()
        .map(|line| match line.strip_prefix("# ").filter(|line| is_field(line)) {
            Some(field) if !without_default.contains(&field.split(' ').next().unwrap()) => {
                format!("{field}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    assert_eq!(format!("{:?}", parse(&all).unwrap()), format!("{:?}", parse(shipped).unwrap()));
    for section in [
        "component.program",
        "package",
        "channel.psdk",
        "channel.shell",
        "transfer.ftp",
        "transfer.http",
        "ftp_server",
        "policy",
        "trial",
        "metrics",
        "paths",
    ] {
        let start = shipped.find(&format!("\n[{section}]\n")).unwrap();
        let end = shipped[start + 1..].find("\n[").map_or(shipped.len(), |end| start + 1 + end);
        for field in fields(section) {
            assert!(
                shipped[start..end].contains(&format!("{field} = ")),
                "[{section}] {field} is not listed"
            );
        }
    }
}

#[test]
fn an_error_names_file_line_field_and_what_would_be_right() {
    let error = parse(
        "[component.program]\nname = \"demo\"\nproduct = \"P\"\n[channel.psdk]\nbuad = 9600\n",
    )
    .unwrap_err();
    assert!(
        error.contains("uplift.toml, line 5, field channel.psdk") && error.contains("`baud`"),
        "{error}"
    );
    let error = parse(
        "[component.program]\nname = \"demo\"\nproduct = \"P\"\n[channel.psdk]\nbaud = \"fast\"\n",
    )
    .unwrap_err();
    assert!(
        error.contains("line 5, field channel.psdk.baud") && error.contains("921600"),
        "{error}"
    );
    let error =
        parse("[component.program]\nname = \"demo\"\nproduct = \"P\"\nrestart = \"unit\"\n")
            .unwrap_err();
    assert!(error.contains("field component.program") && error.contains("needs `unit`"), "{error}");
    let error = parse("[program\n").unwrap_err();
    assert!(error.contains("line 1"), "{error}");
}

#[test]
fn a_restart_and_its_trial_must_be_announceable() {
    let text = |link: &str| {
        format!(
            "[component.program]\nname = \"demo\"\nproduct = \"P\"\nrestart_deadline = \"2m\"\n{link}\n[trial]\ndeadline = \"136s\""
        )
    };
    assert!(parse(&text("")).is_ok(), "without a link nothing is announced");
    let error = parse(&text("[channel.psdk]")).unwrap_err();
    assert!(
        error.contains("line 7, field trial.deadline") && error.contains("256 s together"),
        "{error}"
    );
}

#[test]
fn a_restart_has_the_time_that_its_unit_may_take() {
    let config = |text: &str| {
        parse(&format!("[component.program]\nname = \"demo\"\nproduct = \"P\"\n{text}")).unwrap()
    };
    let seconds = Duration::from_secs;
    for (text, stop, start, deadline) in [
        ("", seconds(90), seconds(90), 190),
        ("", seconds(2), seconds(3), 60),
        ("", Duration::MAX, seconds(90), 600),
        ("restart_deadline = \"5s\"", seconds(90), seconds(90), 5),
        ("[channel.psdk]", seconds(90), seconds(90), 135),
        ("[channel.psdk]\n[trial]\ndeadline = \"30s\"", seconds(90), Duration::MAX, 225),
    ] {
        assert_eq!(
            config(text).components.programs().next().unwrap().restart_within(stop, start),
            seconds(deadline),
            "{text}"
        );
    }
}

#[test]
fn sizes_and_durations_have_units() {
    let config = parse("[component.program]\npath = \"/opt/p\"\nproduct = \"P\"\nrestart_deadline = \"2m\"\nrestart = [\"/bin/true\"]\n[package]\nmax_size = \"64KiB\"").unwrap();
    assert_eq!(config.package.max_size, Size(65536));
    assert_eq!(
        config.components.programs().next().unwrap().restart_deadline,
        Some(Duration::from_secs(120))
    );
    assert_eq!(
        config.components.programs().next().unwrap().restart,
        Restart::Command(vec!["/bin/true".into()])
    );
    for bad in ["\"64KB\"", "\"-1\"", "\"99999999999999999999GiB\"", "1.5", "\"\u{e9}\""] {
        assert!(
            parse(&format!(
                "[component.program]\npath = \"/opt/p\"\nproduct = \"P\"\n[package]\nmax_size = {bad}"
            ))
            .is_err(),
            "{bad}"
        );
    }
}

#[test]
fn a_path_is_the_same_for_everybody() {
    for (section, field) in [
        ("channel.psdk", "device"),
        ("metrics", "socket"),
        ("paths", "state"),
        ("paths", "control"),
        ("paths", "boot_id"),
    ] {
        let error = parse(&format!(
            "[component.program]\nname = \"demo\"\nproduct = \"P\"\n[{section}]\n{field} = \"here\""
        ))
        .unwrap_err();
        assert!(
            error.contains(&format!(
                "line 5, field {section}.{field}: the path must be absolute, not \"here\""
            )),
            "{error}"
        );
    }
}

#[test]
fn a_file_without_an_end_is_not_read_to_it() {
    let error = Config::load(Path::new("/dev/zero")).unwrap_err();
    assert!(
        matches!(&error, ConfigError::Unreadable { source, .. } if source.to_string().contains("too large")),
        "{error:?}"
    );
}

#[test]
fn a_timer_is_named_as_one_or_there_is_none() {
    let timer = |text: &str| {
        let config =
            parse(&format!("[component.program]\nname = \"demo\"\nproduct = \"P\"\n{text}"));
        config.map(|config| config.paths.rescue_timer)
    };
    assert_eq!(timer("").unwrap().as_deref(), Some(RESCUE_TIMER));
    assert_eq!(timer("[paths]\nrescue_timer = \"\"").unwrap(), None);
    let error = timer("[paths]\nrescue_timer = \"uplift-rescue\"").unwrap_err();
    assert!(error.contains("field paths.rescue_timer") && error.contains(RESCUE_TIMER), "{error}");
}

#[test]
fn metrics_have_a_socket_of_their_own_or_none() {
    let text = |socket| {
        format!("[component.program]\nname = \"demo\"\nproduct = \"P\"\n[metrics]\n{socket}")
    };
    assert_eq!(parse(&text("")).unwrap().metrics.socket, None);
    let error = parse(&text("socket = \"/run/uplift/control.sock\"")).unwrap_err();
    assert!(error.contains("line 5, field metrics.socket: this is the control socket"), "{error}");
}
