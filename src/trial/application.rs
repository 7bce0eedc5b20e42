//! The payload's own application, as it is connected to the bridge: the best that a payload program
//! can show in a trial. How it connects is not known here.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::digest::program_digest;
use crate::disk::stamp::{Stamp, stamp};
use crate::host::peer::Peer;
use crate::host::unit::{self, Unit};
use crate::model::ProgramDigest;

use super::command::blocking;

/// An application that is connected.
#[derive(Debug, Clone)]
pub struct Application {
    /// Its process.
    pub peer: Arc<Peer>,
    /// The vendor's library took its set-up, for which it must have found the aircraft's port.
    pub core_up: bool,
    /// It says that it has seen the aircraft.
    pub aircraft_seen: bool,
    /// Where it hears that it will be restarted.
    pub farewells: mpsc::Sender<Farewell>,
}

/// A word before a restart.
#[derive(Debug)]
pub struct Farewell {
    /// How long the answer is waited for.
    pub wait: Duration,
    /// Told when what had to be done is done, or dropped.
    pub done: oneshot::Sender<()>,
}

/// Who is connected now, if anybody.
pub type Applications = watch::Receiver<Option<Application>>;

/// Tells whoever is connected that it will be restarted, and lets it get ready.
pub async fn farewell(applications: &Applications, wait: Duration) {
    let connected = applications.borrow().clone();
    let Some(application) = connected.filter(|_| !wait.is_zero()) else { return };
    let (done, ready) = oneshot::channel();
    if application.farewells.send(Farewell { wait, done }).await.is_ok() {
        // Whether it is ready, gone or late: it is restarted.
        let _ = tokio::time::timeout(wait, ready).await;
    }
}

/// Whether the program on trial speaks at the bridge, looked at again and again.
#[derive(Debug)]
pub(super) struct Bridge {
    applications: Applications,
    /// The file that was hashed last: a large one takes seconds to read.
    hashed: Option<(Stamp, ProgramDigest)>,
}

impl Bridge {
    pub(super) fn new(applications: Applications) -> Self {
        Self { applications, hashed: None }
    }

    /// The process that has shown itself, or what is missing.
    pub(super) async fn look(
        &mut self,
        unit: &str,
        expected: ProgramDigest,
        needs_aircraft: bool,
    ) -> Result<u32, String> {
        let connected = self.applications.borrow().clone();
        let Some(application) = connected else { return Err("it has not connected".into()) };
        let pid = application.peer.pid;
        if !application.core_up {
            return Err(format!("process {pid} has connected, and the vendor's library is not up"));
        }
        if needs_aircraft && !application.aircraft_seen {
            return Err(format!("process {pid} has connected, and has not seen the aircraft"));
        }
        let unreadable = |error: io::Error| format!("process {pid} can't be read: {error}");
        let before = unit::show(unit).await.map_err(|error| error.to_string())?;
        check_group(&application.peer, unit, &before)?;
        let peer = Arc::clone(&application.peer);
        let executable = peer.executable().map_err(unreadable)?;
        let found = executable.metadata().map(|metadata| stamp(&metadata)).map_err(unreadable)?;
        let digest = match self.hashed.filter(|(stamp, _)| *stamp == found) {
            Some((_, digest)) => digest,
            None => blocking(move || program_digest(executable)).await.map_err(unreadable)?,
        };
        self.hashed = Some((found, digest));
        if digest != expected {
            return Err(format!("process {pid} has connected, and is another program ({digest})"));
        }
        // Last, because all that was read was read by its number.
        let after = unit::show(unit).await.map_err(|error| error.to_string())?;
        if after.invocation != before.invocation || !peer.runs() {
            return Err("it restarts".into());
        }
        Ok(pid)
    }
}

/// In the unit's group, and so of the start that systemd tells of.
fn check_group(peer: &Peer, name: &str, unit: &Unit) -> Result<(), String> {
    let pid = peer.pid;
    let of_peer = peer.control_group().map_err(|error| error.to_string())?;
    let of_unit = unit.control_group.as_deref().filter(|_| unit.main_pid.is_some());
    let is_in = of_unit.is_some_and(|group| {
        of_peer.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    if !is_in {
        return Err(format!(
            "process {pid} has connected, and is not of {name} (it is in {of_peer})"
        ));
    }
    // What outlived the unit's last stop is in its group, too.
    let main = unit.main_pid.unwrap_or_default();
    match peer.is_no_older_than(main) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("process {pid} has connected, and is of an earlier start")),
        Err(error) => Err(format!("process {main} can't be read: {error}")),
    }
}

#[cfg(test)]
mod tests;
