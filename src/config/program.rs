//! A component of the kind "program": a file at a path, and how it is restarted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::common::Common;
use super::error::Mistake;
use super::fields::{Fields, PlainName, RestartField};
use super::package::Format;
use crate::model::{Form, Restart, Runs, Terms};

/// A program that is upgraded, and how it is restarted.
#[derive(Debug, Clone)]
pub struct Program {
    /// What it has as any component.
    pub common: Common,
    /// The program's path. Default: `/usr/local/bin/` and `name`.
    pub path: PathBuf,
    /// The program's systemd unit; evidence of the running program needs it.
    pub unit: Option<String>,
    /// How the new program comes to run.
    pub restart: Restart,
    /// How long a restart may take to begin before it counts as failed; by default what the unit
    /// may take.
    pub restart_deadline: Option<Duration>,
    /// Whether the process that is started remains the program.
    pub runs: Runs,
    /// What lies at the path.
    pub form: Form,
    /// How long the unit must run a new program without a restart.
    pub window: Duration,
    /// The longest that a restart may take to begin where the configuration does not say.
    pub(super) longest_restart: Duration,
}

/// A restart has at least this long to begin, unless the configuration says otherwise.
pub(crate) const SHORTEST_RESTART: Duration = Duration::from_secs(60);
/// And at most this long, where a unit may take for ever and no link announces anything.
const LONGEST_RESTART: Duration = Duration::from_secs(10 * 60);
/// Beyond what the unit may take: for systemd itself, and for the next look.
pub(crate) const RESTART_ROOM: Duration = Duration::from_secs(10);

impl Program {
    pub(super) fn of(fields: Fields, common: Common, window: Duration) -> Result<Self, Mistake> {
        fields.check_no_board(&common)?;
        let mistake = |field: &str, explanation: &str| {
            Mistake::new(&[&format!("component.{}{field}", common.name)], explanation)
        };
        let foreign = [
            (".install", fields.install.is_some()),
            (".revert", fields.revert.is_some()),
            (".suffix", fields.suffix.is_some()),
            (".unchanged_exit_codes", !fields.unchanged_exit_codes.is_empty()),
            (".command_deadline", fields.command_deadline.is_some()),
        ];
        if let Some((field, _)) = foreign.into_iter().find(|(_, given)| *given) {
            return Err(mistake(field, "this belongs to a component of `kind = \"command\"`"));
        }
        let unit = fields.unit.map(|unit| unit.0);
        if fields.runs == Runs::Another && unit.is_none() {
            return Err(mistake(
                ".runs",
                "`runs = \"another\"` needs `unit`: its start is all that can be proved",
            ));
        }
        // A script's process is its interpreter, so that its start is all that can be proved.
        let runs = match (common.format, &unit) {
            (Format::Script, Some(_)) => Runs::Another,
            _ => fields.runs,
        };
        let restart = restart(fields.restart, unit.as_deref())
            .map_err(|explanation| mistake(".restart", explanation))?;
        let path = path(fields.path, fields.name)
            .map_err(|(field, explanation)| mistake(field, explanation))?;
        Ok(Self {
            common,
            path,
            restart,
            unit,
            restart_deadline: fields.restart_deadline,
            runs,
            form: Form::File,
            window,
            longest_restart: LONGEST_RESTART,
        })
    }

    /// A directory that is replaced as a whole.
    pub(super) fn of_tree(
        fields: Fields,
        common: Common,
        window: Duration,
    ) -> Result<Self, Mistake> {
        let foreign = [
            ("name", fields.name.is_some(), "a tree has a `path`"),
            ("format", fields.format.is_some(), "a tree has no other format"),
            (
                "version_command",
                fields.version_command.is_some(),
                "a tree is not asked: its version is the one that its file had",
            ),
        ];
        if let Some((field, _, why)) = foreign.into_iter().find(|(_, given, _)| *given) {
            return Err(Mistake::new(&[common.field(field)], why));
        }
        if fields.path.is_none() {
            let explanation = "give the `path` of the directory, such as \"/opt/sensor\"";
            return Err(Mistake::new(&[format!("component.{}", common.name)], explanation));
        }
        let program = Self::of(fields, common, window)?;
        // What its unit runs may be in it or not, such as an interpreter: its start is the proof.
        let runs = if program.unit.is_some() { Runs::Another } else { Runs::Itself };
        Ok(Self { form: Form::Tree, runs, ..program })
    }

    /// What an upgrade is agreed to be by this configuration, as far as it does not follow from the
    /// program's unit.
    pub fn terms(&self) -> Terms {
        let trial = &self.common.trial;
        Terms {
            program: self.path.clone(),
            unit: self.unit.clone(),
            restart: self.restart.clone(),
            restart_deadline: self.restart_deadline.unwrap_or(SHORTEST_RESTART),
            window: self.window,
            deadline: trial.deadline,
            boots: trial.boots,
            confirm: trial.confirm,
            health_command: trial.health_command.clone(),
            bridge: trial.bridge,
            runs: self.runs,
            form: self.form,
            start_before: None,
        }
    }

    /// How long a restart may take to begin, where the program's unit may take so long to stop and
    /// to start.
    pub fn restart_within(&self, stop: Duration, start: Duration) -> Duration {
        self.restart_deadline.unwrap_or_else(|| {
            let needed = stop.saturating_add(start).saturating_add(RESTART_ROOM);
            needed.max(SHORTEST_RESTART).min(self.longest_restart)
        })
    }
}

fn path(
    path: Option<PathBuf>,
    name: Option<PlainName>,
) -> Result<PathBuf, (&'static str, &'static str)> {
    match (path, name) {
        (Some(path), None) => Ok(path),
        (None, Some(PlainName(name))) => Ok(Path::new("/usr/local/bin").join(name)),
        (Some(_), Some(_)) => Err((".path", "give `name` or `path`, not both")),
        (None, None) => Err(("", "give the program's `name` (in /usr/local/bin) or its `path`")),
    }
}

fn restart(restart: Option<RestartField>, unit: Option<&str>) -> Result<Restart, &'static str> {
    match (restart.unwrap_or_default(), unit) {
        (RestartField::Reboot, _) => Ok(Restart::Reboot),
        (RestartField::Unit, Some(unit)) => Ok(Restart::Unit(unit.to_owned())),
        (RestartField::Unit, None) => Err("`restart = \"unit\"` needs `unit`, the program's unit"),
        (RestartField::Command(command), _) => Ok(Restart::Command(command)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Format};
    use crate::model::Runs;

    #[test]
    fn a_format_is_one_of_three_and_a_script_runs_its_interpreter() {
        let of = |fields: &str| {
            let text = format!("[component.program]\nname = \"p\"\nproduct = \"P\"\n{fields}\n");
            Config::parse(&text, std::path::Path::new("uplift.toml")).map(|config| {
                let program = config.components.programs().next().unwrap();
                (program.common.format, program.runs)
            })
        };
        for (fields, format, runs) in [
            ("", Format::Elf, Runs::Itself),
            ("unit = \"p.service\"", Format::Elf, Runs::Itself),
            ("format = \"script\"", Format::Script, Runs::Itself),
            ("format = \"script\"\nunit = \"p.service\"", Format::Script, Runs::Another),
            ("format = \"any\"\nunit = \"p.service\"", Format::Any, Runs::Itself),
        ] {
            assert_eq!(of(fields).unwrap(), (format, runs), "{fields}");
        }
        let error = of("format = \"deb\"").unwrap_err().to_string();
        assert!(
            error.contains("line 4, field component.program.format") && error.contains("`script`"),
            "{error}"
        );
    }

    fn error(fields: &str) -> String {
        let text = format!("[component.program]\n{fields}\n");
        Config::parse(&text, std::path::Path::new("uplift.toml")).unwrap_err().to_string()
    }

    #[test]
    fn a_program_that_can_not_be_is_an_error_at_its_field() {
        let product = "product = \"P\"";
        for (fields, place, right) in [
            (
                "path = \"bin/p\"\nproduct = \"P\"",
                "2, field component.program.path",
                "must be absolute, not \"bin/p\"",
            ),
            (
                "product = \"P\"\npath = \"/opt/.uplift\"",
                "3, field component.program.path",
                "the staging area",
            ),
            (
                "product = \"P\"\npath = \"/opt/..\"",
                "3, field component.program.path",
                "that of a file",
            ),
            ("product = \"P\"\npath = \"/\"", "3, field component.program.path", "that of a file"),
            (
                "product = \"P\"\npath = \"/a\\u0000\"",
                "3, field component.program.path",
                "no control characters",
            ),
            (
                "product = \"P\"\nname = \"bin/p\"",
                "3, field component.program.name",
                "must be a file name, not \"bin/p\"",
            ),
            (
                "product = \"P\"\nname = \".uplift\"",
                "3, field component.program.name",
                "the staging area",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\npath = \"/p\"",
                "4, field component.program.path",
                "not both",
            ),
            (product, "1, field component.program", "give the program's `name`"),
            (
                "name = \"p\"\nproduct = \"\"",
                "3, field component.program.product",
                "such as \"PSDK_APPALIAS\"",
            ),
            (
                "name = \"p\"\nproduct = \"P/x\"",
                "3, field component.program.product",
                "contains '/'",
            ),
            (
                "name = \"p\"\nproduct = \"P\\n\"",
                "3, field component.program.product",
                "contains '\\n'",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\naliases = [\"\"]",
                "4, field component.program.aliases",
                "there is no product before",
            ),
            (
                "path = \"/a\\nb\"\nproduct = \"P\"",
                "2, field component.program.path",
                "no control characters",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\nunit = \"p*\"",
                "4, field component.program.unit",
                "no unit has '*' in its name",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\nrestart = []",
                "4, field component.program.restart",
                "at least the program",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\nrestart = \"unit\"",
                "4, field component.program.restart",
                "needs `unit`",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\nrestart = \"now\"",
                "4, field component.program.restart",
                "expected \"reboot\", \"unit\"",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\nruns = \"another\"",
                "4, field component.program.runs",
                "needs `unit`",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\npreflight_deadline = \"0s\"",
                "4, field component.program.preflight_deadline",
                "such as \"20s\"",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\npreflight_deadline = \"1h\"",
                "4, field component.program.preflight_deadline",
                "within 2m at most",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\nruns = \"it\"",
                "4, field component.program.runs",
                "expected `itself` or `another`",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\nrestart = 5",
                "4, field component.program.restart",
                "expected \"reboot\", \"unit\"",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\nisolate_commands = \"no\"",
                "4, field component.program.isolate_commands",
                "`auto`, `always`, `never`",
            ),
            (
                "name = \"p\"\nproduct = \"P\"\nrestart_deadline = \"0s\"",
                "4, field component.program.restart_deadline",
                "such as \"20s\"",
            ),
        ] {
            let error = error(fields);
            assert!(
                error.contains(&format!("line {place}: ")) && error.contains(right),
                "{fields}: {error}"
            );
        }
        let long = error(&format!("name = \"p\"\nproduct = \"{}\"", "P".repeat(239)));
        assert!(
            long.contains("field component.program.product") && long.contains("the limit is 255"),
            "{long}"
        );
    }
}
