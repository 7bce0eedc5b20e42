//! The README and the pages are right where a program can see it: every field with its default,
//! every kind with its hint, every exit code, every phase, every link. And every `--help` has an
//! example.

mod commands;
mod links;

use std::process::Command;

use uplift::cli::exit;
use uplift::model::{FailureKind, Phase};

const README: &str = include_str!("../../README.md");
const RECORDING: &str = include_str!("../../docs/demo.svg");
const CONFIGURATION: &str = include_str!("../../docs/use/configuration.md");
const FAILURES: &str = include_str!("../../docs/use/failures.md");
const MONITORING: &str = include_str!("../../docs/use/monitoring.md");
const UPGRADE: &str = include_str!("../../docs/use/upgrade.md");
const SHIPPED: &str = include_str!("../../config/uplift.toml");

/// The row of a table whose first cell is this, within a part of a page.
fn row<'a>(part: &'a str, cell: &str) -> Option<&'a str> {
    part.lines().find(|line| line.starts_with(&format!("| {cell} |")))
}

/// The page's part under the heading of a section of the configuration.
fn section(name: &str) -> &'static str {
    // The file has an example of a component.
    let name = if name.starts_with("component.") { "component.NAME" } else { name };
    let part = CONFIGURATION
        .split_once(&format!("### `[{name}]`\n"))
        .unwrap_or_else(|| panic!("[{name}] has no heading"))
        .1;
    part.split("\n#").next().unwrap()
}

/// Whether a line of the shipped configuration is a field, set or with its default behind a comment
/// sign.
fn field(line: &str) -> Option<(&str, &str, bool)> {
    let (text, set) = line.strip_prefix("# ").map_or((line, true), |text| (text, false));
    let (name, value) = text.split_once(" = ")?;
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then_some((name, value, set))
}

#[test]
fn every_field_of_the_configuration_is_told_with_its_default() {
    let without_default = [
        "path",
        "unit",
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
        "clock_file",
        "ready_command",
        "server",
        "controller_id",
        "target_token_file",
        "gateway_token_file",
        "url",
        "project_key_file",
        "product_file",
        "battery_file",
        "firmware_name",
        "identity",
        "core",
        "model",
        "core_id",
        "broker",
        "gateway_sn",
        "devices",
        "device_secret_file",
        "nonce",
        "client_id",
        "broker",
        "token_file",
        "device_number",
        "download_base",
        "user",
        "user_file",
        "ca_file",
        "client_certificate",
        "client_key",
        "port",
        "entry",
        "version_at",
    ];
    let (mut part, mut fields) = ("", 0);
    for line in SHIPPED.lines() {
        // A section may be commented out as a whole.
        let header = line.strip_prefix("# ").unwrap_or(line);
        if let Some(name) = header.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            part = section(name);
        } else if let Some((name, value, set)) = field(line) {
            let row = row(part, &format!("`{name}`"))
                .unwrap_or_else(|| panic!("{name} is not in the page"));
            assert!(
                set || without_default.contains(&name) || row.contains(&format!("| `{value}` |")),
                "{name} = {value}: {row}"
            );
            fields += 1;
        }
    }
    assert!(fields > 30, "only {fields} fields were found in the shipped configuration");
}

#[test]
fn every_kind_of_failure_is_told_with_what_to_do() {
    let part = FAILURES.split_once("## When an upgrade fails").unwrap().1;
    for kind in FailureKind::ALL {
        let row =
            row(part, &format!("`{kind}`")).unwrap_or_else(|| panic!("{kind} is not in the page"));
        assert!(row.ends_with(&format!("| {} |", kind.hint())), "{row}");
    }
}

/// Runs `uplift … --help` on a terminal of 80 columns.
fn help(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_uplift"));
    let output = command.args(arguments).arg("--help").env("COLUMNS", "80").output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_help_has_an_example_and_fits_80_columns() {
    let overview = help(&[]);
    let commands =
        overview.split_once("Commands:\n").unwrap().1.lines().take_while(|line| !line.is_empty());
    let names: Vec<&str> = commands
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !["", "help"].contains(name))
        .collect();
    assert!(names.len() >= 8, "{names:?}");
    let texts = names
        .iter()
        .map(|name| help(&[name]))
        .chain([overview.clone(), help(&["config", "check"])]);
    for text in texts {
        assert!(text.contains("\nExample"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}

#[test]
fn the_readme_is_read_in_one_go() {
    assert!(README.len() <= 7000, "{} bytes", README.len());
}

/// As `packaging/record-demo` made it: of the demonstration's three upgrades, from a real run.
#[test]
fn the_recording_is_small_and_shows_all_of_the_demonstration() {
    assert!(README.contains("(docs/demo.svg)") && RECORDING.len() <= 60_000, "{}", RECORDING.len());
    let shown: Vec<&str> = RECORDING.split(['<', '>']).skip(2).step_by(2).collect();
    let shown = shown.join("");
    for text in [
        "Upgrade to V02.00.00.00 by FTP",
        "Upgrade to V03.00.00.00 by DCFTP",
        "V04.00.00.00 did not work, so V03.00.00.00 came back",
        "rolled back  V03.00.00.00 -&gt; V04.00.00.00",
    ] {
        assert!(shown.contains(text), "{text}");
    }
}

#[test]
fn every_exit_code_is_told() {
    for code in [exit::DONE, exit::FAILED, exit::USAGE, exit::BUSY, exit::NO_DAEMON] {
        assert!(row(UPGRADE, &code.to_string()).is_some(), "{code}");
    }
}

#[test]
fn every_phase_is_told_in_the_field_of_the_log() {
    let row = row(MONITORING, "`UPLIFT_PHASE`").unwrap();
    for phase in Phase::ALL {
        assert!(row.contains(&format!("`{phase}`")), "{phase}");
    }
}
