//! The platform's rules: who is offered what. Pure.

use std::collections::BTreeMap;

use super::options::{Options, Package};

/// The names that a device may call itself by.
const IDENTITIES: [&str; 3] = ["imei", "mac", "uid"];

/// What the codes say, as the platform's own words.
pub(super) const fn message(code: i64) -> &'static str {
    match code {
        0 => "ok",
        3 => "invalid device",
        17 => "device, firmware and project are not under one account",
        21 => "upgrade forbidden for this device",
        25 => "invalid project",
        26 => "invalid firmware",
        27 => "already latest version",
        40 => "upgrade loop",
        43 => "the differential package is being generated",
        44 => "base core version is missing",
        _ => "unknown",
    }
}

/// The values of a query by name.
#[derive(Debug)]
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    pub(super) fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Who asks: exactly one name.
    pub(super) fn identity(&self) -> Option<(String, String)> {
        let mut told = IDENTITIES.iter().filter_map(|name| Some((*name, self.get(name)?)));
        let (name, value) = told.next()?;
        told.next().is_none().then(|| (name.to_owned(), value.to_owned()))
    }
}

/// The package that is due, or the code that says why none is.
pub(super) fn due<'a>(
    options: &'a Options,
    query: &Query,
    downloads: u32,
) -> Result<&'a Package, i64> {
    check(options, query)?;
    let name = query.get("firmware_name").ok_or(26)?;
    let package =
        options.packages.iter().find(|package| package.firmware_name == name).ok_or(26)?;
    let version = query.get("version").and_then(numbers).ok_or(44)?;
    newer(package, &version, options, downloads)
}

/// The same by the newer protocol, which tells core and script by themselves.
pub(super) fn turnkey_due<'a>(
    options: &'a Options,
    query: &Query,
    downloads: u32,
) -> Result<&'a Package, i64> {
    check(options, query)?;
    let name = query.get("script_name").ok_or(26)?;
    let package =
        options.packages.iter().find(|package| package.firmware_name == name).ok_or(26)?;
    let core = query.get("core_version").ok_or(44)?;
    let script = query.get("script_version").ok_or(26)?;
    let script = numbers(script).filter(|parts| parts.len() == 3).ok_or(26)?;
    let core: u64 = core.trim_start_matches('V').parse().map_err(|_| 44)?;
    newer(package, &[core, script[0], script[2]], options, downloads)
}

fn check(options: &Options, query: &Query) -> Result<(), i64> {
    query.identity().ok_or(3)?;
    let key = query.get("project_key").ok_or(25)?;
    if options.project_key.as_ref().is_some_and(|own| own != key) {
        return Err(25);
    }
    Ok(())
}

fn newer<'a>(
    package: &'a Package,
    runs: &[u64],
    options: &Options,
    downloads: u32,
) -> Result<&'a Package, i64> {
    // A package whose version can't be compared is offered to nobody.
    let offered = numbers(&package.version).ok_or(27)?;
    if offered.as_slice() <= runs {
        return Err(27);
    }
    if options.loop_limit > 0 && downloads >= options.loop_limit {
        return Err(40);
    }
    Ok(package)
}

/// A version as the numbers of its parts.
fn numbers(version: &str) -> Option<Vec<u64>> {
    let part = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten()
    };
    let parts: Option<Vec<u64>> = version.split('.').map(part).collect();
    parts.filter(|parts| parts.len() == 3)
}

/// Text as the platform writes it: whatever is no ASCII as `\uXXXX`.
pub(super) fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, letter| {
        match letter {
            '"' | '\\' => escaped.extend(['\\', letter]),
            ' '..='~' => escaped.push(letter),
            _ => {
                let mut units = [0; 2];
                for unit in letter.encode_utf16(&mut units) {
                    escaped.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
        escaped
    })
}
