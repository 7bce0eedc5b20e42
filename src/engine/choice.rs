//! Which component an upgrade is of: by the product in the file's name, or by the name that somebody
//! gives; and never one that the channel may not replace.

use crate::config::{Component, Config};
use crate::model::file_name::FileName;
use crate::model::{ChannelName, ComponentName, Failure, FailureKind};

/// The one that this channel may replace, where there is no other.
pub(crate) fn only(config: &Config, channel: ChannelName) -> Option<&Component> {
    let mut permitted = config.replaceable_by(channel);
    permitted.next().filter(|_| permitted.next().is_none())
}

/// The one for a file of this name, or for one whose seal is to say it.
pub(crate) fn of_file<'a>(
    config: &'a Config,
    channel: ChannelName,
    file_name: Option<&str>,
) -> Result<&'a Component, Failure> {
    if let Some(only) = only(config, channel) {
        return Ok(only); // its own check says what is wrong with another's file
    }
    let Some(file_name) = file_name else { return named(config, channel, None) };
    let parsed = file_name.parse::<FileName>();
    let name = parsed.map_err(|error| error.into_failure(file_name))?;
    let mut permitted = config.replaceable_by(channel);
    permitted.find(|component| component.accepts_product(name.product())).ok_or_else(|| {
        let sentence = format!(
            "the file is for product {:?}, and no component that may be replaced here is of it",
            name.product()
        );
        Failure::new(FailureKind::WrongProduct, sentence).with_hint(hint(config, channel))
    })
}

/// The one that somebody names, or the only one.
pub(crate) fn named(
    config: &Config,
    channel: ChannelName,
    name: Option<ComponentName>,
) -> Result<&Component, Failure> {
    let sentence = match name {
        None => match only(config, channel) {
            Some(only) => return Ok(only),
            None => "there are several components, and none is named".to_owned(),
        },
        // One that is not there and one that is not permitted are the same to whoever asks.
        Some(name) => {
            let mut permitted = config.replaceable_by(channel);
            match permitted.find(|component| component.name() == name) {
                Some(component) => return Ok(component),
                None => format!("there is no component {name} that may be replaced here"),
            }
        }
    };
    Err(Failure::new(FailureKind::WrongProduct, sentence).with_hint(hint(config, channel)))
}

fn hint(config: &Config, channel: ChannelName) -> String {
    let each = config.replaceable_by(channel);
    let each: Vec<String> =
        each.map(|one| format!("{} (product {})", one.name(), one.product())).collect();
    if each.is_empty() {
        return format!("give `components` in the [channel.{channel}] section");
    }
    format!("what may be replaced: {}", each.join(", "))
}
