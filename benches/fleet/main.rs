//! How a fleet asks one server or broker: so many devices as the channels are, real HTTP or MQTT, a
//! start together, and a restart of the server. The busiest window is held against the mean of a spread.
//!
//! ```sh
//! cargo bench --bench fleet -- hawkbit luatos --devices 10000 --spread 30
//! cargo bench --bench fleet -- dji-cloud thingspanel --devices 10000 --spread 30
//! cargo bench --bench fleet -- goosebit --devices 200 --spread 30 --windows 10
//! ```
//!
//! Each device is what `uplift channels` runs, thousands of them in a process; daemon and server are
//! processes of their own. Of a broker connections are counted, by its log. `fixed` is the same without chance: each device takes the middle
//! of what it would choose from.

mod arrivals;
mod broker;
mod daemon;
mod server;
#[allow(dead_code, reason = "not every bench has every kind of row")]
#[path = "../budgets/table.rs"]
mod table;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::task::JoinSet;
use uplift::channel::network;
use uplift::channel::network::Chance;
use uplift::config::Config;

use self::arrivals::{Arrival, Return, count};
use self::broker::Broker;
use self::server::{Behind, DEVICE, now};
use self::table::{Row, Table};

/// The issue's bars.
const PEAK: f64 = 2.0;
const BACK: f64 = 1.5;
/// Threads of a process on which devices ask.
const THREADS: usize = 512;
/// Files of a device: two connections to its daemon, one to the server, two alarms of the clock.
const FILES: u64 = 5;
/// Files of a process besides.
const OTHERS: u64 = 100;

#[derive(Parser)]
struct Arguments {
    /// Who is asked.
    #[arg(value_enum, default_values = ["hawkbit", "luatos"])]
    who: Vec<Who>,
    #[arg(long, default_value_t = 10_000)]
    devices: usize,
    /// Seconds.
    #[arg(long, default_value_t = 30)]
    spread: u64,
    /// Windows of a spread in which requests are counted; few devices need long ones.
    #[arg(long, default_value_t = 60)]
    windows: u64,
    /// With chance alone, and not without it beside.
    #[arg(long)]
    chance_alone: bool,
    #[arg(long, hide = true)]
    bench: bool,
    #[arg(long, hide = true)]
    play_daemon: Option<PathBuf>,
    #[arg(long, hide = true)]
    play_devices: Option<PathBuf>,
    #[arg(long, hide = true, default_value_t = 0)]
    from: usize,
    #[arg(long, hide = true, default_value_t = 0)]
    port: u16,
    #[arg(long, hide = true)]
    fixed: bool,
    #[arg(long, hide = true)]
    play_server: Option<u16>,
    #[arg(long, hide = true, default_value = "")]
    document: String,
    #[arg(long, hide = true)]
    before: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Who {
    Hawkbit,
    Luatos,
    Goosebit,
    DjiCloud,
    Thingspanel,
}

impl Who {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    if let Some(root) = &arguments.play_daemon {
        daemon::serve(root, arguments.from, arguments.devices)?;
    } else if let Some(root) = &arguments.play_devices {
        devices(root, &arguments)?;
    } else if let Some(port) = arguments.play_server {
        let document = Behind::Document(arguments.document);
        server::serve(port, &arguments.before.map_or(document, Behind::Port))?;
    }
    let mut table = Table::default();
    for who in arguments.who {
        let Arguments { devices, spread, windows, .. } = arguments;
        let fleet = Fleet { who, devices, spread, windows };
        for fixed in [false, true] {
            if !fixed || !arguments.chance_alone {
                table.extend(fleet.measure(fixed)?);
            }
        }
    }
    print!("{table}");
    Ok(if table.is_passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Devices at work, until the process is killed. They begin together, when its input ends.
fn devices(root: &Path, arguments: &Arguments) -> Result<()> {
    let Arguments { devices, spread, windows, from, port, .. } = *arguments;
    let who = *arguments.who.first().context("which channel?")?;
    let fleet = Fleet { who, devices, spread, windows };
    let configs: Result<Vec<Config>> =
        (from..from + devices).map(|device| fleet.config(device, port, root)).collect();
    let configs = configs?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .build()?;
    println!("ready");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    let chance: Chance = if arguments.fixed { || 0.5 } else { fastrand::f64 };
    runtime.block_on(async {
        let (began, mut at_work) = (now()?, JoinSet::new());
        for config in &configs {
            network::start(config, chance, &mut at_work)?;
        }
        println!("{}", now()? - began);
        std::future::pending().await
    })
}

struct Fleet {
    who: Who,
    devices: usize,
    /// Seconds.
    spread: u64,
    /// Of a spread.
    windows: u64,
}

impl Fleet {
    /// Pause between polls in seconds: longer than a spread, as it is in a fleet.
    fn poll(&self) -> u64 {
        self.spread * 3 / 2
    }

    /// Devices of a process, none of which lacks a file: one that does never asks, and says nothing.
    fn share(&self) -> Result<usize> {
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let most = most.saturating_sub(OTHERS);
        anyhow::ensure!(most > self.devices as u64, "a server may have {most} files here");
        // Those that share a daemon's socket are of one process.
        let sockets = (most / FILES) as usize / daemon::SHARE;
        anyhow::ensure!(sockets > 0, "a process may have {most} files here");
        Ok(sockets * daemon::SHARE)
    }

    fn measure(&self, fixed: bool) -> Result<Vec<Row>> {
        let place = Place::new(self.devices)?;
        let root = path(place.root.path())?;
        let share = self.share()?;
        let shares: Vec<[String; 2]> = (0..self.devices)
            .step_by(share)
            .map(|from| [from, share.min(self.devices - from)].map(|number| number.to_string()))
            .collect();
        let daemons: Result<Vec<_>> = shares
            .iter()
            .map(|[from, devices]| {
                play(&["--play-daemon", root, "--from", from, "--devices", devices])
            })
            .collect();
        let _daemons = daemons?;
        let mut site = Site::start(self, &place)?;
        let (port, spread) = (site.port.to_string(), self.spread.to_string());
        let mut at_work = Vec::new();
        for [from, devices] in &shares {
            let who = self.who.name();
            let mut arguments = vec![who.as_str(), "--play-devices", root, "--from", from];
            arguments.extend(["--devices", devices, "--port", &port, "--spread", &spread]);
            arguments.extend(fixed.then_some("--fixed"));
            at_work.push(play(&arguments)?);
        }
        let started = now()?;
        for (running, _, _) in &mut at_work {
            drop(running.0.stdin.take());
        }
        for (_, _, lines) in &mut at_work {
            let mut took = String::new();
            lines.read_line(&mut took)?;
            eprintln!("devices of a process began within {} ms", took.trim());
        }
        // All have asked once, and some twice, when the server goes; all have failed when it is back.
        wait_until(started + self.spread * 1500)?;
        let at_start = site.arrivals();
        site.stop();
        let away = self.poll() + self.spread;
        wait_until(started + self.spread * 1500 + away * 1000)?;
        site.start_again()?;
        let restarted = now()?;
        wait_until(restarted + self.spread * 2500)?;
        let after = site.arrivals();
        drop(at_work);
        let until = started + self.spread * 1500;
        let start = self.counted(&at_start, (started, until));
        let back = self.counted(&after, (restarted, restarted + self.spread * 2500));
        Ok(self.rows(if fixed { ", fixed" } else { "" }, &start, &back))
    }

    fn counted(&self, arrivals: &[Arrival], span: (u64, u64)) -> Return {
        let spread = self.spread * 1000;
        count(arrivals, self.devices, spread, spread / self.windows, span)
    }

    fn rows(&self, how: &str, start: &Return, back: &Return) -> Vec<Row> {
        let name = self.who.name();
        let mut rows = Vec::new();
        for (when, seen) in [("start", start), ("restart", back)] {
            let what = format!("{name}{how}, {when}");
            let never = f64::INFINITY;
            let (peak, most) = (seen.peak, seen.most.unwrap_or(never));
            let of_peak = format!("{what}: busiest window, of the mean of a spread");
            let of_most = format!("{what}: 95 % have their answer after");
            // The bars are for a restart; without chance nothing is promised.
            if how.is_empty() && when == "restart" {
                rows.push(Row::at_most(of_peak, peak, PEAK, "x"));
                rows.push(Row::at_most(of_most, most, BACK, "spreads"));
            } else {
                rows.push(Row::note(of_peak, peak, "x"));
                rows.push(Row::note(of_most, most, "spreads"));
            }
            let back = 100.0 * seen.back as f64 / self.devices as f64;
            rows.push(Row::note(format!("{what}: devices that had an answer"), back, "%"));
            rows.push(Row::note(format!("{what}: requests"), seen.requests as f64, "requests"));
        }
        rows
    }

    fn config(&self, device: usize, port: u16, root: &Path) -> Result<Config> {
        let daemon = daemon::directory(root, device);
        let control = daemon.display();
        let (root, spread, poll) = (root.display(), self.spread, self.poll());
        let broker = format!(
            "[broker.cloud]\nspread = \"{spread}s\"\nurl = \"mqtt://127.0.0.1:{port}\"\n\
             client_id = \"{DEVICE}{device}\"\n"
        );
        let channel = match self.who {
            Who::Hawkbit | Who::Goosebit => format!(
                "[channel.hawkbit]\nspread = \"{spread}s\"\nserver = \"http://127.0.0.1:{port}\"\n\
                 controller_id = \"{DEVICE}{device}\"\npoll = \"{poll}s\"\n\
                 attributes = {{ hw_boardname = \"default\", hw_revision = \"default.default\" }}\n"
            ),
            Who::Luatos => format!(
                "[channel.luatos]\nspread = \"{spread}s\"\nurl = \"http://127.0.0.1:{port}/upgrade\"\n\
                 identity = {{ imei = \"{DEVICE}{device}\" }}\npoll = \"{poll}s\"\ncore = 2012\n\
                 project_key_file = \"{root}/key\"\nfirmware_name = \"payload\"\n"
            ),
            // The least that it may say of itself.
            Who::DjiCloud => format!(
                "{broker}[channel.dji-cloud]\nbroker = \"cloud\"\ngateway_sn = \"DEVICE{device}\"\nosd = \"20s\"\n"
            ),
            Who::Thingspanel => format!(
                "{broker}[channel.thingspanel]\nbroker = \"cloud\"\ngeneration = \"v1\"\n\
                 device_number = \"{DEVICE}{device}\"\n"
            ),
        };
        let text = format!(
            "[component.program]\nname = \"demo\"\nproduct = \"PSDK_APPALIAS\"\n\
             [paths]\ncontrol = \"{control}/control.sock\"\nstate = \"{root}/{device}\"\n\
             {channel}unsealed = \"lab\"\n"
        );
        Ok(Config::parse(&text, Path::new("uplift.toml"))?)
    }

    /// What a server says that has nothing.
    fn document(&self) -> String {
        let poll = self.poll();
        match self.who {
            Who::DjiCloud | Who::Thingspanel => String::new(),
            Who::Luatos => r#"{"code":27,"msg":"already latest"}"#.to_owned(),
            _ => format!(r#"{{"config":{{"polling":{{"sleep":"PT{poll}S"}}}},"_links":{{}}}}"#),
        }
    }
}

/// The files of a fleet, in memory: what is measured is no disk.
struct Place {
    root: TempDir,
}

impl Place {
    fn new(devices: usize) -> Result<Self> {
        let root = TempDir::new_in("/dev/shm")?;
        std::io::Write::write_all(&mut std::fs::File::create(root.path().join("key"))?, b"key\n")?;
        for device in 0..devices {
            std::fs::create_dir(root.path().join(format!("{device}-channels")))?;
            std::fs::create_dir_all(daemon::directory(root.path(), device))?;
        }
        Ok(Self { root })
    }
}

/// The server, and what reached it.
struct Site {
    port: u16,
    document: String,
    server: Option<Running>,
    goosebit: Option<Goosebit>,
    broker: Option<Broker>,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
}

impl Site {
    fn start(fleet: &Fleet, place: &Place) -> Result<Self> {
        let goosebit = match fleet.who {
            Who::Goosebit => Some(Goosebit::start(place, fleet.poll())?),
            _ => None,
        };
        let arrivals = Arc::default();
        let broker = match fleet.who {
            Who::DjiCloud => Some(Broker::start(true, Arc::clone(&arrivals))?),
            // Its platform answers nothing.
            Who::Thingspanel => Some(Broker::start(false, Arc::clone(&arrivals))?),
            _ => None,
        };
        let document = fleet.document();
        let port = broker.as_ref().map_or(0, Broker::port);
        let mut site = Self { port, document, server: None, goosebit, broker, arrivals };
        if site.broker.is_none() {
            site.serve()?;
        }
        Ok(site)
    }

    fn serve(&mut self) -> Result<()> {
        let before = self.goosebit.as_ref().map(|goosebit| goosebit.port.to_string());
        let port = self.port.to_string();
        let mut arguments = vec!["--play-server", &port, "--document", &self.document];
        if let Some(before) = &before {
            arguments.extend(["--before", before]);
        }
        let (running, said, mut lines) = play(&arguments)?;
        self.port = said.trim().parse().context("the server has no port")?;
        self.server = Some(running);
        let arrivals = Arc::clone(&self.arrivals);
        std::thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
                let arrival = arrival(&line);
                let mut all = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
                all.extend(arrival);
                line.clear();
            }
        });
        Ok(())
    }

    fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whoever counts before gooseBit stays, and has no answer for anybody.
    fn stop(&mut self) {
        match (&mut self.goosebit, &mut self.broker) {
            (Some(goosebit), _) => goosebit.server = None,
            (_, Some(broker)) => broker.kill(),
            _ => self.server = None,
        }
    }

    fn start_again(&mut self) -> Result<()> {
        match (&mut self.goosebit, &mut self.broker) {
            (Some(goosebit), _) => goosebit.run(),
            (_, Some(broker)) => broker.start_again(),
            _ => self.serve(),
        }
    }
}

fn arrival(line: &str) -> Option<Arrival> {
    let mut words = line.split_whitespace();
    let at = words.next()?.parse().ok()?;
    let device = words.next()?.parse().ok()?;
    Some(Arrival { at, device, answered: words.next()? == "1" })
}

/// A real server with hawkBit's interface (tests/goosebit).
struct Goosebit {
    port: u16,
    root: PathBuf,
    poll: String,
    server: Option<Running>,
}

impl Goosebit {
    fn start(place: &Place, poll: u64) -> Result<Self> {
        let poll = format!("00:{:02}:{:02}", poll / 60, poll % 60);
        let root = place.root.path().to_owned();
        let mut goosebit = Self { port: 0, root, poll, server: None };
        goosebit.run()?;
        Ok(goosebit)
    }

    fn run(&mut self) -> Result<()> {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut python = Command::new(project.join("target/goosebit/bin/python3"));
        python
            .arg(project.join("tests/goosebit/serve.py"))
            .arg(self.port.to_string())
            .current_dir(&self.root)
            .env("GOOSEBIT_DB_URI", format!("sqlite:///{}/database", self.root.display()))
            .env("GOOSEBIT_ARTIFACTS_DIR", self.root.join("artifacts"))
            .env("GOOSEBIT_POLL_TIME", &self.poll)
            .env("GOOSEBIT_SECRET_KEY", "a secret of the benches and of nobody else")
            .stderr(std::fs::File::create(self.root.join("log"))?);
        let (server, said, _) = start(&mut python)?;
        self.port = said.trim().parse().context("gooseBit has no port")?;
        self.server = Some(server);
        Ok(())
    }
}

/// A process that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// This program in another part.
fn play(arguments: &[&str]) -> Result<(Running, String, BufReader<ChildStdout>)> {
    start(Command::new(std::env::current_exe()?).args(arguments))
}

/// Starts it, and waits for its first line.
fn start(command: &mut Command) -> Result<(Running, String, BufReader<ChildStdout>)> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let said = child.stdout.take();
    let running = Running(child);
    let mut lines = BufReader::new(said.context("no output")?);
    let mut line = String::new();
    lines.read_line(&mut line)?;
    anyhow::ensure!(!line.is_empty(), "{command:?} ended");
    Ok((running, line, lines))
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}

fn wait_until(at: u64) -> Result<()> {
    std::thread::sleep(Duration::from_millis(at.saturating_sub(now()?)));
    Ok(())
}
