//! The manual pages and the shell completions, each from what it describes: the parsers of the
//! command lines, the pages' tables, which a test holds against the configuration's parser, and the
//! description of the control protocol.

mod commands;
mod markdown;
mod page;

use std::time::{Duration, UNIX_EPOCH};

use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate};
use markdown::{part, render, without_title};

const INSTALL: &str = include_str!("../../docs/use/install.md");
const CONFIGURATION: &str = include_str!("../../docs/use/configuration.md");
const FAILURES: &str = include_str!("../../docs/use/failures.md");
const MONITORING: &str = include_str!("../../docs/use/monitoring.md");
const PROTOCOL: &str = include_str!("../../docs/wire/control-protocol.md");
const RESCUE: &str = include_str!("../../docs/use/rescue.md");

/// A configuration of no more fields than a payload needs.
const LEAST: &str = "[component.program]\nname = \"psdk_demo\"\nproduct = \"PSDK_APPALIAS\"\nunit = \"psdk-demo.service\"\n\n[channel.psdk]\ndevice = \"/dev/ttyUSB0\"";

/// Name and text of a file.
type File = (String, Vec<u8>);

/// The parser of `uplift`, without what no person types.
pub(crate) fn uplift() -> Command {
    let whole = uplift::cli::Arguments::command();
    let shipped = whole.get_subcommands().filter(|command| !command.is_hide_set());
    Command::new("uplift")
        .version(env!("CARGO_PKG_VERSION"))
        .about(whole.get_about().cloned().unwrap_or_default())
        .after_help(whole.get_after_help().cloned().unwrap_or_default())
        .args(whole.get_arguments())
        .subcommands(shipped)
}

/// All pages, dated by seconds since 1970.
pub(crate) fn manual(seconds: u64) -> anyhow::Result<Vec<File>> {
    let mut day =
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string();
    day.truncate("2026-01-01".len());
    let page = |name: &str, section: &str, parts: &[String]| {
        let title = [
            "TH",
            name,
            section,
            &day,
            concat!("uplift ", env!("CARGO_PKG_VERSION")),
            "Manual of uplift",
        ];
        (format!("{name}.{section}"), page::assemble(&title, parts).into_bytes())
    };
    let text =
        |heading: &str, markdown: &str| format!("{}{}", page::heading(heading), render(markdown));
    Ok(vec![
        page(
            "uplift",
            "1",
            &[
                commands::describe(uplift())?,
                text("FILES", part(INSTALL, "## What is where")?),
                text("FAILURES", part(FAILURES, "## When an upgrade fails")?),
                text("LOGS", part(MONITORING, "## Logs")?),
                text(
                    "SEE ALSO",
                    "**uplift.toml**(5), **uplift-protocol**(7), **uplift-rescue**(8), **uplift-sim**(1), **minisign**(1)",
                ),
            ],
        ),
        page(
            "uplift-rescue",
            "8",
            &[
                commands::describe(uplift::rescue::command::command())?,
                text("THE SECOND DEADLINE", without_title(RESCUE)),
                text("SEE ALSO", "**uplift**(1), **uplift.toml**(5), **systemd.timer**(5)"),
            ],
        ),
        page(
            "uplift-sim",
            "1",
            &[
                commands::describe(uplift_sim::command::command())?,
                text("SEE ALSO", "**uplift**(1), **uplift.toml**(5)"),
            ],
        ),
        page(
            "uplift.toml",
            "5",
            &[
                text("NAME", "uplift.toml - configuration of uplift"),
                text("DESCRIPTION", without_title(CONFIGURATION)),
                text("EXAMPLE", &format!("The least that is useful:\n\n```\n{LEAST}\n```")),
                text(
                    "SEE ALSO",
                    "**uplift**(1): `uplift config check` says whether a configuration can be used on this machine. The pages that are named here lie below `/usr/share/doc/uplift/docs`.",
                ),
            ],
        ),
        page(
            "uplift-protocol",
            "7",
            &[
                text("NAME", "uplift-protocol - control socket of the uplift daemon"),
                text("DESCRIPTION", without_title(PROTOCOL)),
                text("SEE ALSO", "**uplift**(1), **unix**(7)"),
            ],
        ),
    ])
}

/// The completions for bash, zsh and fish, by the names that their shells look for.
pub(crate) fn completions() -> anyhow::Result<Vec<File>> {
    let mut files = Vec::new();
    for (program, command) in [("uplift", uplift()), ("uplift-sim", uplift_sim::command::command())]
    {
        for (shell, name) in [
            (Shell::Bash, format!("{program}.bash")),
            (Shell::Zsh, format!("_{program}")),
            (Shell::Fish, format!("{program}.fish")),
        ] {
            let mut text = Vec::new();
            generate(shell, &mut command.clone(), program, &mut text);
            files.push((name, text));
        }
    }
    Ok(files)
}
