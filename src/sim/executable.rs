//! Executable files that the simulated payload and tests make. Nothing here knows what a file has
//! in it.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

/// Writes an executable file that may be started at once.
///
/// A process of its own writes it. Had this one done so, a child that another thread forks
/// meanwhile would hold the file open for writing until it becomes its own program, and whoever
/// starts the file before that is told that it is busy (`ETXTBSY`).
///
/// # Errors
/// The shell can't be started, or it can't write the file.
pub fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"cat >"$0" && chmod 755 "$0""#]).arg(path).stdin(Stdio::piped());
    let mut shell = shell.spawn().context("the shell can't be started")?;
    let written = shell.stdin.take().map_or(Ok(()), |mut input| input.write_all(bytes));
    let status = shell.wait()?;
    ensure!(status.success(), "{} can't be written: the shell ended with {status}", path.display());
    Ok(written?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executable_file_is_never_busy_whatever_else_is_started_meanwhile() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        let program = std::fs::read("/bin/true").unwrap();
        std::thread::scope(|scope| {
            let starting =
                || (0..50).for_each(|_| assert!(Command::new("true").status().unwrap().success()));
            let others: Vec<_> = (0..4).map(|_| scope.spawn(starting)).collect();
            while others.iter().any(|other| !other.is_finished()) {
                write(&path, &program).unwrap();
                assert!(Command::new(&path).status().unwrap().success());
            }
        });
    }
}
