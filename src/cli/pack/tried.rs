//! Whether a program still behaves as before once it is sealed: some look for data at the end of
//! their own file, and a seal stands there then.
//!
//! The program is the caller's own, and runs with the caller's rights.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::host::command;
use crate::model::without_number;

/// The question that most programs have an answer to.
const QUESTION: &str = "--version";
/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// What was seen of a program before and after.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tried {
    /// It answers the same.
    Same,
    /// It answers something else.
    Differs { before: String, after: String },
    /// It can't be asked here; why.
    Impossible(String),
}

/// Asks the program at `before` and its sealed form at `after` for their version.
pub(super) fn compare(before: &Path, after: &Path) -> Tried {
    // Both are told the same name, so that one that prints it does not seem to have changed.
    let name = before.as_os_str();
    match (answer(before, name), answer(after, name)) {
        (Err(error), _) => Tried::Impossible(plain(&error)),
        (Ok(before), Ok(after)) if before == after => Tried::Same,
        (Ok(before), Ok(after)) => Tried::Differs { before, after },
        (Ok(before), Err(error)) => {
            Tried::Differs { before, after: format!("fails: {}", plain(&error)) }
        }
    }
}

fn plain(error: &io::Error) -> String {
    without_number(&error.to_string()).to_owned()
}

/// What a program prints, and how it ends where that is no success.
fn answer(program: &Path, name: &OsStr) -> io::Result<String> {
    let program = std::path::absolute(program)?;
    let (output, status) =
        command::run_as_caller(program.as_os_str(), name, &[QUESTION], DEADLINE)?;
    let printed =
        command::quoted(&output.replace(&*program.to_string_lossy(), &name.to_string_lossy()));
    let printed =
        if printed.is_empty() { "prints nothing".to_owned() } else { format!("prints {printed}") };
    Ok(if status.success() { printed } else { format!("{printed} ({status})") })
}
