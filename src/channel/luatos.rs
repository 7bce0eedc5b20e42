//! The LuatOS platform, or a server of its kind: a device asks with one GET, and the answer is the
//! file, or a word that there is none (docs/use/luatos.md). Nothing is reported, but in the turnkey
//! protocol.
//!
//! `words` are what both sides say, `ration` how often: neither knows a socket or a clock. Here they
//! are said and counted.

mod fuzz;
pub(crate) mod ration;
mod record;
pub(crate) mod words;

use std::path::PathBuf;
use std::time::Duration;

use crate::channel::fetch::Ledger;
use crate::channel::offer::{Offer, OfferedFile, Telling};
use crate::channel::platform::{Here, Link, NEVER, Platform, Poll, Standing, Taken, Wanted};
use crate::channel::secret;
use crate::config::Luatos;
use crate::model::{ChannelName, ChannelState, ComponentName, Failure, FailureKind};
use crate::transfer::http::{Ask, Authorization, Method, Reply, Trouble, Url, header};
use crate::wire::spread::Chance;

pub use fuzz::fuzz;
use ration::{Ending, Gate, Ration};
use record::Record;
use words::pace::Pace;
use words::{FIRST_BYTES, Head, Heard, LONGEST_ANSWER, Settings, Target};

/// Until it is looked again whether something that must be put right is.
const SOON: Duration = Duration::from_secs(60);

/// The server, as this device asks it.
pub(crate) struct Server {
    settings: Settings,
    component: ComponentName,
    pace: Pace,
    chance: Chance,
    record: Record,
}

impl Server {
    /// The configured one; the project's key and the record are read now.
    pub(crate) fn new(
        config: &Luatos,
        product: &str,
        directory: PathBuf,
        chance: Chance,
    ) -> Result<Self, Failure> {
        let unusable = |why: String| Failure::new(FailureKind::Internal, why);
        let key = config.project_key_file().map(|file| secret::read(file, "the project's key"));
        let settings = Settings::new(config, product, key.transpose()?)
            .map_err(|mistake| unusable(mistake.to_string()))?;
        let (component, pace) = (config.component, Pace::new(config));
        let record = Record::open(directory);
        Ok(Self { settings, component, pace, chance, record })
    }

    fn ask(&self, url: &str) -> Result<Ask, Trouble> {
        let mut ask = Ask::get(url.parse::<Url>()?, None);
        let validators = self.record.look(Ration::validators);
        for (name, value) in [
            (header::IF_NONE_MATCH, validators.if_none_match),
            (header::IF_MODIFIED_SINCE, validators.if_modified_since),
        ] {
            ask = match value {
                Some(value) if !self.settings.is_turnkey() => ask.with(name, &value),
                _ => ask,
            };
        }
        Ok(ask)
    }

    /// What an answer comes to, and what is wanted then.
    fn take(&self, heard: Heard) -> (Wanted, Standing) {
        match heard {
            Heard::Nothing { why } => (Wanted::Nothing, standing(ChannelState::Works, why)),
            Heard::File { offer, target } => {
                self.record.change(|ration| self.take_file(ration, offer, target))
            }
            Heard::NotYet { why } | Heard::Retry { why } => {
                (Wanted::Unsaid, standing(ChannelState::Waits, why))
            }
            Heard::Blocked { sentence } | Heard::WrongSetting { sentence, .. } => {
                (Wanted::Unsaid, standing(ChannelState::Fails, sentence))
            }
        }
    }

    fn take_file(&self, ration: &mut Ration, offer: Offer, target: Target) -> (Wanted, Standing) {
        let works = |sentence: &str| standing(ChannelState::Works, sentence);
        if let Some(ending) = ration.settled(&target) {
            // The file was sent, in part; an offer of it is nothing.
            if !self.settings.is_turnkey() {
                ration.served(&target);
            }
            let sentence = match ending {
                Ending::Installed => "its server offers the file that runs",
                _ => "its server offers the file that failed here before",
            };
            return (Wanted::Nothing, works(sentence));
        }
        ration.served(&target);
        if let Gate::Shut { why, .. } = ration.may_fetch(&target) {
            return (Wanted::Unsaid, standing(ChannelState::Waits, why));
        }
        ration.take(target);
        (Wanted::Offer(offer), works("its server offers a file"))
    }
}

fn standing(state: ChannelState, sentence: impl Into<String>) -> Standing {
    Standing { state, sentence: sentence.into() }
}

impl Platform for Server {
    const NAME: ChannelName = ChannelName::LUATOS;

    fn poll(&mut self, here: &Here, link: &Link) -> Result<Poll, Trouble> {
        self.record.advance(&here.boot);
        let poll = |wanted, next, status| Poll { wanted, taken_back: None, next, status };
        if let Gate::Shut { left, why } = self.record.look(Ration::may_ask) {
            let status = standing(ChannelState::Waits, why);
            return Ok(poll(Wanted::Unsaid, left.max(SOON), status));
        }
        let installed = here.components.iter().find(|one| one.component == self.component);
        let version = installed.and_then(|one| one.version);
        let url = match words::request_url(&self.settings, version) {
            Ok(url) => url,
            Err(mistake) => {
                let status = standing(ChannelState::Fails, mistake.to_string());
                return Ok(poll(Wanted::Unsaid, SOON, status));
            }
        };
        let limit = if self.settings.is_turnkey() { LONGEST_ANSWER } else { FIRST_BYTES };
        let (reply, more) = link.client.beginning(&self.ask(&url)?, limit, &link.stop)?;
        let head = head(&reply);
        let heard = words::heard(&self.settings, &url, &head, reply.body(), more);
        let heard = self.record.change(|ration| ration.hear(heard));
        let next = self.pace.next(&heard, (self.chance)());
        let (wanted, status) = self.take(heard);
        Ok(poll(wanted, next, status))
    }

    fn tell(&mut self, telling: &Telling, link: &Link) -> Result<Taken, Trouble> {
        let told = words::telling::told(&self.settings, telling);
        if let Some(post) = told.post {
            let url = post.url.parse::<Url>()?;
            let ask = Ask::json(Method::POST, url, None, post.body.into_bytes());
            let reply = link.client.exchange(&ask, LONGEST_ANSWER, &link.stop)?;
            if !words::is_taken(reply.status(), reply.body()) {
                return Ok(Taken::Later(reply.retry_after()));
            }
        }
        tracing::info!("{}", told.line);
        if let Some(ending) = Ending::of(&telling.what) {
            self.record.change(|ration| ration.end(telling.action.as_str(), ending));
        }
        Ok(Taken::Yes)
    }

    /// There is nobody to tell but at the end.
    fn due(&self, telling: &Telling) -> Option<Duration> {
        (!telling.what.is_final()).then_some(NEVER)
    }

    fn authorization(&self, _: &OfferedFile) -> Option<Authorization> {
        None
    }

    fn ledger(&self, _: &OfferedFile) -> Option<Box<dyn Ledger>> {
        let taken = self.record.look(|ration| ration.taken().cloned());
        taken.map(|target| self.record.ledger(target))
    }
}

fn head(reply: &Reply) -> Head<'_> {
    Head {
        status: reply.status(),
        content_length: reply.header("content-length"),
        content_range: reply.header("content-range"),
        content_encoding: reply.header("content-encoding"),
        etag: reply.header("etag"),
        last_modified: reply.header("last-modified"),
    }
}
