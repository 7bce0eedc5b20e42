//! The server's state, who is let in to ask, and what every release answers alike.
//!
//! Knows no resource: those are in `ddi` and `goosebit`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Event;
use super::action::State;
use super::device::Fleet;
use super::documents::{self, Links};
use super::options::{Deployment, Lost, Options, Release};
use crate::cloud::content::sha1_of;
use crate::cloud::delivery::Counts;
use crate::cloud::event::{Events, Log, lock};
use crate::cloud::http::{Request, Response};
use crate::cloud::percent::{decode, encode};

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

    pub(super) fn tell_state(&self, device: &str, action: u64, state: State) {
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

    /// What becomes of the next feedback, if it is not simply taken.
    pub(super) fn next_lost(&self) -> Option<Lost> {
        let mut options = lock(&self.options);
        (!options.lost_feedbacks.is_empty()).then(|| options.lost_feedbacks.remove(0))
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
    pub(super) fn let_in<'a>(&self, request: &'a Request) -> Result<Asked<'a>, u16> {
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

impl Asked<'_> {
    /// The body, if it is what is expected.
    pub(super) fn body<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.request.body).ok()
    }

    /// How much of an action's history is wanted.
    pub(super) fn history(&self) -> Option<usize> {
        let query = self.request.query();
        let Some((_, value)) = query.iter().find(|(name, _)| name == "actionHistory") else {
            return Some(0);
        };
        let number: i64 = value.parse().ok()?;
        Some(usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// A document with a tag; 304 for who has it already.
    pub(super) fn document(&self, document: &Value) -> Response {
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

pub(super) fn refused(status: u16, code: &str) -> Response {
    Response::json(status, &documents::error(code, "refused by the simulation"))
}
