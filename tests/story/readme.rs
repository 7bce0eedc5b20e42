//! The README tells the truth where a program can see it: every field with its default, every kind
//! with its hint, every exit code, every phase. And every `--help` has an example.

use std::process::Command;

use uplift::cli::exit;
use uplift::model::{FailureKind, Phase};

const README: &str = include_str!("../../README.md");
const SHIPPED: &str = include_str!("../../config/uplift.toml");

/// The row of a table whose first cell is this, within a part of the README.
fn row<'a>(part: &'a str, cell: &str) -> Option<&'a str> {
    part.lines().find(|line| line.starts_with(&format!("| {cell} |")))
}

/// The README's part under the heading of a section of the configuration.
fn section(name: &str) -> &'static str {
    // The file has an example of a component.
    let name = if name.starts_with("component.") { "component.NAME" } else { name };
    let part = README
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
        "firmware_name",
        "identity",
        "core",
        "model",
        "core_id",
        "ca_file",
        "client_certificate",
        "client_key",
    ];
    let (mut part, mut fields) = ("", 0);
    for line in SHIPPED.lines() {
        // A section may be commented out as a whole.
        let header = line.strip_prefix("# ").unwrap_or(line);
        if let Some(name) = header.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            part = section(name);
        } else if let Some((name, value, set)) = field(line) {
            let row = row(part, &format!("`{name}`"))
                .unwrap_or_else(|| panic!("{name} is not in the README"));
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
    let part = README.split_once("## When an upgrade fails").unwrap().1;
    for kind in FailureKind::ALL {
        let row = row(part, &format!("`{kind}`"))
            .unwrap_or_else(|| panic!("{kind} is not in the README"));
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
fn every_exit_code_is_told() {
    for code in [exit::DONE, exit::FAILED, exit::USAGE, exit::BUSY, exit::NO_DAEMON] {
        assert!(row(README, &code.to_string()).is_some(), "{code}");
    }
}

#[test]
fn every_phase_is_told_in_the_field_of_the_log() {
    let row = row(README, "`UPLIFT_PHASE`").unwrap();
    for phase in Phase::ALL {
        assert!(row.contains(&format!("`{phase}`")), "{phase}");
    }
}
