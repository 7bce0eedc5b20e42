//! For tests: a model machine, whose `systemctl` answers as it is told to, on a paused clock.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};
use std::sync::{Arc, Mutex};

use crate::host::modelled::{self, Host};

/// What every process of it runs.
pub(crate) const EXECUTABLE: &str = "/bin/true";

/// What `systemctl` does when it is asked: says something, or fails for a reason. Nothing, and it
/// never ends.
pub(crate) type Answer = Option<Result<String, &'static str>>;
type Answering = dyn Fn(&str, usize) -> Answer + Send + Sync;

/// A machine whose `systemctl` answers by what it was asked, and how often that was asked before.
struct Machine {
    asked: Mutex<Vec<String>>,
    answer: Box<Answering>,
}

impl Host for Machine {
    fn output(&self, program: &str, arguments: &[&str]) -> Option<Output> {
        let line = [&[program], arguments].concat().join(" ");
        let mut asked = self.asked.lock().unwrap();
        let before = asked.iter().filter(|earlier| **earlier == line).count();
        asked.push(line.clone());
        let (code, stdout, stderr) = match (self.answer)(&line, before)? {
            Ok(said) => (0, said, ""),
            Err(reason) => (1, String::new(), reason),
        };
        let status = ExitStatus::from_raw(code << 8);
        Some(Output { status, stdout: stdout.into(), stderr: stderr.into() })
    }

    fn executable(&self, _pid: u32) -> PathBuf {
        EXECUTABLE.into()
    }

    fn change(&self, _directory: &Path, _job: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// What happens on a machine with these answers, and what was asked.
pub(crate) fn on<T>(
    answer: impl Fn(&str, usize) -> Answer + Send + Sync + 'static,
    work: impl Future<Output = T>,
) -> (T, Vec<String>) {
    let machine = Arc::new(Machine { asked: Mutex::default(), answer: Box::new(answer) });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let done = modelled::on(machine.clone(), || runtime.block_on(work));
    let asked = machine.asked.lock().unwrap().clone();
    (done, asked)
}
