//! How the channel stands, for whoever asks the daemon.

use super::dialogue::Standing;
use super::{Channel, Door};
use crate::handover::channel_client::Conversation;
use crate::handover::client::Trouble as Daemon;
use crate::model::{ChannelName, ChannelState, ChannelStatus};

impl Channel {
    /// The daemon hears how the channel stands, when that has changed.
    pub(super) async fn tell_standing(&mut self) -> Result<(), Daemon> {
        let status = self.status();
        if self.told.as_ref() == Some(&status) {
            return Ok(());
        }
        self.told = Some(status.clone());
        Conversation::open(&self.daemon).await?.tell(status).await
    }

    pub(super) fn status(&self) -> ChannelStatus {
        let (state, sentence) = match (&self.door, self.dialogue.standing()) {
            (Door::Waits(waiting), _) => (ChannelState::Waits, waiting.reason().to_owned()),
            (_, Standing::Silent) => {
                let device = self.config.device.display();
                (ChannelState::Waits, format!("the module at {device} does not answer"))
            }
            (_, Standing::NotConnected(state)) => {
                let sentence =
                    format!("the module is not connected to the platform, state {state}");
                (ChannelState::Waits, sentence)
            }
            (_, Standing::Alarm(kind, code)) => {
                let sentence =
                    format!("the platform does not let the module in, event {kind},{code}");
                (ChannelState::Fails, sentence)
            }
            (_, Standing::Untellable(component)) => {
                let sentence =
                    format!("what runs of {component} can't be written by `version_form`");
                (ChannelState::Fails, sentence)
            }
            (_, Standing::Connected) => self.connected(),
        };
        let errors = self.errors;
        ChannelStatus { name: ChannelName::QUECTEL, state, sentence, errors, unsealed: false }
    }

    pub(super) fn connected(&self) -> (ChannelState, String) {
        let unknown = self.config.components.keys().find(|name| self.version_of(name).is_none());
        if let Some(name) = unknown {
            let sentence = format!(
                "the version of {name} is not known, and no plan comes without it: give `version` or `version_command`"
            );
            return (ChannelState::Fails, sentence);
        }
        let connected = "the module is connected to the platform".to_owned();
        (ChannelState::Works, self.note.clone().unwrap_or(connected))
    }
}
