//! What a device or an administrator asks over HTTP, by `curl`.

use std::process::Command;

use serde_json::Value;

/// The status of an answer, and its body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body, where it is JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Asks with these arguments of `curl`, the URL included.
pub(crate) fn curl<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Answer {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "30", "--noproxy", "*"]);
    curl.args(["--write-out", "%{stderr}%{http_code}"]).args(arguments);
    let output = curl.output().expect("tests/install-packages installs curl");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "curl: {said}");
    Answer { status: said.parse().unwrap(), body: output.stdout }
}

pub(crate) fn get(url: &str) -> Answer {
    curl([url])
}

/// Sends JSON.
pub(crate) fn send(method: &str, url: &str, body: &Value) -> Answer {
    let body = body.to_string();
    curl(["--request", method, "--header", "Content-Type: application/json", "--data", &body, url])
}
