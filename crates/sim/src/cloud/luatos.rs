//! A simulated LuatOS platform: a device asks with its version in the query, and the body of the answer
//! is the upgrade file. With the newer protocol, in which the answer is JSON that tells of a file.
//!
//! Written from docs/use/simulated-clouds.md. The rules are in `rules`, which is pure; `site`
//! answers.

mod event;
mod options;
mod rules;
mod site;
mod verdict;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

pub use self::event::Event;
pub use self::options::{Answer, Options, Package};
pub use self::verdict::{Ending, Watch};

use self::site::{Elsewhere, Platform};
use super::event::{Events, lock};
use super::http;

/// A running platform. Dropped, it closes.
pub struct Server {
    site: Arc<Platform>,
    server: http::Server,
    elsewhere: http::Server,
}

impl Server {
    /// Starts it at [`Options::listen`].
    pub fn start(options: Options) -> anyhow::Result<Self> {
        let listen = options.listen;
        let site = Platform::new(options);
        let server = http::Server::start(listen, Arc::clone(&site) as Arc<dyn http::Site>)
            .with_context(|| format!("nobody can listen at {listen}"))?;
        let second = Arc::new(Elsewhere(Arc::clone(&site)));
        let elsewhere = http::Server::start(SocketAddr::new(listen.ip(), 0), second)?;
        site.is_at(server.address(), elsewhere.address());
        Ok(Self { site, server, elsewhere })
    }

    /// Where devices ask: what precedes `/api/site/firmware_upgrade`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// The second server, which has the file only.
    #[must_use]
    pub fn elsewhere(&self) -> String {
        format!("http://{}", self.elsewhere.address())
    }

    /// All that happens, from the start on.
    #[must_use]
    pub fn events(&self) -> Events<Event> {
        self.site.events()
    }

    /// Changes what the platform does from now on.
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

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Server").field("url", &self.url()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
