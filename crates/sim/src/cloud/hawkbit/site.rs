//! Answers requests: who asks, for what, and what the rules say to it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::action::{Refusal, State};
use super::device::{Attributes, Fleet, Refused};
use super::documents::{self, Links};
use super::feedback::{Answer, Confirmation, Feedback};
use super::options::{Deployment, Lost, Moment, Options, Release};
use super::{Event, goosebit, lies, mock};
use crate::cloud::content::sha1_of;
use crate::cloud::delivery::Counts;
use crate::cloud::event::{Events, Log, lock};
use crate::cloud::http::{Request, Response, Site};
use crate::cloud::percent::{decode, encode};

/// Longest name of a device.
const LONGEST_NAME: usize = 256;

/// The server's state, and what it is told to be.
pub(super) struct Hawkbit {
    pub(super) options: Mutex<Options>,
    pub(super) fleet: Mutex<Fleet>,
    pub(super) log: Log<Event>,
    pub(super) restart: OnceLock<Restart>,
    pub(super) me: Weak<Self>,
    at: OnceLock<(SocketAddr, SocketAddr)>,
    pub(super) counts: Counts,
}

/// Has the server go away for a while.
pub(super) type Restart = Box<dyn Fn(Duration) + Send + Sync>;

/// A request that was let in, with what its answer depends on.
pub(super) struct Asked<'a> {
    pub(super) request: &'a Request,
    pub(super) options: Options,
    pub(super) device: String,
    /// What follows the device's name in the path.
    pub(super) path: Vec<String>,
}

impl Hawkbit {
    pub(super) fn new(options: Options) -> Arc<Self> {
        let fleet = Fleet::new(options.first_action);
        Arc::new_cyclic(|me| Self {
            options: Mutex::new(options),
            fleet: Mutex::new(fleet),
            log: Log::new(),
            restart: OnceLock::new(),
            me: me.clone(),
            at: OnceLock::new(),
            counts: Counts::default(),
        })
    }

    /// Where the two servers listen.
    pub(super) fn is_at(&self, address: SocketAddr, elsewhere: SocketAddr) {
        let _ = self.at.set((address, elsewhere));
    }

    pub(super) fn restarts_by(&self, restart: Restart) {
        let _ = self.restart.set(restart);
    }

    pub(super) fn events(&self) -> Events<Event> {
        self.log.events()
    }

    pub(super) fn assign(&self, device: &str, deployment: Deployment) -> u64 {
        let asks = lock(&self.options).confirmation;
        let action = lock(&self.fleet).assign(device, Arc::new(deployment), asks);
        self.log.tell(Event::Assigned { device: device.to_owned(), action });
        action
    }

    pub(super) fn cancel(&self, device: &str, id: u64) -> bool {
        let canceled = lock(&self.fleet)
            .devices
            .get_mut(device)
            .and_then(|device| device.action_mut(id))
            .is_some_and(super::action::Action::cancel);
        if canceled {
            self.tell_state(device, id, State::Canceling);
        }
        canceled
    }

    fn tell_state(&self, device: &str, action: u64, state: State) {
        self.log.tell(Event::Action { device: device.to_owned(), action, state });
    }

    /// The addresses of the server and of the second one; known once they listen.
    pub(super) fn addresses(&self) -> (String, String) {
        let url = |address: &SocketAddr| format!("http://{address}");
        self.at.get().map_or_else(Default::default, |(one, other)| (url(one), url(other)))
    }

    /// Links begin as the device found the server, as hawkBit's do.
    pub(super) fn links(&self, asked: &Asked<'_>) -> Links {
        let (own, elsewhere) = self.addresses();
        let found = asked.request.header("Host").map(|host| format!("http://{host}"));
        let own = asked.options.public_url.clone().or(found).unwrap_or(own);
        let path = format!("/{}/controller/v1/{}", asked.options.tenant, encode(&asked.device));
        let files = if asked.options.cdn { &elsewhere } else { &own };
        Links {
            files: format!("{files}{path}"),
            base: format!("{own}{path}"),
            suffixes: match asked.options.release {
                Release::Mock => &["", "-http"],
                _ if asked.options.cdn => &[""],
                _ => &["-http"],
            },
        }
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

    fn next_lost(&self) -> Option<Lost> {
        let mut options = lock(&self.options);
        (!options.lost_feedbacks.is_empty()).then(|| options.lost_feedbacks.remove(0))
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

    pub(super) fn tell_read(
        &self,
        asked: &Asked<'_>,
        resource: &str,
        action: Option<u64>,
        status: u16,
    ) {
        let (device, resource) = (asked.device.clone(), resource.to_owned());
        self.log.tell(Event::Read { device, resource, action, status });
    }

    pub(super) fn refuse(&self, asked: &Asked<'_>, status: u16) -> Response {
        self.tell_refused(asked.request, status);
        match status {
            404 => unknown(),
            _ => refused(status, "rest.body.notReadable"),
        }
    }

    pub(super) fn tell_refused(&self, request: &Request, status: u16) {
        let (method, path) = (request.method.clone(), request.path().to_owned());
        self.log.tell(Event::Refused { method, path, status });
    }

    /// Who asks, and for what of his; the status that he is refused with otherwise.
    fn let_in<'a>(&self, request: &'a Request) -> Result<Asked<'a>, u16> {
        let options = lock(&self.options).clone();
        let path: Vec<String> = request.path().split('/').skip(1).map(decode).collect();
        let [tenant, controller, version, device, rest @ ..] = &path[..] else { return Err(404) };
        if (controller.as_str(), version.as_str()) != ("controller", "v1") || device.is_empty() {
            return Err(404);
        }
        let unlisted = match options.release {
            Release::Mock | Release::Goosebit => 404,
            _ => 401,
        };
        if *tenant != options.tenant {
            return Err(unlisted);
        }
        if !options.auth.lets_in(request, device, options.release) {
            return Err(if options.release == Release::Mock { 404 } else { 401 });
        }
        let path = rest.iter().filter(|part| !part.is_empty()).cloned().collect();
        Ok(Asked { request, options, device: device.clone(), path })
    }
}

impl Site for Hawkbit {
    fn answer(&self, request: &Request) -> Option<Response> {
        let asked = match self.let_in(request) {
            Ok(asked) => asked,
            Err(status) => {
                self.tell_refused(request, status);
                return Some(Response::new(status));
            }
        };
        if asked.options.release == Release::Goosebit {
            return goosebit::answer(self, &asked);
        }
        // A device appears by its poll.
        if !asked.path.is_empty() && !lock(&self.fleet).devices.contains_key(&asked.device) {
            return Some(self.refuse(&asked, 404));
        }
        let response = self.route(&asked);
        if let Some(response) = response.as_ref().filter(|response| response.status == 405) {
            self.tell_refused(request, response.status);
        }
        response
    }
}

impl Asked<'_> {
    /// The body, if it is what is expected.
    pub(super) fn body<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.request.body).ok()
    }

    /// How much of an action's history is wanted.
    fn history(&self) -> Option<usize> {
        let query = self.request.query();
        let Some((_, value)) = query.iter().find(|(name, _)| name == "actionHistory") else {
            return Some(0);
        };
        let number: i64 = value.parse().ok()?;
        Some(usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// A document with a tag; 304 for who has it already.
    fn document(&self, document: &Value) -> Response {
        let tag = format!("\"0{}\"", sha1_of(document.to_string().as_bytes()));
        if self.request.header("If-None-Match") == Some(&tag) {
            return Response::new(304).with("ETag", tag);
        }
        Response::json(200, document).with("ETag", tag)
    }
}

pub(super) fn unknown() -> Response {
    refused(404, "repo.entitiyNotFound")
}

fn refused(status: u16, code: &str) -> Response {
    Response::json(status, &documents::error(code, "refused by the simulation"))
}
