//! gooseBit, a real upgrade server with hawkBit's interface for devices, in a directory that goes with it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::{self, Answer};
use super::running::Running;

/// Where tests/install-packages has put it.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/goosebit/bin/python3");
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goosebit/serve.py");
/// Tells the tokens of its users, which thereby outlive a restart.
const SECRET_KEY: &str = "a secret of the tests and of nobody else";
const BOARD: &str = "default";
const REVISION: &str = "default.default";

/// A running gooseBit of the tenant `DEFAULT`, to whom devices need not show a token unless it is started so.
pub(crate) struct Goosebit {
    port: u16,
    token: String,
    settings: Vec<(String, String)>,
    server: Option<Running>,
    directory: TempDir,
}

#[allow(dead_code, reason = "no story needs all of them")]
impl Goosebit {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// With these further settings, such as `GOOSEBIT_POLL_TIME`.
    pub(crate) fn start_with(settings: &[(&str, &str)]) -> Self {
        assert!(
            Path::new(PYTHON).exists(),
            "gooseBit is not there; `tests/install-packages` installs it"
        );
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut goosebit = Self {
            port: 0,
            token: String::new(),
            settings: settings.iter().map(owned).collect(),
            server: None,
            directory: TempDir::new().unwrap(),
        };
        goosebit.run();
        let account = ["username=test@example.org", "password=of-no-account"];
        let [name, password] = account;
        let setup = format!("{}/setup", goosebit.url());
        let answer = http::curl(["--data-urlencode", name, "--data-urlencode", password, &setup]);
        goosebit.token = answer.json()["access_token"].as_str().unwrap().to_owned();
        goosebit
    }

    fn run(&mut self) {
        let root = self.directory.path();
        let mut python = Command::new(PYTHON);
        python
            .args([PROGRAM, &self.port.to_string()])
            .current_dir(root)
            .env("GOOSEBIT_DB_URI", format!("sqlite:///{}", root.join("database").display()))
            .env("GOOSEBIT_ARTIFACTS_DIR", root.join("artifacts"))
            .env("GOOSEBIT_POLL_TIME", "00:00:05")
            .env("GOOSEBIT_SECRET_KEY", SECRET_KEY)
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(root.join("log")).unwrap());
        let mut server = Running::start(&mut python);
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.port = line.trim().parse().unwrap_or_else(|_| panic!("gooseBit: {}", self.log()));
        self.server = Some(server);
    }

    /// What precedes the tenant.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it said so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Kills it. What it knows outlives that.
    pub(crate) fn stop(&mut self) {
        self.server = None;
    }

    /// Starts it again, at the same port, after [`Self::stop`].
    pub(crate) fn start_again(&mut self) {
        self.run();
    }

    /// Takes a file as software; its number, or the status and text of a refusal.
    pub(crate) fn upload(&self, file: &Path) -> Result<u64, (u16, String)> {
        let form = format!("file=@{}", file.display());
        let answer = self.administer(&["--request", "PUT", "--form", &form], "software");
        match answer.json()["id"].as_u64() {
            Some(id) if answer.status == 200 => Ok(id),
            _ => Err((answer.status, answer.text())),
        }
    }

    /// Offers software to a device that has told its attributes.
    pub(crate) fn assign(&self, device: &str, software: u64) {
        self.change(&json!({ "devices": [device], "software": software.to_string() }));
    }

    /// Offers it again to a device that failed, or that has it.
    pub(crate) fn force_update(&self, device: &str) {
        self.change(&json!({ "devices": [device], "force_update": true }));
    }

    /// Has a device show this token.
    pub(crate) fn set_token(&self, device: &str, token: &str) {
        self.change(&json!({ "devices": [device], "auth_token": token }));
    }

    /// Makes a device known, as its own first poll and attributes would.
    pub(crate) fn register(&self, device: &str, version: &str) {
        let base = format!("{}/DEFAULT/controller/v1/{device}", self.url());
        assert_eq!(http::get(&base).status, 200);
        let data = json!({ "hw_boardname": BOARD, "hw_revision": REVISION, "sw_version": version });
        assert_eq!(
            http::send("PUT", &format!("{base}/configData"), &json!({ "data": data })).status,
            200
        );
    }

    /// What it knows of a device: `last_state`, `sw_version`, `progress` and more. Null where it knows
    /// none of this name.
    pub(crate) fn device(&self, device: &str) -> Value {
        let all = self.administer(&[], "devices").json();
        let devices = all["devices"].as_array().cloned().unwrap_or_default();
        devices.into_iter().find(|known| known["id"] == device).unwrap_or(Value::Null)
    }

    /// The log that it keeps of what a device told.
    pub(crate) fn device_log(&self, device: &str) -> String {
        let answer = self.administer(&[], &format!("devices/{device}/log")).json();
        answer["log"].as_str().unwrap_or_default().to_owned()
    }

    fn change(&self, change: &Value) {
        let body = change.to_string();
        let json = ["--request", "PATCH", "--header", "Content-Type: application/json"];
        let answer = self.administer(&[&json[..], &["--data", &body]].concat(), "devices");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    fn administer(&self, arguments: &[&str], resource: &str) -> Answer {
        let header = format!("Authorization: Bearer {}", self.token);
        let url = format!("{}/api/v1/{resource}", self.url());
        http::curl([&["--header", &header], arguments, &[&url]].concat())
    }
}
