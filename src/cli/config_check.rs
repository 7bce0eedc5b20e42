//! `uplift config check`: says whether the configuration can be used, and what follows from it.

use std::path::Path;

use crate::config::{Config, Restart};

/// Reports on a configuration that parsed; one that does not parse never comes here.
pub(super) fn run(file: &Path, config: &Config) {
    println!("{} is valid", file.display());
    let program = &config.program;
    println!("  program  {} for product {}", program.path.display(), program.product);
    let restart = match &program.restart {
        Restart::Reboot => "reboot".to_owned(),
        Restart::Unit(unit) => format!("restart of {unit}"),
        Restart::Command(command) => format!("command {command:?}"),
    };
    println!("  restart  {restart}, within {} s", program.restart_deadline.as_secs());
    match &config.link {
        Some(link) => println!("  link     {}", link.device.display()),
        None => println!("  link     none: upgrades come through `uplift install` only"),
    }
    if program.unit.is_none() {
        println!("  note     no `unit` is named: reports rest on the boot id and the digest at the path alone");
    }
}
