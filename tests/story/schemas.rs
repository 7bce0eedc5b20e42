//! What `--json` prints is as `docs/wire/schema` says, field by field.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use uplift::model::{FailureKind, Outcome, Phase};
use uplift_sim::signer::Signer;

use crate::world::payload::Payload;
use crate::world::watched::Watched as _;

const SCHEMAS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/wire/schema");
const VALIDATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/story/schemas/validate.py");

/// Documents, each with the name of its schema.
#[derive(Default)]
struct Documents(Vec<(&'static str, Value)>);

impl Documents {
    /// What `uplift` prints, a document a line or all of it one.
    fn print(&mut self, payload: &Payload, schema: &'static str, arguments: &[&str]) -> Value {
        let output = payload.command(arguments).arg("--json").output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}"));
        self.0.push((schema, document.clone()));
        // An entry of the history may be another version's. These are not.
        if schema == "history" {
            let reports = document.as_array().unwrap().iter();
            self.0.extend(reports.map(|report| ("report", report.clone())));
        }
        document
    }

    /// What is wrong with them.
    fn mistakes(&self) -> String {
        let mut validator = Command::new("/usr/bin/python3") // Debian's, whose library it is
            .args([VALIDATE, SCHEMAS])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 can't be run; `tests/run` installs it");
        let mut input = validator.stdin.take().unwrap();
        for (schema, document) in &self.0 {
            writeln!(input, "{}", json!({"schema": schema, "document": document})).unwrap();
        }
        drop(input);
        let output = validator.wait_with_output().unwrap();
        assert!(output.status.success(), "python3-jsonschema; `tests/run` installs it");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn are_right(&self) {
        let mistakes = self.mistakes();
        assert!(mistakes.is_empty(), "{mistakes}");
    }
}

fn schema(name: &str) -> Value {
    let text = fs::read(Path::new(SCHEMAS).join(format!("{name}.schema.json"))).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn a_life_with_holds_success_failure_and_rollback_is_as_the_schemas_say() {
    let mut payload =
        Payload::setup().sections("[policy]\nwindow_utc = [\"02:00-05:00\"]\n").start();
    let mut printed = Documents::default();
    let new = payload.new_firmware();
    let new = new.to_str().unwrap();
    printed.print(&payload, "status", &["status"]);
    printed.print(&payload, "history", &["history"]);
    printed.print(&payload, "hold", &["release"]);
    printed.print(&payload, "hold", &["hold", "--for", "2h", "in the air"]);
    printed.print(&payload, "status", &["status"]);
    printed.print(&payload, "hold", &["release"]);
    printed.print(&payload, "forget", &["forget", "--minimum-version"]);
    printed.print(&payload, "check", &["check", new]);
    let install = payload.spawn(&["install", "--force", "--json", new]);
    payload.wait_for_restart_request().unwrap();
    let during = printed.print(&payload, "status", &["status"]);
    assert_eq!(during["phase"], "restarting");
    payload.reboot();
    let output = install.wait_with_output().unwrap();
    printed.0.push(("report", serde_json::from_slice(&output.stdout).unwrap()));
    printed.print(&payload, "check", &["check", new]);
    let foreign = payload.root().join("SOMETHING_ELSE_V03.00.00.00.bin");
    fs::copy(new, &foreign).unwrap();
    let foreign = foreign.to_str().unwrap();
    // Whoever is refused at once has no report but in the history.
    assert_eq!(payload.uplift(&["install", "--force", "--json", foreign]).0, Some(1));
    let back = payload.through_a_restart(&["rollback", "--yes", "--json"]);
    printed.0.push(("report", serde_json::from_slice(&back.stdout).unwrap()));
    let history = printed.print(&payload, "history", &["history"]);
    assert_eq!(history.as_array().unwrap().len(), 3);
    printed.print(&payload, "status", &["status"]);
    printed.are_right();
}

#[test]
fn seals_and_trials_are_as_the_schemas_say() {
    let signer = Signer::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
    let trial = "[trial]\nwindow = \"1s\"\ndeadline = \"30s\"\nconfirm = \"explicit\"\nhealth_command = [\"/bin/true\"]\n";
    let setup = Payload::setup().program("restart = \"unit\"\n").with_systemd();
    let payload = setup.sections(&format!("{}{trial}", signer.trusted_section())).start();
    let mut printed = Documents::default();
    let new = payload.new_firmware();
    let program = fs::read(&new).unwrap();
    for cover in [Signer::seal_file, Signer::compress] {
        fs::write(&new, &program).unwrap();
        cover(&signer, &new).unwrap();
        let checked = printed.print(&payload, "check", &["check", new.to_str().unwrap()]);
        assert_eq!(checked["seal"]["signer"], "trusted");
    }
    let mut watch = payload.spawn(&["status", "--watch", "--json"]);
    let install = payload.install_file(&new);
    let waits = payload.wait_for_status(|status| {
        let upgrade = status.upgrade.as_ref();
        upgrade.is_some_and(|upgrade| {
            matches!(upgrade.waits_for, Some(uplift::model::TrialWait::Confirmation {}))
        })
    });
    waits.unwrap();
    printed.print(&payload, "status", &["status"]);
    assert_eq!(payload.uplift(&["confirm"]).0, Some(0));
    assert!(install.wait_with_output().unwrap().status.success());
    watch.kill().unwrap();
    let seen = watch.wait_with_output().unwrap().stdout;
    let seen: Vec<Value> = serde_json::Deserializer::from_slice(&seen)
        .into_iter()
        .map_while(Result::ok) // the last line may be cut off
        .collect();
    assert!(
        seen.iter().any(|status| status["upgrade"]["waits_for"]["what"] == "window"),
        "{seen:?}"
    );
    printed.0.extend(seen.into_iter().map(|status| ("status", status)));
    let report = &printed.print(&payload, "history", &["history"])[0];
    assert_eq!(report["evidence"]["running"], "verified");
    assert_eq!(report["package"]["program_size"], program.len());
    printed.print(&payload, "forget", &["forget", "--minimum-version"]);
    printed.are_right();
}

/// Otherwise all of the above would say nothing.
#[test]
fn what_is_not_as_the_schemas_say_is_found() {
    let payload = Payload::setup().start();
    let mut right = Documents::default();
    let status = right.print(&payload, "status", &["status"]);
    right.are_right();
    let wrong = [
        ("further", json!(1)),
        ("phase", json!("flying")),
        ("last", json!({"id": "1"})),
        ("schema", json!(2)),
    ];
    for (field, value) in wrong {
        let mut status = status.clone();
        status[field] = value;
        let mistakes = Documents(vec![("status", status)]).mistakes();
        assert_eq!(mistakes.lines().count().min(1), 1, "{field}: {mistakes}");
    }
    let mut less = status;
    less.as_object_mut().unwrap().remove("link");
    assert!(Documents(vec![("status", less)]).mistakes().contains("link"));
}

#[test]
fn the_schemas_have_every_word() {
    fn words<T: serde::Serialize>(all: &[T]) -> Value {
        serde_json::to_value(all).unwrap()
    }
    let report = schema("report");
    let definitions = &report["$defs"];
    assert_eq!(definitions["phase"]["enum"], words(&Phase::ALL));
    assert_eq!(definitions["failure"]["properties"]["kind"]["enum"], words(&FailureKind::ALL));
    let outcomes = [Outcome::Succeeded, Outcome::Failed, Outcome::RolledBack];
    assert_eq!(report["properties"]["outcome"]["enum"], words(&outcomes));
    let checks = words(&uplift::package::check::Check::ALL);
    assert_eq!(schema("check")["$defs"]["check"]["enum"], checks);
}
