//! What is told while a microcontroller is worked on: each phase, the percentages within it, and
//! the time without a program.

use std::sync::mpsc::channel;
use std::thread;

use uplift::control::{Client, ControlAnswer, ControlRequest};

use super::*;

/// Installs, and each thing that the status said was done, once, with the highest percentage.
fn told(bench: &Bench) -> Vec<(String, Option<u8>)> {
    let mut client = Client::connect(&bench.payload.control_socket()).unwrap();
    client.ask(&ControlRequest::Watch {}).unwrap();
    let (over, is_over) = channel();
    let watch = thread::spawn(move || {
        let mut told: Vec<(String, Option<u8>)> = Vec::new();
        while let Ok(ControlAnswer::Status { status }) = client.answer_within(PATIENCE) {
            let doing = status.upgrade.and_then(|now| now.doing.map(|doing| (doing, now.percent)));
            match (doing, told.last_mut()) {
                (Some((doing, percent)), Some(last)) if last.0 == doing => last.1 = percent,
                (Some(doing), _) => told.push(doing),
                (None, _) if is_over.try_recv().is_ok() => return told,
                (None, _) => {}
            }
        }
        panic!("the daemon went away")
    });
    let (text, report) = bench.install(NEW);
    assert_eq!(report.outcome, Outcome::Succeeded, "{text}");
    for (phase, _) in [("erasing", ()), ("writing", ())] {
        assert!(text.contains(&format!("installing: {phase}")), "{text}");
    }
    over.send(()).unwrap();
    // One status more, for who waits for it.
    bench.payload.uplift(&["hold", "the end"]);
    watch.join().unwrap()
}

/// ST-13: a status that is not looked at often enough may miss one; the slow line shows all.
#[test]
fn the_phases_of_an_upgrade_over_the_store_are_in_the_status() {
    let vendor = Options {
        bootloader: Bootloader::Vendor,
        baud: Some(921_600),
        times: 0.1,
        ..Options::default()
    };
    let lines = "bootloader = \"vendor\"";
    let bench = Setting { options: vendor, lines, ..Setting::default() }.start();
    let told = told(&bench);
    let words: Vec<&str> = told.iter().map(|(words, _)| words.as_str()).collect();
    let expected = [
        "reading the program that is there, to keep it",
        "erasing the store",
        "writing the store",
        "reading the store back",
        "the bootloader copies the program",
        "reading the program back",
    ];
    assert_eq!(words, expected);
    // The last percentage and the next phase may come at once.
    assert!(told[2].1.is_some() && told[3].1 == Some(100), "{told:?}");
    let percents: Vec<u8> = told.iter().filter_map(|(_, percent)| *percent).collect();
    assert!(percents.is_sorted(), "{told:?}");
}

/// ST-8: the time without a program is told, and is in the journal.
#[test]
fn without_a_bootloader_the_time_without_a_program_is_told() {
    let options = Options {
        bootloader: Bootloader::None,
        baud: Some(921_600),
        times: 1.0,
        ..Options::default()
    };
    let bench = Setting { options, lines: "mode = \"direct\"", ..Setting::default() }.start();
    let told = told(&bench);
    let without: Vec<&str> = told
        .iter()
        .filter(|(words, _)| words.contains("has no program meanwhile"))
        .filter_map(|(words, _)| words.split(';').next())
        .collect();
    assert_eq!(without[..2], ["erasing", "writing"], "{told:?}");
    assert!(without.contains(&"reading back"), "{told:?}");
    let log = fs::read_to_string(bench.payload.log("daemon")).unwrap();
    assert!(
        log.contains("the updater: erasing; the microcontroller has no program meanwhile"),
        "{log}"
    );
}

/// ST-8: whoever is cut off meanwhile begins again, from the erasure, with the new program.
#[test]
fn without_a_bootloader_what_was_cut_off_is_begun_again() {
    let options =
        Options { bootloader: Bootloader::None, baud: Some(115_200), ..Options::default() };
    let mut bench = Setting { options, lines: "mode = \"direct\"", ..Setting::default() }.start();
    let client = bench.payload.install_file(&bench.file(NEW));
    let wrote =
        |event: &Event| matches!(event, Event::Wrote { address, .. } if *address > 0x0800_0800);
    assert!(bench.chip.events().wait_for(PATIENCE, wrote).is_some());
    bench.cut_off();
    drop(client);
    bench.payload.start_daemon().unwrap();
    let report = bench.next_report();
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
    bench.runs(NEW);
    let log = fs::read_to_string(bench.payload.log("daemon")).unwrap();
    assert!(log.contains("the updater was cut off; it begins again"), "{log}");
    let (_, text) = bench.payload.uplift(&["rollback", "--component", "motor", "--yes"]);
    assert_eq!(
        bench.payload.status().unwrap().last.unwrap().outcome,
        Outcome::RolledBack,
        "{text}"
    );
    bench.runs(OLD);
}
