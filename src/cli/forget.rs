//! `uplift forget`: a person lowers what keeps an older version out, for a repair.

use serde::Serialize;

use crate::cli::view;
use crate::config::Config;
use crate::control::{Client, ControlAnswer, ControlRequest, Forgettable};
use crate::model::version::Version;
use crate::model::{ComponentName, SCHEMA};

/// What `--json` prints.
#[derive(Serialize)]
struct Document {
    schema: u32,
    /// The lowest version as it was; absent: there was none.
    minimum_version: Option<Version>,
}

/// Forgets the lowest version.
pub(super) fn run(
    config: &Config,
    component: Option<ComponentName>,
    json: bool,
) -> anyhow::Result<()> {
    let mut client = Client::connect(&config.paths.control)?;
    client.ask(&ControlRequest::Forget { what: Forgettable::MinimumVersion, component })?;
    let minimum_version = match client.answer()? {
        ControlAnswer::Forgotten { minimum_version } => minimum_version,
        ControlAnswer::Failure { failure } => return Err(failure.into()),
        _ => anyhow::bail!("the daemon answered something else than what it has forgotten"),
    };
    if json {
        return Ok(view::print(serde_json::to_string_pretty(&Document {
            schema: SCHEMA,
            minimum_version,
        })?)?);
    }
    Ok(view::print(match minimum_version {
        Some(version) => format!(
            "forgotten: the lowest version was {version}; now any version above the one that runs is let in"
        ),
        None => "there is no lowest version: nothing was forgotten".to_owned(),
    })?)
}
