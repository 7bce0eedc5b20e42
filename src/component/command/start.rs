//! The start of a runner, outside of the daemon's process and of what ends that.
//!
//! Where systemd runs it is a transient unit of its own: no sandbox, and a control group that a
//! restart of the daemon leaves alone. Elsewhere it is a child in a session of its own.

use std::ffi::OsString;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::time::timeout;

use super::{Change, runner};
use crate::host::{self, command, helper, unit};
use crate::model::{Failure, FailureKind};
use crate::record::change::{self, BEGUN_FILE, Begun, JOB_FILE, Job, JobId};

/// The subcommand of `uplift` that runs a job.
const SUBCOMMAND: &str = "run-change";
/// The name of the runner, and of what it runs, in the journal.
const IDENTIFIER: &str = "uplift-change";
/// Longest wait for a runner that takes charge: it writes a small file first.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// Beyond the job's own deadline and what the runner may take to end it: systemd ends a runner that
/// hangs.
const ROOM: Duration = Duration::from_secs(60);
/// Longest line of a runner that can't take charge.
const LONGEST_REASON: u64 = 4096;

impl Change {
    /// Starts the job, unless it was begun before: then it runs, has ended or has vanished, and
    /// [`Change::ended`] tells which. On return its runner is in charge, and the daemon may end.
    /// `busy` while another job runs; after another failure nothing was run.
    pub async fn start(&self, job: &Job) -> Result<(), Failure> {
        self.begin(job, false).await
    }

    /// [`Change::start`] once more, of a job that has vanished.
    pub async fn start_over(&self, job: &Job) -> Result<(), Failure> {
        self.begin(job, true).await
    }

    /// [`Change::start_over`] of the job of this name, which may have been begun; whether it is known.
    pub async fn begin_again(&self, id: &JobId) -> Result<bool, Failure> {
        let job = change::read::<Job>(&self.directory, JOB_FILE);
        let job = job.map_err(|error| self.unusable(error))?.filter(|job| job.id == *id);
        let Some(job) = job else { return Ok(false) };
        tracing::warn!("the updater was cut off; it begins again");
        self.start_over(&job).await?;
        Ok(true)
    }

    async fn begin(&self, job: &Job, again: bool) -> Result<(), Failure> {
        let (change, job) = (self.clone(), job.clone());
        let id = job.id.clone();
        let begun = tokio::task::spawn_blocking(move || change.note(&job, again));
        if begun.await.map_err(|died| not_started(io::Error::other(died)))?? {
            return Ok(());
        }
        let Err(error) = self.launch(&id).await else { return Ok(()) };
        // A daemon that was killed in the middle may have started it: then its unit is there.
        match self.has_begun(&id)? {
            true => Ok(()),
            false => Err(not_started(error)),
        }
    }

    /// Writes down what is to be run, unless that was begun and is not to be again; whether it was.
    fn note(&self, job: &Job, again: bool) -> Result<bool, Failure> {
        if !again && self.has_begun(&job.id)? {
            return Ok(true);
        }
        self.prepare().map_err(|error| self.unusable(error))?;
        self.check_free()?;
        // One that begins again is known throughout.
        let forgotten = if again { self.forget_run() } else { self.forget_job() };
        let noted =
            forgotten.and_then(|()| change::write(&*self.disk, &self.directory, JOB_FILE, job));
        noted.map_err(|error| self.unusable(error))?;
        Ok(false)
    }

    pub(super) fn has_begun(&self, id: &JobId) -> Result<bool, Failure> {
        let begun = change::read::<Begun>(&self.directory, BEGUN_FILE);
        let begun = begun.map_err(|error| self.unusable(error))?;
        Ok(begun.is_some_and(|begun| begun.id == *id))
    }

    async fn launch(&self, id: &JobId) -> io::Result<()> {
        #[cfg(test)]
        if let Some(host) = host::modelled::host() {
            return host.change(&self.directory, &id.to_string());
        }
        let call = self.call(id)?;
        if command::can_start_units() {
            let deadline = change::read::<Job>(&self.directory, JOB_FILE)?
                .map_or(Duration::ZERO, |job| job.deadline);
            launch_unit(&unit_name(id), &call, deadline).await
        } else {
            launch_child(&call).await
        }
    }

    /// Program and arguments of the runner.
    fn call(&self, id: &JobId) -> io::Result<Vec<OsString>> {
        let runner = match &self.runner {
            Some(runner) => runner.clone(),
            None => helper::own_program()?,
        };
        Ok(vec![
            runner.into(),
            SUBCOMMAND.into(),
            self.directory.clone().into(),
            id.to_string().into(),
        ])
    }
}

/// The unit of a job, for `journalctl -u`.
fn unit_name(id: &JobId) -> String {
    format!("uplift-change-{id}.service")
}

/// A unit that is there already was asked for by a daemon that is gone: its start is waited for.
async fn launch_unit(name: &str, call: &[OsString], deadline: Duration) -> io::Result<()> {
    let arguments = unit_arguments(name, call, deadline)?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Err(error) = succeeded(host::output("systemd-run", &arguments)).await else {
        return Ok(());
    };
    match succeeded(host::output("systemctl", &["start", "--", name])).await {
        Ok(()) => Ok(()),
        Err(_) => Err(error),
    }
}

async fn succeeded(
    output: impl Future<Output = io::Result<std::process::Output>>,
) -> io::Result<()> {
    let output = timeout(START_DEADLINE, output).await??;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(said.lines().next().map_or_else(String::new, unit::visible)))
}

/// What systemd-run is told: it returns once the runner says that it is in charge, and what the
/// runner leaves is ended with it.
fn unit_arguments(name: &str, call: &[OsString], deadline: Duration) -> io::Result<Vec<String>> {
    let longest = deadline.saturating_add(runner::LONGEST_END).saturating_add(ROOM).as_secs();
    let properties = [
        "Type=notify".into(),
        "KillMode=control-group".into(),
        "StandardInput=null".into(),
        format!("TimeoutStartSec={}", START_DEADLINE.as_secs()),
        format!("RuntimeMaxSec={longest}"),
        format!("SyslogIdentifier={IDENTIFIER}"),
    ];
    let mut arguments = vec!["--quiet".into(), "--collect".into(), format!("--unit={name}")];
    arguments.extend(properties.into_iter().map(|property| format!("--property={property}")));
    arguments.push("--".into());
    let words = call.iter().map(|word| word.to_str().ok_or(io::ErrorKind::InvalidFilename));
    for (nth, word) in words.enumerate() {
        // The program's path stands as it is; a `$` in what follows would begin a variable.
        arguments.push(if nth == 0 { word?.to_owned() } else { unit::literal(word?) });
    }
    Ok(arguments)
}

/// Starts it beside the daemon, which does not end it by its own end. The runtime looks after what
/// is left of it.
async fn launch_child(call: &[OsString]) -> io::Result<()> {
    let (reader, writer) = io::pipe()?;
    let mut words = call.iter();
    let mut command = Command::new(words.next().ok_or(io::ErrorKind::InvalidInput)?);
    command
        .args(words)
        .env_clear()
        .envs(runner::environment())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let _child = command.spawn()?;
    drop(command); // and with it our ends for writing
    let reader = pipe::Receiver::from_owned_fd(reader.into())?;
    let mut said = String::new();
    timeout(START_DEADLINE, BufReader::new(reader.take(LONGEST_REASON)).read_line(&mut said))
        .await??;
    match said.trim() {
        runner::READY => Ok(()),
        reason => Err(io::Error::other(reason.to_owned())),
    }
}

fn not_started(error: io::Error) -> Failure {
    Failure::from_io(FailureKind::InstallFailed, "another updater can't be started", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UpgradeId;
    use crate::record::change::Purpose;

    #[test]
    fn a_unit_of_its_own_without_a_sandbox_whose_arguments_are_literal() {
        let id = JobId { upgrade: UpgradeId("7".into()), purpose: Purpose::Install };
        let call = ["/usr/bin/up$lift", SUBCOMMAND, "/data/5%d ${HOME} $x", "install-7"];
        let arguments =
            unit_arguments(&unit_name(&id), &call.map(OsString::from), Duration::from_secs(600))
                .unwrap();
        let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
        assert!(has("--unit=uplift-change-install-7.service"), "{arguments:?}");
        assert!(has("--property=KillMode=control-group"), "{arguments:?}");
        // Behind the runner's own: 600 s, two times 10 s to end it, and a minute.
        assert!(has("--property=RuntimeMaxSec=680"), "{arguments:?}");
        for sandbox in ["DynamicUser", "Protect", "Private", "NoNewPrivileges"] {
            assert!(!arguments.iter().any(|argument| argument.contains(sandbox)), "{sandbox}");
        }
        assert_eq!(
            arguments[arguments.len() - 5..],
            ["--", "/usr/bin/up$lift", "run-change", "/data/5%d $${HOME} $$x", "install-7"]
        );
    }
}
