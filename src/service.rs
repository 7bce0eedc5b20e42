//! The daemon's life: wires the rooms together, and is what systemd sees: readiness, status line,
//! watchdog, signals, journal. Decides nothing about upgrades.

mod ftp_uploads;
mod systemd;
mod units;

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use nix::errno::Errno;
use nix::fcntl::Flock;
use sd_notify::NotifyState;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::channel::psdk::bridge::Bridge;
use crate::channel::psdk::door::Door;
use crate::channel::psdk::driver::Driver;
use crate::channel::psdk::serial::Serial;
use crate::channel::psdk::uploads::Uploads;
use crate::config::{self, Component, Config, TransferChoice};
use crate::control;
use crate::disk::{DIRECTORY_MODE, lock_within, open_lock_to_hold};
use crate::engine::{Actor, Engine};
use crate::handover;
use crate::host::stop::Stop;
use crate::log;
use crate::metrics;
use crate::transfer::through::Through;
use crate::wire::local_socket::{self, BRIDGE, CHANNELS, PEOPLE, UPLOAD_SERVER};

pub(crate) use systemd::{notify, status_line};

/// How long the state of a daemon that died may stay locked: until its last child has become
/// another program.
const PREDECESSOR: Duration = Duration::from_secs(2);

/// A part of the daemon that ends only with it. In one kind of task for all of them: the runtime's
/// code for a kind, and the stack on which one is made, are kilobytes of an idle daemon's memory.
type Room = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The file in the state's directory that the daemon which runs has locked.
const LOCK: &str = "lock";

/// Runs the daemon until a signal stops it.
pub fn run(config: Config) -> anyhow::Result<()> {
    log::install("uplift");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime can't be started")?;
    let served = runtime.block_on(serve(Arc::new(config)));
    // A thread that still waits for a dead peer must not hold the daemon; what it received is
    // thrown away at the next start.
    runtime.shutdown_background();
    served
}

async fn serve(config: Arc<Config>) -> anyhow::Result<()> {
    let mut stop = Stop::listen()?;
    // Held to the end: two daemons would resume the same upgrade.
    let _alone = alone(&config.paths.state)?;
    let (actor, engine) = tokio::select! {
        opened = Actor::open(Arc::clone(&config)) => opened.context("the daemon can't start")?,
        () = stop.wanted() => return Ok(()),
    };
    let mut rooms: Vec<Room> = Vec::new();
    let link = open_rooms(&mut rooms, &config, actor, &engine)?;
    tracing::info!("{}", introduction(&config));
    // Not a room: it has an end.
    let started = tokio::spawn(units::start(Arc::clone(&config), engine.clone()));
    rooms.push(Box::pin(systemd::tell(engine, link)));
    let mut rooms: JoinSet<()> = rooms.into_iter().collect();
    tokio::select! {
        () = stop.wanted() => {}
        ended = rooms.join_next() => anyhow::bail!("a part of the daemon stopped: {ended:?}"),
    }
    started.abort();
    notify(&[NotifyState::Stopping]);
    tracing::info!("stopping");
    Ok(())
}

/// What runs here and where it can be reached, for a person who started it on a terminal.
fn introduction(config: &Config) -> String {
    let Config { components, paths, link, .. } = config;
    let each = components.iter().map(|one| match one {
        Component::Program(program) => {
            format!("{}, {}", program.common.product, program.path.display())
        }
        Component::Command(command) => match &command.board {
            Some(_) => format!("{}, {}", command.common.product, command.updater()),
            None => format!("{}, by another updater", command.common.product),
        },
    });
    let components = each.collect::<Vec<_>>().join("; ");
    let link = link.as_ref().map_or_else(
        || "no payload link".to_owned(),
        |link| format!("payload link {}", paths.of_link(link).display()),
    );
    format!(
        "uplift {} is ready for {components}; control socket {}, {link}",
        env!("CARGO_PKG_VERSION"),
        paths.control.display(),
    )
}

/// Makes all parts. The answer comes when the payload link is at work, too; without one it is there
/// already.
fn open_rooms(
    rooms: &mut Vec<Room>,
    config: &Arc<Config>,
    actor: Actor,
    engine: &Engine,
) -> anyhow::Result<oneshot::Receiver<()>> {
    let bind = local_socket::bind;
    let control = bind(&config.paths.control, PEOPLE, "control socket", "paths.control")?;
    let metrics = config
        .metrics
        .socket
        .as_deref()
        .map(|path| bind(path, PEOPLE, "metrics socket", "metrics.socket"))
        .transpose()?;
    let (running, link) = oneshot::channel();
    rooms.push(Box::pin(actor.run()));
    rooms.push(Box::pin(control::serve(control, engine.clone())));
    if config.networks().next().is_some() {
        let path = config.paths.channels();
        let socket = bind(&path, CHANNELS, "socket of channels", "paths.control")?;
        rooms.push(Box::pin(handover::serve_channels(socket, engine.clone(), Arc::clone(config))));
    }
    if let Some(metrics) = metrics {
        rooms.push(Box::pin(metrics::serve(metrics, engine.clone())));
    }
    match &config.link {
        Some(link) => {
            let through = Through::default();
            if link.transfer != TransferChoice::Dcftp {
                let path = config.paths.uploads();
                let socket = bind(&path, UPLOAD_SERVER, "socket of uploads", "paths.control")?;
                rooms.push(Box::pin(handover::serve_uploads(socket, through.clone())));
            }
            let uploads = ftp_uploads::FtpUploads::new(Arc::clone(config), engine.clone(), through);
            let (engine, uploads): (_, Arc<dyn Uploads>) = (engine.clone(), Arc::new(uploads));
            match link.door {
                config::Door::Serial => {
                    let door = Serial::new(link);
                    rooms.push(Box::pin(drive(door, Arc::clone(config), engine, uploads, running)));
                }
                config::Door::Bridge => {
                    let path = config.paths.bridge();
                    let socket = bind(&path, BRIDGE, "bridge", "paths.control")?;
                    let (port, applications) = (config.ftp.address.port(), engine.applications());
                    let (door, guests) = Bridge::open(socket, path, link, port, applications);
                    rooms.push(Box::pin(guests));
                    rooms.push(Box::pin(drive(door, Arc::clone(config), engine, uploads, running)));
                }
            }
        }
        None => drop(running.send(())),
    }
    Ok(link)
}

/// The payload link at work. It has a version to tell: while that is looked for, which may take
/// long, no host is answered, and nobody waits for the link's first step.
async fn drive(
    door: impl Door,
    config: Arc<Config>,
    engine: Engine,
    uploads: Arc<dyn Uploads>,
    running: oneshot::Sender<()>,
) {
    let Some(link) = &config.link else { return };
    let mut running = running;
    if !engine.has_looked() {
        // Nobody is there to hear it only if the daemon stops.
        let _ = std::mem::replace(&mut running, oneshot::channel().0).send(());
        engine.looked().await;
    }
    Driver::new(door, link, engine, uploads).run(running).await;
}

/// Locks the state; the lock ends with the process. The directory is made if it is missing, and
/// closed to others.
fn alone(state: &Path) -> anyhow::Result<Flock<File>> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(state)
        .with_context(|| format!("the directory {} can't be made", state.display()))?;
    let path = state.join(LOCK);
    let file = match open_lock_to_hold(&path) {
        // Nothing can be made here. The directory is the next best: others may be able to hold it.
        Err(error) if !path.exists() && error.kind() == io::ErrorKind::NotFound => {
            File::open(state)
        }
        opened => opened,
    };
    let file = file.with_context(|| format!("the lock {} can't be opened", path.display()))?;
    lock_within(PREDECESSOR, file).map_err(|errno| match errno {
        Errno::EWOULDBLOCK => {
            anyhow::anyhow!("another daemon has its state in {}; only one may run", state.display())
        }
        errno => anyhow::Error::new(errno).context(format!("{} can't be locked", path.display())),
    })
}
