//! What a scenario has happen in the course of an action.

use super::options::{Moment, Turn};
use super::site::Hawkbit;
use crate::cloud::event::lock;

impl Hawkbit {
    /// A device has reached this moment of an action: what is to happen then does, once.
    pub(super) fn moment(&self, moment: Moment, device: &str, action: u64) {
        for turn in self.take(moment) {
            match turn {
                Turn::Cancel => {
                    self.cancel(device, action);
                }
                Turn::Change(deployment) => {
                    self.assign(device, deployment);
                }
                Turn::Restart(down) => {
                    if let Some(restart) = self.restart.get() {
                        restart(down);
                    }
                }
            }
        }
    }

    fn take(&self, moment: Moment) -> Vec<Turn> {
        let mut options = lock(&self.options);
        let (due, later) = std::mem::take(&mut options.turns)
            .into_iter()
            .partition::<Vec<_>, _>(|(at, _)| *at == moment);
        options.turns = later;
        due.into_iter().map(|(_, turn)| turn).collect()
    }
}
