//! `uplift config sandbox`: the drop-ins with which the packaged units suit a configuration.

pub(super) mod drop_in;

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context as _;

use super::output::NewFile;
use crate::config::Config;
use drop_in::DropIn;

/// Where the drop-ins of an administrator lie.
pub(super) const UNITS: &str = "/etc/systemd/system";
/// Ours among the drop-ins of a unit.
const FILE: &str = "uplift-sandbox.conf";
const MODE: u32 = 0o644;

/// Prints the drop-ins, or writes them below a directory of units.
pub(super) fn run(config: &Config, write: Option<&Path>) -> anyhow::Result<()> {
    let drop_ins = drop_in::all(config);
    let out = io::stdout().lock();
    match write {
        None => print(out, &drop_ins),
        Some(units) => write_all(out, &drop_ins, units),
    }
}

fn print(mut out: impl io::Write, drop_ins: &[DropIn]) -> anyhow::Result<()> {
    if drop_ins.iter().all(DropIn::is_empty) {
        writeln!(out, "# Nothing: the packaged units suffice for this configuration.")?;
    }
    for drop_in in drop_ins.iter().filter(|drop_in| !drop_in.is_empty()) {
        writeln!(out, "# {UNITS}/{}.d/{FILE}\n{drop_in}", drop_in.unit)?;
    }
    Ok(out.flush()?)
}

/// One that is no longer needed is taken away.
fn write_all(mut out: impl io::Write, drop_ins: &[DropIn], units: &Path) -> anyhow::Result<()> {
    let mut changed = Vec::new();
    for drop_in in drop_ins {
        let directory = units.join(format!("{}.d", drop_in.unit));
        let path = directory.join(FILE);
        if !drop_in.is_empty() {
            fs::create_dir_all(&directory)
                .with_context(|| format!("{} can't be made", directory.display()))?;
            NewFile::create(&path, MODE, true)?.finish_with(drop_in.to_string().as_bytes())?;
            writeln!(out, "wrote {}", path.display())?;
        } else if path.exists() {
            fs::remove_file(&path)
                .with_context(|| format!("{} can't be removed", path.display()))?;
            writeln!(out, "removed {}", path.display())?;
        } else {
            continue;
        }
        changed.push(drop_in.unit);
    }
    match changed.is_empty() {
        true => {
            writeln!(out, "nothing to write: the packaged units suffice for this configuration")?;
        }
        false => writeln!(out, "now: {}", reload(&changed))?,
    }
    Ok(out.flush()?)
}

/// The command with which systemd takes up changed units.
fn reload(changed: &[&str]) -> String {
    const RELOAD: &str = "systemctl daemon-reload";
    // The units of the rescue run at a boot and by a timer; a start by hand would count a boot.
    let running = [drop_in::DAEMON, drop_in::FTP_SOCKET, drop_in::FTP_SERVER];
    let restarted: Vec<&str> = running.into_iter().filter(|unit| changed.contains(unit)).collect();
    if restarted.is_empty() {
        RELOAD.to_owned()
    } else {
        format!("{RELOAD} && systemctl restart {}", restarted.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_is_restarted_and_what_a_boot_starts_is_not() {
        for (changed, command) in [
            (
                &["uplift-rescue.service", "uplift-rescue-deadline.service"][..],
                "systemctl daemon-reload",
            ),
            (
                &["uplift-ftp.socket"],
                "systemctl daemon-reload && systemctl restart uplift-ftp.socket",
            ),
            (
                &[
                    "uplift.service",
                    "uplift-rescue.service",
                    "uplift-ftp.service",
                    "uplift-ftp.socket",
                ],
                "systemctl daemon-reload && systemctl restart uplift.service uplift-ftp.socket uplift-ftp.service",
            ),
        ] {
            assert_eq!(reload(changed), command);
        }
    }
}
