//! What gooseBit 0.2.12 answers: a small server with the same interface, that knows one software a device,
//! no cancellation, no confirmation, and no number of an action but that of the software.
//!
//! As observed of the real server, which the stories drive too (`tests/world/goosebit.rs`).

use serde_json::{Value, json};

use super::Event;
use super::action::{Action, State};
use super::device::Device;
use super::feedback::{Execution, Feedback};
use super::lies;
use super::options::{Lost, Moment};
use super::site::{Asked, Hawkbit, unknown};
use crate::cloud::delivery::{Habits, Served};
use crate::cloud::event::lock;
use crate::cloud::http::{Body, Piece, Response};

pub(super) fn answer(site: &Hawkbit, asked: &Asked<'_>) -> Option<Response> {
    let path: Vec<&str> = asked.path.iter().map(String::as_str).collect();
    Some(match (asked.request.method.as_str(), &path[..]) {
        ("GET", []) => poll(site, asked),
        ("PUT", ["configData"]) => config_data(site, asked),
        ("GET", ["deploymentBase", id]) => deployment(site, asked, id),
        ("POST", ["deploymentBase", id, "feedback"]) => return feedback(site, asked, id),
        ("GET" | "HEAD", ["download"]) => download(site, asked),
        (
            _,
            []
            | ["configData" | "download"]
            | ["deploymentBase", _]
            | ["deploymentBase", _, "feedback"],
        ) => detail(405, "Method Not Allowed"),
        _ => detail(404, "Not Found"),
    })
}

/// The attribute with the version that runs, which is compared as text.
const VERSION: &str = "sw_version";
/// Those that say which hardware it is. Who leaves one out has the default, whatever was told before.
const HARDWARE: [&str; 2] = ["hw_boardname", "hw_revision"];

/// What the device is to run.
fn assigned(device: &Device) -> Option<&Action> {
    device.actions.last()
}

/// The same, if it neither runs nor failed.
fn pending(device: &Device) -> Option<&Action> {
    let runs = device.attributes.get(VERSION);
    assigned(device).filter(|action| {
        action.state != State::Error && version(action) != runs.map(String::as_str)
    })
}

fn version(action: &Action) -> Option<&str> {
    action.deployment.chunks.first().map(|chunk| chunk.version.as_str())
}

fn poll(site: &Hawkbit, asked: &Asked<'_>) -> Response {
    let is_new = !lock(&site.fleet).devices.contains_key(&asked.device);
    if let Some(deployment) = asked.options.deployment.clone().filter(|_| is_new) {
        site.assign(&asked.device, deployment);
    }
    let base = site.links(asked).base;
    let mut fleet = lock(&site.fleet);
    let device = fleet.device(&asked.device);
    let mut sleep = asked.options.sleep.as_str();
    let mut links = json!({});
    if device.wants_attributes {
        sleep = "00:00:10";
        links["configData"] = json!({ "href": format!("{base}/configData") });
    } else if let Some(action) = pending(device) {
        // The software's number, whatever the action's is.
        links["deploymentBase"] = json!({ "href": format!("{base}/deploymentBase/{}", action.id) });
    }
    let names = links.as_object().map(|links| links.keys().cloned().collect());
    let (device, links_told) = (asked.device.clone(), names.unwrap_or_default());
    site.log.tell(Event::Poll { device, status: 200, links: links_told });
    Response::json(200, &json!({ "config": { "polling": { "sleep": sleep } }, "_links": links }))
}

fn config_data(site: &Hawkbit, asked: &Asked<'_>) -> Response {
    let Some(told) = asked.body::<super::device::Attributes>() else {
        return detail(422, "Input should be a valid dictionary");
    };
    let mut attributes = told.data.clone();
    for name in HARDWARE {
        attributes.entry(name.to_owned()).or_insert_with(|| "default".to_owned());
    }
    let mut fleet = lock(&site.fleet);
    let device = fleet.device(&asked.device);
    let is_other =
        HARDWARE.iter().any(|name| device.attributes.get(*name) != attributes.get(*name));
    if is_other && !device.wants_attributes && assigned(device).is_some() {
        return detail(422, "The assigned software is not compatible with the device's hardware.");
    }
    device.attributes = attributes;
    device.wants_attributes = false;
    drop(fleet);
    site.log.tell(Event::Attributes {
        device: asked.device.clone(),
        status: 200,
        mode: "merge".to_owned(),
        data: told.data,
    });
    Response::json(200, &json!({ "success": true, "message": "Updated swupdate data." }))
}

/// The number in the path is only said again: what is described is what the device is to run now.
fn deployment(site: &Hawkbit, asked: &Asked<'_>, id: &str) -> Response {
    let Ok(number) = id.parse::<u64>() else { return detail(422, "should be a valid integer") };
    let base = site.links(asked).base;
    let pending = pending(lock(&site.fleet).device(&asked.device)).cloned();
    site.tell_read(asked, "deploymentBase", Some(number), 200);
    let Some((action, chunk)) = pending
        .as_ref()
        .and_then(|action| action.deployment.chunks.first().map(|chunk| (action, chunk)))
    else {
        return Response::json(200, &Value::Null);
    };
    let artifacts: Vec<Value> = chunk
        .artifacts
        .iter()
        .take(1)
        .map(|artifact| {
            json!({
                "filename": artifact.name,
                "hashes": { "sha1": artifact.content.digests().sha1 },
                "size": artifact.content.size(),
                "_links": { "download": { "href": format!("{base}/download") } },
            })
        })
        .collect();
    let document = json!({
        "id": number.to_string(),
        "deployment": {
            "download": "forced",
            "update": "forced",
            "chunks": [{
                "part": "os",
                "name": chunk.artifacts.first().map(|artifact| &artifact.name),
                "version": chunk.version,
                "artifacts": artifacts,
            }],
        },
    });
    site.moment(Moment::BeforeDownload, &asked.device, action.id);
    match lies::told(document, &asked.options.lies) {
        Ok(document) => Response::json(200, &document),
        Err(text) => Response::text(200, "application/json", text),
    }
}

/// Any number is taken, and what it says is of what the device is to run now.
fn feedback(site: &Hawkbit, asked: &Asked<'_>, id: &str) -> Option<Response> {
    let Ok(number) = id.parse::<u64>() else {
        return Some(detail(422, "should be a valid integer"));
    };
    let Some(feedback) = asked.body::<Feedback>().filter(|_| is_valid(&asked.request.body)) else {
        return Some(detail(422, "Input should be otherwise"));
    };
    let lost = site.next_lost();
    let status = match lost {
        Some(Lost::Error | Lost::Quota) => 500,
        Some(Lost::BadRequest) => 422,
        Some(Lost::Request | Lost::Answer) => 0,
        None => 200,
    };
    let mut changed = None;
    if matches!(lost, None | Some(Lost::Answer)) {
        let mut fleet = lock(&site.fleet);
        let device = fleet.device(&asked.device);
        let closes = feedback.status.execution == Execution::Closed;
        if let Some(action) = device.actions.last_mut().filter(|_| closes) {
            action.state = match feedback.status.result.finished {
                super::Finished::Failure => State::Error,
                _ => State::Finished,
            };
            changed = Some((action.id, action.state));
            let version = version(action).unwrap_or_default().to_owned();
            if action.state == State::Finished {
                device.attributes.insert(VERSION.to_owned(), version);
            }
        }
    }
    site.log.tell(feedback.event(&asked.device, "deploymentBase", number, status));
    let is_sent = |action: &&Action| action.is_sent();
    let installs = pending(lock(&site.fleet).device(&asked.device)).filter(is_sent).map(|it| it.id);
    if let Some(action) = installs {
        site.moment(Moment::Installing, &asked.device, action);
    }
    if let Some((action, state)) = changed {
        site.log.tell(Event::Action { device: asked.device.clone(), action, state });
    }
    match status {
        0 => None,
        500 => Some(detail(500, "Internal Server Error")),
        _ => Some(Response::json(200, &json!({ "id": number.to_string() }))),
    }
}

/// What its model asks for beyond hawkBit's: no number in `time`, and `progress` is whole.
fn is_valid(body: &[u8]) -> bool {
    let Ok(told) = serde_json::from_slice::<Value>(body) else { return false };
    let progress = told.pointer("/status/result/progress");
    let is_whole = progress.is_none_or(|progress| {
        progress.is_null() || (progress["cnt"].is_number() && progress["of"].is_number())
    });
    is_whole && !told["time"].is_number()
}

/// One link for whatever the device is to run now.
fn download(site: &Hawkbit, asked: &Asked<'_>) -> Response {
    let action = assigned(lock(&site.fleet).device(&asked.device)).cloned();
    let artifact = action.as_ref().and_then(|action| {
        Some((action.id, action.deployment.chunks.first()?.artifacts.first()?.clone()))
    });
    let Some((action, artifact)) = artifact else { return unknown() };
    if asked.request.method == "HEAD" {
        let mut response = Response::new(200);
        response.body =
            Body(vec![Piece::Part(artifact.content.clone(), 0..artifact.content.size())]);
        return response;
    }
    let served = Served {
        content: &artifact.content,
        name: &artifact.name,
        // Not the SHA-1, but it changes with the file.
        tag: &artifact.content.digests().md5,
        elsewhere: None,
        habits: Habits { bad_range_is_400: true, ..Habits::default() },
    };
    let (response, from) = asked.options.delivery.answer(asked.request, &served, &site.counts);
    site.watched(asked, response, from, action, 0, &artifact)
}

fn detail(status: u16, text: &str) -> Response {
    Response::json(status, &json!({ "detail": text }))
}
