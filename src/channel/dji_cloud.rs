//! DJI's Cloud API: this device plays the gateway at the platform's broker, is sent its upgrades
//! there, and tells how they fare (docs/use/dji-cloud.md).
//!
//! `words` are what both sides say; `record` is what is known of the platform's requests: neither
//! knows a connection, a clock or a file. The `desk` stands between the platform and the daemon, the
//! `gateway` at the broker.

mod desk;
mod fuzz;
mod gateway;
mod record;
#[cfg(test)]
mod tests;
pub(crate) mod words;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Notify};

use crate::channel::offer::{OfferedFile, Telling};
use crate::channel::platform::{Here, Link, NEVER, Platform, Poll, Taken, Wanted};
use crate::channel::secret;
use crate::config::{Components, DjiCloud, Password, Paths};
use crate::model::{ChannelName, ComponentName, Failure};
use crate::transfer::http::{Authorization, Trouble};
use crate::wire::mqtt::Connection;

use desk::Desk;
pub use fuzz::fuzz;
pub(crate) use gateway::Gateway;
use words::Voice;

/// The platform, as the daemon's side of this process sees it.
pub(crate) struct Server {
    desk: Arc<Mutex<Desk>>,
    /// For the gateway: the desk was told something.
    told: Arc<Notify>,
    /// From the gateway: there is something new.
    news: Arc<Notify>,
}

/// The two sides of the configured channel, over this connection; a secret and the record are read
/// now.
pub(crate) fn open(
    config: &DjiCloud,
    components: &Components,
    paths: &Paths,
    connection: &mut Connection,
) -> Result<(Server, Gateway), Failure> {
    let voice = Arc::new(Voice::new(config, products(config, components), device_secret(config)?));
    let desk = Desk::open(paths.of_channels(), Arc::clone(&voice));
    let desk = Arc::new(Mutex::new(desk));
    let topics = vec![voice.services(), voice.events_reply(), voice.status_reply()];
    let (told, news) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let gateway = Gateway {
        voice,
        osd: config.osd,
        desk: Arc::clone(&desk),
        told: Arc::clone(&told),
        news: Arc::clone(&news),
        subscription: connection.subscribe(topics),
        publisher: connection.publisher(),
        daemon: paths.channels(),
    };
    Ok((Server { desk, told, news }, gateway))
}

fn products(config: &DjiCloud, components: &Components) -> BTreeMap<ComponentName, String> {
    let names = config.devices.values();
    names.filter_map(|name| Some((*name, components.get(*name)?.product().to_owned()))).collect()
}

fn device_secret(config: &DjiCloud) -> Result<Option<Password>, Failure> {
    let file = config.topology.device_secret_file.as_deref();
    file.map(|file| secret::read(file, "the device's secret")).transpose()
}

impl Platform for Server {
    const NAME: ChannelName = ChannelName::DJI_CLOUD;
    /// The platform waits three seconds for its answer, and knows no "later".
    const WAITS: bool = false;

    fn news(&self) -> Option<Arc<Notify>> {
        Some(Arc::clone(&self.news))
    }

    fn poll(&mut self, _: &Here, _: &Link) -> Result<Poll, Trouble> {
        let mut desk = self.desk.blocking_lock();
        desk.forget_unheard(Instant::now());
        let wanted = desk.wanted().map_or(Wanted::Nothing, Wanted::Offer);
        Ok(Poll { wanted, taken_back: None, next: NEVER, status: desk.standing.clone() })
    }

    /// What is durable here is told as soon as the broker is there, so that it is taken.
    fn tell(&mut self, telling: &Telling, _: &Link) -> Result<Taken, Trouble> {
        self.desk.blocking_lock().tell(telling);
        self.told.notify_one();
        if telling.what.is_final() {
            // The next file may be wanted.
            self.news.notify_one();
        }
        Ok(Taken::Yes)
    }

    /// The pace is the gateway's.
    fn due(&self, _: &Telling) -> Option<Duration> {
        None
    }

    /// A URL of this platform says by itself who asks.
    fn authorization(&self, _: &OfferedFile) -> Option<Authorization> {
        None
    }
}
