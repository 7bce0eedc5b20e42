//! A simulated ThingsPanel: it pushes tasks over a broker of MQTT, hands files out over HTTP, and
//! judges what a device says of its task.
//!
//! Written from docs/use/simulated-clouds.md. The rules are in `entry`, which is pure; `site` hands
//! files out; `platform` speaks.

mod crc;
mod entry;
mod event;
mod options;
mod platform;
mod site;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

pub use self::entry::State;
pub use self::event::Event;
pub use self::options::{
    Generation, Options, PushWhen, Ranges, Signed, Size, Spelling, Task, Topics, Way,
};
pub use self::verdict::{Ending, Watch};

use self::platform::Platform;
use super::broker::Broker;
use super::event::{Events, lock};
use super::http;

/// A running platform. Dropped, it closes.
pub struct Server {
    platform: Arc<Platform>,
    files: http::Server,
    broker: Broker,
}

impl Server {
    /// Starts it: the broker, unless one is named, and the server of files at [`Options::listen`].
    pub fn start(options: Options) -> anyhow::Result<Self> {
        let (listen, choice) = (options.listen, options.broker.clone());
        let broker = Broker::open(&choice)?;
        let platform = Platform::new(options);
        let site = Arc::clone(&platform) as Arc<dyn http::Site>;
        let files = http::Server::start(listen, site)
            .with_context(|| format!("nobody can listen at {listen}"))?;
        platform.is_at(files.address());
        platform.run(&broker)?;
        Ok(Self { platform, files, broker })
    }

    /// Where files lie: what precedes their paths.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.files.address())
    }

    /// The broker.
    #[must_use]
    pub const fn broker(&self) -> &Broker {
        &self.broker
    }

    /// The same, to be stopped and started.
    pub const fn broker_mut(&mut self) -> &mut Broker {
        &mut self.broker
    }

    /// All that happens, from the start on.
    #[must_use]
    pub fn events(&self) -> Events<Event> {
        self.platform.events()
    }

    /// Changes what the platform does from now on.
    pub fn change(&self, change: impl FnOnce(&mut Options)) {
        change(&mut lock(&self.platform.options));
    }

    /// Begins a task, and pushes it now; its id.
    pub fn push(&self, task: &Task) -> anyhow::Result<String> {
        self.platform.begin(task)
    }

    /// Keeps a task for a device that is away; its id.
    pub fn keep(&self, task: &Task) -> String {
        self.platform.keep(task)
    }

    /// Ends a task at the platform, of which the device hears nothing.
    pub fn cancel(&self, id: &str) {
        self.platform.cancel(id);
    }

    /// Pushes a task again that was begun before.
    pub fn push_again(&self, id: &str) -> anyhow::Result<()> {
        self.platform.push(id)
    }

    /// Publishes these bytes where tasks come.
    pub fn say(&self, bytes: &[u8]) -> anyhow::Result<()> {
        self.platform.say(bytes)
    }

    /// How a task stands at the platform.
    #[must_use]
    pub fn state(&self, id: &str) -> Option<State> {
        self.platform.state(id)
    }

    /// Cuts all connections for files.
    pub fn drop_connections(&self) {
        self.files.drop_connections();
    }

    /// Waits until nobody is sent a file, but no longer than this.
    pub fn settle(&self, within: Duration) {
        self.files.settle(within);
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Server").field("url", &self.url()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
