//! The daemon of a sandbox, as a client of its control socket sees it.

use std::time::Duration;

use anyhow::bail;
use uplift::control::{Client, ControlAnswer, ControlRequest};
use uplift::model::{Phase, Status};
use uplift_sim::sandbox::Sandbox;

/// How long the status may take to change. Generous: a loaded machine is no failure.
const DEADLINE: Duration = Duration::from_secs(30);

/// A payload whose daemon can be asked, and watched.
#[allow(dead_code, reason = "no test needs all of them")]
pub(crate) trait Watched {
    /// The daemon's status.
    fn status(&self) -> anyhow::Result<Status>;

    /// Watches the daemon's status until it is as wanted.
    fn wait_for_status(&self, wanted: impl Fn(&Status) -> bool) -> anyhow::Result<Status>;

    /// Waits until no upgrade is under way.
    fn wait_until_settled(&self) -> anyhow::Result<Status> {
        self.wait_for_status(|status| matches!(status.phase, Phase::Idle | Phase::Concluded))
    }

    /// Waits until no upgrade is under way but one that waits for the restart.
    fn wait_until_restart_request_or_settled(&self) -> anyhow::Result<Status> {
        self.wait_for_status(|status| {
            matches!(status.phase, Phase::Idle | Phase::Concluded | Phase::Restarting)
        })
    }
}

impl Watched for Sandbox {
    fn status(&self) -> anyhow::Result<Status> {
        let mut client = Client::connect(&self.control_socket())?;
        client.ask(&ControlRequest::Status {})?;
        match client.answer()? {
            ControlAnswer::Status { status } => Ok(status),
            other => bail!("the daemon answered {other:?}"),
        }
    }

    fn wait_for_status(&self, wanted: impl Fn(&Status) -> bool) -> anyhow::Result<Status> {
        let mut client = Client::connect(&self.control_socket())?;
        client.ask(&ControlRequest::Watch {})?;
        loop {
            match client.answer_within(DEADLINE)? {
                ControlAnswer::Status { status } if wanted(&status) => return Ok(status),
                ControlAnswer::Status { .. } => {}
                other => bail!("the daemon answered {other:?}"),
            }
        }
    }
}
