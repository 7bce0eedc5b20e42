//! Names of systemd's units, as a person gives them. Knows their form (systemd.unit(5)) and asks
//! nobody.
//!
//! What has another form, `systemctl` takes for a pattern, or for the escaped name of another unit.

use serde::Deserialize;

/// Longest name.
const LONGEST: usize = 255;
/// What a name may hold besides letters and digits of ASCII.
const MARKS: &str = ":-_.\\@";
/// Endings of units that have no main process.
const NO_SERVICES: [&str; 10] = [
    ".automount",
    ".device",
    ".mount",
    ".path",
    ".scope",
    ".slice",
    ".socket",
    ".swap",
    ".target",
    ".timer",
];

/// The name of a service; its ending may be left out, as `systemctl` has it.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct ServiceName(pub(super) String);

impl TryFrom<String> for ServiceName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if NO_SERVICES.iter().any(|ending| name.ends_with(ending)) {
            return Err(format!(
                "{name:?} is no service: expected a name such as \"payload.service\""
            ));
        }
        check(&name, ".service")?;
        Ok(Self(name))
    }
}

/// The name of a service, as of the field `unit`.
pub fn service_name(text: &str) -> Result<String, String> {
    ServiceName::try_from(text.to_owned()).map(|name| name.0)
}

/// Whether this can be the name of a unit that runs; `ending` is that of its kind.
pub(super) fn check(name: &str, ending: &str) -> Result<(), String> {
    let right = format!("expected a name such as \"payload{ending}\"");
    if let Some(wrong) = name.chars().find(|&c| !c.is_ascii_alphanumeric() && !MARKS.contains(c)) {
        return Err(format!("no unit has {wrong:?} in its name: {right}"));
    }
    let stem = name.strip_suffix(ending).unwrap_or(name);
    if stem.is_empty() || stem.starts_with('@') || stem.len() + ending.len() > LONGEST {
        return Err(format!("{name:?} is no name of a unit: {right}"));
    }
    if stem.ends_with('@') {
        return Err(format!(
            "{name:?} is a template, which does not run itself: expected one of its units, such as \"{stem}1{ending}\""
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_services() {
        for name in [
            "payload",
            "payload.service",
            "-x.service",
            "pay@1.service",
            "a:b_c-d.2",
            r"pay\x20load.service",
            "com.example.pay",
        ] {
            assert!(ServiceName::try_from(name.to_owned()).is_ok(), "{name}");
        }
        for (name, reason) in [
            ("", "is no name of a unit"),
            (".service", "is no name of a unit"),
            ("@1.service", "is no name of a unit"),
            ("pay load.service", "no unit has ' ' in its name"),
            ("pay*.service", "no unit has '*' in its name"),
            ("pay[l]oad", "no unit has '[' in its name"),
            ("/opt/payload", "no unit has '/' in its name"),
            ("$x", "no unit has '$' in its name"),
            ("pay%i", "no unit has '%' in its name"),
            ("päyload", "no unit has 'ä' in its name"),
            ("payload\n", "no unit has '\\n' in its name"),
            ("payload.socket", "is no service"),
            ("payload@.service", "is a template"),
            ("payload@", "is a template"),
        ] {
            let error = ServiceName::try_from(name.to_owned()).map(|name| name.0).unwrap_err();
            assert!(error.contains(reason), "{name}: {error}");
        }
        assert!(
            ServiceName::try_from("p".repeat(248)).is_err()
                && ServiceName::try_from("p".repeat(247)).is_ok()
        );
    }
}
