//! What systemd says of uplift's own units: the second deadline, and whether the sandbox lets in
//! what is configured.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use anyhow::Context as _;

use super::Findings;
use crate::cli::config_sandbox::drop_in::{self, Directive, DropIn};
use crate::config::{Config, RESCUE_TIMER};
use crate::host::unit::{self, Unit};

/// Whoever answers `systemctl`.
pub(in crate::cli) struct Systemd(tokio::runtime::Runtime);

impl Systemd {
    pub(in crate::cli) fn new() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map(Self).context("the runtime can't be started")
    }

    pub(in crate::cli) fn unit(&self, name: &str) -> io::Result<Unit> {
        self.0.block_on(unit::show(name))
    }

    /// Properties of a unit; one that is told several times has several lines.
    pub(super) fn properties(
        &self,
        unit: &str,
        names: &[&str],
    ) -> io::Result<HashMap<String, String>> {
        let wanted = format!("--property={}", names.join(","));
        let text = self.0.block_on(unit::systemctl(&["show", &wanted, "--", unit]))?;
        let mut properties: HashMap<String, String> = HashMap::new();
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let known = properties.entry(name.to_owned()).or_default();
            known.push_str(value);
            known.push('\n');
        }
        Ok(properties)
    }
}

impl Findings {
    /// An upgrade goes on without it, so nothing here is an error.
    pub(super) fn rescue(&mut self, systemd: &Systemd, timer: Option<&str>) {
        let Some(timer) = timer else { return };
        let why = match systemd.unit(timer) {
            Err(error) => format!("systemd can't be asked about {timer}: {error}"),
            Ok(unit) if unit.load_state != "loaded" => format!("{timer} is {}", unit.load_state),
            Ok(_) if timer == RESCUE_TIMER => return self.rescue_at_boot(systemd),
            Ok(_) => return,
        };
        let hint = "install the units `uplift-rescue*`; where there is no systemd, give `rescue_timer = \"\"`";
        self.warning("paths.rescue_timer", format!("no trial has a second deadline: {why}"), hint);
    }

    fn rescue_at_boot(&mut self, systemd: &Systemd) {
        const UNIT: &str = "uplift-rescue.service";
        let state = systemd
            .properties(UNIT, &["UnitFileState"])
            .ok()
            .and_then(|mut known| known.remove("UnitFileState"));
        if let Some(state) = state.filter(|state| state.trim() != "enabled") {
            let sentence = format!(
                "nobody counts the boots of a trial before the program starts: {UNIT} is {}",
                state.trim()
            );
            self.warning("paths.rescue_timer", sentence, format!("systemctl enable {UNIT}"));
        }
    }

    /// Each unit that is there and forbids what the configuration needs. Without systemd there is
    /// no sandbox.
    pub(super) fn sandbox(&mut self, systemd: &Systemd, config: &Config) {
        for drop_in in drop_in::all(config).iter().filter(|drop_in| !drop_in.is_empty()) {
            for Directive { field, name, value, .. } in
                missing(systemd, drop_in).unwrap_or_default()
            {
                let sentence = format!("{} has no {name}={value}, which this needs", drop_in.unit);
                self.error(field, sentence, "`uplift config sandbox --write` makes the drop-in, and prints the command that applies it");
            }
        }
    }
}

fn missing(systemd: &Systemd, drop_in: &DropIn) -> io::Result<Vec<Directive>> {
    let mut names: Vec<&str> =
        drop_in.directives.iter().map(|directive| property(directive.name)).collect();
    names.extend(["LoadState", "ProtectSystem"]);
    let properties = systemd.properties(drop_in.unit, &names)?;
    let known = |name: &str| properties.get(name).map_or("", |value| value.trim());
    if known("LoadState") != "loaded" {
        return Ok(Vec::new());
    }
    let is_missing = |directive: &&Directive| {
        !directive.value.is_empty()
            && !holds(directive, known(property(directive.name)), known("ProtectSystem"))
    };
    Ok(drop_in.directives.iter().filter(is_missing).cloned().collect())
}

/// The property that shows a directive.
fn property(directive: &'static str) -> &'static str {
    if directive == "ListenStream" { "Listen" } else { directive }
}

/// Whether what systemd shows lets in what the directive would.
fn holds(directive: &Directive, known: &str, protect_system: &str) -> bool {
    let meaning = directive.meaning.as_str();
    match directive.name {
        "ReadWritePaths" => {
            let above = |found: String| {
                Path::new(meaning).starts_with(found.trim_start_matches(['-', '+']))
            };
            protect_system == "no" || words(known).into_iter().any(above)
        }
        // systemd 252 does not show it.
        "LoadCredential" if known == "[unprintable]" => true,
        "ProtectHome" => known == "no" || known == meaning,
        "IPAddressAllow" => {
            known.split_whitespace().any(|found| found.split('/').next() == Some(meaning))
                || known.contains("::/0")
        }
        "ExecStart" => known.contains(&format!("argv[]={meaning} ;")),
        "DeviceAllow" => known.lines().any(|line| line.trim_end_matches('m') == meaning),
        _ => known == meaning || words(known).iter().any(|found| found == meaning),
    }
}

/// The words of a property of several: in quotation marks where one holds more than plain
/// characters.
fn words(known: &str) -> Vec<String> {
    let (mut words, mut characters) = (Vec::new(), known.chars().peekable());
    while let Some(&first) = characters.peek() {
        if first.is_whitespace() {
            characters.next();
        } else if first == '"' {
            characters.next();
            words.push(until_quotation_mark(&mut characters));
        } else {
            words.push(std::iter::from_fn(|| characters.next_if(|c| !c.is_whitespace())).collect());
        }
    }
    words
}

fn until_quotation_mark(characters: &mut impl Iterator<Item = char>) -> String {
    let mut word = String::new();
    while let Some(c) = characters.next().filter(|&c| c != '"') {
        word.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directive_holds_by_what_systemd_shows() {
        let holds = |name, meaning: &str, known: &str| {
            holds(
                &Directive {
                    field: "f".into(),
                    name,
                    value: String::new(),
                    meaning: meaning.into(),
                },
                known,
                "strict",
            )
        };
        for (name, value, known) in [
            ("ReadWritePaths", "/opt/a/bin", "-/usr/local/bin /opt/a"),
            ("ReadWritePaths", r#"/opt/a b$c\d"e/bin"#, r#"/var "-/opt/a b\$c\\d\"e""#),
            ("ReadWritePaths", "/opt/100%", "/opt/100%"),
            ("ProtectHome", "read-only", "no"),
            ("PrivateTmp", "no", "no"),
            ("DeviceAllow", "char-pts rw", "char-188 rw\nchar-pts rw"),
            ("IPAddressAllow", "192.0.2.7", "127.0.0.0/8 192.0.2.7/32"),
            (
                "ExecStart",
                "/usr/bin/uplift-rescue boot --state /d e$$f",
                "{ path=/usr/bin/uplift-rescue ; argv[]=/usr/bin/uplift-rescue boot --state /d e$$f ; }",
            ),
            ("DeviceAllow", "/dev/tty x rw", "char-188 rw\n/dev/tty x rwm"),
            ("LoadCredential", "s:/etc/uplift/s", "t:/etc/t s:/etc/uplift/s"),
            ("ListenStream", "0.0.0.0:2121", "0.0.0.0:2121 (Stream)"),
        ] {
            assert!(holds(name, value, known), "{name}={value}");
            assert!(
                !holds(
                    name,
                    value,
                    "yes /opt/ab char-1 192.0.2.70/32 /usr/bin/uplift-rescue [::]:21"
                ),
                "{name}={value}"
            );
        }
    }
}
