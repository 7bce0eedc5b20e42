//! The JSON documents of the Direct Device Integration, as the server writes them.

use serde_json::{Map, Value, json};

use super::action::Action;
use super::device::{Device, Exposed};
use super::options::{Artifact, Chunk, Handling};
use crate::cloud::percent::encode;

/// Where the links of a device's documents lead.
#[derive(Debug, Clone)]
pub(super) struct Links {
    /// All up to the device's name.
    pub(super) base: String,
    /// The same at the server that has the files.
    pub(super) files: String,
    /// What follows `download` and `md5sum` in the names of links.
    pub(super) suffixes: &'static [&'static str],
}

/// Messages of an action's history that are told at most.
const MOST_HISTORY: usize = 100;

pub(super) fn base(device: &Device, sleep: &str, links: &Links) -> Value {
    let mut told = Map::new();
    let mut link = |name: &str, path: String| {
        told.insert(name.to_owned(), json!({ "href": format!("{}{path}", links.base) }));
    };
    match device.exposed() {
        Some(Exposed::Deployment(id)) => {
            let c = content_hash(id, device);
            link("deploymentBase", format!("/deploymentBase/{id}?c={c}"));
        }
        Some(Exposed::Cancel(id)) => link("cancelAction", format!("/cancelAction/{id}")),
        Some(Exposed::Confirmation(id)) => {
            let c = content_hash(id, device);
            link("confirmationBase", format!("/confirmationBase/{id}?c={c}"));
        }
        None => {}
    }
    if let Some(id) = device.installed {
        link("installedBase", format!("/installedBase/{id}"));
    }
    if device.wants_attributes {
        link("configData", "/configData".to_owned());
    }
    json!({ "config": { "polling": { "sleep": sleep } }, "_links": told })
}

/// A number that changes with what the action is.
fn content_hash(id: u64, device: &Device) -> i32 {
    let looks = device
        .action(id)
        .map_or(0, |action| action.state as i32 + 31 * i32::from(action.window_is_closed()));
    -2_127_183_556 + looks + (id % 1000) as i32
}

/// The deployment under the member `deployment` or `confirmation`.
pub(super) fn deployment(action: &Action, member: &str, history: usize, links: &Links) -> Value {
    let deployment = &action.deployment;
    let (download, update) = match deployment.handling {
        Handling::Forced => ("forced", "forced"),
        Handling::Soft => ("attempt", "attempt"),
        Handling::DownloadOnly => ("forced", "skip"),
        Handling::Skip => ("skip", "skip"),
    };
    let is_closed = action.window_is_closed();
    let mut inner = json!({
        "download": download,
        "update": if is_closed { "skip" } else { update },
        "chunks": chunks(action, links),
    });
    if deployment.closed_looks.is_some() {
        inner["maintenanceWindow"] = json!(if is_closed { "unavailable" } else { "available" });
    }
    let mut document = json!({ "id": action.id.to_string(), member: inner });
    if history > 0 {
        let newest = action.messages.iter().rev().take(history.min(MOST_HISTORY));
        document["actionHistory"] =
            json!({ "status": action.status, "messages": newest.collect::<Vec<_>>() });
    }
    document
}

fn chunks(action: &Action, links: &Links) -> Vec<Value> {
    let with_number = action.deployment.chunks.iter().zip(0..);
    with_number
        .map(|(chunk, index)| {
            let number = action.module_number(index);
            let mut told = json!({
                "part": chunk.part,
                "name": chunk.name,
                "version": chunk.version,
                "artifacts": artifacts(chunk, number, links),
            });
            if !chunk.metadata.is_empty() {
                let metadata = chunk.metadata.iter();
                let metadata = metadata.map(|(key, value)| json!({ "key": key, "value": value }));
                told["metadata"] = metadata.collect();
            }
            told
        })
        .collect()
}

pub(super) fn artifacts(chunk: &Chunk, number: u64, links: &Links) -> Vec<Value> {
    chunk.artifacts.iter().map(|artifact| artifact_document(artifact, number, links)).collect()
}

fn artifact_document(artifact: &Artifact, module: u64, links: &Links) -> Value {
    let name = encode(&artifact.name);
    let href = format!("{}/softwaremodules/{module}/artifacts/{name}", links.files);
    let digests = artifact.content.digests();
    let mut told = json!({
        "filename": artifact.name,
        "size": artifact.content.size(),
        "hashes": { "sha1": digests.sha1, "md5": digests.md5, "sha256": digests.sha256 },
        "_links": {},
    });
    for suffix in links.suffixes {
        told["_links"][format!("download{suffix}")] = json!({ "href": href });
        told["_links"][format!("md5sum{suffix}")] = json!({ "href": format!("{href}.MD5SUM") });
    }
    told
}

pub(super) fn cancellation(id: u64) -> Value {
    json!({ "id": id.to_string(), "cancelAction": { "stopId": id.to_string() } })
}

/// What the device may ask about confirmations without naming an action.
pub(super) fn confirmations(device: &Device, links: &Links) -> Value {
    let mut told = json!({ "autoConfirm": { "active": device.confirms_by_itself } });
    if let Some(Exposed::Confirmation(id)) = device.exposed() {
        let href = format!("{}/confirmationBase/{id}", links.base);
        told["_links"] = json!({ "confirmationBase": { "href": href } });
    }
    told
}

pub(super) fn error(code: &str, message: &str) -> Value {
    json!({
        "exceptionClass": "org.eclipse.hawkbit.simulated",
        "errorCode": format!("hawkbit.server.error.{code}"),
        "message": message,
    })
}
