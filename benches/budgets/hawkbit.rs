//! 64 MiB from gooseBit, from the request for the file to the word that all is over, against Debian's
//! `swupdate` with the same server, in turn.
//!
//! nginx stands before gooseBit and says when it was asked what. gooseBit hands out archives of
//! SWUpdate, so ours are installed by a command, which links the archive to its place and syncs that.
//! There is no restart. `swupdate` streams the file of its archive to its place, and never says
//! `closed`: that needs a restart and a boot loader. Its end is the word that all is installed.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use uplift_sim::sandbox::Sandbox;
use uplift_sim::signer::Signer;

use super::archives::{self, HARDWARE, Place, done};
use super::nginx::{Asked, Nginx};
use super::payload::{MIB, shipped};
use super::process::Ended;
use super::statistics::median;
use super::table::Row;
use super::world::goosebit::Goosebit;

const SIZE: u64 = 64 * MIB;
const RUNS: usize = 20;
/// Of swupdate's time.
const BAR: f64 = 0.7;
const OURS: &str = "PAYLOAD0001";
const THEIRS: &str = "PAYLOAD0002";
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);
const UNUSED: u64 = 1 << 40;

pub(crate) fn measure() -> Result<Vec<Row>> {
    let goosebit = Goosebit::start();
    let behind = goosebit.url().trim_start_matches("http://").parse()?;
    let nginx = Nginx::start(Some(behind), UNUSED)?;
    let root = tempfile::tempdir()?;
    archives::certify(root.path())?;
    let content = root.path().join("content");
    let random = File::open("/dev/urandom")?;
    std::io::copy(&mut std::io::Read::take(random, SIZE), &mut File::create(&content)?)?;
    let bench = Bench { goosebit, nginx, root: root.path(), content };
    let mut ours = Ours::start(&bench)?;
    bench.goosebit.register(OURS, "1.0.0");
    bench.goosebit.register(THEIRS, "1.0.0");
    let (mut our, mut their) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        if run % 2 == 0 {
            our.push(ours.run(&bench, run)?);
            their.push(theirs(&bench, run)?);
        } else {
            their.push(theirs(&bench, run)?);
            our.push(ours.run(&bench, run)?);
        }
        eprintln!("run {}: {:.2} s, swupdate {:.2} s", run + 1, our[run], their[run]);
    }
    let (our, their) = (median(our), median(their));
    let what = "64 MiB from gooseBit, GET of the file";
    Ok(vec![
        Row::note(format!("{what} -> closed/success, {RUNS} runs"), our, "s"),
        Row::note(format!("{what} -> \"All Chunks Installed\", swupdate, {RUNS} runs"), their, "s"),
        Row::at_most("the first, of the second", our / their, BAR, ""),
    ])
}

struct Bench<'a> {
    goosebit: Goosebit,
    nginx: Nginx,
    root: &'a Path,
    content: PathBuf,
}

impl Bench<'_> {
    /// Offers an archive to a device.
    fn offer(&self, device: &str, archive: &Path) -> Result<()> {
        let software = self.goosebit.upload(archive);
        let software = software.map_err(|(status, said)| anyhow::anyhow!("{status}: {said}"))?;
        std::fs::remove_file(archive)?;
        self.goosebit.assign(device, software);
        Ok(())
    }

    /// Seconds from the first request for the file to the first feedback with these words, of what a
    /// device asked behind its first `before` requests.
    fn took(&self, device: &str, before: usize, words: &[&str]) -> Result<f64> {
        let end = Instant::now() + PATIENCE;
        let is_file = |asked: &Asked| asked.method == "GET" && asked.uri.ends_with("/download");
        let is_end = |asked: &&Asked| {
            asked.uri.ends_with("/feedback") && words.iter().all(|word| asked.body.contains(word))
        };
        loop {
            let asked = self.asked(device)?;
            let new = &asked[before.min(asked.len())..];
            // What is told before belongs to the run before.
            let began = new.iter().position(is_file);
            if let Some(began) = began
                && let Some(ended) = new[began..].iter().find(is_end)
            {
                return Ok(ended.at - new[began].at);
            }
            ensure!(Instant::now() < end, "no end: {new:?}\n{}", self.goosebit.log());
            thread::sleep(LOOK);
        }
    }

    fn asked(&self, device: &str) -> Result<Vec<Asked>> {
        let mut asked = self.nginx.asked()?;
        asked.retain(|asked| asked.uri.contains(device));
        Ok(asked)
    }
}

struct Ours {
    sandbox: Sandbox,
    signer: Signer,
}

impl Ours {
    fn start(bench: &Bench<'_>) -> Result<Self> {
        let (mut sandbox, signer) = (Sandbox::new(&shipped()?)?, Signer::new(&shipped()?)?);
        let here = sandbox.root().display();
        let install = "ln -f \"$1\" \"$0/installed\" && sync \"$0\" && basename \"$1\" .fw | sed s/.*_// >\"$0/version\"";
        let text = format!(
            "[component.modem]\nkind = \"command\"\nproduct = \"MODEM\"\nsuffix = \".fw\"\nisolate_commands = \"never\"\n\
             install = [\"/bin/sh\", \"-c\", {install:?}, \"{here}\", \"{{file}}\"]\n\
             version_command = [\"/bin/cat\", \"{here}/version\"]\n\
             [paths]\nstate = \"{here}/state\"\ncontrol = \"{here}/run/control.sock\"\nboot_id = \"{here}/run/boot_id\"\nrescue_timer = \"\"\n\
             [trial]\nwindow = \"0s\"\n\
             [package]\n{}\n\
             [channel.hawkbit]\nserver = \"http://{}\"\ncontroller_id = \"{OURS}\"\nspread = \"0s\"\ncomponents = [\"modem\"]\n\
             names = \"chunk\"\nproducts = {{ os = \"MODEM\" }}\n\
             attributes = {{ hw_boardname = \"default\", hw_revision = \"default.default\" }}\n",
            signer.trusted_section(),
            bench.nginx.address
        );
        File::create(sandbox.config())?.write_all(text.as_bytes())?;
        File::create(sandbox.root().join("version"))?.write_all(b"V01.00.00.00\n")?;
        sandbox.set_environment("MALLOC_ARENA_MAX", "1");
        sandbox.start_daemon()?;
        Ok(Self { sandbox, signer })
    }

    /// The process of the channels asks when it starts.
    fn run(&mut self, bench: &Bench<'_>, run: usize) -> Result<f64> {
        let number = run + 2;
        let archive = archives::swu(
            bench.root,
            &format!("{number}.0.0"),
            &bench.content,
            &Place::File("/none".as_ref()),
        )?;
        let firmware = bench.root.join(format!("MODEM_V{number:02}.00.00.00.bin"));
        std::fs::rename(&archive, &firmware)?;
        self.signer.seal_file(&firmware)?;
        std::fs::rename(&firmware, &archive)?;
        bench.offer(OURS, &archive)?;
        done(&mut Command::new("sync"))?;
        let before = bench.asked(OURS)?.len();
        self.sandbox.start_channels()?;
        let took = bench.took(OURS, before, &["closed", "success"]);
        self.sandbox.kill_channels();
        took.with_context(|| {
            std::fs::read_to_string(self.sandbox.log("channels")).unwrap_or_default()
        })
    }
}

/// It offers itself what is not closed again and again, so it is ended.
fn theirs(bench: &Bench<'_>, run: usize) -> Result<f64> {
    let target = bench.root.join("their-installed");
    let archive = archives::swu(
        bench.root,
        &format!("{}.0.1", run + 2),
        &bench.content,
        &Place::File(&target),
    )?;
    bench.offer(THEIRS, &archive)?;
    done(&mut Command::new("sync"))?;
    let before = bench.asked(THEIRS)?.len();
    let configuration = format!(
        "globals : {{ }};\nsuricatta :\n{{\n\ttenant = \"DEFAULT\";\n\tid = \"{THEIRS}\";\n\turl = \"http://{}\";\n\
         \tpolldelay = 1;\n\tretry = 3;\n\tretrywait = 1;\n}};\n\
         identify : (\n\t{{ name = \"hw_boardname\"; value = \"default\"; }},\n\
         \t{{ name = \"hw_revision\"; value = \"default.default\"; }}\n);\n",
        bench.nginx.address
    );
    File::create(bench.root.join("conf"))?.write_all(configuration.as_bytes())?;
    // It removes files from there that are called as those in its archives.
    let temporary = bench.root.join("temporary");
    std::fs::create_dir_all(&temporary)?;
    let mut swupdate = Command::new("swupdate");
    swupdate
        .args(["-f", "conf", "-H", HARDWARE, "-k", "cert.pem", "-l", "3", "-u", ""])
        .current_dir(bench.root)
        .env("TMPDIR", &temporary)
        .stdin(Stdio::null())
        .stdout(File::create(bench.root.join("log"))?)
        .stderr(Stdio::null());
    let running = Ended::from(swupdate.spawn()?);
    let took = bench.took(THEIRS, before, &["All Chunks Installed"]);
    drop(running);
    took.with_context(|| std::fs::read_to_string(bench.root.join("log")).unwrap_or_default())
}
