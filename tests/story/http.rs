//! `uplift install URL`, from real servers and from one that lies: what comes over HTTP is the file
//! to the last byte, or nothing changes and a sentence says why (docs/use/download.md).

mod lies;
mod tls;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;

use uplift::model::{FailureKind, Outcome};

use crate::world::payload::{NEW, OLD, Payload};
use crate::world::web::cutter::Cutter;
use crate::world::web::nginx::{Nginx, Way};
use crate::world::web::python::Python;
use crate::world::web::raw::{Raw, Turn, answer};

/// More than the buffers of all that it passes through, so that a cut is a cut.
const SIZE: u64 = 12 << 20;

/// Waits that a test has time for.
const SHORT: &str = "[transfer.http]\nfirst_byte_deadline = \"1s\"\nstall_deadline = \"1s\"\nlowest_rate_window = \"1s\"\npatience = \"2s\"\n";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn url(address: SocketAddr, firmware: &Path) -> String {
    format!("http://{address}/{}", firmware.file_name().unwrap().to_str().unwrap())
}

/// Firmware of this version, also where a server has its files.
fn offered(payload: &Payload, version: &str, directory: &Path) -> std::path::PathBuf {
    let firmware = payload.firmware_of(version, SIZE);
    fs::copy(&firmware, directory.join(firmware.file_name().unwrap())).unwrap();
    firmware
}

#[track_caller]
fn succeeded(payload: &mut Payload, arguments: &[&str], version: &str) -> Output {
    let output = payload.through_a_restart(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    assert_eq!(payload.reported_version().unwrap(), version);
    output
}

#[test]
fn a_url_is_installed_from_each_server() {
    let python = Python::start();
    let nginx = Nginx::start(Some(python.address));
    let mut payload = Payload::setup().start();
    for (version, address, directory) in [
        ("V02.00.00.00", nginx.address(Way::Plain), nginx.files()),
        ("V02.00.00.01", nginx.address(Way::NoRanges), nginx.files()),
        ("V02.00.00.02", nginx.address(Way::Gzip), nginx.files()),
        ("V02.00.00.03", nginx.address(Way::Proxy), python.files()),
        ("V02.00.00.04", python.address, python.files()),
    ] {
        let firmware = offered(&payload, version, &directory);
        let output = succeeded(&mut payload, &["install", &url(address, &firmware)], version);
        let told = text(&output.stderr);
        assert!(told.contains("downloading 12.0 MiB"), "{told}");
    }
    assert!(payload.history().iter().all(|report| report.outcome == Outcome::Succeeded));
}

/// One hand-over, however often the connection breaks.
#[test]
fn dl_2_a_connection_that_breaks_is_gone_on_with_where_the_server_can() {
    let nginx = Nginx::start(None);
    let mut payload = Payload::setup().start();
    let firmware = offered(&payload, NEW, &nginx.files());
    for way in [Way::Plain, Way::Gzip] {
        let cutter = Cutter::before(nginx.address(way), &[4 << 20, 1 << 20]);
        let arguments = ["install", "--force", &url(cutter.address(), &firmware)];
        let output = succeeded(&mut payload, &arguments, NEW);
        assert!(text(&output.stderr).contains("the download goes on in 1 s"), "{output:?}");
    }
    let log = nginx.log();
    let answers = |status: &str| log.matches(&format!("HTTP/1.1\" {status} ")).count();
    assert_eq!((answers("200"), answers("206"), payload.history().len()), (2, 4, 2), "{log}");
}

#[test]
fn a_server_that_begins_anew_begins_a_new_hand_over() {
    let python = Python::start();
    let nginx = Nginx::start(Some(python.address));
    let mut payload = Payload::setup().start();
    for (address, directory) in [
        (nginx.address(Way::NoRanges), nginx.files()),
        (nginx.address(Way::Proxy), python.files()),
        (python.address, python.files()),
    ] {
        let firmware = offered(&payload, NEW, &directory);
        let cutter = Cutter::before(address, &[4 << 20]);
        let arguments = ["install", "--force", &url(cutter.address(), &firmware)];
        let output = succeeded(&mut payload, &arguments, NEW);
        assert!(text(&output.stderr).contains("the server begins anew"), "{output:?}");
        let history = payload.history();
        let [.., before, last] = &history[..] else { panic!("{history:?}") };
        assert_eq!(before.failure.as_ref().unwrap().kind, FailureKind::TransferFailed);
        assert_eq!(last.outcome, Outcome::Succeeded);
    }
}

#[test]
fn a_file_that_is_replaced_while_it_comes_is_the_new_one_or_none() {
    let mut payload = Payload::setup().start();
    let firmware = payload.firmware_of(NEW, SIZE);
    let whole = fs::read(&firmware).unwrap();
    let head = ["HTTP/1.1 200 OK", "ETag: \"generation-0\"", "Content-Length: 12582912"];
    let half = answer(&head, &vec![9; 4 << 20]);
    let raw = Raw::start(&[], [Turn::Reset(half), Turn::Replace(whole)]);
    succeeded(&mut payload, &["install", &url(raw.address(), &firmware)], NEW);
    let requests = raw.requests();
    assert!(
        !requests[0].contains("range:") && requests[0].contains("accept-encoding: identity\r\n")
    );
    assert!(requests[1].contains("if-range: \"generation-0\"\r\n"), "{}", requests[1]);
}

#[test]
fn the_report_is_json_and_nothing_else_is_said() {
    let nginx = Nginx::start(None);
    let mut payload = Payload::setup().start();
    let firmware = offered(&payload, NEW, &nginx.files());
    let cutter = Cutter::before(nginx.address(Way::Plain), &[4 << 20]);
    let arguments = ["install", "--json", &url(cutter.address(), &firmware)];
    let output = succeeded(&mut payload, &arguments, NEW);
    let report: uplift::model::Report = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report.outcome, Outcome::Succeeded);
    assert_eq!(text(&output.stderr), "");
}

/// The daemon's own words, and nobody waits for the rest of the file.
#[test]
fn what_the_daemon_refuses_is_not_downloaded() {
    let nginx = Nginx::start(None);
    let payload = Payload::setup().start();
    fs::write(nginx.files().join("OTHER_V02.00.00.00.bin"), vec![0; 4 << 20]).unwrap();
    let url = format!("http://{}/OTHER_V02.00.00.00.bin?x", nginx.address(Way::Plain));
    let (code, said) = payload.uplift(&["install", &url]);
    assert_eq!(code, Some(1));
    assert!(said.contains("OTHER") && said.contains("PSDK_APPALIAS"), "{said}");
    let (code, said) =
        payload.uplift(&["install", &format!("http://{}/", nginx.address(Way::Plain))]);
    assert!(code == Some(1) && said.contains("no file name"), "{said}");
    assert_eq!(payload.reported_version().unwrap(), OLD);
}

#[test]
fn without_a_daemon_no_server_is_asked() {
    let payload = Payload::setup().stopped();
    let raw = Raw::start(b"file", []);
    let url = format!("http://{}/PSDK_APPALIAS_{NEW}.bin", raw.address());
    let (code, said) = payload.uplift(&["install", &url]);
    assert!(code == Some(4) && said.contains("the daemon does not run"), "{said}");
    assert!(raw.requests().is_empty());
}

#[test]
fn a_rate_limit_is_kept() {
    let nginx = Nginx::start(None);
    let mut payload = Payload::setup().sections("[transfer.http]\nrate_limit = \"6MiB\"\n").start();
    let firmware = offered(&payload, NEW, &nginx.files());
    let begun = std::time::Instant::now();
    succeeded(&mut payload, &["install", &url(nginx.address(Way::Plain), &firmware)], NEW);
    assert!(begun.elapsed().as_secs_f64() > 1.7, "{:?}", begun.elapsed());
}
