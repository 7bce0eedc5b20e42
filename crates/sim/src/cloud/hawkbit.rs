//! A simulated hawkBit server, as a payload sees it: the Direct Device Integration, over HTTP.
//!
//! Written from docs/use/simulated-clouds.md. The rules are in `action` and `device`, which are
//! pure; `site` has the server's state, `ddi` and `goosebit` answer requests with them, and `turns` makes happen what
//! a scenario wants.

mod action;
mod auth;
mod ddi;
mod device;
mod documents;
mod event;
mod feedback;
mod files;
mod goosebit;
mod lies;
mod mock;
mod options;
mod site;
mod turns;
mod verdict;

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;

pub use self::action::State;
pub use self::event::Event;
pub use self::feedback::{Execution, Feedback, Finished};
pub use self::options::{
    Artifact, Auth, Chunk, Deployment, Digests, Handling, Lie, Lost, Moment, Options, Release, Turn,
};
pub use self::verdict::{Ending, Watch};

use self::files::Elsewhere;
use self::site::Hawkbit;
use super::event::{Events, Log, lock};
use super::http;

/// A running server. Dropped, it closes.
pub struct Server {
    site: Arc<Hawkbit>,
    server: Arc<http::Server>,
    elsewhere: http::Server,
}

impl Server {
    /// Starts it at [`Options::listen`].
    pub fn start(options: Options) -> anyhow::Result<Self> {
        let listen = options.listen;
        let site = Hawkbit::new(options);
        let server = Arc::new(
            http::Server::start(listen, Arc::clone(&site) as Arc<dyn http::Site>)
                .with_context(|| format!("nobody can listen at {listen}"))?,
        );
        let second = Arc::new(Elsewhere(Arc::clone(&site)));
        let elsewhere = http::Server::start(SocketAddr::new(listen.ip(), 0), second)?;
        site.is_at(server.address(), elsewhere.address());
        let (restarting, log) = (Arc::downgrade(&server), site.log.clone());
        site.restarts_by(Box::new(move |down| restart(restarting.clone(), log.clone(), down)));
        Ok(Self { site, server, elsewhere })
    }

    /// Where devices ask: what precedes the tenant.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// The second server, which stands for another origin.
    #[must_use]
    pub fn elsewhere(&self) -> String {
        format!("http://{}", self.elsewhere.address())
    }

    /// All that happens, from the start on.
    #[must_use]
    pub fn events(&self) -> Events<Event> {
        self.site.events()
    }

    /// Offers this to the device; what it was offered before is cancelled. The number of the action.
    pub fn assign(&self, device: &str, deployment: Deployment) -> u64 {
        self.site.assign(device, deployment)
    }

    /// Asks the device to give an action up; whether it still could.
    pub fn cancel(&self, device: &str, action: u64) -> bool {
        self.site.cancel(device, action)
    }

    /// Where an action is.
    #[must_use]
    pub fn state(&self, device: &str, action: u64) -> Option<State> {
        lock(&self.site.fleet).devices.get(device)?.action(action).map(|action| action.state)
    }

    /// What the device said of itself.
    #[must_use]
    pub fn attributes(&self, device: &str) -> Vec<(String, String)> {
        let fleet = lock(&self.site.fleet);
        let attributes = fleet.devices.get(device).map(|device| device.attributes.clone());
        attributes.unwrap_or_default().into_iter().collect()
    }

    /// Has the server ask this device for its attributes.
    pub fn ask_for_attributes(&self, device: &str) {
        lock(&self.site.fleet).device(device).wants_attributes = true;
    }

    /// Changes what the server does from now on.
    pub fn change(&self, change: impl FnOnce(&mut Options)) {
        change(&mut lock(&self.site.options));
    }

    /// Cuts all connections.
    pub fn drop_connections(&self) {
        self.server.drop_connections();
    }

    /// Refuses and cuts all connections until [`Self::come_back`]. What it knew it still knows then.
    pub fn go_down(&self) {
        self.server.go_down();
    }

    /// Listens again, at the same port.
    pub fn come_back(&self) -> anyhow::Result<()> {
        self.server.come_back().context("the port is taken")
    }

    /// Waits until nobody is being answered, but no longer than this.
    pub fn settle(&self, within: Duration) {
        self.server.settle(within);
    }

    /// Ends it.
    pub fn close(self) {
        drop(self);
    }
}

impl http::Site for Hawkbit {
    fn answer(&self, request: &http::Request) -> Option<http::Response> {
        let asked = match self.let_in(request) {
            Ok(asked) => asked,
            Err(status) => {
                self.tell_refused(request, status);
                return Some(http::Response::new(status));
            }
        };
        match asked.options.release {
            Release::Goosebit => goosebit::answer(self, &asked),
            _ => self.ddi(&asked),
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Server").field("url", &self.url()).finish_non_exhaustive()
    }
}

/// On a thread of its own, because one of the connections that it cuts is the caller's.
fn restart(server: Weak<http::Server>, log: Log<Event>, down: Duration) {
    thread::spawn(move || {
        log.tell(Event::Down);
        if let Some(server) = server.upgrade() {
            server.go_down();
        }
        thread::sleep(down);
        let is_back = server.upgrade().is_some_and(|server| server.come_back().is_ok());
        if is_back {
            log.tell(Event::Up);
        }
    });
}

#[cfg(test)]
mod tests;
