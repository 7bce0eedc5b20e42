//! Answers requests to the simulated platform.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use serde_json::json;

use super::Event;
use super::options::{Answer, Options, Package};
use super::rules::{Query, due, escaped, message, turnkey_due};
use crate::cloud::delivery::{Counts, Habits, Redirect, Served};
use crate::cloud::event::{Events, Log, lock};
use crate::cloud::http::{Request, Response, Site};
use crate::cloud::percent::encode;

/// Paths of the platform.
const UPGRADE: &str = "/api/site/firmware_upgrade";
const TURNKEY: &str = "/api/site/turnkey_fota";
const RESULT: &str = "/api/site/turnkey_fota_result";
/// Path of the file: for a device with a URL of its own that is taken as it is, and at the second server.
const FILE: &str = "/pkg.bin";

/// The platform's state, and what it is told to be.
pub(super) struct Platform {
    pub(super) options: Mutex<Options>,
    log: Log<Event>,
    /// Downloads by device and package.
    downloads: Mutex<BTreeMap<String, u32>>,
    counts: Counts,
    at: OnceLock<(SocketAddr, SocketAddr)>,
    me: Weak<Self>,
}

/// The second server, which has the file only.
pub(super) struct Elsewhere(pub(super) Arc<Platform>);

impl Platform {
    pub(super) fn new(options: Options) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            options: Mutex::new(options),
            log: Log::new(),
            downloads: Mutex::default(),
            counts: Counts::default(),
            at: OnceLock::new(),
            me: me.clone(),
        })
    }

    pub(super) fn is_at(&self, address: SocketAddr, elsewhere: SocketAddr) {
        let _ = self.at.set((address, elsewhere));
    }

    pub(super) fn events(&self) -> Events<Event> {
        self.log.events()
    }

    fn upgrade(&self, request: &Request, options: &Options) -> Option<Response> {
        let query = Query::new(request.query());
        let key = loop_key(&query, "firmware_name");
        let answer = self.next_answer();
        let (response, code) = match answer {
            Some(Answer::Nothing) => (None, None),
            Some(Answer::Empty) => (Some(Response::new(200)), None),
            Some(Answer::Code(code)) => (Some(told(code, options.code_status)), Some(code)),
            Some(Answer::CodeWith(code, status)) => (Some(told(code, status)), Some(code)),
            Some(Answer::File) => match options.packages.first() {
                Some(package) => (Some(self.file(request, options, package, "")), None),
                None => (Some(told(26, options.code_status)), Some(26)),
            },
            None => match due(options, &query, self.downloads_of(&key)) {
                Ok(package) => (Some(self.file(request, options, package, &key)), None),
                Err(code) => (Some(told(code, options.code_status)), Some(code)),
            },
        };
        self.tell_asked(request, &query, "firmware_upgrade", "version", response.as_ref(), code);
        response
    }

    fn turnkey(&self, request: &Request, options: &Options) -> Option<Response> {
        let query = Query::new(request.query());
        let key = loop_key(&query, "script_name");
        let found = match self.next_answer() {
            Some(Answer::Nothing) => return None,
            Some(Answer::Code(code) | Answer::CodeWith(code, _)) => Err(code),
            Some(Answer::Empty) => return Some(Response::new(200)),
            Some(Answer::File) | None => turnkey_due(options, &query, self.downloads_of(&key)),
        };
        let code = found.as_ref().err().copied().unwrap_or(0);
        let response = match found {
            Ok(package) => Response::json(200, &self.offer(options, package, &key)),
            Err(code) => told(code, 200),
        };
        self.tell_asked(
            request,
            &query,
            "turnkey_fota",
            "script_version",
            Some(&response),
            Some(code),
        );
        Some(response)
    }

    fn offer(&self, options: &Options, package: &Package, key: &str) -> serde_json::Value {
        let elsewhere = self.at.get().map(|(_, elsewhere)| *elsewhere);
        let mut parts = package.version.split('.');
        let core = parts.next().unwrap_or_default();
        let script: Vec<&str> = parts.collect();
        let mut offer = json!({
            "code": 0,
            "msg": "ok",
            "core_version": core,
            // The middle number, which the older protocol drops, is nothing here.
            "script_version": script.join(".0."),
            "size": package.content.size(),
            "sha256": package.content.digests().sha256,
            "fota_sn": encode(&format!("sn-{}", self.downloads_of(key) + 1)),
            "url": elsewhere.map(|at| format!("http://{at}{FILE}")),
        });
        match &options.told_sha256 {
            Some(told) if told.is_empty() => {
                offer.as_object_mut().map(|members| members.remove("sha256"));
            }
            Some(told) => offer["sha256"] = json!(told),
            None => {}
        }
        offer
    }

    fn result(&self, request: &Request) -> Response {
        let query = Query::new(request.query());
        let text = |name: &str| query.get(name).unwrap_or_default().to_owned();
        let code = {
            let mut options = lock(&self.options);
            let is_lost = options.lost_results > 0;
            options.lost_results = options.lost_results.saturating_sub(1);
            i64::from(is_lost)
        };
        let (fota_sn, result) = (text("fota_sn"), text("result_code"));
        self.log.tell(Event::Result { fota_sn, result, code });
        Response::json(200, &json!({ "code": code }))
    }

    fn next_answer(&self) -> Option<Answer> {
        let mut options = lock(&self.options);
        (!options.answers.is_empty()).then(|| options.answers.remove(0))
    }

    fn downloads_of(&self, key: &str) -> u32 {
        lock(&self.downloads).get(key).copied().unwrap_or(0)
    }

    /// Hands out the file. One that is sent from its beginning counts for the loop of this key.
    fn file(&self, request: &Request, options: &Options, package: &Package, key: &str) -> Response {
        let elsewhere = self.at.get().map(|(_, elsewhere)| format!("http://{elsewhere}{FILE}"));
        let served = Served {
            content: &package.content,
            name: "pkg.bin",
            tag: &package.content.digests().sha1,
            elsewhere,
            habits: Habits::default(),
        };
        let (response, from) = options.delivery.answer(request, &served, &self.counts);
        if matches!(response.status, 200 | 206 | 302) && from == 0 && !key.is_empty() {
            *lock(&self.downloads).entry(key.to_owned()).or_default() += 1;
        }
        let (me, status, of) = (self.me.clone(), response.status, package.content.size());
        response.finished(move |sent| {
            if let Some(site) = me.upgrade().filter(|_| matches!(status, 200 | 206)) {
                site.log.tell(Event::Sent { status, from, sent, of });
            }
        })
    }

    fn tell_asked(
        &self,
        request: &Request,
        query: &Query,
        resource: &str,
        version: &str,
        response: Option<&Response>,
        code: Option<i64>,
    ) {
        self.log.tell(Event::Asked {
            identity: query.identity(),
            version: query.get(version).map(str::to_owned),
            resource: resource.to_owned(),
            range: request.header("Range").map(str::to_owned),
            status: response.map_or(0, |response| response.status),
            code,
        });
    }

    fn refuse(&self, request: &Request, status: u16) -> Response {
        let (method, path) = (request.method.clone(), request.path().to_owned());
        self.log.tell(Event::Refused { method, path, status });
        Response::new(status)
    }
}

impl Site for Platform {
    fn answer(&self, request: &Request) -> Option<Response> {
        let options = lock(&self.options).clone();
        match (request.method.as_str(), request.path()) {
            ("GET" | "HEAD", UPGRADE) => self.upgrade(request, &options),
            ("GET", TURNKEY) => self.turnkey(request, &options),
            ("POST", RESULT) => Some(self.result(request)),
            ("GET" | "HEAD", FILE) if !options.packages.is_empty() => {
                Some(self.file(request, &options, &options.packages[0], ""))
            }
            (_, UPGRADE | TURNKEY | RESULT | FILE) => Some(self.refuse(request, 405)),
            _ => Some(self.refuse(request, 404)),
        }
    }
}

impl Site for Elsewhere {
    fn answer(&self, request: &Request) -> Option<Response> {
        let mut options = lock(&self.0.options).clone();
        options.delivery.redirect = Redirect::None;
        let package = options.packages.first().filter(|_| request.path() == FILE);
        Some(match package {
            Some(package) => self.0.file(request, &options, package, ""),
            None => self.0.refuse(request, 404),
        })
    }
}

fn loop_key(query: &Query, name: &str) -> String {
    let (_, identity) = query.identity().unwrap_or_default();
    format!("{identity} {}", query.get(name).unwrap_or_default())
}

/// A code as the platform tells it.
fn told(code: i64, status: u16) -> Response {
    let text = format!("{{\"code\":{code},\"msg\":\"{}\"}}", escaped(message(code)));
    Response::text(status, "application/json", text)
}
