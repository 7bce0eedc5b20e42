//! The metrics as a scraper sees them: curl fetches them from the real daemon, and the parser of
//! Prometheus' own Python client reads them.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::world::payload::Payload;
use crate::world::running::Running;
use crate::world::watched::Watched as _;
use serde_json::Value;
use uplift::model::Phase;
use uplift_sim::line::PtyLine;

/// A loaded machine is no failure.
const PATIENCE: Duration = Duration::from_secs(30);
/// Prints each sample as `[type of its family, name, labels, value]`; fails where the text is none
/// of the format.
const PARSER: &str = "
import json, sys
from prometheus_client.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation and family.type in ('gauge', 'counter'), family
    for sample in family.samples:
        print(json.dumps([family.type, sample.name, sample.labels, sample.value]))
";

impl Payload {
    fn with_metrics() -> Self {
        let sections = "[channel.psdk]\ndevice = \"ROOT/run/ttyPayload\"\n[metrics]\nsocket = \"ROOT/run/metrics.sock\"\n";
        Self::setup().sections(sections).start()
    }

    fn metrics_socket(&self) -> PathBuf {
        self.root().join("run/metrics.sock")
    }

    fn curl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("curl");
        let output = command
            .arg("--silent")
            .arg("--unix-socket")
            .arg(self.metrics_socket())
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn scrape(&self) -> Vec<Value> {
        let text = self.curl(&["--fail", "http://localhost/metrics"]);
        let mut parser = Command::new("/usr/bin/python3");
        let mut parser = parser
            .args(["-c", PARSER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        parser.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = parser.wait_with_output().unwrap();
        assert!(output.status.success(), "{text}");
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The value of a sample, `name` or `name{label="value",…}`.
    fn value(&self, sample: &str) -> Option<f64> {
        let (name, labels) = sample.trim_end_matches('}').split_once('{').unwrap_or((sample, ""));
        let labels: serde_json::Map<String, Value> = labels
            .split_terminator(',')
            .map(|label| label.split_once('=').unwrap())
            .map(|(label, value)| (label.to_owned(), Value::from(value.trim_matches('"'))))
            .collect();
        let samples = self.scrape();
        let found = samples
            .iter()
            .find(|found| found[1] == name && found[2] == Value::from(labels.clone()))?;
        assert_eq!(found[0] == "counter", name.ends_with("_total"), "{found}");
        found[3].as_f64()
    }

    fn install_version(&self, version: &str) -> Running {
        self.install_file(&self.firmware_of(version, 200_000))
    }
}

#[test]
fn an_idle_payload_has_all_its_metrics_at_zero() {
    let payload = Payload::with_metrics();
    let value = |sample: &str| payload.value(sample);
    assert_eq!(
        value(&format!("uplift_build_info{{version={}}}", env!("CARGO_PKG_VERSION"))),
        Some(1.0)
    );
    assert_eq!(
        value(
            "uplift_component_info{component=program,product=PSDK_APPALIAS,version=V01.00.00.00}"
        ),
        Some(1.0)
    );
    let phases: Vec<_> = Phase::ALL
        .iter()
        .map(|phase| payload.value(&format!("uplift_phase{{phase={phase}}}")))
        .collect();
    assert_eq!(phases[0], Some(1.0));
    assert!(phases[1..].iter().all(|value| *value == Some(0.0)), "{phases:?}");
    assert!(value("uplift_phase_seconds") < value("uplift_phase_seconds"));
    for zero in [
        "uplift_upgrades_total{component=program,outcome=succeeded,kind=none}",
        "uplift_rollbacks_total",
        "uplift_received_bytes_total",
        "uplift_reports_unacknowledged",
        "uplift_link_up",
        "uplift_link_errors_total",
    ] {
        assert_eq!(value(zero), Some(0.0), "{zero}");
    }
    assert_eq!(
        value("uplift_last_upgrade_info{component=program,outcome=succeeded,kind=none}"),
        None
    );
    assert_eq!(payload.metrics_socket().metadata().unwrap().permissions().mode() & 0o777, 0o660);
}

#[test]
fn upgrades_are_counted_over_restarts_and_bytes_since_the_start() {
    let mut payload = Payload::with_metrics();
    assert_eq!(
        payload.value("uplift_upgrades_total{component=program,outcome=failed,kind=downgrade}"),
        None
    );
    assert!(!payload.install_version("V00.50.00.00").wait().unwrap().success());
    assert_eq!(
        payload.value("uplift_upgrades_total{component=program,outcome=failed,kind=downgrade}"),
        Some(1.0)
    );
    assert_eq!(
        payload.value("uplift_last_upgrade_info{component=program,outcome=failed,kind=downgrade}"),
        Some(1.0)
    );
    assert_eq!(
        payload.value("uplift_received_bytes_total"),
        Some(0.0),
        "it was refused by its name"
    );

    let mut client = payload.install_version("V02.00.00.00");
    payload.wait_for_restart_request().unwrap();
    assert_eq!(payload.value("uplift_phase{phase=restarting}"), Some(1.0));
    assert_eq!(payload.value("uplift_received_bytes_total"), Some(200_000.0));
    payload.reboot();
    assert!(client.wait().unwrap().success());
    for (sample, value) in [
        ("uplift_upgrades_total{component=program,outcome=succeeded,kind=none}", 1.0),
        ("uplift_upgrades_total{component=program,outcome=failed,kind=downgrade}", 1.0),
        ("uplift_last_upgrade_info{component=program,outcome=succeeded,kind=none}", 1.0),
        (
            "uplift_component_info{component=program,product=PSDK_APPALIAS,version=V02.00.00.00}",
            1.0,
        ),
        ("uplift_received_bytes_total", 0.0),
        ("uplift_rollbacks_total", 0.0),
    ] {
        assert_eq!(payload.value(sample), Some(value), "{sample}");
    }

    let mut back = payload.spawn(&["rollback"]);
    payload.restart_when_asked();
    back.wait().unwrap();
    assert_eq!(payload.value("uplift_rollbacks_total"), Some(1.0));
    assert_eq!(
        payload
            .value("uplift_upgrades_total{component=program,outcome=rolled-back,kind=cancelled}"),
        Some(1.0)
    );
}

#[test]
fn a_hold_is_seen_by_who_monitors() {
    let payload = Payload::with_metrics();
    for (command, held) in [("hold", 1.0), ("release", 0.0)] {
        assert_eq!(payload.uplift(&[command]).0, Some(0));
        assert_eq!(payload.value("uplift_held"), Some(held), "after {command}");
    }
}

#[test]
fn a_device_that_goes_away_is_a_link_error() {
    let payload = Payload::with_metrics();
    let line = PtyLine::new(payload.root().join("run/ttyPayload")).unwrap();
    payload
        .wait_for_status(|status| status.link.state == uplift::model::LinkState::Probing)
        .unwrap();
    line.unplug();
    payload
        .wait_for_status(|status| status.link.state == uplift::model::LinkState::Waiting)
        .unwrap();
    assert_eq!(payload.value("uplift_link_errors_total"), Some(1.0));
}

#[test]
fn other_requests_are_answered_and_bad_ones_end() {
    let payload = Payload::with_metrics();
    let code = |arguments: &[&str]| {
        payload
            .curl(&[&["--output", "/dev/null", "--write-out", "%{http_code}"], arguments].concat())
    };
    assert_eq!(code(&["http://localhost/"]), "404");
    assert_eq!(code(&["--data", "x", "http://localhost/metrics"]), "405");
    let head = payload.curl(&["--head", "http://localhost/metrics"]);
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n")
            && head.contains("Content-Type: text/plain; version=0.0.4"),
        "{head}"
    );
    for bad in [vec![b'x'; 100_000], b"GET /metrics\r\n\r\n".to_vec(), vec![0xff; 10]] {
        let mut client = UnixStream::connect(payload.metrics_socket()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        // The daemon may have answered and closed before all is sent.
        let _ = client.write_all(&bad).and_then(|()| client.shutdown(std::net::Shutdown::Write));
        let mut answer = Vec::new();
        match client.read_to_end(&mut answer) {
            Ok(_) => assert!(
                answer.starts_with(b"HTTP/1.1 400 "),
                "{}",
                String::from_utf8_lossy(&answer)
            ),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
}

#[test]
fn clients_that_say_nothing_keep_nobody_out() {
    let payload = Payload::with_metrics();
    let silent: Vec<UnixStream> =
        (0..20).map(|_| UnixStream::connect(payload.metrics_socket()).unwrap()).collect();
    assert_eq!(payload.value("uplift_rollbacks_total"), Some(0.0));
    // All but the newest made room.
    let mut oldest = &silent[0];
    oldest.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(oldest.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn without_the_section_there_is_no_socket() {
    let payload = Payload::setup().start();
    let sockets = std::fs::read_dir(payload.root().join("run"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert_eq!(
        sockets.filter(|name| name.to_str().unwrap().ends_with(".sock")).count(),
        1,
        "the control socket"
    );
}
