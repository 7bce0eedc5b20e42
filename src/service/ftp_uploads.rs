//! Joins the payload link's wish for FTP uploads with the FTP client and the engine. Decides
//! nothing.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::channel::psdk::uploads::{Pull, Uploads};
use crate::config::Config;
use crate::engine::Engine;
use crate::model::{ChannelName, Failure, FailureKind, UpgradeId};
use crate::package::check::Rules;
use crate::seal::HEAD_SIZE;
use crate::stage::Staged;
use crate::transfer::ftp_client::{self, FtpClient};

/// The FTP server of the configuration, pulled from by the FTP client.
#[derive(Debug)]
pub(super) struct FtpUploads {
    client: FtpClient,
    engine: Engine,
    config: Arc<Config>,
}

impl FtpUploads {
    pub(super) fn new(config: Arc<Config>, engine: Engine) -> Self {
        let components = config.replaceable_by(ChannelName::PSDK);
        let rules: Vec<Rules> =
            components.map(|component| Rules::new(component, &config.package)).collect();
        let client = FtpClient::new(config.ftp.clone())
            .trusting(HEAD_SIZE as u64, move |head, end, size| {
                rules.iter().any(|rules| rules.trusts_ends(head, end, size))
            });
        Self { client, engine, config }
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
        let (config, engine, id) = (Arc::clone(&self.config), self.engine.clone(), id.clone());
        let accepts = move |product: &str| {
            let mut components = config.replaceable_by(ChannelName::PSDK);
            components.any(|component| component.accepts_product(product))
        };
        let (receiver, receives) = (engine.clone(), id.clone());
        let receive = move |announced| receiver.blocking_receive(&receives, announced);
        match ftp_client::Pull::start(&self.client, accepts, receive) {
            Ok((pull, fetched)) => {
                drop(tokio::spawn(relay(pull, told, fetched, answer, (engine, id))));
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
