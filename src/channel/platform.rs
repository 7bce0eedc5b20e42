//! What a platform of the network is to the channel that speaks with it: what it is asked, what it is
//! told, and what it wants. When that happens is not known here.

mod standing;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::channel::fetch::Ledger;
use crate::channel::offer::{Action, Offer, OfferedFile, Telling};
use crate::handover::channels::OwnComponent;
use crate::model::{ChannelName, Failure};
use crate::transfer::http::{Authorization, Client, Pieces, Stop, Trouble};

pub(crate) use standing::Standing;

/// When a word is due that is not said at all: it is looked at again after a day.
pub(crate) const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

/// A platform of the network, as it is spoken to. It blocks.
pub(crate) trait Platform: Send + 'static {
    /// The channel.
    const NAME: ChannelName;
    /// Whether an upgrade may be put off that is not allowed now. Without it, it is refused.
    const WAITS: bool = true;

    /// Told when there is something new at a platform that speaks by itself: it is polled then.
    fn news(&self) -> Option<Arc<Notify>> {
        None
    }

    /// What it wants now.
    fn poll(&mut self, here: &Here, link: &Link) -> Result<Poll, Trouble>;

    /// Tells it something.
    fn tell(&mut self, telling: &Telling, link: &Link) -> Result<Taken, Trouble>;

    /// How long a word waits that is not the last one of its request.
    fn due(&self, telling: &Telling) -> Option<Duration>;

    /// Who asks for a file at this URL.
    fn authorization(&self, file: &OfferedFile) -> Option<Authorization>;

    /// Whether files come in pieces.
    fn pieces(&self) -> Pieces {
        Pieces::None
    }

    /// Who counts how often this file comes, where its server counts too.
    fn ledger(&self, _file: &OfferedFile) -> Option<Box<dyn Ledger>> {
        None
    }
}

/// How it stands here.
#[derive(Debug, Clone)]
pub(crate) struct Here {
    /// What may be replaced.
    pub(crate) components: Vec<OwnComponent>,
    /// Why no upgrade may begin now, a sentence.
    pub(crate) not_now: Option<String>,
    /// Whether an upgrade runs, whoever asked for it: what runs then may not stay.
    pub(crate) is_upgrading: bool,
    /// The kernel's name of this boot, which this process may not read.
    pub(crate) boot: String,
}

/// How servers are reached.
#[derive(Clone)]
pub(crate) struct Link {
    /// The client of them all.
    pub(crate) client: Client,
    /// Ends what is being asked.
    pub(crate) stop: Stop,
}

/// What a platform wants.
#[derive(Debug)]
pub(crate) struct Poll {
    /// That.
    pub(crate) wanted: Wanted,
    /// A request that it takes back.
    pub(crate) taken_back: Option<Action>,
    /// When it wants to be asked again.
    pub(crate) next: Duration,
    /// What a person should know of it.
    pub(crate) status: Standing,
}

/// What a platform asks for.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// This.
    Offer(Offer),
    /// Something that can't be done.
    InVain(Action, Failure),
    /// Nothing.
    Nothing,
    /// It did not say.
    Unsaid,
}

/// What became of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The platform has it, or is finished with the request.
    Yes,
    /// It can't take it now; a minimum for the pause, where it says one.
    Later(Option<Duration>),
}
