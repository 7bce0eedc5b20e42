//! The manual pages and completions leave nothing out, and `man` and `mandoc` find no mistake in
//! them.

#[path = "../../packaging/manual/pages.rs"]
mod pages;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

const SHIPPED: &str = include_str!("../../config/uplift.toml");
const PROTOCOL: &str = include_str!("../../docs/wire/control-protocol.md");

/// All pages as files, as a package has them.
struct Manual(TempDir);

impl Manual {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        for (name, text) in pages::manual(0).unwrap() {
            fs::write(directory.path().join(name), text).unwrap();
        }
        Self(directory)
    }

    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// A page as `man` shows it on a terminal of 80 columns, without bold and underlined letters.
    fn shown(&self, name: &str) -> String {
        let page = self.0.path().join(name);
        let output = Command::new("man")
            .args(["--warnings", "-l"])
            .arg(&page)
            .env("MANWIDTH", "80")
            .env("LC_ALL", "C.UTF-8")
            .output();
        let output = output.expect("man can't be run; `tests/run` installs it");
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

/// The words with one space between them, because a page breaks its lines anywhere, and without the
/// backticks that became bold.
fn words(text: &str) -> String {
    text.replace('`', "").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn assert_every_option_is_told(command: &clap::Command, page: &str) {
    for option in command.get_arguments() {
        // Each has --help, which the page tells once.
        let Some(long) = option.get_long().filter(|long| *long != "help") else { continue };
        assert!(page.contains(&format!("--{long}")), "{}: --{long}", command.get_name());
        let help = option.get_help().map(ToString::to_string).unwrap_or_default();
        assert!(page.contains(&words(&help)), "{}: {help}", command.get_name());
    }
    for subcommand in command.get_subcommands() {
        let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
        // One that has subcommands of its own does nothing itself.
        let is_told = page.contains(&words(&about)) || subcommand.has_subcommands();
        assert!(
            page.contains(subcommand.get_name()) && is_told,
            "{}: {about}",
            subcommand.get_name()
        );
        assert_every_option_is_told(subcommand, page);
    }
}

#[test]
fn every_command_and_option_is_in_its_page() {
    let manual = Manual::new();
    let programs = [
        ("uplift.1", pages::uplift()),
        ("uplift-rescue.8", uplift::rescue::command::command()),
        ("uplift-sim.1", uplift_sim::command::command()),
    ];
    for (page, command) in programs {
        // The options of a subcommand are made when it is built, and so is `help`.
        let mut command = command.disable_help_subcommand(true);
        command.build();
        assert!(command.get_subcommands().count() >= 2, "{page}");
        assert_every_option_is_told(&command, &words(&manual.shown(page)));
    }
}

#[test]
fn every_field_of_the_configuration_is_in_its_page() {
    let page = Manual::new().shown("uplift.toml.5");
    let mut fields = 0;
    for line in SHIPPED.lines() {
        let text = line.strip_prefix("# ").unwrap_or(line);
        if let Some((name, _)) = text
            .split_once(" = ")
            .filter(|(name, _)| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
        {
            assert!(
                page.lines().any(|line| line.split_whitespace().next() == Some(name)),
                "{name}"
            );
            fields += 1;
        } else if text.starts_with('[') && text.ends_with(']') {
            assert!(page.contains(text), "{text}");
        }
    }
    assert!(fields > 30, "only {fields} fields were found in the shipped configuration");
}

#[test]
fn every_word_of_the_control_protocol_is_in_its_page() {
    let page = Manual::new().shown("uplift-protocol.7");
    let names = PROTOCOL
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
    let names: Vec<&str> = names.collect();
    assert!(names.len() > 60, "{names:?}");
    for name in names {
        assert!(page.contains(name), "{name}");
    }
}

#[test]
fn no_line_is_wider_than_a_terminal() {
    let manual = Manual::new();
    for file in manual.files() {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        for line in manual.shown(&name).lines() {
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
    }
}

#[test]
fn mandoc_finds_no_mistake_either() {
    let output = Command::new("mandoc")
        .args(["-T", "lint", "-W", "warning"])
        .args(Manual::new().files())
        .output();
    let output = output.expect("mandoc can't be run; `tests/run` installs it");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_shells_take_the_completions() {
    let directory = TempDir::new().unwrap();
    let files = pages::completions().unwrap();
    assert_eq!(files.len(), 6);
    for (name, text) in files {
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.contains(if name.contains("sim") { "make-pty" } else { "manifest-only" }),
            "{name}"
        );
        let path = directory.path().join(&name);
        fs::write(&path, text).unwrap();
        let shell = if name.ends_with(".bash") {
            "bash"
        } else if name.ends_with(".fish") {
            "fish"
        } else {
            "zsh"
        };
        let checked = Command::new(shell)
            .arg("-n")
            .arg(&path)
            .output()
            .expect("a shell can't be run; `tests/run` installs it");
        assert!(
            checked.status.success() && checked.stderr.is_empty(),
            "{name}: {}",
            String::from_utf8_lossy(&checked.stderr)
        );
    }
}
