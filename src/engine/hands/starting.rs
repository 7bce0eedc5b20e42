//! The hands' work before the first upgrade of a daemon that starts.

use super::Hands;
use crate::component::program::Program;
use crate::engine::blocking::blocking;
use crate::engine::storage;
use crate::log::message;
use crate::model::{Failure, FailureKind};

impl Hands {
    /// Why an upgrade of a component could not be installed, or would not stay.
    pub(in crate::engine) async fn examine(&self) -> Vec<Failure> {
        let mut failures = Vec::new();
        for (component, program) in self.programs() {
            let (component, program) = (component.clone(), program.clone());
            let paths = self.config.paths.clone();
            let examined = blocking(move || {
                program
                    .examine()
                    .and_then(|()| storage::examine(&component, &paths))
                    .and_then(|()| program.must_exchange())
            });
            failures.extend(examined.await.err());
        }
        failures
    }

    /// What a daemon does that starts and finds no upgrade under way.
    pub(in crate::engine) async fn settle(&self) {
        for (_, program) in self.programs() {
            let program = program.clone();
            if let Err(error) = blocking(move || program.settle()).await {
                self.notices.tell(&Failure::from_io(
                    FailureKind::InstallFailed,
                    "the staging area can't be put in order",
                    error,
                ));
            }
        }
        self.clear_change().await;
        let second_copy = self.second_copy.clone();
        let programs: Vec<Program> = self.programs().map(|(_, program)| program.clone()).collect();
        if let Err(failure) = blocking(move || second_copy.settle(&programs)).await {
            tracing::warn!(MESSAGE_ID = message::TROUBLE, UPLIFT_KIND = %failure.kind, "{failure}");
        }
    }
}
