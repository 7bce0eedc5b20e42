//! `uplift demo`: hands over to `uplift-sim demo`. Everything that is shown is that program's; this
//! one has nothing of the simulated peers, and only knows where they are.

use std::env;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::output::Mistake;

/// Becomes `uplift-sim demo`, which shows this very program.
pub(super) fn run(mcu: bool) -> anyhow::Result<()> {
    let uplift = env::current_exe().context("this program's own path is unknown")?;
    let sim = uplift.with_file_name("uplift-sim");
    let mut shows = by_cargo(&uplift).unwrap_or_else(|| Command::new(&sim));
    shows.args(["demo", "--uplift"]).arg(&uplift);
    if mcu {
        shows.arg("--mcu");
    }
    let error = shows.exec();
    if error.kind() == ErrorKind::NotFound {
        return Err(Mistake::new(
            format!("{} does not exist, and it has the demonstration", sim.display()),
            "install the package uplift-sim",
        )
        .into());
    }
    Err(error).with_context(|| format!("{} can't be started", sim.display()))
}

/// Started by `cargo run` from the sources, another `cargo run`, so that the peers are of the same
/// sources too.
fn by_cargo(uplift: &Path) -> Option<Command> {
    let is_from_sources = env::var_os("CARGO_PKG_NAME")? == env!("CARGO_PKG_NAME");
    let (cargo, sources) = (env::var_os("CARGO")?, env::var_os("CARGO_MANIFEST_DIR")?);
    // The directory has the profile's name, but for that of `dev`.
    let profile = match uplift.parent()?.file_name()?.to_str()? {
        "debug" => "dev",
        other => other,
    };
    let mut command = Command::new(cargo);
    command.args(["run", "--package", "uplift-sim", "--profile", profile, "--manifest-path"]);
    command.arg(Path::new(&sources).join("Cargo.toml")).arg("--");
    is_from_sources.then_some(command)
}
