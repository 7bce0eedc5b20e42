//! The second deadline, through the real binary, with no daemon at all: each row of the table in
//! docs/use/rescue.md.

mod killed;
mod left;

use std::fs;

use serde_json::{Value, json};

use crate::world::payload::{NEW, OLD, Payload};
use left::DEADLINE;

fn unit() -> Value {
    json!({ "unit": "payload.service" })
}

#[test]
fn a_trial_without_a_verdict_is_rolled_back_and_the_old_program_restarted() {
    let payload = Payload::on_trial(&unit());
    payload.call_rescue("deadline");
    assert_eq!(
        (payload.at_path().as_str(), payload.asked("restart"), payload.asked("stop")),
        (NEW, 0, 0)
    );
    payload.clock(100 + DEADLINE - 1);
    payload.call_rescue("deadline");
    assert_eq!(payload.at_path(), NEW);
    payload.clock(100 + DEADLINE);
    payload.call_rescue("deadline");
    assert_eq!((payload.at_path().as_str(), payload.asked("restart")), (OLD, 1));
    let file = payload.rescue_file().unwrap();
    let verdict = &file["ruling"]["verdict"];
    assert_eq!(verdict["failure"]["kind"], "unhealthy");
    assert_eq!(verdict["failure"]["sentence"], "no verdict on the new program came within 150 s");
    assert_eq!(verdict["program_log"], json!(["about to fail", "failed"]));
    assert_eq!(
        (&file["ruling"]["rolled_back"], &file["ruling"]["requests"]),
        (&json!(true), &json!(1))
    );
    payload.call_rescue("deadline");
    assert_eq!(
        (payload.asked("restart"), payload.asked("stop")),
        (1, 1),
        "the restart came, and nothing is left to do"
    );
    assert!(fs::exists(payload.root().join("bin/.uplift/payload.failed")).unwrap());
}

#[test]
fn boots_that_are_used_up_roll_back_before_anything_starts() {
    let payload = Payload::on_trial(&json!("reboot"));
    for boot in ["2", "3", "4"] {
        payload.boots(boot);
        payload.call_rescue("boot");
        payload.call_rescue("boot");
        assert_eq!(payload.at_path(), NEW, "boot {boot}");
    }
    assert_eq!(payload.asked("start"), 6, "the timer is armed while a trial is under way");
    payload.boots("5");
    payload.call_rescue("boot");
    assert_eq!(
        (payload.at_path().as_str(), payload.asked("reboot")),
        (OLD, 0),
        "the old program starts in this boot"
    );
    assert_eq!(
        payload.rescue_file().unwrap()["ruling"]["verdict"]["failure"]["sentence"],
        "3 boots were used up without a verdict"
    );
    payload.call_rescue("deadline");
    assert_eq!((payload.asked("reboot"), payload.asked("stop")), (0, 1));
}

#[test]
fn each_boot_has_its_own_deadline() {
    let payload = Payload::on_trial(&json!("reboot"));
    payload.clock(5000);
    payload.call_rescue("deadline");
    payload.boots("2");
    payload.clock(10);
    payload.call_rescue("boot");
    payload.clock(10 + DEADLINE);
    payload.call_rescue("deadline");
    assert_eq!((payload.at_path().as_str(), payload.asked("reboot")), (OLD, 1));
}

#[test]
fn a_reboot_that_never_came_is_not_blamed_on_the_program() {
    let payload = Payload::on_trial(&json!("reboot"));
    payload.call_rescue("deadline");
    payload.clock(100 + DEADLINE);
    payload.call_rescue("deadline");
    assert_eq!(
        (payload.at_path().as_str(), payload.asked("reboot")),
        (OLD, 0),
        "the old program runs still"
    );
    assert_eq!(
        payload.rescue_file().unwrap()["ruling"]["verdict"]["failure"]["kind"],
        "restart-failed"
    );
}

#[test]
fn a_restart_that_systemd_refuses_is_asked_for_again() {
    let payload = Payload::on_trial(&unit());
    payload.systemd_has("refuse", "restart");
    payload.call_rescue("deadline");
    payload.clock(100 + DEADLINE);
    for _ in 0..2 {
        let output = payload.rescue(&[], "deadline").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("Access denied"), "{output:?}");
    }
    payload.systemd_has("refuse", "");
    payload.call_rescue("deadline");
    payload.call_rescue("deadline");
    assert_eq!(
        (payload.asked("restart"), payload.asked("stop")),
        (3, 1),
        "it came, and nothing is left to do"
    );
}

#[test]
fn a_restart_that_can_not_be_counted_is_not_asked_for() {
    let payload = Payload::on_trial(&unit());
    payload.systemd_has("refuse", "restart");
    payload.call_rescue("deadline");
    payload.clock(100 + DEADLINE);
    assert_eq!(payload.rescue(&[], "deadline").output().unwrap().status.code(), Some(1));
    payload.systemd_has("refuse", "");
    let file = payload.state().join("rescue.json.new");
    let full =
        ["-P", file.to_str().unwrap(), "-e", "trace=write", "-e", "inject=write:error=ENOSPC"];
    let output = payload.rescue(&traced(&full), "deadline").output().unwrap();
    assert_eq!(
        (output.status.code(), payload.asked("restart")),
        (Some(1), 1),
        "it would be asked for without end: {output:?}"
    );
    payload.call_rescue("deadline");
    assert_eq!(payload.asked("restart"), 2, "once there is room");
}

#[test]
fn a_daemon_that_dies_before_it_restarts_the_old_program_leaves_that_to_the_rescue() {
    for phase in ["reverting", "restarting-back"] {
        let payload = Payload::on_trial(&unit());
        payload.call_rescue("deadline");
        payload.on_way_back(phase);
        for uptime in [500, 500 + 60 + 29] {
            payload.clock(uptime);
            payload.call_rescue("deadline");
            assert_eq!(
                (payload.asked("restart"), payload.asked("stop")),
                (0, 0),
                "{phase}: the daemon may be at it"
            );
        }
        payload.clock(500 + 60 + 30);
        payload.systemd_has("refuse", "restart");
        assert_eq!(
            payload.rescue(&[], "deadline").output().unwrap().status.code(),
            Some(1),
            "{phase}"
        );
        payload.systemd_has("refuse", "");
        payload.call_rescue("deadline");
        payload.call_rescue("deadline");
        assert_eq!(
            (payload.asked("restart"), payload.asked("stop")),
            (2, 1),
            "{phase}: it came, and nothing is left to do"
        );
        assert_eq!(payload.at_path(), OLD);
        let verdict = payload.rescue_file().unwrap()["ruling"]["verdict"].clone();
        assert_eq!(verdict["failure"]["sentence"], "the daemon says so", "{phase}");
        assert_eq!(verdict["program_log"], json!(["its last words"]), "{phase}");
    }
}

#[test]
fn a_daemon_that_dies_before_the_machine_restarts_leaves_that_to_the_rescue() {
    let payload = Payload::on_trial(&json!("reboot"));
    payload.on_way_back("restarting-back");
    for uptime in [500, 600] {
        payload.clock(uptime);
        payload.call_rescue("deadline");
    }
    assert_eq!(payload.asked("reboot"), 1);
    payload.boots("2");
    payload.call_rescue("boot");
    payload.call_rescue("deadline");
    assert_eq!((payload.asked("reboot"), payload.at_path().as_str()), (1, OLD));
}

#[test]
fn a_daemon_that_dies_before_it_puts_the_old_program_back_leaves_that_to_the_rescue() {
    for (call, restarts) in [("boot", 0), ("deadline", 1)] {
        let payload = Payload::on_trial(&unit());
        payload.on_way_back("reverting");
        payload.undo_by_hand();
        payload.boots("2");
        payload.call_rescue(call);
        payload.clock(600);
        payload.call_rescue(call);
        assert_eq!(
            (payload.at_path().as_str(), payload.asked("restart")),
            (OLD, restarts),
            "{call}"
        );
    }
}

#[test]
fn a_daemon_that_concludes_ends_no_restart_that_is_owed() {
    let payload = Payload::on_trial(&unit());
    payload.systemd_has("refuse", "restart");
    payload.call_rescue("deadline");
    payload.clock(100 + DEADLINE);
    assert_eq!(payload.rescue(&[], "deadline").output().unwrap().status.code(), Some(1));
    payload.conclude();
    payload.systemd_has("refuse", "");
    payload.call_rescue("deadline");
    payload.call_rescue("deadline");
    assert_eq!(
        (payload.at_path().as_str(), payload.asked("restart"), payload.asked("stop")),
        (OLD, 2, 1)
    );
}

#[test]
fn a_start_of_the_new_program_during_the_roll_back_is_no_restart_of_the_old_one() {
    let payload = Payload::on_trial(&unit());
    payload.call_rescue("deadline");
    payload.clock(100 + DEADLINE);
    let lock = payload.hold_lock();
    payload.systemd_has("refuse", "restart");
    let mut rescue = payload.rescue(&[], "deadline").spawn().unwrap();
    payload.wait_until_log_is_asked_for();
    // It crashes and is started again, from the path that still names the new program.
    payload.systemd_has("invocation", "start-3");
    drop(lock);
    assert_eq!(rescue.wait().unwrap().code(), Some(1));
    payload.systemd_has("refuse", "");
    payload.call_rescue("deadline");
    assert_eq!(
        (payload.at_path().as_str(), payload.asked("restart")),
        (OLD, 2),
        "start-3 is of the new program"
    );
}

#[test]
fn a_restart_command_that_leaves_no_evidence_is_run_until_it_succeeds() {
    let mark = |payload: &Payload| payload.root().join("run/there/restarted");
    let payload = Payload::on_trial(&json!({ "command": ["true"] }));
    let mut state = payload.trial_state(&json!({ "command": ["touch", mark(&payload)] }));
    state["upgrade"]["swap"]["terms"]["unit"] = Value::Null;
    payload.leave(&state);
    payload.call_rescue("deadline");
    payload.clock(100 + DEADLINE);
    assert_eq!(
        payload.rescue(&[], "deadline").output().unwrap().status.code(),
        Some(1),
        "the directory is missing"
    );
    fs::create_dir(mark(&payload).parent().unwrap()).unwrap();
    payload.call_rescue("deadline");
    fs::remove_file(mark(&payload)).unwrap();
    payload.call_rescue("deadline");
    assert!(!mark(&payload).exists(), "once is enough");
    assert_eq!(
        payload.rescue_file().unwrap()["ruling"]["verdict"]["program_log"],
        json!([]),
        "there is no unit"
    );
}

#[test]
fn a_verdict_that_was_not_carried_out_is_completed() {
    for (call, restarts) in [("boot", 0), ("deadline", 1)] {
        let payload = Payload::on_trial(&unit());
        payload.call_rescue("deadline");
        payload.clock(100 + DEADLINE);
        payload.call_rescue("deadline");
        // As after a power cut between the verdict and the roll back.
        let mut file = payload.rescue_file().unwrap();
        file["ruling"]["rolled_back"] = false.into();
        fs::write(payload.state().join("rescue.json"), file.to_string()).unwrap();
        payload.undo_by_hand();
        assert_eq!(payload.at_path(), NEW);
        payload.boots("2");
        payload.clock(9);
        payload.call_rescue(call);
        assert_eq!(
            (payload.at_path().as_str(), payload.asked("restart") - 1),
            (OLD, restarts),
            "{call}"
        );
        let completed = payload.rescue_file().unwrap();
        assert_eq!(completed["ruling"]["verdict"], file["ruling"]["verdict"], "{call}");
        assert_eq!(completed["ruling"]["rolled_back"], true, "{call}");
    }
}

#[test]
fn a_trial_that_the_daemon_concluded_is_over() {
    let payload = Payload::on_trial(&unit());
    payload.call_rescue("deadline");
    payload.conclude();
    payload.clock(100 + DEADLINE);
    payload.call_rescue("deadline");
    assert_eq!(
        (payload.at_path().as_str(), payload.rescue_file(), payload.asked("stop")),
        (NEW, None, 1)
    );
    assert_eq!(payload.asked("start"), 0, "no timer is armed for a trial that is over");
    fs::remove_file(payload.state().join("state.json")).unwrap();
    payload.call_rescue("deadline");
    assert_eq!(payload.at_path(), NEW, "a state that is lost later does not bring the trial back");
}

#[test]
fn a_state_that_the_new_daemon_lost_ends_no_trial() {
    for lose in [
        |payload: &Payload| fs::remove_file(payload.state().join("state.json")).unwrap(),
        |payload: &Payload| {
            fs::write(payload.state().join("state.json"), "{").unwrap();
        },
    ] {
        let payload = Payload::on_trial(&unit());
        payload.call_rescue("deadline");
        lose(&payload);
        payload.clock(100 + DEADLINE);
        payload.call_rescue("deadline");
        assert_eq!((payload.at_path().as_str(), payload.asked("restart")), (OLD, 1));
    }
}

/// Of another component, of which this rescue knows nothing, and for which it promises nothing.
#[test]
fn an_upgrade_of_something_else_than_a_program_is_passed_over() {
    let payload = Payload::on_trial(&unit());
    payload.clock(9999);
    let state = payload.state().join("state.json");
    let change = json!({ "component": "modem", "package": { "of_its_own": [1] }, "terms": null });
    let upgrade = json!({ "phase": "changing", "upgrade": { "id": "1" }, "change": change });
    let text = json!({ "format": 1, "upgrade": upgrade, "unacknowledged": [], "known_bad": [] });
    fs::write(&state, text.to_string()).unwrap();
    for call in ["boot", "deadline"] {
        payload.call_rescue(call);
    }
    assert_eq!(fs::read_to_string(&state).unwrap(), text.to_string());
    assert_eq!(
        (payload.at_path().as_str(), payload.rescue_file(), payload.asked("restart")),
        (NEW, None, 0)
    );
}

#[test]
fn what_is_absent_or_damaged_is_not_touched() {
    let payload = Payload::on_trial(&unit());
    payload.clock(9999);
    let state = payload.state().join("state.json");
    for call in ["boot", "deadline"] {
        fs::write(&state, "{").unwrap();
        let output = payload.rescue(&[], call).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "damaged: {output:?}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("nothing was touched"),
            "{output:?}"
        );
        assert!(String::from_utf8_lossy(&output.stderr).contains("EOF while parsing"), "and why");
        assert_eq!(fs::read_to_string(&state).unwrap(), "{", "the daemon sets it aside");
        fs::remove_file(&state).unwrap();
        payload.call_rescue(call);
    }
    assert_eq!(
        (payload.at_path().as_str(), payload.rescue_file(), payload.asked("restart")),
        (NEW, None, 0)
    );
}

#[test]
fn what_a_killed_rescue_had_begun_to_write_is_removed_at_the_next_boot() {
    let payload = Payload::on_trial(&unit());
    let unfinished = payload.state().join("rescue.json.new");
    fs::write(&unfinished, "{").unwrap();
    payload.conclude();
    payload.call_rescue("boot");
    assert!(!unfinished.exists());
}

#[test]
fn a_file_of_its_own_that_is_damaged_is_begun_anew() {
    let payload = Payload::on_trial(&unit());
    for damage in ["{", "{\"format\": 2}"] {
        fs::write(payload.state().join("rescue.json"), damage).unwrap();
        payload.call_rescue("deadline");
        assert_eq!(payload.rescue_file().unwrap()["since"], 100);
    }
}

#[test]
fn a_program_that_was_replaced_by_hand_or_removed_is_not_touched() {
    let payload = Payload::on_trial(&unit());
    payload.call_rescue("deadline");
    payload.clock(9999);
    payload.install_by_hand("V03.00.00.00".parse().unwrap()).unwrap();
    payload.call_rescue("deadline");
    assert_eq!(payload.at_path(), "V03.00.00.00");
    fs::remove_file(payload.program()).unwrap();
    payload.call_rescue("deadline");
    payload.call_rescue("boot");
    assert!(!payload.program().exists());
    assert_eq!(payload.asked("restart"), 0);
}

#[test]
fn a_program_that_can_not_be_read_is_rolled_back_at_its_deadline() {
    let payload = Payload::on_trial(&unit());
    let program = payload.program();
    let bad_block = [
        "-P",
        program.to_str().unwrap(),
        "-e",
        "trace=read,pread64",
        "-e",
        "inject=read,pread64:error=EIO",
    ];
    let call = || payload.rescue(&traced(&bad_block), "deadline").output().unwrap();
    assert!(call().status.success());
    assert_eq!(payload.at_path(), NEW, "before its deadline the daemon has the word");
    payload.clock(100 + DEADLINE);
    let output = call();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("can't be read"), "{output:?}");
    assert_eq!((payload.at_path().as_str(), payload.asked("restart")), (OLD, 1));
}

#[test]
fn a_boot_that_can_not_be_counted_is_the_last_one() {
    let payload = Payload::on_trial(&json!("reboot"));
    let file = payload.state().join("rescue.json.new");
    let full =
        ["-P", file.to_str().unwrap(), "-e", "trace=write", "-e", "inject=write:error=ENOSPC"];
    let output = payload.rescue(&traced(&full), "deadline").output().unwrap();
    assert_eq!(
        (output.status.code(), payload.at_path().as_str()),
        (Some(1), NEW),
        "the daemon still has it in memory: {output:?}"
    );
    payload.boots("2");
    let output = payload.rescue(&traced(&full), "boot").output().unwrap();
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("the boot can't be counted"),
        "{output:?}"
    );
    assert_eq!(
        (payload.at_path().as_str(), payload.asked("reboot")),
        (OLD, 0),
        "the old program starts in this boot"
    );
    payload.call_rescue("deadline");
    assert_eq!((payload.at_path().as_str(), payload.asked("reboot")), (OLD, 0));
}

#[test]
fn a_verdict_that_can_not_be_written_is_carried_out_all_the_same() {
    let payload = Payload::on_trial(&unit());
    payload.call_rescue("deadline");
    payload.clock(100 + DEADLINE);
    let file = payload.state().join("rescue.json.new");
    let full =
        ["-P", file.to_str().unwrap(), "-e", "trace=write", "-e", "inject=write:error=ENOSPC"];
    let output = payload.rescue(&traced(&full), "deadline").output().unwrap();
    assert_eq!((payload.at_path().as_str(), payload.asked("restart")), (OLD, 1), "{output:?}");
}

/// A disk with this fault.
fn traced<'a>(fault: &[&'a str]) -> Vec<&'a str> {
    ["strace", "-qq", "-o", "/dev/null"].iter().chain(fault).copied().collect()
}

#[test]
fn a_previous_program_that_is_missing_leaves_the_new_one_there() {
    let payload = Payload::on_trial(&unit());
    fs::remove_file(payload.previous()).unwrap();
    payload.call_rescue("deadline");
    payload.clock(100 + DEADLINE);
    for _ in 0..2 {
        let output = payload.rescue(&[], "deadline").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("no previous program to put back"),
            "{output:?}"
        );
    }
    assert_eq!((payload.at_path().as_str(), payload.asked("restart")), (NEW, 0));
    assert_eq!(payload.rescue_file().unwrap()["ruling"]["rolled_back"], false);
}

/// At the deadline the rescue judges, and asks for the log of the program; then it waits for the lock,
/// and finds what somebody does meanwhile.
fn while_the_rescue_waits_for_the_lock(meanwhile: impl FnOnce(&Payload)) -> Payload {
    let payload = Payload::on_trial(&unit());
    payload.call_rescue("deadline");
    payload.clock(100 + DEADLINE);
    let lock = payload.hold_lock();
    let mut rescue = payload.rescue(&[], "deadline").spawn().unwrap();
    payload.wait_until_log_is_asked_for();
    meanwhile(&payload);
    drop(lock);
    assert!(rescue.wait().unwrap().success());
    payload
}

#[test]
fn a_daemon_that_holds_the_lock_comes_first() {
    let payload = while_the_rescue_waits_for_the_lock(Payload::conclude);
    assert_eq!(
        (payload.at_path().as_str(), payload.asked("restart")),
        (NEW, 0),
        "the daemon said that it succeeded"
    );
}

#[test]
fn a_program_that_is_replaced_by_hand_while_the_rescue_waits_is_not_touched_either() {
    let payload = while_the_rescue_waits_for_the_lock(|payload| {
        payload.install_by_hand("V03.00.00.00".parse().unwrap()).unwrap();
    });
    assert_eq!((payload.at_path().as_str(), payload.asked("restart")), ("V03.00.00.00", 0));
    let ruled = payload.rescue_file().is_some_and(|file| file["ruling"]["rolled_back"] == true);
    assert!(!ruled, "nothing was put back");
}

#[test]
fn every_help_has_an_example_and_fits_80_columns_and_a_wrong_command_line_is_2() {
    let payload = Payload::on_trial(&unit());
    for arguments in [vec!["--help"], vec!["boot", "--help"], vec!["deadline", "--help"]] {
        let mut help = payload.rescue(&[], arguments[0]);
        let output = help.args(&arguments[1..]).env("COLUMNS", "80").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains("\nExample"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
    assert_eq!(payload.rescue(&[], "nonsense").output().unwrap().status.code(), Some(2));
}
