//! Daemon and channels that wait: the payload link with an aircraft, and every channel of the network,
//! those of MQTT over TLS; and beside them `mosquitto_sub`, which only waits.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use uplift::model::{ChannelState, LinkState, Status};
use uplift_sim::aircraft::{Options, Stage};
use uplift_sim::cloud::broker::Choice;
use uplift_sim::cloud::mosquitto::Mosquitto;
use uplift_sim::cloud::{dji, hawkbit, luatos, thingspanel};
use uplift_sim::module::quectel;
use uplift_sim::signer::Signer;

use super::archives::done;
use super::idle::link_wake_ups;
use super::payload::{MIB, Payload, shipped};
use super::process::{Ended, pss_kib, wake_ups};
use super::table::Row;
use super::vsftpd::SERVERS;
use super::watched::Watched as _;

/// Until what the start needed has gone, as in `idle`.
const SETTLE: Duration = Duration::from_secs(12);
const WATCH: Duration = Duration::from_secs(30);
/// Longer than all of it.
const POLL: &str = "1h";
const NAME: &str = "PAYLOAD0001";
const CHANNELS: usize = 5;

pub(crate) fn measure() -> Result<Vec<Row>> {
    let size = std::fs::metadata(shipped()?)?.len();
    let platforms = Platforms::start()?;
    let mut payload = Payload::new(None)?;
    let signer = Signer::new(&shipped()?)?;
    let device = payload.sandbox.root().join("run/ttyQuectel");
    let _module = quectel::Module::start(&device, quectel::Options::default())?;
    let sections =
        format!("\n[package]\n{}\n{}", signer.trusted_section(), platforms.sections(&device));
    File::options().append(true).open(payload.sandbox.config())?.write_all(sections.as_bytes())?;
    payload.sandbox.start_daemon()?;
    payload.sandbox.start_channels()?;
    // It answers probes, asks for the version, and then only listens until it gives up.
    let pauses = vec![(Stage::Version, 2 * SETTLE + WATCH + SETTLE)];
    let firmware = payload.next_firmware(MIB)?;
    let aircraft = payload
        .aircraft(Options { pauses, abort_at: Some(Stage::Enter), ..Options::new(firmware) }, None);
    let works = |status: &Status| {
        let at_work = status.channels.iter().filter(|one| one.state == ChannelState::Works);
        at_work.count() == CHANNELS && status.link.state == LinkState::Linked
    };
    payload.sandbox.wait_for_status(works).with_context(|| {
        format!("not all work: {:?}", payload.sandbox.status().map(|status| status.channels))
    })?;
    let listener = platforms.listen()?;
    thread::sleep(SETTLE);
    let daemon = payload.sandbox.daemon_pid().context("no daemon runs")?;
    let channels = payload.sandbox.channels_pid().context("no channels run")?;
    let pids = [daemon, channels, listener.id()];
    let (before, began) = (pids.map(wake_ups), Instant::now());
    thread::sleep(WATCH);
    let seconds = began.elapsed().as_secs_f64();
    let mut woken = [0.0; 3];
    for ((woken, pid), before) in woken.iter_mut().zip(pids).zip(before) {
        *woken = (wake_ups(pid)? - before?) as f64 / seconds;
    }
    let mut mib = [0.0; 3];
    for (mib, pid) in mib.iter_mut().zip(pids) {
        *mib = pss_kib(pid)? as f64 / 1024.0;
    }
    drop(aircraft.wait()?);
    Ok(vec![
        Row::at_most("stripped release binary, with all channels", size as f64 / 1e6, 6.5, "MB"),
        Row::note("PSS of the daemon, linked, all channels idle", mib[0], "MiB"),
        Row::note("PSS of the channels, all idle", mib[1], "MiB"),
        Row::at_most("PSS of both", mib[0] + mib[1], 8.0, "MiB"),
        Row::note("PSS of mosquitto_sub over TLS beside them", mib[2], "MiB"),
        Row::note("wake-ups of the daemon, linked", woken[0], "a second"),
        Row::note("wake-ups of the channels", woken[1], "a second"),
        Row::at_most(
            "wake-ups of both beyond the link's",
            woken[0] + woken[1] - link_wake_ups(),
            1.0,
            "a second",
        ),
        Row::note("wake-ups of mosquitto_sub over TLS", woken[2], "a second"),
    ])
}

/// Every platform, each of which has nothing.
struct Platforms {
    directory: TempDir,
    hawkbit: hawkbit::Server,
    luatos: luatos::Server,
    broker: Mosquitto,
    _dji: dji::Platform,
    _thingspanel: thingspanel::Server,
}

impl Platforms {
    fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        File::create(directory.path().join("key"))?.write_all(b"key\n")?;
        certify(directory.path())?;
        let sleep = "01:00:00".to_owned();
        let hawkbit =
            hawkbit::Server::start(hawkbit::Options { sleep, ..hawkbit::Options::default() })?;
        // That it runs the latest already.
        let answers = vec![luatos::Answer::Code(27)];
        let luatos =
            luatos::Server::start(luatos::Options { answers, ..luatos::Options::default() })?;
        let here = directory.path().display();
        let configuration = format!(
            "user root\nallow_anonymous true\nlistener PORT 127.0.0.1\ncertfile {here}/cert.pem\nkeyfile {here}/key.pem\n\
             listener OTHER 127.0.0.1\n"
        );
        let broker =
            Mosquitto::start(&server("sbin/mosquitto"), tempfile::tempdir()?, &configuration)?;
        let url = Some(format!("mqtt://127.0.0.1:{}", broker.other_port()));
        let choice = Choice { url, ..Choice::default() };
        let _thingspanel = thingspanel::Server::start(thingspanel::Options {
            broker: choice.clone(),
            generation: thingspanel::Generation::V1,
            device: NAME.to_owned(),
            ..thingspanel::Options::default()
        })?;
        let _dji =
            dji::Platform::start(dji::Options { broker: choice, ..dji::Options::default() })?;
        Ok(Self { directory, hawkbit, luatos, broker, _dji, _thingspanel })
    }

    fn sections(&self, device: &Path) -> String {
        let (here, port) = (self.directory.path().display(), self.broker.port());
        format!(
            "[channel.hawkbit]\nserver = \"{}\"\ncontroller_id = \"{NAME}\"\nspread = \"0s\"\n\
             [channel.luatos]\nurl = \"{}/api/site/firmware_upgrade\"\nspread = \"0s\"\npoll = \"{POLL}\"\ncore = 2012\n\
             identity = {{ imei = \"{NAME}\" }}\nproject_key_file = \"{here}/key\"\nfirmware_name = \"payload\"\n\
             [broker.cloud]\nurl = \"mqtts://localhost:{port}\"\nca_file = \"{here}/cert.pem\"\nclient_id = \"{NAME}\"\nspread = \"0s\"\n\
             [channel.dji-cloud]\nbroker = \"cloud\"\ngateway_sn = \"{NAME}\"\n\
             [channel.thingspanel]\nbroker = \"cloud\"\ngeneration = \"v1\"\ndevice_number = \"{NAME}\"\n\
             [channel.quectel]\ndevice = {device:?}\ncomponents = {{ PAYLOAD = \"program\" }}\n",
            self.hawkbit.url(),
            self.luatos.url(),
        )
    }

    /// `mosquitto_sub` at the same broker.
    fn listen(&self) -> Result<Ended> {
        let child = Command::new(server("bin/mosquitto_sub"))
            .args(["-h", "localhost", "-p", &self.broker.port().to_string(), "-t", "nothing"])
            .arg("--cafile")
            .arg(self.directory.path().join("cert.pem"))
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Ended::from(child))
    }
}

/// A program of the unpacked packages.
pub(crate) fn server(name: &str) -> PathBuf {
    Path::new(SERVERS).join("usr").join(name)
}

/// A certificate of this machine, which is its own authority.
fn certify(directory: &Path) -> Result<()> {
    let new =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let of = ["-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    let is = ["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "key.pem", "-out"];
    let mut openssl = Command::new("openssl");
    done(openssl.args(new).args(of).args(is).arg("cert.pem").current_dir(directory))
}
