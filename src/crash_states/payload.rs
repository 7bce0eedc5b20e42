//! A payload in a directory: the real engine and the real rescue on a recording disk, and a machine
//! that is a model.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use super::files::{PREVIOUS, PROGRAM, STAGE, STATE, UPDATER, is_of, write_file};
use super::firmware::{Firmware, NEW_VERSION, ourselves};
use super::host::ModelHost;
use super::setting::{self, ByUpdater, NewDaemon, PutOff, Setting};
use super::tree::{Content, Entry, Tree};
use super::updater::Updater;
use crate::component::program::Program;
use crate::config::{Config, RESCUE_TIMER};
use crate::disk::recording::{Change, Moment, Recorded, RecordingDisk};
use crate::disk::{self, Disk};
use crate::engine::{Actor, Engine};
use crate::host::modelled::{self, Host};
use crate::model::{ChannelName, Failure, Phase, Report, Request, Status, TransferKind};
use crate::record::checksum;
use crate::record::checksum::tests::{changed, sealed};
use crate::record::hold::HOLD_FILE;
use crate::rescue::{Call, Rescue};
use crate::stage::Announced;

/// The boot in which a story begins.
pub(crate) const FIRST_BOOT: &str = "first";
/// Starts of a unit after which it starts for ever.
const MOST_STARTS: usize = 6;
/// Seconds since the boot, when the machine starts and when the second deadline of any trial is
/// over.
const EARLY: &str = "10.0 10.0";
const LATE: &str = "10000.0 10000.0";
/// Name of a payload's directory, and what stands for the random rest of it in a tree.
const PREFIX: &str = "uplift-crash-";
const ANYWHERE: &str = "xxxxxxxxxxxx";
/// Nothing here waits for anything; whatever takes so long hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// What somebody wants of the daemon.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wish<'a> {
    /// Nothing but its report.
    Report,
    Upgrade(&'a Firmware),
    RollBack,
}

/// The payload. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Payload {
    directory: TempDir,
    setting: Setting,
    disk: Arc<RecordingDisk>,
    config: Arc<Config>,
    host: Arc<ModelHost>,
    /// Whether this boot has only begun.
    boots: bool,
    /// What a channel goes on to hand over, whatever happens to the daemon.
    offer: Option<Firmware>,
}

/// What a daemon says that has nothing left to do.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) status: Status,
    pub(crate) history: Vec<Report>,
}

/// The program that a process runs, the new one or another, whatever name it has by now.
fn running_in(tree: &Tree, is_new: bool) -> Vec<u8> {
    let programs =
        tree.0.keys().filter(|path| path.starts_with("bin")).filter_map(|path| tree.file(path));
    let mut programs = programs.map(|file| &file.bytes).filter(|bytes| !bytes.is_empty());
    programs.find(|bytes| is_of(bytes, NEW_VERSION) == is_new).cloned().unwrap_or_default()
}

/// A tree with nothing but this program, if any, and the one that was there before it, if that is
/// kept.
pub(crate) fn tree_with(program: Option<&Content>, previous: Option<&Content>) -> Tree {
    let mut tree = Tree::default();
    for directory in ["bin", STATE] {
        tree.0.insert(directory.into(), Entry::Directory);
    }
    if let Some(previous) = previous {
        tree.0.insert(STAGE.into(), Entry::Directory);
        tree.0.insert(PREVIOUS.into(), Entry::File(Arc::new(previous.clone())));
        tree.0.insert(
            format!("{STATE}/state.json").into(),
            Entry::File(Arc::new(state_after_an_upgrade())),
        );
    }
    if let Some(program) = program {
        tree.0.insert(PROGRAM.into(), Entry::File(Arc::new(program.clone())));
    }
    tree
}

/// What the journal says once the upgrades before are long over; none of them was to a version that
/// is told here.
fn state_after_an_upgrade() -> Content {
    let state = serde_json::json!({
        "format": checksum::FORMAT, "upgrade": null, "unacknowledged": [], "installed": null, "previous": null, "known_bad": [],
    });
    Content {
        bytes: sealed(&state).into_bytes(),
        mode: 0o644,
        owner: ourselves(),
        ..Content::default()
    }
}

impl Payload {
    /// One with these files, at this moment.
    pub(crate) fn new(setting: Setting, tree: &Tree, moment: &Moment) -> Self {
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .rand_bytes(ANYWHERE.len())
            .tempdir_in(home())
            .unwrap();
        let root = directory.path().join("root");
        fs::create_dir(&root).unwrap();
        tree.moved(&|bytes| changed(bytes, |bytes| replace(bytes, &anywhere(), directory.path())))
            .write(&root);
        let hanging = (setting.unit || setting.own.is_some_and(|own| own != NewDaemon::Concludes))
            .then_some(NEW_VERSION);
        let host = Arc::new(ModelHost::new(
            directory.path(),
            root.join(PROGRAM),
            hanging,
            setting.restarts,
            moment,
        ));
        let config = Arc::new(setting::config(setting, &root, &host.boot_id()));
        let clock = Arc::clone(&host);
        let disk = Arc::new(
            RecordingDisk::new(&root, Box::new(move || clock.moment()), setting.lacks)
                .of_fat_kind(setting.fat),
        );
        if let Some(ByUpdater { works, .. }) = setting.change {
            let directory = root.join(UPDATER);
            host.has(Updater { disk: Arc::clone(&disk), directory, works: works.into() });
        }
        if let (true, Some(start)) = (setting.unit, &moment.start) {
            host.runs(&running_in(tree, start.is_new));
        }
        Self {
            directory,
            setting,
            disk,
            config,
            host,
            boots: !setting.has_unit() || moment.start.is_none(),
            offer: None,
        }
    }

    /// The same files, but from now on restarts come, and programs are healthy.
    pub(crate) fn put_right(mut self) -> Self {
        self.host.repair();
        self.setting.ill = false;
        self.setting.held = self.setting.held.map(|_| PutOff::Released);
        self.config = Arc::new(setting::config(self.setting, &self.root(), &self.host.boot_id()));
        self
    }

    /// A channel has this file for it.
    pub(crate) fn is_offered(&mut self, firmware: &Firmware) {
        self.offer = Some(firmware.clone());
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// A file, with all that it is; `None` if there is none.
    pub(crate) fn file(&self, path: impl AsRef<Path>) -> Option<Content> {
        Content::read(&self.root().join(path))
    }

    /// Names in the staging area, which may not be there yet.
    pub(crate) fn staged(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root().join(STAGE)).into_iter().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The files below a directory, which may not be there.
    pub(crate) fn files_in(&self, directory: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root().join(directory)).into_iter().flatten();
        let paths = entries.map(|entry| directory.join(entry.unwrap().file_name()));
        paths
            .flat_map(|path| match self.root().join(&path).is_dir() {
                true => self.files_in(&path),
                false => vec![path],
            })
            .collect()
    }

    /// The boot that runs now.
    pub(crate) fn boot(&self) -> String {
        self.host.moment().boot
    }

    /// What the daemon's unit runs.
    pub(crate) fn running(&self) -> Option<Vec<u8>> {
        self.host.running()
    }

    /// What was changed so far, as if it had been done anywhere.
    pub(crate) fn changes(&self) -> Vec<Recorded> {
        let mut changes = self.disk.changes();
        for recorded in &mut changes {
            if let Change::Write { bytes, .. } = &mut recorded.change {
                *bytes = changed(bytes, |bytes| replace(bytes, self.directory.path(), &anywhere()));
            }
        }
        changes
    }

    /// The payload starts: the daemon does what it has to, and is stopped.
    pub(crate) fn settle(&mut self) -> Result<Settled, String> {
        self.live(Wish::Report, false).map(|(settled, _)| settled)
    }

    /// The same, but somebody has a wish, hears how it ended, and acknowledges that. The number
    /// tells how many changes there were before the acknowledgement.
    pub(crate) fn conclude(&mut self, wish: Wish<'_>) -> Result<(Settled, usize), String> {
        self.live(wish, true)
    }

    fn live(&mut self, mut wish: Wish<'_>, acknowledges: bool) -> Result<(Settled, usize), String> {
        self.start_up()?;
        for _ in 0..MOST_STARTS {
            if self.hangs() {
                self.hang()?;
                continue;
            }
            if let Some(done) = self.on_host(
                self.host.life(self.setting.own.is_some(), self.daemon(wish, acknowledges)),
            ) {
                return done;
            }
            wish = Wish::Report; // it was told before
        }
        Err("the daemon is restarted for ever".into())
    }

    /// What comes before the daemon. Where that is a unit, a death in the same boot is one of it,
    /// and systemd starts it again; if it hung, it was the rescue that died.
    fn start_up(&mut self) -> Result<(), String> {
        let boots = std::mem::take(&mut self.boots);
        if boots {
            self.rescue(Call::Boot, EARLY)?;
        }
        if (self.setting.own.is_some() && !self.hangs()) || (self.setting.unit && boots) {
            self.host.start_unit();
        }
        Ok(())
    }

    /// Whether the daemon does.
    fn hangs(&self) -> bool {
        self.setting.own.is_some() && self.host.runs_new()
    }

    /// The second deadline of a trial passes in a boot in which the daemon does not run.
    pub(crate) fn pass_deadline(&self) {
        self.rescue(Call::Boot, EARLY).and_then(|()| self.rescue(Call::Deadline, LATE)).unwrap();
    }

    /// The daemon died in a trial, and does not start again before the second deadline has passed;
    /// systemd refuses the rescue the restart of the old program.
    pub(crate) fn pass_deadline_in_vain(&self) {
        self.rescue(Call::Deadline, EARLY).unwrap();
        self.host.refuse(true);
        self.rescue(Call::Deadline, LATE).unwrap_err();
        self.host.refuse(false);
    }

    /// The unit runs, and the second deadline passes.
    fn hang(&self) -> Result<(), String> {
        if self.setting.own == Some(NewDaemon::HangsInAnotherFormat) {
            self.write_another_format();
        }
        self.rescue(Call::Deadline, EARLY)?;
        self.rescue(Call::Deadline, LATE)
    }

    /// A newer daemon writes what an older one can't read, but for the part that is agreed between
    /// all versions.
    fn write_another_format(&self) {
        let state = self.root().join(STATE);
        let text = fs::read(state.join("state.json")).unwrap_or_default();
        let mut file: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        if file["upgrade"].get("swap").is_some() {
            file["format"] = 3.into();
            file["upgrade"]["phase"] = "of its own".into();
            file["previous"] = "in a form of its own".into();
            disk::write_atomic(&*self.disk, &state, "state.json", sealed(&file).as_bytes())
                .unwrap();
        }
    }

    fn rescue(&self, call: Call, uptime: &str) -> Result<(), String> {
        if !self.setting.rescue {
            return Ok(());
        }
        write_file(&self.host.uptime(), uptime);
        let disk = Arc::clone(&self.disk) as Arc<dyn Disk>;
        let rescue = Rescue::on(
            disk,
            self.root().join(STATE),
            self.host.boot_id(),
            self.host.uptime(),
            RESCUE_TIMER.into(),
        );
        self.on_host(rescue.run(call)).map_err(|failure| format!("the rescue: {failure}"))
    }

    /// In a process, so to speak: what is left of it in the end is gone.
    fn on_host<T>(&self, work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        modelled::on(Arc::clone(&self.host) as Arc<dyn Host>, || runtime.block_on(work))
    }

    /// Puts the program before the one at the path back, without a daemon.
    pub(crate) fn roll_back(&self) -> Result<(), Failure> {
        let program =
            Program::on(Arc::clone(&self.disk) as Arc<dyn Disk>, self.root().join(PROGRAM));
        let on_trial = program.digest().unwrap().expect("a program at the path");
        let old = program.previous().unwrap();
        program.revert(on_trial, old).map(drop)
    }

    async fn daemon(&self, wish: Wish<'_>, acknowledges: bool) -> Result<(Settled, usize), String> {
        if matches!(wish, Wish::Report) {
            // Whoever holds upgrades releases them without the daemon: no step of this story.
            let _ = fs::remove_file(self.root().join(STATE).join(HOLD_FILE));
        }
        let (engine, actor) = self.start().await?;
        self.hand_over(&engine).await?;
        let mut end = settled(&engine).await?;
        if !matches!(wish, Wish::Report) {
            self.ask(&engine, wish).await.map_err(|failure| failure.to_string())?;
            self.goes_on(&engine, self.setting.held.unwrap_or(PutOff::Released)).await?;
            end = settled(&engine).await?;
        }
        let concluded = self.disk.len();
        if acknowledges {
            engine
                .acknowledge(self.setting.channel)
                .await
                .map_err(|failure| failure.to_string())?;
        }
        drop(engine);
        actor.await.map_err(|error| error.to_string())?;
        Ok((end, concluded))
    }

    async fn ask(&self, engine: &Engine, wish: Wish<'_>) -> Result<(), Failure> {
        let request = if self.setting.channel == ChannelName::SHELL {
            Request::of_shell("the peer".into())
        } else {
            Request::of_link("the peer".into(), TransferKind::Local)
        };
        let (waits, resumes) = (self.setting.held.is_some(), self.setting.resumes);
        let request = Request { waits, resumes, ..request };
        match wish {
            Wish::Report => Ok(()),
            Wish::Upgrade(firmware) => self.send(engine, request, firmware).await,
            Wish::RollBack => engine.roll_back(request, None).await.map(drop),
        }
    }

    /// A channel whose file the daemon waits for goes on behind what is there.
    async fn hand_over(&self, engine: &Engine) -> Result<(), String> {
        let Some(firmware) = self.offer.as_ref().filter(|_| self.setting.resumes) else {
            return Ok(());
        };
        let status = engine.status_now();
        let Some(upgrade) = status.upgrade.filter(|_| status.phase == Phase::Receiving) else {
            return Ok(());
        };
        let sent = self.send_rest(engine, &upgrade.id, firmware).await;
        sent.map_err(|failure| failure.to_string())
    }

    /// Sends what is not there of a file, has it proved and starts.
    async fn send_rest(
        &self,
        engine: &Engine,
        id: &crate::model::UpgradeId,
        firmware: &Firmware,
    ) -> Result<(), Failure> {
        let mut receiving = engine.receive(id, announced(firmware)).await?;
        let there = usize::try_from(receiving.received()).unwrap();
        receiving.write(&firmware.bytes[there..])?;
        let staged = receiving.finish(None)?;
        engine.check(id, staged).await?;
        engine.start(id).await
    }

    /// What was put off goes on, or does not.
    async fn goes_on(&self, engine: &Engine, how: PutOff) -> Result<(), String> {
        let put_off = engine.status_now().upgrade.map(|upgrade| upgrade.id);
        let done = match (self.setting.held, how, put_off) {
            (Some(_), PutOff::Cancelled, Some(id)) => engine.cancel(&id, "somebody".into()).await,
            (Some(_), _, _) => engine.release("somebody".into()).await.map(drop),
            (None, ..) => Ok(()),
        };
        done.map_err(|failure| failure.to_string())
    }

    async fn start(&self) -> Result<(Engine, tokio::task::JoinHandle<()>), String> {
        let disk = Arc::clone(&self.disk);
        let (actor, engine) = Actor::open_on(disk, Arc::clone(&self.config))
            .await
            .map_err(|error| format!("{error:#}"))?;
        let actor = tokio::spawn(actor.run());
        engine.looked().await;
        Ok((engine, actor))
    }

    async fn send(
        &self,
        engine: &Engine,
        request: Request,
        firmware: &Firmware,
    ) -> Result<(), Failure> {
        let id = engine.begin(request).await?;
        if self.setting.resumes {
            let mut receiving = engine.receive(&id, announced(firmware)).await?;
            receiving.write(&firmware.bytes[..firmware.bytes.len() / 2])?;
            receiving.put_down()?;
        }
        self.send_rest(engine, &id, firmware).await
    }
}

/// What is said of a file before it comes.
fn announced(firmware: &Firmware) -> Announced {
    let file_name = format!("P_{}.bin", firmware.version);
    Announced::named(file_name, Some(firmware.bytes.len() as u64))
}

/// Waits until nothing is under way.
async fn settled(engine: &Engine) -> Result<Settled, String> {
    let mut status = engine.status();
    let idle = status.wait_for(|status| matches!(status.phase, Phase::Idle | Phase::Concluded));
    let status = match timeout(DEADLINE, idle).await {
        Ok(Ok(status)) => status.clone(),
        Ok(Err(_)) => return Err("the daemon died".into()),
        Err(_) => return Err(format!("the daemon is {} for ever", engine.status().borrow().phase)),
    };
    let (mut history, mut before) = (Vec::new(), None);
    let failed = |failure: Failure| failure.to_string();
    while let Some(entry) = engine.entry_after(before).await.map_err(failed)? {
        before = Some(entry.key().into_owned());
        history.push(entry.into_report().ok_or("an entry of the history can't be read")?);
    }
    Ok(Settled { status, history })
}

/// Where a tree is that is nowhere. The journal holds paths, and a state must hold in whatever
/// directory it is tried out; so that no size changes, all of these directories have names of one
/// length.
fn anywhere() -> PathBuf {
    home().join(format!("{PREFIX}{ANYWHERE}"))
}

/// In memory, if the machine has such a place: what is durable is the model's business, and this is
/// four times as fast.
fn home() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

/// Only text holds paths.
fn replace(bytes: &[u8], from: &Path, to: &Path) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.replace(from.to_str().unwrap(), to.to_str().unwrap()).into_bytes(),
        Err(_) => bytes.to_vec(),
    }
}
