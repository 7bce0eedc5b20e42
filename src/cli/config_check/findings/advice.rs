//! What would make upgrades safer, although nothing is wrong.

use std::time::Duration;

use super::units::Systemd;
use super::{Findings, Level};
use crate::config::Program;
use crate::model::Confirm;

impl Findings {
    pub(super) fn advice(&mut self, systemd: &Systemd, program: &Program) {
        self.no_health(program);
        let Some(unit) = &program.unit else { return };
        const ASKED: [&str; 4] = [
            "LoadState",
            "Restart",
            "InactiveExitTimestampMonotonic",
            "ActiveEnterTimestampMonotonic",
        ];
        let Ok(known) = systemd.properties(unit, &ASKED) else { return };
        let known = |name: &str| known.get(name).map_or("", |value| value.trim());
        if known("LoadState") != "loaded" {
            return;
        }
        if known("Restart") == "no" {
            let sentence =
                format!("{unit} has no `Restart=`: nobody starts the program again that ends");
            self.advise(program, "unit", sentence, "give the unit `Restart=on-failure`; `systemd/program.service.d/uplift.conf.example` has it");
        }
        let at = |name| known(name).parse().ok().filter(|at| *at > 0).map(Duration::from_micros);
        if let Some((began, ended)) = at(ASKED[2]).zip(at(ASKED[3])) {
            self.slow_start(program, unit, ended.saturating_sub(began));
        }
    }

    /// That its process runs is all that is known of a new program.
    fn no_health(&mut self, program: &Program) {
        let trial = &program.common.trial;
        if trial.health_command.is_some()
            || trial.bridge.is_some()
            || trial.confirm == Confirm::Explicit
        {
            return;
        }
        let sentence = "a new program passes its trial as soon as its process has run for a while, whatever it does";
        self.advise(
            program,
            "trial",
            sentence.to_owned(),
            "give a `health_command` that tests what matters, in [trial]",
        );
    }

    /// A program that needs longer to start than its trial lasts always fails it.
    fn slow_start(&mut self, program: &Program, unit: &str, took: Duration) {
        let needed = took.saturating_add(program.window);
        if needed < program.common.trial.deadline {
            return;
        }
        let time = |time: Duration| humantime::format_duration(Duration::from_secs(time.as_secs()));
        let sentence = format!(
            "{unit} took {} to start the last time, and with the window of {} that is longer than the trial",
            time(took),
            time(program.window)
        );
        self.advise(program, "trial", sentence, "raise `deadline` of [trial]");
    }

    fn advise(&mut self, program: &Program, field: &str, sentence: String, hint: &str) {
        self.add(Level::Advice, program.common.field(field), sentence, hint);
    }
}
