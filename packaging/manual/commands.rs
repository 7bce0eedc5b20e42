//! A command line as a manual page: the sections of clap_mangen, put together to one page a program
//! instead of one a subcommand.

use std::io;

use clap::{ArgAction, Command};
use clap_mangen::Man;
use roff::{bold, roman};

use super::page::{heading, piece, verbatim, without_preamble};

/// Name, synopsis, description, options, subcommands with theirs, examples and exit codes.
pub(super) fn describe(mut program: Command) -> io::Result<String> {
    program.build();
    let about = program.get_about().map(ToString::to_string).unwrap_or_default();
    let summary = about.split(':').next().unwrap_or_default();
    let mut page = text(
        "NAME",
        &format!("{} - {}", program.get_name(), summary.trim_end_matches('.').to_lowercase()),
    );
    let leaves = leaves(&program);
    page += &heading("SYNOPSIS");
    for (number, leaf) in leaves.clone().iter_mut().enumerate() {
        page += if number == 0 { "" } else { ".br\n" };
        let usage = leaf.render_usage().to_string();
        let (name, arguments) =
            (name(leaf), usage.trim_start_matches("Usage: ").trim_start_matches(&name(leaf)));
        page += &piece(|roff| {
            roff.text([bold(name), roman(arguments)]);
        });
    }
    page += &text("DESCRIPTION", &format!("{}.", about.trim_end_matches('.')));
    page += &heading("OPTIONS");
    page += &section(&program, Man::render_options_section)?;
    page += &heading("COMMANDS");
    for leaf in &leaves {
        page += &piece(|roff| {
            roff.control("SS", [name(leaf).as_str()]);
        });
        page += &section(leaf, Man::render_description_section)?;
        page += &section(leaf, Man::render_options_section)?;
        for (title, note) in notes(leaf) {
            page += &piece(|roff| {
                roff.control("PP", []).text([roman(format!("{title}:"))]);
            });
            page += &note;
        }
    }
    for (title, note) in notes(&program) {
        page += &heading(
            if title == "Exit codes" { "EXIT STATUS".to_owned() } else { title.to_uppercase() }
                .as_str(),
        );
        page += &note;
    }
    Ok(page)
}

fn name(command: &Command) -> String {
    command.get_bin_name().unwrap_or_default().to_owned()
}

fn text(title: &str, text: &str) -> String {
    heading(title)
        + &piece(|roff| {
            roff.text([roman(text)]);
        })
}

/// The subcommands that do something, in the order of the help; an option of the whole program
/// stays with the program.
fn leaves(command: &Command) -> Vec<Command> {
    let subcommands = command.get_subcommands().filter(|command| command.get_name() != "help");
    subcommands
        .flat_map(|command| match leaves(command) {
            none if none.is_empty() => {
                vec![command.clone().mut_args(|argument| {
                    let is_common = argument.is_global_set()
                        || matches!(
                            argument.get_action(),
                            ArgAction::Help
                                | ArgAction::HelpShort
                                | ArgAction::HelpLong
                                | ArgAction::Version
                        );
                    argument.hide(is_common)
                })]
            }
            some => some,
        })
        .collect()
}

/// A section of clap_mangen's without its heading, and with what stands in backticks bold.
fn section(
    command: &Command,
    render: impl FnOnce(&Man, &mut dyn io::Write) -> io::Result<()>,
) -> io::Result<String> {
    let mut text = Vec::new();
    render(&Man::new(command.clone()), &mut text)?;
    let text = without_preamble(&String::from_utf8_lossy(&text));
    let text = text.split_once('\n').map_or("", |(_heading, rest)| rest);
    let parts = text.split('`').enumerate();
    Ok(parts
        .map(
            |(number, part)| {
                if number % 2 == 1 { format!("\\fB{part}\\fR") } else { part.to_owned() }
            },
        )
        .collect())
}

/// What stands below the help: paragraphs that each begin with a title and a colon. What begins a
/// line of its own is an example.
fn notes(command: &Command) -> Vec<(String, String)> {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let paragraphs = text.split("\n\n").filter_map(|paragraph| paragraph.split_once(':'));
    paragraphs
        .map(|(title, text)| {
            let note = match text.strip_prefix('\n') {
                Some(example) => piece(|roff| verbatim(roff, example.lines().map(str::trim_start))),
                None => piece(|roff| {
                    roff.text([roman(text.trim_start())]);
                }),
            };
            (title.to_owned(), note)
        })
        .collect()
}
