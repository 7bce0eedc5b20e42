//! The simulated platforms as a program: what it prints, and that its exit code is the verdict.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]
#![allow(clippy::disallowed_methods, reason = "files of a test need not survive anything")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const BASE: &str = "/DEFAULT/controller/v1/PAYLOAD0001";

/// A platform that runs.
struct Cloud {
    process: Child,
    told: BufReader<ChildStdout>,
    address: String,
    _directory: TempDir,
}

impl Cloud {
    fn start(platform: &str, arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let firmware = directory.path().join("SENSOR_V02.00.00.00.bin");
        std::fs::write(&firmware, b"firmware").unwrap();
        let mut cloud = Command::new(env!("CARGO_BIN_EXE_uplift-sim"));
        cloud.args(["cloud", platform, "--json", "--timeout", "60s", "--firmware"]).arg(firmware);
        let mut process = cloud.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let told = BufReader::new(process.stdout.take().unwrap());
        let mut cloud = Self { process, told, address: String::new(), _directory: directory };
        let url = cloud.event()["url"].as_str().unwrap().to_owned();
        url.strip_prefix("http://").unwrap().clone_into(&mut cloud.address);
        cloud
    }

    fn event(&mut self) -> Value {
        let mut line = String::new();
        self.told.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Asks, and what is answered.
    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}")
            .unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    /// Its verdict, and its exit code.
    fn end(mut self) -> (Value, Option<i32>) {
        let mut last = Value::Null;
        while last["event"] != "verdict" {
            last = self.event();
        }
        (last, self.process.wait().unwrap().code())
    }
}

fn closed(finished: &str) -> String {
    format!(r#"{{"status":{{"execution":"closed","result":{{"finished":"{finished}"}}}}}}"#)
}

#[test]
fn the_exit_code_says_whether_it_ended_as_it_should() {
    for (arguments, finished, ending, code) in [
        (&[][..], "success", "success", 0),
        (&[], "failure", "failure", 1),
        (&["--digests", "wrong"], "failure", "failure", 0),
        (&["--digests", "wrong"], "success", "success", 1),
        (&["--expect", "failure"], "failure", "failure", 0),
    ] {
        let mut cloud = Cloud::start("hawkbit", arguments);
        assert!(cloud.ask("GET", BASE, "").contains("deploymentBase/10"));
        assert_eq!(cloud.event()["event"], "assigned");
        assert_eq!(cloud.event()["links"][1], "deploymentBase");
        let path = format!("{BASE}/deploymentBase/10/feedback");
        // The last answer is not cut off.
        assert!(cloud.ask("POST", &path, &closed(finished)).starts_with("HTTP/1.1 200"));
        let (verdict, exit) = cloud.end();
        assert_eq!((verdict["ending"].as_str(), exit), (Some(ending), Some(code)), "{arguments:?}");
    }
}

#[test]
fn a_luatos_device_asks_with_its_new_version() {
    let query = "/api/site/firmware_upgrade?imei=P&project_key=k&firmware_name=payload_LuatOS-SoC_LINUX&version=2012.1";
    let cloud = Cloud::start("luatos", &["--answer", "43:404"]);
    assert!(cloud.ask("GET", &format!("{query}.3"), "").starts_with("HTTP/1.1 404"));
    assert!(cloud.ask("GET", &format!("{query}.3"), "").ends_with("firmware"));
    assert!(cloud.ask("GET", &format!("{query}.4"), "").contains("\"code\":27"));
    let (verdict, exit) = cloud.end();
    assert_eq!((verdict["ending"].as_str(), exit), (Some("success"), Some(0)));
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    for (arguments, complaint) in [
        (&["hawkbit"][..], "--firmware"),
        (&["hawkbit", "--firmware", "a", "--release", "0.8"], "goosebit"),
        (&["hawkbit", "--chunk", "a=b"], "NAME:VERSION=FILE"),
        (&["hawkbit", "--firmware", "a", "--replace", "/a=x"], "POINTER=JSON"),
        (&["hawkbit", "--firmware", "a", "--change-at", "installing"], "--other"),
        (&["luatos", "--firmware", "a", "--answer", "no"], "CODE:STATUS"),
        (&["luatos", "--firmware", "a", "--answer", "27:99"], "CODE:STATUS"),
    ] {
        let output = cloud(arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        assert!(told.contains(complaint), "{arguments:?}: {told}");
    }
    let output = cloud(&["hawkbit", "--firmware", "/none/a.bin"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/none/a.bin"));
}

fn cloud(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_uplift-sim")).arg("cloud").args(arguments).output().unwrap()
}

#[test]
fn nothing_within_the_time_is_no_success() {
    let directory = TempDir::new().unwrap();
    let firmware = directory.path().join("a.bin");
    std::fs::write(&firmware, b"firmware").unwrap();
    let path = firmware.to_str().unwrap();
    let output = cloud(&["hawkbit", "--firmware", path, "--timeout", "1ms"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.starts_with("listening at http://127.0.0.1:"), "{told}");
    assert!(told.ends_with("no end within the time; expected: success\n"), "{told}");
}
