//! The timer that calls the rescue while a trial is under way.

use crate::host::unit;
use crate::model::{Failure, FailureKind};

/// Starts the timer; one that runs already runs on.
pub(crate) async fn arm(timer: &str) -> Result<(), Failure> {
    ask("start", timer).await
}

/// Stops it.
pub(super) async fn disarm(timer: &str) -> Result<(), Failure> {
    ask("stop", timer).await
}

/// The job itself is not waited for.
async fn ask(verb: &str, timer: &str) -> Result<(), Failure> {
    let failed = |error| {
        Failure::new(FailureKind::Internal, format!("systemd did not {verb} {timer}"))
            .because(error)
    };
    unit::systemctl(&["--no-block", verb, "--", timer]).await.map(drop).map_err(failed)
}
