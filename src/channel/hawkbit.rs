//! A hawkBit server, or one that speaks as it does: its Direct Device Integration, the side of the
//! device (docs/use/hawkbit.md).
//!
//! `words` are what both sides say; nothing there knows a socket or a clock. Here they are said.

mod fuzz;
pub(crate) mod words;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::channel::offer::{Action, OfferedFile, Telling, What};
use crate::channel::platform::{Here, Link, NEVER, Platform, Poll, Standing, Taken, Wanted};
use crate::channel::secret;
use crate::config::{Components, Hawkbit, HawkbitConfirm};
use crate::model::{ChannelName, ChannelState, Failure, FailureKind};
use crate::policy::clock::since_1970;
use crate::transfer::http::{Ask, Authorization, Method, Reply, Trouble, Url, header};

pub use fuzz::fuzz;
use words::{
    Address, Answer, Asked, Base, ConfigData, Deployment, Due, FeedbackStyle, Heard,
    LONGEST_ANSWER, Naming, Pace, Question, Senseless,
};

/// When it is asked again after an answer that changes what it wants.
const SOON: Duration = Duration::from_secs(1);
/// Pause before the end of an action is said again to a server that has no room for more of it
/// (HB-15).
const QUOTA_PAUSE: Duration = Duration::from_secs(600);

/// A hawkBit server, as this device speaks to it.
pub(crate) struct Server {
    config: Hawkbit,
    address: Address,
    url: Url,
    token: Option<Authorization>,
    naming: Naming,
    /// Actions whose confirmation was denied (HB-12).
    denied: BTreeSet<String>,
    /// The action that feedback is of, and its pace.
    pace: Option<(Action, Pace)>,
    /// Whether the server has let this device in, and not sent it away since: then 403 to feedback is
    /// a quota, also of an action that another process has begun.
    is_let_in: bool,
    /// The action of whose end it understands nothing, and the status that said so.
    not_understood: Option<(Action, u16)>,
}

impl Server {
    /// The configured one; its token is read now.
    pub(crate) fn new(config: &Hawkbit, components: &Components) -> Result<Self, Failure> {
        let address = Address::of(config);
        let url = address.poll().parse().map_err(|error| {
            let sentence = "`server` of the [channel.hawkbit] section is no URL";
            Failure::new(FailureKind::Internal, sentence).because(error)
        })?;
        let (token, naming) = (token(config)?, Naming::new(config, components));
        let (denied, pace, not_understood) = (BTreeSet::new(), None, None);
        let (config, is_let_in) = (config.clone(), false);
        Ok(Self { config, address, url, token, naming, denied, pace, is_let_in, not_understood })
    }

    /// Where a link leads, and with what right: the token is the server's own alone.
    fn ask(&self, href: &str) -> Result<Ask, Trouble> {
        let url = self.url.join(href)?;
        let token = self.token.clone().filter(|_| url.same_origin(&self.url));
        Ok(Ask::get(url, token).with(header::ACCEPT, "application/json"))
    }

    fn get(&self, href: &str, link: &Link) -> Result<Reply, Trouble> {
        link.client.exchange(&self.ask(href)?, LONGEST_ANSWER, &link.stop)
    }

    fn send(&self, method: Method, to: &str, body: Vec<u8>, link: &Link) -> Result<Reply, Trouble> {
        let url = self.url.join(to)?;
        let ask = Ask::json(method, url, self.token.clone(), body);
        link.client.exchange(
            &ask.with(header::ACCEPT, "application/json"),
            LONGEST_ANSWER,
            &link.stop,
        )
    }

    /// What the links of a poll lead to.
    fn follow(&mut self, base: &Base, here: &Here, link: &Link) -> Result<Found, Trouble> {
        let ours = |found: &Option<words::Link>| {
            found.clone().filter(|link| {
                let foreign = self.address.is_foreign(link);
                if foreign {
                    tracing::warn!("the server has a link of another device; it is left alone");
                }
                !foreign
            })
        };
        let (cancel, confirmation) = (ours(&base.cancel), ours(&base.confirmation));
        let (deployment, config_data) = (ours(&base.deployment), ours(&base.config_data));
        if config_data.is_some() {
            self.introduce(here, link)?;
        }
        if let Some(cancel) = cancel {
            return self.cancelled(cancel.href(), link);
        }
        if let Some(confirmation) = confirmation {
            return self.confirm(&confirmation, here, link);
        }
        match deployment {
            Some(deployment) => self.deployed(&deployment, link),
            None => Ok(Found::of(Wanted::Nothing)),
        }
    }

    /// Tells what this device is, where the server asks.
    fn introduce(&self, here: &Here, link: &Link) -> Result<(), Trouble> {
        let data = ConfigData::of(&self.config.attributes, &here.components);
        data.cut.iter().for_each(|cut| tracing::warn!("{cut}"));
        let reply = self.send(Method::PUT, &self.address.config_data(), data.body, link)?;
        if Heard::of(reply.status(), Question::ConfigData) != Heard::Taken {
            tracing::warn!("the server did not take the attributes (status {})", reply.status());
        }
        Ok(())
    }

    fn cancelled(&self, href: &str, link: &Link) -> Result<Found, Trouble> {
        let reply = self.get(href, link)?;
        match Heard::of(reply.status(), Question::Fetch) {
            Heard::Taken => Ok(match words::cancelled(reply.body()) {
                Ok(action) => Found { taken_back: Some(action), ..Found::of(Wanted::Unsaid) },
                Err(senseless) => Found::senseless(&senseless),
            }),
            _ => Ok(Found::of(Wanted::Unsaid)),
        }
    }

    fn deployed(&mut self, offered: &words::Link, link: &Link) -> Result<Found, Trouble> {
        let reply = self.get(offered.href(), link)?;
        match Heard::of(reply.status(), Question::Fetch) {
            Heard::Taken => {}
            // HB-6.
            Heard::Over => return Ok(Found::of(Wanted::Nothing)),
            _ => return Err(later(&reply)),
        }
        let Deployment { action, asked, passed_over } =
            match Deployment::parse(reply.body(), offered.action(), &self.naming) {
                Ok(Some(deployment)) => deployment,
                Ok(None) => return Ok(Found::of(Wanted::Nothing)),
                Err(senseless) => return Ok(Found::senseless(&senseless)),
            };
        if !passed_over.is_empty() {
            tracing::info!(
                "passed over, as what goes with another file: {}",
                passed_over.join(", ")
            );
        }
        Ok(match asked {
            Asked::Offer(offer) => Found::of(Wanted::Offer(offer)),
            Asked::NotYet => Found::of(Wanted::Unsaid),
            Asked::Refused(failure) => Found::of(Wanted::InVain(action, failure)),
        })
    }

    /// Answers whether an action may begin (HB-12).
    fn confirm(
        &mut self,
        offered: &words::Link,
        here: &Here,
        link: &Link,
    ) -> Result<Found, Trouble> {
        let reply = self.get(&words::with_history(offered.href()), link)?;
        match Heard::of(reply.status(), Question::Fetch) {
            Heard::Taken => {}
            Heard::Over => return Ok(Found::of(Wanted::Nothing)),
            _ => return Err(later(&reply)),
        }
        let deployment = match Deployment::parse(reply.body(), offered.action(), &self.naming) {
            Ok(Some(deployment)) => deployment,
            Ok(None) => return Ok(Found::of(Wanted::Nothing)),
            Err(senseless) => return Ok(Found::senseless(&senseless)),
        };
        let refused = match (&deployment.asked, self.config.confirm, &here.not_now) {
            (Asked::Refused(failure), _, _) => Some(failure.to_string()),
            (_, HawkbitConfirm::Never, _) => Some("this device agrees to nothing by itself".into()),
            (_, HawkbitConfirm::Auto, not_now) => not_now.clone(),
        };
        let action = deployment.action;
        // What another process has denied stands in the server's history.
        let is_denied = || self.denied.contains(action.as_str()) || words::was_denied(reply.body());
        if refused.is_some() && is_denied() {
            return Ok(Found::of(Wanted::Nothing));
        }
        let answer = match &refused {
            Some(why) => Answer::Denied { why: why.clone() },
            None => Answer::Confirmed,
        };
        let to = self.address.confirmation(&action);
        let reply = self.send(Method::POST, &to, words::confirmation(&answer), link)?;
        if Heard::of(reply.status(), Question::Answer) == Heard::Again {
            return Err(later(&reply));
        }
        // Those of actions that are over are of no use.
        self.denied.clear();
        let next = refused.is_none().then_some(SOON);
        self.denied.extend(refused.map(|_| action.as_str().to_owned()));
        Ok(Found { next, ..Found::of(Wanted::Nothing) })
    }

    /// One feedback.
    fn say(
        &self,
        telling: &Telling,
        style: &FeedbackStyle,
        link: &Link,
    ) -> Result<(Reply, Heard), Trouble> {
        let body = words::feedback(telling, style);
        let reply = self.send(Method::POST, &self.address.feedback(telling), body, link)?;
        let question = match telling.what {
            What::Cancelled | What::TooLate => Question::Answer,
            _ => Question::Feedback { is_let_in: self.is_let_in },
        };
        let heard = Heard::of(reply.status(), question);
        Ok((reply, heard))
    }

    /// Whether it offers an action still of whose end it has understood nothing; the status that said
    /// so. What it offers otherwise is told as ever.
    fn is_not_understood(&mut self, base: &Base) -> Option<u16> {
        let (action, status) = self.not_understood.as_ref()?;
        let offered = base.deployment.as_ref().and_then(words::Link::action);
        if offered == Some(action) {
            return Some(*status);
        }
        (self.not_understood, self.pace) = (None, None);
        None
    }

    fn pace(&mut self, action: &Action) -> &mut Pace {
        if self.pace.as_ref().is_some_and(|(of, _)| of != action) {
            self.pace = None;
        }
        &mut self.pace.get_or_insert_with(|| (action.clone(), Pace::default())).1
    }
}

/// What the links of a poll lead to.
struct Found {
    wanted: Wanted,
    taken_back: Option<Action>,
    /// When it is asked again, where that is not when it says.
    next: Option<Duration>,
    trouble: Option<String>,
}

impl Found {
    fn of(wanted: Wanted) -> Self {
        Self { wanted, taken_back: None, next: None, trouble: None }
    }

    fn senseless(why: &Senseless) -> Self {
        tracing::warn!("the server's answer is not understood: {why}");
        let trouble = Some(format!("its server's answer is not understood: {why}"));
        Self { trouble, ..Self::of(Wanted::Unsaid) }
    }
}

impl Platform for Server {
    const NAME: ChannelName = ChannelName::HAWKBIT;

    fn poll(&mut self, here: &Here, link: &Link) -> Result<Poll, Trouble> {
        let reply = self.get(self.address.poll(), link)?;
        let heard = Heard::of(reply.status(), Question::Poll);
        self.is_let_in = heard == Heard::Taken || self.is_let_in && heard != Heard::NotAllowed;
        match heard {
            Heard::Taken => {}
            Heard::NotAllowed => {
                let sentence = format!(
                    "its server does not let this device in (status {}): look at its name, and at its token or certificate",
                    reply.status()
                );
                return Ok(self.nothing(ChannelState::Fails, sentence));
            }
            Heard::Senseless => {
                let sentence = format!(
                    "its server refuses to be polled (status {}): look at `server`, and whether it wants a certificate",
                    reply.status()
                );
                return Ok(self.nothing(ChannelState::Fails, sentence));
            }
            _ => return Err(later(&reply)),
        }
        let base = match Base::parse(reply.body()) {
            Ok(base) => base,
            Err(senseless) => {
                let sentence = format!("its server's answer is not understood: {senseless}");
                return Ok(self.nothing(ChannelState::Fails, sentence));
            }
        };
        let mut found = self.follow(&base, here, link)?;
        if let Some(status) = self.is_not_understood(&base) {
            found.trouble = Some(format!(
                "its server does not understand how its action has ended (status {status}), and is told no more of it: close the action there"
            ));
        }
        let next = found.next.unwrap_or_else(|| base.pause(self.config.poll));
        let status = match found.trouble {
            Some(sentence) => Standing { state: ChannelState::Fails, sentence },
            None => Standing {
                state: ChannelState::Works,
                sentence: format!("polls {} every {} s", self.url.authority(), next.as_secs()),
            },
        };
        Ok(Poll { wanted: found.wanted, taken_back: found.taken_back, next, status })
    }

    fn tell(&mut self, telling: &Telling, link: &Link) -> Result<Taken, Trouble> {
        let style = FeedbackStyle {
            minimal: self.config.minimal_feedback,
            timestamp_ms: self.config.timestamps.then(now).flatten(),
            bare: false,
        };
        self.pace(&telling.action);
        let is_final = telling.what.is_final();
        let (mut reply, mut heard) = self.say(telling, &style, link)?;
        if heard == Heard::Senseless && is_final {
            // It may be a member of it that it does not take.
            (reply, heard) = self.say(telling, &FeedbackStyle { bare: true, ..style }, link)?;
        }
        Ok(match heard {
            Heard::Taken => {
                self.pace(&telling.action).told(telling.what.clone(), Instant::now());
                self.is_let_in = true;
                Taken::Yes
            }
            Heard::Over => Taken::Yes,
            Heard::Quota => {
                self.pace(&telling.action).stop();
                if is_final { Taken::Later(Some(QUOTA_PAUSE)) } else { Taken::Yes }
            }
            Heard::Again | Heard::NotAllowed => Taken::Later(reply.retry_after()),
            Heard::Senseless => {
                let (action, status) = (&telling.action, reply.status());
                tracing::warn!(
                    "the server does not understand feedback of {action} (status {status})"
                );
                // HB-8: what it does not understand it does not understand the next time.
                if is_final {
                    self.pace(action).give_up();
                    self.not_understood = Some((action.clone(), status));
                } else {
                    self.pace(action).stop();
                }
                Taken::Yes
            }
        })
    }

    fn due(&self, telling: &Telling) -> Option<Duration> {
        // Before a poll tells whether this device is let in, a refusal says nothing of a quota.
        if !self.is_let_in && !telling.what.is_final() {
            return Some(NEVER);
        }
        let (of, pace) = self.pace.as_ref()?;
        if *of != telling.action {
            return None;
        }
        let now = Instant::now();
        match pace.due(&telling.what, now) {
            Due::Now => None,
            Due::At(at) => Some(at.saturating_duration_since(now)),
            Due::No => Some(NEVER),
        }
    }

    fn authorization(&self, file: &OfferedFile) -> Option<Authorization> {
        let url = self.url.join(&file.url).ok()?;
        self.token.clone().filter(|_| url.same_origin(&self.url))
    }
}

impl Server {
    fn nothing(&self, state: ChannelState, sentence: String) -> Poll {
        let next = self.config.poll;
        Poll {
            wanted: Wanted::Unsaid,
            taken_back: None,
            next,
            status: Standing { state, sentence },
        }
    }
}

/// Milliseconds since 1970, by this machine's clock.
fn now() -> Option<u64> {
    since_1970().and_then(|now| now.as_millis().try_into().ok())
}

fn later(reply: &Reply) -> Trouble {
    Trouble::Later { status: reply.status(), after: reply.retry_after() }
}

/// What the server is shown, by the files of the configuration.
fn token(config: &Hawkbit) -> Result<Option<Authorization>, Failure> {
    let (scheme, file) = match (&config.target_token_file, &config.gateway_token_file) {
        (Some(file), _) => ("TargetToken", file),
        (None, Some(file)) => ("GatewayToken", file),
        (None, None) => return Ok(None),
    };
    let token = secret::read(file, "the token of hawkBit")?;
    let wrong = || {
        let sentence = format!("the token of hawkBit in {} can't be sent", file.display());
        Failure::new(FailureKind::Internal, sentence)
    };
    Authorization::new(&format!("{scheme} {}", token.reveal())).map(Some).ok_or_else(wrong)
}
