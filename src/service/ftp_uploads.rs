//! Joins the payload link's wish for FTP uploads with the place of one that goes straight through,
//! the FTP client and the engine. Decides nothing.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::channel::psdk::uploads::{Pull, Uploads};
use crate::config::{Component, Config};
use crate::engine::Engine;
use crate::model::{ChannelName, Failure, FailureKind, UpgradeId};
use crate::package::check::Rules;
use crate::seal::HEAD_SIZE;
use crate::stage::Staged;
use crate::transfer::ftp_client::{self, FtpClient};
use crate::transfer::through::{Through, Wishes};

/// The FTP server of the configuration, pulled from by the FTP client.
#[derive(Debug)]
pub(super) struct FtpUploads {
    client: FtpClient,
    through: Through,
    engine: Engine,
    config: Arc<Config>,
}

impl FtpUploads {
    pub(super) fn new(config: Arc<Config>, engine: Engine, through: Through) -> Self {
        let components = config.replaceable_by(ChannelName::PSDK);
        let rules: Vec<Rules> =
            components.map(|component| Rules::new(component, &config.package)).collect();
        let client = FtpClient::new(config.ftp.clone())
            .trusting(HEAD_SIZE as u64, move |head, end, size| {
                rules.iter().any(|rules| rules.trusts_ends(head, end, size))
            });
        Self { client, through, engine, config }
    }

    /// What an upload that goes straight through has to keep to.
    fn wishes(&self, id: &UpgradeId) -> Wishes {
        let (config, engine, upgrade) = (Arc::clone(&self.config), self.engine.clone(), id.clone());
        let component_of = move |product: &str| {
            let mut components = config.replaceable_by(ChannelName::PSDK);
            let of_product = components.find(|component| component.accepts_product(product));
            of_product.map(Component::name)
        };
        let receive = move |announced| engine.blocking_try_receive(&upgrade, announced);
        let (engine, upgrade) = (self.engine.clone(), id.clone());
        let failed = move |failure| {
            // It fails only where the engine has ended the upgrade itself.
            let _ = engine.blocking_reception_failed(&upgrade, failure);
        };
        Wishes {
            component_of: Box::new(component_of),
            receive: Arc::new(receive),
            failed: Arc::new(failed),
        }
    }
}

impl Uploads for FtpUploads {
    fn port(&self) -> u16 {
        self.config.ftp.address.port()
    }

    fn wake(&self) {
        let client = self.client.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(failure) = client.wake() {
                tracing::debug!("the FTP server does not answer yet: {failure}");
            }
        });
    }

    fn prepare(&self) -> oneshot::Receiver<Result<(), Failure>> {
        let client = self.client.clone();
        let (answer, answered) = oneshot::channel();
        tokio::task::spawn_blocking(move || answer.send(client.prepare()));
        answered
    }

    fn pull(&self, id: &UpgradeId) -> Pull {
        let (now, told) = oneshot::channel();
        let (answer, staged) = oneshot::channel();
        let (config, engine) = (Arc::clone(&self.config), self.engine.clone());
        let accepts = move |product: &str| {
            let mut components = config.replaceable_by(ChannelName::PSDK);
            components.any(|component| component.accepts_product(product))
        };
        let (receiver, receives) = (engine.clone(), id.clone());
        let receive = move |announced| receiver.blocking_receive(&receives, announced);
        let open = self.through.open(self.wishes(id));
        match ftp_client::Pull::start(&self.client, accepts, receive, open) {
            Ok((pull, fetched)) => {
                drop(tokio::spawn(relay(pull, told, fetched, answer, (engine, id.clone()))));
            }
            // Nobody to tell only if the pull was given up already.
            Err(failure) => drop(answer.send(Err(failure))),
        }
        Pull { now, staged }
    }
}

/// Passes the host's word down and the file up. A pull that nobody waits for any more is dropped,
/// which ends it. One that fails for good before the host's word is told to the engine at once; the
/// host hears of it when it asks.
async fn relay(
    pull: ftp_client::Pull,
    mut told: oneshot::Receiver<()>,
    mut fetched: oneshot::Receiver<Result<Staged, Failure>>,
    mut answer: oneshot::Sender<Result<Staged, Failure>>,
    (engine, id): (Engine, UpgradeId),
) {
    let gone =
        |_| Err(Failure::new(FailureKind::Internal, "the FTP transfer ended without a result"));
    let early = tokio::select! {
        biased;
        word = &mut told => match word {
            Ok(()) => None,
            Err(_) => return,
        },
        fetched = &mut fetched => Some(fetched.unwrap_or_else(gone)),
    };
    if let Some(result) = early {
        if let Err(failure) = &result {
            // It fails only where the engine has ended the upgrade itself.
            let _ = engine.reception_failed(&id, failure.clone()).await;
        }
        let _ = answer.send(result);
        return;
    }
    pull.now();
    tokio::select! {
        staged = fetched => {
            let _ = answer.send(staged.unwrap_or_else(gone));
        }
        () = answer.closed() => {}
    }
}
