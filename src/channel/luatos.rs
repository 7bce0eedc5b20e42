//! The LuatOS platform, or a server of its kind: a device asks with one GET, and the answer is the
//! file, or a word that there is none (docs/luatos.md). Nothing is reported, but in the turnkey
//! protocol.
//!
//! `words` are what both sides say, `ration` how often: neither knows a socket or a clock. Here they
//! are said and counted.

mod fuzz;
pub(crate) mod ration;
pub(crate) mod words;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::channel::offer::{Action, OfferedFile, Telling};
use crate::channel::platform::{Here, Link, Platform, Poll, Standing, Taken, Wanted};
use crate::channel::spread::Chance;
use crate::config::{Luatos, Password};
use crate::disk::{self, LocalDisk};
use crate::model::{ChannelName, ChannelState, ComponentName, Failure, FailureKind};
use crate::transfer::http::{Ask, Authorization, Method, Reply, Trouble, Url, header};

pub use fuzz::fuzz;
use ration::{Ending, Gate, LARGEST_RECORD, Now, Ration};
use words::pace::Pace;
use words::{FIRST_BYTES, Head, Heard, LONGEST_ANSWER, Settings, Target};

/// The record of what the server was asked, in the channels' own directory.
const RECORD: &str = "luatos.json";
/// A word that is not said at all: looked at again after a day.
const NEVER: Duration = Duration::from_secs(86400);
/// When the end of an upgrade is told that began before this process: after it has asked.
const AFTER_ASKING: Duration = Duration::from_secs(10);

/// The server, as this device asks it.
pub(crate) struct Server {
    settings: Settings,
    component: ComponentName,
    pace: Pace,
    chance: Chance,
    directory: PathBuf,
    ration: Ration,
    /// What it offers, and whether it was asked yet.
    offered: Option<(Action, Target)>,
    asked: bool,
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
        let key = config.project_key_file().map(|file| {
            Password::read(file).map_err(|error| {
                let sentence = format!("the project's key in {} can't be read", file.display());
                Failure::from_io(FailureKind::Internal, sentence, error)
            })
        });
        let settings = Settings::new(config, product, key.transpose()?)
            .map_err(|mistake| unusable(mistake.to_string()))?;
        let record = read(&directory).map_err(|error| {
            let sentence = format!("{} can't be read", directory.join(RECORD).display());
            Failure::from_io(FailureKind::Internal, sentence, error)
        })?;
        let (ration, damaged) = Ration::read(&record);
        if let Some(damaged) = damaged {
            tracing::warn!("{damaged}");
        }
        let (component, pace) = (config.component, Pace::new(config));
        let (offered, asked) = (None, false);
        Ok(Self { settings, component, pace, chance, directory, ration, offered, asked })
    }

    fn advance(&mut self, here: &Here) {
        let up = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
        self.ration.advance(Now { boot: here.boot.clone(), up });
    }

    fn save(&self) {
        let written =
            disk::write_atomic_private(&LocalDisk, &self.directory, RECORD, &self.ration.write());
        if let Err(error) = written {
            // Without it the same file may be fetched more often than it should.
            tracing::warn!("{} can't be written: {error}", self.directory.join(RECORD).display());
        }
    }

    fn ask(&self, url: &str) -> Result<Ask, Trouble> {
        let mut ask = Ask::get(url.parse::<Url>()?, None);
        let validators = self.ration.validators();
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
    fn take(&mut self, heard: Heard) -> (Wanted, Standing) {
        let standing = |state, sentence: String| Standing { state, sentence };
        match heard {
            Heard::Nothing { why } => {
                self.offered = None;
                (Wanted::Nothing, standing(ChannelState::Works, why))
            }
            Heard::File { offer, target } => self.take_file(offer, target),
            Heard::NotYet { why } | Heard::Retry { why } => {
                (Wanted::Unsaid, standing(ChannelState::Waits, why))
            }
            Heard::Blocked { sentence } | Heard::WrongSetting { sentence, .. } => {
                (Wanted::Unsaid, standing(ChannelState::Fails, sentence))
            }
        }
    }

    fn take_file(
        &mut self,
        offer: crate::channel::offer::Offer,
        target: Target,
    ) -> (Wanted, Standing) {
        let works =
            |sentence: &str| Standing { state: ChannelState::Works, sentence: sentence.to_owned() };
        if let Some(ending) = self.ration.settled(&target) {
            let sentence = match ending {
                Ending::Installed => "its server offers the file that runs",
                _ => "its server offers the file that failed here before",
            };
            return (Wanted::Nothing, works(sentence));
        }
        if let Gate::Shut { why, .. } = self.ration.may_fetch(&target) {
            return (Wanted::Unsaid, Standing { state: ChannelState::Waits, sentence: why });
        }
        self.ration.served(&target);
        self.offered = Some((offer.action.clone(), target));
        (Wanted::Offer(offer), works("its server offers a file"))
    }
}

impl Platform for Server {
    const NAME: ChannelName = ChannelName::LUATOS;

    fn poll(&mut self, here: &Here, link: &Link) -> Result<Poll, Trouble> {
        self.advance(here);
        let poll = |wanted, next, status| Poll { wanted, taken_back: None, next, status };
        if let Gate::Shut { left, why } = self.ration.may_ask() {
            let status = Standing { state: ChannelState::Waits, sentence: why };
            return Ok(poll(Wanted::Unsaid, left.max(AFTER_ASKING), status));
        }
        let installed = here.components.iter().find(|one| one.component == self.component);
        let version = installed.and_then(|one| one.version);
        let url = match words::request_url(&self.settings, version) {
            Ok(url) => url,
            Err(mistake) => {
                let status = Standing { state: ChannelState::Fails, sentence: mistake.to_string() };
                return Ok(poll(Wanted::Unsaid, AFTER_ASKING * 6, status));
            }
        };
        let limit = if self.settings.is_turnkey() { LONGEST_ANSWER } else { FIRST_BYTES };
        let (reply, more) = link.client.beginning(&self.ask(&url)?, limit, &link.stop)?;
        let head = head(&reply);
        let heard = words::heard(&self.settings, &url, &head, reply.body(), more);
        let heard = self.ration.hear(heard);
        let next = self.pace.next(&heard, (self.chance)());
        let (wanted, status) = self.take(heard);
        self.asked = true;
        self.save();
        Ok(poll(wanted, next, status))
    }

    fn tell(&mut self, telling: &Telling, link: &Link) -> Result<Taken, Trouble> {
        if !self.asked {
            return Ok(Taken::Later(Some(AFTER_ASKING)));
        }
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
        let ending = Ending::of(&telling.what);
        let of = |(action, _): &(Action, Target)| *action == telling.action;
        if let (Some(ending), Some((_, target))) = (ending, self.offered.take_if(|one| of(one))) {
            self.ration.end(target, ending);
            self.save();
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

fn read(directory: &std::path::Path) -> io::Result<Vec<u8>> {
    let record = disk::read_limited(&directory.join(RECORD), LARGEST_RECORD as u64)?;
    Ok(record.unwrap_or_default())
}
