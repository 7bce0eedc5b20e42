//! How it looks on a terminal: order, colours, one screen, and no word that is broken, at any width.

use std::process::Command;

use serde_json::Value;
use vt100::Color;

use crate::world::payload::{NEW, Payload};
use crate::world::terminal::{self, Seen};

const GREEN: Color = Color::Idx(2);
const RED: Color = Color::Idx(1);
const WIDTHS: [u16; 5] = [45, 60, 80, 120, 200];
/// Rows of a usual terminal.
const SCREEN: usize = 24;
/// A name that the payload refuses.
const FOREIGN: &str = "SOMETHING_ELSE_V02.00.00.00.bin";

/// A payload whose first upgrade succeeded and whose second failed.
fn payload() -> Payload {
    let mut payload = Payload::setup().start();
    let firmware = payload.new_firmware();
    payload.through_a_restart(&["install", firmware.to_str().unwrap()]);
    let foreign = payload.root().join(FOREIGN);
    std::fs::copy(firmware, &foreign).unwrap();
    let (code, said) = payload.uplift(&["install", foreign.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{said}");
    payload
}

/// `uplift` with these arguments, as it decides about colours by itself.
fn uplift(payload: &Payload, arguments: &[&str]) -> Command {
    let mut command = payload.command(arguments);
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command
}

fn json(payload: &Payload, arguments: &[&str]) -> Value {
    let output = payload.command(arguments).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn the_history_is_newest_first_of_any_number_and_one_by_its_id() {
    let payload = payload();
    let all = json(&payload, &["history", "--json"]);
    let ids: Vec<&str> =
        all.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!((&all[0]["outcome"], &all[1]["outcome"]), (&"failed".into(), &"succeeded".into()));
    let shown = payload.uplift(&["history"]).1;
    let begins: Vec<&str> =
        shown.lines().filter(|line| !line.starts_with(' ')).map(|line| &line[..8]).collect();
    assert_eq!(begins, [&ids[0][..8], &ids[1][..8]], "{shown}");
    let newest = payload.uplift(&["history", "-n", "1"]).1;
    assert!(newest.starts_with(begins[0]) && !newest.contains(begins[1]), "{newest}");
    assert_eq!(json(&payload, &["history", "-n", "1", "--json"]), serde_json::json!([all[0]]));
    assert_eq!(json(&payload, &["history", begins[1], "--json"]), serde_json::json!([all[1]]));
    let (code, one) = payload.uplift(&["history", begins[1]]);
    let digest = all[1]["package"]["program_digest"].as_str().unwrap();
    let has_all = [ids[1], NEW, "asked by", digest].iter().all(|text| one.contains(text));
    assert!(code == Some(0) && has_all, "{one}");
    let (code, none) = payload.uplift(&["history", "no-such"]);
    assert!(
        code == Some(1) && none.contains("hint: `uplift history` begins each with its id"),
        "{none}"
    );
}

#[test]
fn outcomes_have_colours_on_a_terminal_alone() {
    let payload = payload();
    let seen = terminal::run(&mut uplift(&payload, &["history"]), 80);
    assert_eq!((seen.look_of("failed").0, seen.look_of("succeeded").0), (RED, GREEN));
    let seen = terminal::run(&mut uplift(&payload, &["status"]), 80);
    assert!(seen.look_of("Phase").1 && !seen.look_of("idle").1, "labels alone are bold");
    let never = [
        &["--color", "never", "status"][..],
        &["status", "--color=never"],
        &["--color", "never", "--help"],
    ];
    for arguments in never {
        assert!(terminal::run(&mut uplift(&payload, arguments), 80).is_plain(), "{arguments:?}");
    }
    for arguments in [&["history"][..], &["--help"]] {
        let seen = terminal::run(uplift(&payload, arguments).env("NO_COLOR", "1"), 80);
        assert!(seen.is_plain(), "{}", seen.text());
        assert!(!terminal::run(&mut uplift(&payload, arguments), 80).is_plain(), "{arguments:?}");
    }
    let piped = |arguments| uplift(&payload, arguments).output().unwrap().stdout.contains(&0x1b);
    assert!(!piped(&["history"]) && piped(&["history", "--color", "always"]));
    assert!(!piped(&["history", "--json", "--color", "always"]));
    let seen = terminal::run(&mut uplift(&payload, &["status", "--json"]), 80);
    assert!(seen.is_plain(), "{}", seen.text());
}

#[test]
fn the_status_is_one_screen_and_ends_with_what_to_do() {
    let payload = payload();
    let seen = terminal::run(&mut uplift(&payload, &["status"]), 80);
    assert!(seen.rows().len() <= SCREEN, "{}", seen.text());
    let hint = uplift::model::FailureKind::WrongProduct.hint();
    let (_, last) =
        seen.text().split_once("    Next  ").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert_eq!(words(&last), words(hint));
    payload.uplift(&["hold", "in the air"]);
    let next = payload.uplift(&["status"]).1;
    assert!(next.contains("    Next  `uplift release` ends the hold\n"), "{next}");
    // Each value begins in one column.
    assert!(next.lines().all(|line| line.get(8..10) == Some("  ")), "{next}");
    let mut well = Payload::setup().start();
    let firmware = well.new_firmware();
    well.through_a_restart(&["install", firmware.to_str().unwrap()]);
    let text = well.uplift(&["status"]).1;
    assert!(!text.contains("Next"), "{text}");
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// The screen has the words of what is piped. One may be broken only where no row has room for it.
#[track_caller]
fn assert_words_are_whole(piped: &str, seen: &Seen, columns: u16) {
    let text = seen.text();
    let mut rest = words(&text).into_iter();
    for word in words(piped) {
        let mut shown = rest.next().unwrap_or_default().to_owned();
        let whole = shown == word;
        while shown.len() < word.len() && word.starts_with(&shown) {
            let Some(more) = rest.next() else { break };
            shown += more;
        }
        assert_eq!(shown, word, "{columns} columns:\n{text}");
        // What hangs below a label has two thirds of the row.
        let is_too_long = word.chars().count() > usize::from(columns) * 2 / 3;
        assert!(whole || is_too_long, "{word:?} is broken at {columns} columns:\n{text}");
    }
    assert_eq!(rest.next(), None, "{columns} columns:\n{text}");
    for row in seen.wrapped() {
        assert!(
            words(row).iter().any(|word| word.len() > usize::from(columns) * 2 / 3),
            "{row:?} runs over {columns} columns:\n{text}"
        );
    }
}

#[test]
fn no_word_is_broken_at_any_width() {
    let payload = payload();
    let id = payload.last_report().id.0;
    let new = payload.new_firmware();
    for arguments in [
        &["status"][..],
        &["history"],
        &["history", &id],
        &["check", new.to_str().unwrap()],
        &["check", payload.root().join(FOREIGN).to_str().unwrap()],
        &["config", "check"],
        &["rollback", "--component", "nobody"],
    ] {
        let output = uplift(&payload, arguments).output().unwrap();
        let piped = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        for columns in WIDTHS {
            let seen = terminal::run(&mut uplift(&payload, arguments), columns);
            assert_eq!(seen.status, output.status);
            assert_words_are_whole(&piped, &seen, columns);
        }
    }
}

#[test]
fn no_help_breaks_a_word_at_any_width() {
    let mut parser = <uplift::cli::Arguments as clap::CommandFactory>::command();
    parser.build();
    for arguments in commands(&parser) {
        let uplift = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_uplift"));
            command.args(&arguments).arg("--help").env_remove("COLUMNS");
            command
        };
        let piped = String::from_utf8(uplift().output().unwrap().stdout).unwrap();
        for columns in WIDTHS {
            assert_words_are_whole(&piped, &terminal::run(&mut uplift(), columns), columns);
        }
    }
}

/// The words of each command, that of none first.
fn commands(parser: &clap::Command) -> Vec<Vec<String>> {
    let below = parser.get_subcommands().filter(|command| command.get_name() != "help");
    let below = below.flat_map(|command| {
        let name = command.get_name().to_owned();
        commands(command).into_iter().map(move |rest| [vec![name.clone()], rest].concat())
    });
    std::iter::once(Vec::new()).chain(below).collect()
}

#[test]
fn the_live_view_of_an_installation_keeps_to_its_row() {
    for (number, columns) in (2..).zip(WIDTHS) {
        let mut payload = Payload::setup().start();
        let firmware = payload.firmware_of(&format!("V{number:02}.00.00.00"), 30_000_000);
        let mut install = uplift(&payload, &["install", firmware.to_str().unwrap()]);
        let seen = terminal::run_with(&mut install, columns, 24, || payload.restart_when_asked());
        assert!(seen.status.success(), "{}", seen.text());
        assert_eq!(seen.wrapped(), [""; 0], "at {columns} columns");
        assert!(
            seen.text().contains(" runs now.") || seen.text().contains(" is installed, "),
            "{}",
            seen.text()
        );
    }
}
