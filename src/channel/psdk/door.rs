//! A door of the payload link: where words come in and go out. There are two, the serial line
//! ([`super::serial`]) and the bridge ([`super::bridge`]); what is done at either is the same.

use std::time::Duration;

use super::words::{Answer, Asker, Command, Malformed, Question, Stage, StatusPush};
use crate::config::TransferChoice;
use crate::model::version::Version;
use crate::model::{Failure, LinkStatus, Report};

/// A door.
pub trait Door: Send {
    /// How long whoever asks waits for the answer to "check and start".
    const PATIENCE: Duration;
    /// Whether a host may have heard that its upgrade has started before that is decided. What is
    /// refused then must end, so that the host hears of it.
    const ANSWERS_AHEAD: bool;
    /// Whether what is said waits outside until what was said before is done. Elsewhere a host repeats
    /// what got no answer, and must be heard meanwhile.
    const IN_TURN: bool;
    /// Whether whoever sends a file keeps what is not yet in ours, and goes on with it when the
    /// daemon was away.
    const RESUMES: bool;

    /// Keeps the door until there is news. Dropped and called again, it loses nothing.
    fn next(&mut self) -> impl Future<Output = News> + Send;

    /// What it does, for the status.
    fn status(&self) -> LinkStatus;

    /// Which transfer a host is offered that enters now.
    fn choice(&self) -> TransferChoice;

    /// Whoever asks, for reports: the same one comes back to its upgrade.
    fn name_of(&self, asker: Asker) -> String;

    /// The process that asks, where it is one of this machine.
    fn caller(&self) -> Option<String>;

    /// Sends an answer.
    fn answer(&mut self, question: Question, answer: Answer);

    /// Tells the host how the upgrade is getting on.
    fn push(&mut self, push: StatusPush);

    /// How things stand now; called whenever that may have changed.
    fn stand(&mut self, standing: &Standing<'_>);

    /// So many bytes of the file that comes are in ours.
    fn written(&mut self, offset: u64);

    /// What came of the file is thrown away.
    fn reception_failed(&mut self, failure: &Failure);
}

/// What [`Door::next`] brings.
#[derive(Debug)]
pub enum News {
    /// Somebody asks.
    Command(Question, Command),
    /// Somebody asks for what can't be read.
    Malformed(Question, Malformed),
    /// [`Door::status`] changed.
    Status,
}

/// How things stand.
#[derive(Debug)]
pub struct Standing<'a> {
    /// Where the upgrade of this link is.
    pub stage: Stage,
    /// The version that the link tells.
    pub version: Option<Version>,
    /// How its last upgrade ended.
    pub report: Option<&'a Report>,
}
