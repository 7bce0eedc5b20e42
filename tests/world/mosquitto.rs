//! Debian's broker of MQTT, in a directory that goes with it. It is not installed: it would run, and
//! keep a port; `tests/install-packages` unpacks it.

#![allow(dead_code, reason = "neither the stories nor the library's tests need all of it")]

use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;
use uplift_sim::cloud::mosquitto::Mosquitto as Process;

/// Where it is unpacked.
const SERVERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/servers");
/// How long the broker may take to say something. Generous: a loaded machine is no failure.
const DEADLINE: Duration = Duration::from_secs(30);
/// Everybody may do what a role allows; nobody needs a password.
const DYNAMIC_SECURITY: &str = r#"{
    "defaultACLAccess": { "publishClientSend": true, "publishClientReceive": true, "subscribe": true, "unsubscribe": true },
    "anonymousGroup": "everybody", "clients": [],
    "groups": [{ "groupname": "everybody", "roles": [{ "rolename": "role" }], "clients": [] }],
    "roles": [{ "rolename": "role", "acls": [ACLS] }]
}"#;

/// A program of the packages, such as `usr/sbin/mosquitto`.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = Path::new(SERVERS).join(name);
    assert!(path.exists(), "the broker is not there; `tests/install-packages` unpacks it");
    path
}

/// A broker before it is started. Without more, everybody may do everything, and nothing is kept.
pub(crate) struct Setup {
    directory: TempDir,
    everybody: bool,
    has_tls: bool,
    general: String,
    listeners: String,
}

/// A running broker, which tells its log all that it does: see [`Process`] for its end and restart.
pub(crate) struct Mosquitto {
    process: Process,
    has_tls: bool,
}

impl Setup {
    pub(crate) fn new() -> Self {
        let listeners = "listener PORT 127.0.0.1\n".to_owned();
        let directory = TempDir::new().unwrap();
        Self { directory, everybody: true, has_tls: false, general: String::new(), listeners }
    }

    /// A further line, before any listener: `HERE` in it is the broker's directory.
    pub(crate) fn with(mut self, line: &str) -> Self {
        self.general += line;
        self.general.push('\n');
        self
    }

    /// Only these may come, each with a password.
    pub(crate) fn users(mut self, users: &[(&str, &str)]) -> Self {
        let lines: String =
            users.iter().map(|(user, password)| format!("{user}:{password}\n")).collect();
        let file = self.file("users", &lines);
        let passwd = Command::new(program("usr/bin/mosquitto_passwd")).arg("-U").arg(file).status();
        assert!(passwd.unwrap().success());
        self.everybody = false;
        self.with("password_file HERE/users")
    }

    /// Who may do what, as in an `acl_file`.
    pub(crate) fn acl(self, rules: &str) -> Self {
        self.file("acl", rules);
        self.with("acl_file HERE/acl")
    }

    /// Refuses subscriptions to these topics, by the plugin for it.
    pub(crate) fn refuse_subscriptions(self, topics: &[&str]) -> Self {
        let rule = |topic: &&str| {
            format!(
                r#"{{ "acltype": "subscribeLiteral", "topic": "{topic}", "priority": 0, "allow": false }}"#
            )
        };
        let rules: Vec<String> = topics.iter().map(rule).collect();
        self.file("dynamic.json", &DYNAMIC_SECURITY.replace("ACLS", &rules.join(", ")));
        let plugins = fs::read_dir(Path::new(SERVERS).join("usr/lib")).unwrap();
        let plugin = plugins
            .map(|entry| entry.unwrap().path().join("mosquitto_dynamic_security.so"))
            .find(|plugin| plugin.exists())
            .expect("`tests/install-packages` unpacks it");
        self.with(&format!("plugin {}", plugin.display()))
            .with("plugin_opt_config_file HERE/dynamic.json")
    }

    /// Outlives its restarts.
    pub(crate) fn persistent(self) -> Self {
        self.with("persistence true\npersistence_location HERE/")
    }

    /// Speaks TLS at its port, with a certificate and its key, in PEM; of clients it demands one from
    /// this authority, where there is one. Its other port remains without TLS.
    pub(crate) fn tls(mut self, certificate: &Path, key: &Path, clients: Option<&Path>) -> Self {
        let (certificate, key) = (certificate.display(), key.display());
        self.has_tls = true;
        self.listeners += &format!("certfile {certificate}\nkeyfile {key}\n");
        if let Some(authority) = clients {
            self.listeners +=
                &format!("cafile {}\nrequire_certificate true\n", authority.display());
        }
        self
    }

    pub(crate) fn start(self) -> Mosquitto {
        // Where it runs as root, it would become a user who can't read what is here.
        let configuration = format!(
            "user root\nlog_type all\nallow_anonymous {}\n{}{}listener OTHER 127.0.0.1\n",
            self.everybody, self.general, self.listeners
        );
        let program = program("usr/sbin/mosquitto");
        let process = Process::start(&program, self.directory, &configuration).unwrap();
        Mosquitto { process, has_tls: self.has_tls }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Mosquitto {
    /// One that lets everybody in, and keeps nothing.
    pub(crate) fn start() -> Self {
        Setup::new().start()
    }

    /// Waits until it has said a line so often, from its first start on, with all of these parts.
    pub(crate) fn wait_for_log(&self, times: usize, parts: &[&str]) {
        let mut seen = 0;
        let said = self.log().wait_for(DEADLINE, |line| {
            seen += usize::from(parts.iter().all(|part| line.contains(part)));
            seen == times
        });
        let log = || self.log().so_far().join("\n");
        assert!(said.is_some(), "{seen} of {times} lines with {parts:?} in\n{}", log());
    }

    /// How many lines with all of these parts it has said.
    pub(crate) fn logged(&self, parts: &[&str]) -> usize {
        let has_all = |line: &&String| parts.iter().all(|part| line.contains(part));
        self.log().so_far().iter().filter(has_all).count()
    }

    /// Publishes, with further arguments of `mosquitto_pub`, such as `-q 1` or `-r`.
    pub(crate) fn publish(&self, topic: &str, message: &str, arguments: &[&str]) {
        let output =
            self.client("mosquitto_pub", &[&["-t", topic, "-m", message], arguments].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Where it listens without TLS.
    pub(crate) fn plain_port(&self) -> u16 {
        if self.has_tls { self.process.other_port() } else { self.process.port() }
    }

    /// Calls one of the package's clients.
    pub(crate) fn client(&self, name: &str, arguments: &[&str]) -> Output {
        Command::new(program(&format!("usr/bin/{name}")))
            .args(["-h", "127.0.0.1", "-p", &self.plain_port().to_string()])
            .args(arguments)
            .output()
            .unwrap()
    }
}

impl Deref for Mosquitto {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Mosquitto {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}
