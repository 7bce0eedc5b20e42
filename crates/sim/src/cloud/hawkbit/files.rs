//! Hands out the files of what a device is to install, at the server itself and at the second one.

use std::sync::Arc;

use super::Event;
use super::options::{Artifact, Moment, Release};
use super::site::{Asked, Hawkbit, unknown};
use crate::cloud::delivery::{Habits, Ranges, Redirect, Served};
use crate::cloud::event::lock;
use crate::cloud::http::{Request, Response, Site};
use crate::cloud::percent::decode;

/// What a server that seeks by reading takes for a gigabyte: 728 ms were measured for 600 MB.
const SEEK_MS_PER_GB: u64 = 1300;

/// The second server, which has the files only.
pub(super) struct Elsewhere(pub(super) Arc<Hawkbit>);

impl Hawkbit {
    /// Hands out a file of an action that the device is to do.
    pub(super) fn artifact(&self, asked: &Asked<'_>, module: &str, file: &str) -> Response {
        let module: u64 = module.parse().unwrap_or(0);
        let (name, is_sum) = match file.strip_suffix(".MD5SUM") {
            Some(name) => (name, true),
            None => (file, false),
        };
        let mut fleet = lock(&self.fleet);
        let actions = fleet.device(&asked.device).actions.iter();
        let found = actions.filter(|action| action.is_readable()).find_map(|action| {
            let artifact = action.module(module)?.artifact(name)?;
            Some((action.id, artifact.clone()))
        });
        drop(fleet);
        let Some((action, artifact)) = found else { return self.refuse(asked, 404) };
        let digests = artifact.content.digests();
        if is_sum {
            return Response::text(200, "text/plain", format!("{}  {name}", digests.md5));
        }
        let mut delivery = asked.options.delivery.clone();
        if asked.options.release == Release::Mock {
            delivery.ranges = Ranges::Ignored;
        }
        let old = matches!(asked.options.release, Release::V0_9 | Release::V0_10 | Release::V1_0);
        let served = Served {
            content: &artifact.content,
            name,
            tag: &digests.sha1,
            elsewhere: Some(self.addresses().1 + &asked.request.target),
            habits: Habits {
                unquoted_if_match: true,
                bad_range_is_400: false,
                seek_ms_per_gb: if old { SEEK_MS_PER_GB } else { 0 },
            },
        };
        let (response, from) = delivery.answer(asked.request, &served, &self.counts);
        let is_whole = asked.request.method == "GET" && asked.request.header("Range").is_none();
        if is_whole && let Some(action) = lock(&self.fleet).device(&asked.device).action_mut(action)
        {
            action.note_download();
        }
        self.watched(asked, response, from, action, module, &artifact)
    }

    /// Has it told what of a file was sent, and has happen what is to happen in its middle.
    pub(super) fn watched(
        &self,
        asked: &Asked<'_>,
        response: Response,
        from: u64,
        action: u64,
        module: u64,
        artifact: &Artifact,
    ) -> Response {
        let (status, method) = (response.status, asked.request.method.clone());
        let (name, size) = (artifact.name.clone(), artifact.content.size());
        let (halfway, end) = (self.me.clone(), self.me.clone());
        let (device, also) = (asked.device.clone(), asked.device.clone());
        response
            .midway(move || {
                if let Some(site) = halfway.upgrade().filter(|_| matches!(status, 200 | 206)) {
                    site.moment(Moment::InDownload, &device, action);
                }
            })
            .finished(move |sent| {
                let Some(site) = end.upgrade() else { return };
                if matches!(status, 200 | 206)
                    && from + sent >= size
                    && let Some(action) = lock(&site.fleet).device(&also).action_mut(action)
                {
                    action.sent.insert((module, name.clone()));
                }
                let (device, file) = (also, name);
                site.log.tell(Event::Download { device, method, file, status, from, sent });
            })
    }
}

impl Site for Elsewhere {
    fn answer(&self, request: &Request) -> Option<Response> {
        if request.header("Authorization").is_some() {
            self.0.log.tell(Event::SecretLeaked { path: request.path().to_owned() });
            return Some(Response::new(400));
        }
        let mut options = lock(&self.0.options).clone();
        options.delivery.redirect = Redirect::None;
        let path: Vec<String> = request.path().split('/').skip(1).map(decode).collect();
        let [_, _, _, device, rest @ ..] = &path[..] else { return Some(unknown()) };
        let [modules, module, artifacts, file] = rest else { return Some(unknown()) };
        if (modules.as_str(), artifacts.as_str()) != ("softwaremodules", "artifacts") {
            return Some(unknown());
        }
        let asked = Asked { request, options, device: device.clone(), path: rest.to_vec() };
        Some(self.0.artifact(&asked, module, file))
    }
}
