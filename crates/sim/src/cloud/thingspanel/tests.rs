//! The simulated platform, by a device that is written out here.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::cloud::broker::{Choice, Messages, Publisher, Qos};
use crate::cloud::content::tests::example;

const SOON: Duration = Duration::from_secs(30);

/// A platform, and a device that hears its tasks.
struct Stage {
    server: Server,
    device: Publisher,
    heard: Messages,
}

impl Stage {
    fn new(options: Options, tasks: &str) -> Self {
        let program = Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../target/servers/usr/sbin/mosquitto"
        ));
        assert!(program.exists(), "the broker is not there; `tests/install-packages` unpacks it");
        let broker = Choice { mosquitto: Some(program.to_owned()), ..Choice::default() };
        let server = Server::start(Options { broker, ..options }).unwrap();
        let (device, heard) = server.broker().connect("device", &[tasks]).unwrap();
        Self { server, device, heard }
    }

    fn task(&self) -> Value {
        let message = self.heard.wait_for(SOON, |_| true).unwrap();
        serde_json::from_slice(&message.payload).unwrap()
    }

    fn says(&self, topic: &str, message: &Value) {
        self.device.publish(topic, message.to_string(), Qos::AtLeastOnce, false).unwrap();
    }

    fn sees(&self, wanted: impl Fn(&Event) -> bool) {
        let event = self.server.events().wait_for(SOON, wanted);
        assert!(event.is_some(), "{:#?}", self.server.events().so_far());
    }

    /// The head of an answer and its body.
    fn get(&self, path: &str, header: &str) -> (String, Vec<u8>) {
        let address = self.server.url().strip_prefix("http://").unwrap().to_owned();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n{header}\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        (head, answer[end + 4..].to_vec())
    }
}

fn version(version: &str) -> Value {
    json!({ "id": "1", "params": { "version": version, "module": "default" } })
}

fn progress(step: &str) -> Value {
    json!({ "step": step, "desc": "text", "module": "default" })
}

#[test]
fn a_device_that_tells_its_version_gets_its_task_and_ends_it() {
    let options = Options { task: Some(Task::of("v2", example())), ..Options::default() };
    let stage = Stage::new(options, "ota/device/inform/PAYLOAD0001");
    stage.says("ota/device/inform", &version("v1"));
    let task = stage.task();
    assert_eq!((&task["code"], &task["params"]["size"]), (&json!("200"), &json!(4096)));
    assert_eq!(task["params"]["sign"], example().digests().md5);
    let url = task["params"]["url"].as_str().unwrap();
    let path = url.strip_prefix(&stage.server.url()).unwrap();
    let (head, body) = stage.get(path, "");
    assert!(
        head.contains(" 200 ") && head.contains("Last-Modified") && body.len() == 4096,
        "{head}"
    );
    stage.says("ota/device/progress", &progress("7"));
    // Another version while an upgrade has begun: it is pushed again.
    stage.sees(|event| matches!(event, Event::Progress { .. }));
    stage.says("ota/device/inform", &version("v1"));
    assert_eq!(stage.task()["id"], task["id"]);
    stage.says("ota/device/progress", &progress("100"));
    stage.sees(|event| matches!(event, Event::Progress { task: Some((_, State::Success)), .. }));
    stage.says("ota/device/progress", &progress("100"));
    stage.sees(|event| matches!(event, Event::Progress { task: None, .. }));
    stage.says("ota/device/progress", &progress("0"));
    stage.sees(|event| matches!(event, Event::Senseless { .. }));
}

#[test]
fn a_server_of_1_x_tells_neither_size_nor_digest_and_spells_its_topic_as_it_is_told() {
    for (spelling, topic) in [
        (Spelling::Infrom, "ota/devices/infrom/PAYLOAD0001"),
        (Spelling::Inform, "ota/devices/inform/PAYLOAD0001"),
    ] {
        let options = Options { generation: Generation::V1, spelling, ..Options::default() };
        let stage = Stage::new(options, topic);
        let id = stage.server.push(&Task::of("v2", example())).unwrap();
        let task = stage.task();
        assert_eq!(task["id"], id);
        let told = (&task["params"]["size"], &task["params"]["sign"]);
        assert_eq!(told, (&json!("0"), &json!("")));
    }
}

/// 3.7.
#[test]
fn ranges_are_answered_as_the_platform_does_it() {
    for (generation, status) in [(Generation::V05, 206), (Generation::V1, 200)] {
        let stage = Stage::new(Options { generation, ..Options::default() }, "none");
        let task = Task::of("v2", example());
        stage.server.keep(&task);
        let path = site::path_of(generation, &task);
        for (range, status, length) in [
            ("bytes=0-1023", status, 1024),
            ("bytes=4000-", status, 96),
            ("bytes=4000-4095", status, 96),
            ("bytes=4000-4096", 400, 0),
            ("bytes=4096-", 416, 0),
            ("bytes=-5", 416, 0),
            ("bytes=5-4", 416, 0),
            ("bytes=0-1,3-4", 416, 0),
        ] {
            let (head, body) = stage.get(&path, &format!("Range: {range}\r\n"));
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{range}: {head}");
            assert_eq!(body.len(), length, "{range}");
        }
        let (head, _) = stage.get(&path, "Range: bytes=0-1023\r\n");
        assert!(head.contains("X-CRC16: 1301") && head.contains("bytes 0-1023/4096"), "{head}");
        let (head, _) = stage.get(&path, "Range: bytes=0-1023\r\nCrc16-Method: MODBUS\r\n");
        assert!(head.contains("X-CRC16: 6cc9"), "{head}");
    }
}
