//! `uplift config check`: says whether the configuration can be used on this machine, and what
//! follows from it.

pub(super) mod findings;

use std::fmt::{self, Write};
use std::path::Path;

use crate::cli::{paint, view};
use crate::config::{Baud, Component, Config, Door, Package, Policy, SealRule, TransferChoice};
use crate::model::{ComponentName, without_number};

use findings::{Finding, Level};

/// Reports on a configuration that parsed; one that does not parse never comes here. Warnings alone
/// are no error.
pub(super) fn run(file: &Path, config: &Config) -> anyhow::Result<()> {
    let findings = findings::find(config)?;
    let mut out = String::new();
    summary(&mut out, file, config)?;
    for Finding { level, field, sentence, hint } in &findings {
        let word = match level {
            Level::Error => paint::bad("error:"),
            Level::Warning => paint::waiting("warning:"),
            Level::Advice => paint::heading("advice:"),
        };
        let sentence = without_number(sentence);
        writeln!(out, "\n{word} {field}: {sentence}\n  {} {hint}", paint::hint("hint:"))?;
    }
    let of = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (errors, warnings) = (of(Level::Error), of(Level::Warning));
    writeln!(out, "\n{}, {}", count(errors, "error"), count(warnings, "warning"))?;
    view::say(out.trim_end())?;
    anyhow::ensure!(errors == 0, "{} can't be used on this machine as it is", file.display());
    Ok(())
}

fn summary(out: &mut impl Write, file: &Path, config: &Config) -> fmt::Result {
    writeln!(out, "{} can be read, and says:", file.display())?;
    for component in &config.components {
        let (name, product) = (component.name(), component.product());
        let program = match component {
            Component::Program(program) => program,
            Component::Command(command) => {
                writeln!(out, "  {name:<8} {} of product {product}", command.updater())?;
                continue;
            }
        };
        writeln!(out, "  {name:<8} {} of product {product}", program.path.display())?;
        let deadline = humantime::format_duration(findings::restart_deadline(program));
        writeln!(out, "  restart  {}; it must begin within {deadline}", program.restart)?;
    }
    seals(out, &config.package)?;
    policy(out, &config.policy)?;
    let is_networked = networks(out, config)?;
    let Some(link) = &config.link else {
        let rest = if is_networked { "" } else { ": upgrades come through `uplift install` only" };
        return writeln!(out, "  link     none{rest}");
    };
    let by = match (link.door, link.baud) {
        (Door::Bridge, _) => "by the payload's own application".to_owned(),
        (Door::Serial, Baud::Auto) => "at the baud rate that the aircraft answers".to_owned(),
        (Door::Serial, Baud::Fixed(rate)) => format!("at {rate} baud"),
    };
    let transfer = match link.transfer {
        TransferChoice::Auto => "FTP where the server answers, DCFTP otherwise",
        TransferChoice::Ftp => "FTP only",
        TransferChoice::Dcftp => "DCFTP only",
    };
    writeln!(out, "  link     {} {by}; {transfer}", config.paths.of_link(link).display())
}

fn seals(out: &mut impl Write, package: &Package) -> fmt::Result {
    let rule = match package.seal_rule() {
        SealRule::Required => "required",
        SealRule::Optional => "optional",
    };
    let keys: Vec<String> = package.keys.iter().map(ToString::to_string).collect();
    let trusted = if keys.is_empty() {
        "no keys, so signatures are not checked".to_owned()
    } else {
        format!("by {}", keys.join(", "))
    };
    writeln!(out, "  seal     {rule}; {trusted}")
}

/// The channels of the network, and whether there is one.
fn networks(out: &mut impl Write, config: &Config) -> Result<bool, fmt::Error> {
    let mut is_networked = false;
    for network in config.networks() {
        is_networked = true;
        let components: Vec<&str> = network.components.iter().map(ComponentName::as_str).collect();
        let lab = if network.unsealed { "; lab: also what nobody has sealed" } else { "" };
        writeln!(out, "  channel  {} may replace {}{lab}", network.name, components.join(", "))?;
    }
    Ok(is_networked)
}

/// When upgrades may begin, where that is not always.
fn policy(out: &mut impl Write, policy: &Policy) -> fmt::Result {
    if !policy.window_utc.is_empty() {
        let windows: Vec<String> = policy.window_utc.iter().map(ToString::to_string).collect();
        writeln!(out, "  window   {} UTC", windows.join(", "))?;
    }
    if let Some(command) = &policy.ready_command {
        let deadline = humantime::format_duration(policy.ready_deadline);
        writeln!(out, "  ready    where `{}` says so within {deadline}", command.join(" "))?;
    }
    Ok(())
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
