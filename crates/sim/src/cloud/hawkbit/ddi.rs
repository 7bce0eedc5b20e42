//! What hawkBit itself answers: the Direct Device Integration. Knows nothing of other servers with the same interface.

use serde_json::Value;

use super::action::{Refusal, State};
use super::device::{Attributes, Refused};
use super::documents;
use super::feedback::{Answer, Confirmation, Feedback};
use super::options::{Lost, Moment, Release};
use super::site::{Asked, Hawkbit, refused, unknown};
use super::{Event, lies, mock};
use crate::cloud::event::lock;
use crate::cloud::http::Response;

/// Longest name of a device.
const LONGEST_NAME: usize = 256;

impl Hawkbit {
    /// The answer to who was let in.
    pub(super) fn ddi(&self, asked: &Asked<'_>) -> Option<Response> {
        // A device appears by its poll.
        if !asked.path.is_empty() && !lock(&self.fleet).devices.contains_key(&asked.device) {
            return Some(self.refuse(asked, 404));
        }
        let response = self.route(asked);
        if let Some(response) = response.as_ref().filter(|response| response.status == 405) {
            self.tell_refused(asked.request, response.status);
        }
        response
    }

    fn route(&self, asked: &Asked<'_>) -> Option<Response> {
        let path: Vec<&str> = asked.path.iter().map(String::as_str).collect();
        let method = asked.request.method.as_str();
        let get = matches!(method, "GET" | "HEAD");
        Some(match (&path[..], method) {
            ([], _) if get => self.poll(asked),
            (["configData"], "PUT") => self.config_data(asked),
            (["deploymentBase", id], _) if get => self.deployment(asked, id, "deploymentBase"),
            (["confirmationBase", id], _)
                if get && !matches!(*id, "activateAutoConfirm" | "deactivateAutoConfirm") =>
            {
                self.deployment(asked, id, "confirmationBase")
            }
            (["installedBase", id], _) if get => self.deployment(asked, id, "installedBase"),
            (["cancelAction", id], _) if get => self.cancellation(asked, id),
            ([resource @ ("deploymentBase" | "cancelAction"), id, "feedback"], "POST") => {
                return self.feedback(asked, resource, id);
            }
            (["confirmationBase", id, "feedback"], "POST") => self.confirmation(asked, id),
            (["confirmationBase"], _) if get => self.confirmations(asked),
            (
                ["confirmationBase", word @ ("activateAutoConfirm" | "deactivateAutoConfirm")],
                "POST",
            ) => {
                lock(&self.fleet).device(&asked.device).confirms_by_itself = word.starts_with('a');
                Response::new(200)
            }
            (["installedBase"], "PUT") => self.declare(asked),
            (["softwaremodules", module, "artifacts"], _) if get => self.artifacts(asked, module),
            (["softwaremodules", module, "artifacts", file], _) if get => {
                self.artifact(asked, module, file)
            }
            (
                []
                | ["configData" | "installedBase" | "confirmationBase"]
                | ["deploymentBase" | "cancelAction" | "confirmationBase" | "installedBase", _]
                | ["deploymentBase" | "cancelAction" | "confirmationBase", _, "feedback"],
                _,
            ) => Response::new(405),
            _ => Response::new(404),
        })
    }

    fn poll(&self, asked: &Asked<'_>) -> Response {
        if asked.device.chars().count() > LONGEST_NAME {
            return refused(400, "repo.constraintViolation");
        }
        let is_new = !lock(&self.fleet).devices.contains_key(&asked.device);
        if let Some(deployment) = asked.options.deployment.clone().filter(|_| is_new) {
            self.assign(&asked.device, deployment);
        }
        let links = self.links(asked);
        let mut document =
            documents::base(lock(&self.fleet).device(&asked.device), &asked.options.sleep, &links);
        let offered = document["_links"].as_object();
        let offered = offered.map(|links| links.keys().cloned().collect()).unwrap_or_default();
        asked.options.lies.iter().for_each(|lie| lies::of_poll(&mut document, lie));
        let response = asked.document(&document);
        self.log.tell(Event::Poll {
            device: asked.device.clone(),
            status: response.status,
            links: offered,
        });
        response
    }

    fn config_data(&self, asked: &Asked<'_>) -> Response {
        let Some(told) = asked.body::<Attributes>() else { return self.refuse(asked, 400) };
        let taken = lock(&self.fleet).device(&asked.device).take(&told);
        let response = match taken {
            Ok(()) => Response::new(200),
            Err(Refused::TooLong) => refused(400, "repo.constraintViolation"),
            Err(Refused::TooMany) => {
                let (status, code) = Refusal::Quota.status(asked.options.release);
                refused(status, code)
            }
        };
        self.log.tell(Event::Attributes {
            device: asked.device.clone(),
            status: response.status,
            mode: format!("{:?}", told.mode).to_lowercase(),
            data: told.data,
        });
        response
    }

    fn deployment(&self, asked: &Asked<'_>, id: &str, resource: &str) -> Response {
        let id = id.parse().ok();
        let response = self.read_deployment(asked, id, resource);
        self.tell_read(asked, resource, id, response.status);
        if let (200, Some(id), "deploymentBase") = (response.status, id, resource) {
            self.moment(Moment::BeforeDownload, &asked.device, id);
        }
        response
    }

    fn read_deployment(&self, asked: &Asked<'_>, id: Option<u64>, resource: &str) -> Response {
        let links = self.links(asked);
        let Some(history) = asked.history() else { return refused(400, "rest.param") };
        let mut fleet = lock(&self.fleet);
        let device = fleet.device(&asked.device);
        let installed = device.installed;
        let Some(action) = id.and_then(|id| device.action_mut(id)) else { return unknown() };
        let (may, member) = match resource {
            "deploymentBase" => (action.is_readable(), "deployment"),
            "confirmationBase" => (action.state == State::WaitForConfirmation, "confirmation"),
            _ => (installed == id, "deployment"),
        };
        if !may {
            return unknown();
        }
        if resource == "deploymentBase" {
            action.looks = action.looks.saturating_add(1);
        }
        let document = documents::deployment(action, member, history, &links);
        drop(fleet);
        match lies::told(document, &asked.options.lies) {
            Ok(document) => asked.document(&document),
            Err(text) => Response::text(200, "application/json", text),
        }
    }

    fn cancellation(&self, asked: &Asked<'_>, id: &str) -> Response {
        let id: Option<u64> = id.parse().ok();
        let mut fleet = lock(&self.fleet);
        let action = id.and_then(|id| fleet.device(&asked.device).action(id).cloned());
        drop(fleet);
        let response = match action {
            Some(action) if action.state == State::Canceling => {
                asked.document(&documents::cancellation(action.id))
            }
            _ => unknown(),
        };
        self.tell_read(asked, "cancelAction", id, response.status);
        response
    }

    fn confirmations(&self, asked: &Asked<'_>) -> Response {
        let links = self.links(asked);
        let document = documents::confirmations(lock(&self.fleet).device(&asked.device), &links);
        self.tell_read(asked, "confirmationBase", None, 200);
        asked.document(&document)
    }

    fn feedback(&self, asked: &Asked<'_>, resource: &str, id: &str) -> Option<Response> {
        let Some(feedback) = asked.body::<Feedback>() else { return Some(self.refuse(asked, 400)) };
        let Ok(id) = id.parse::<u64>() else { return Some(self.refuse(asked, 404)) };
        let lost = self.next_lost();
        let (release, quota) = (asked.options.release, asked.options.entry_quota);
        let response = match lost {
            Some(Lost::Error) => Response::new(500),
            Some(Lost::Quota) => refused(429, "quota.tooManyEntries"),
            Some(Lost::BadRequest) => refused(400, "rest.body.notReadable"),
            Some(Lost::Request) => Response::new(0),
            _ if release == Release::Mock && !mock::is_minimal(&asked.request.body) => unknown(),
            Some(Lost::Answer) | None => self.store(asked, id, |action| match resource {
                "deploymentBase" => action.feedback(&feedback, release, quota),
                _ => action.cancel_feedback(&feedback, release, quota),
            }),
        };
        let is_cut = matches!(lost, Some(Lost::Request | Lost::Answer));
        self.log.tell(feedback.event(
            &asked.device,
            resource,
            id,
            if is_cut { 0 } else { response.status },
        ));
        self.tell_change(asked, id);
        if resource == "deploymentBase" && response.status == 200 {
            let is_sent = lock(&self.fleet)
                .device(&asked.device)
                .action(id)
                .is_some_and(|action| action.is_sent() && action.state == State::Running);
            if is_sent {
                self.moment(Moment::Installing, &asked.device, id);
            }
        }
        (!is_cut).then_some(response)
    }

    fn store(
        &self,
        asked: &Asked<'_>,
        id: u64,
        take: impl FnOnce(&mut super::action::Action) -> Result<(), Refusal>,
    ) -> Response {
        let mut fleet = lock(&self.fleet);
        let device = fleet.device(&asked.device);
        let taken = device.action_mut(id).map_or(Err(Refusal::Unknown), take);
        match taken {
            Ok(()) => {
                device.finish(id);
                Response::new(200)
            }
            Err(refusal) => {
                let (status, code) = refusal.status(asked.options.release);
                refused(status, code)
            }
        }
    }

    /// Tells the state of an action that a device has spoken of.
    fn tell_change(&self, asked: &Asked<'_>, id: u64) {
        let state = lock(&self.fleet).device(&asked.device).action(id).map(|action| action.state);
        if let Some(state) = state {
            self.tell_state(&asked.device, id, state);
        }
    }

    fn confirmation(&self, asked: &Asked<'_>, id: &str) -> Response {
        let Some(told) = asked.body::<Confirmation>() else { return self.refuse(asked, 400) };
        let Ok(id) = id.parse::<u64>() else { return self.refuse(asked, 404) };
        let release = asked.options.release;
        let response = self.store(asked, id, |action| {
            action.confirm(told.confirmation, told.details.as_deref().unwrap_or_default(), release)
        });
        self.log.tell(Event::Feedback {
            device: asked.device.clone(),
            resource: "confirmationBase".to_owned(),
            action: id,
            status: response.status,
            execution: match told.confirmation {
                Answer::Confirmed => "confirmed".to_owned(),
                Answer::Denied => "denied".to_owned(),
            },
            finished: None,
            progress: None,
            code: told.code,
            details: told.details.unwrap_or_default(),
        });
        self.tell_change(asked, id);
        response
    }

    fn declare(&self, asked: &Asked<'_>) -> Response {
        let Some(Value::Object(told)) = asked.body::<Value>() else {
            return self.refuse(asked, 400);
        };
        let text = |name: &str| told.get(name).and_then(Value::as_str).map(str::to_owned);
        let Some(declared) = text("name").zip(text("version")) else {
            return self.refuse(asked, 400);
        };
        let mut fleet = lock(&self.fleet);
        let before = fleet.device(&asked.device).declared.replace(declared.clone());
        Response::new(if before == Some(declared) { 200 } else { 201 })
    }

    fn artifacts(&self, asked: &Asked<'_>, module: &str) -> Response {
        let Ok(number) = module.parse() else { return unknown() };
        let links = self.links(asked);
        let mut fleet = lock(&self.fleet);
        let mut actions = fleet.device(&asked.device).actions.iter();
        let module = actions.find_map(|action| action.module(number));
        module.map_or_else(unknown, |chunk| {
            asked.document(&Value::Array(documents::artifacts(chunk, number, &links)))
        })
    }
}
