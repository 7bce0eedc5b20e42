//! A payload whose application another updater installs, and the vendor who seals files for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uplift::model::{Outcome, Report, RunningEvidence};
use uplift_sim::sandbox::Sandbox;

use crate::watched::Watched as _;

/// Directories of the documentation; each is the sandbox's own here.
const DIRECTORIES: [&str; 4] =
    ["/etc/payload", "/var/lib/payload", "/opt/payload", "/dev/disk/by-partlabel"];

pub(crate) struct Payload {
    pub(crate) sandbox: Sandbox,
    /// The updater's section of docs/use/components.md, for this sandbox.
    section: String,
}

impl Payload {
    /// For the updater of this heading in docs/use/components.md. Nothing runs yet.
    pub(crate) fn of(updater: &str) -> Self {
        let is_root = nix::unistd::geteuid().is_root();
        assert!(is_root, "this test mounts file systems and installs packages: run it as root");
        let sandbox = Sandbox::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
        sandbox.install_by_hand("V01.00.00.00".parse().unwrap()).unwrap();
        let page = include_str!("../../docs/use/components.md");
        let (_, section) = page.split_once(&format!("\n#### {updater}\n")).unwrap();
        let mut section = section.split("\n#### ").next().unwrap().to_owned();
        let own = sandbox.root().join("updater");
        fs::create_dir(&own).unwrap();
        for directory in DIRECTORIES {
            section = section.replace(directory, own.to_str().unwrap());
        }
        let payload = Self { sandbox, section };
        payload.uplift(&["keygen", "--no-password", "--out", &payload.named("release")]);
        payload
    }

    /// Has the documentation say something else, which is `new` here.
    pub(crate) fn replace(&mut self, old: &str, new: &str) {
        assert!(self.section.contains(old), "{old}");
        self.section = self.section.replace(old, new);
    }

    /// The documentation's block of this language.
    pub(crate) fn shown(&self, language: &str) -> &str {
        let (_, rest) = self.section.split_once(&format!("\n```{language}\n")).unwrap();
        rest.split_once("```\n").unwrap().0
    }

    /// A file of the updater.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.sandbox.root().join("updater").join(name)
    }

    fn named(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Runs a tool in the updater's directory.
    pub(crate) fn run(&self, tool: &str, arguments: &[&str]) -> String {
        let output = Command::new(tool)
            .args(arguments)
            .current_dir(self.path(""))
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("{tool}: {error}; tests/install-packages installs it"));
        assert_done(&output)
    }

    fn uplift(&self, arguments: &[&str]) {
        assert_done(&self.sandbox.command(arguments).output().unwrap());
    }

    /// A key and its certificate, as `name.key` and `name.pem`, for the updater's own signatures.
    pub(crate) fn certify(&self, name: &str) {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
        let new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650"];
        let files = ["-subj", "/O=test/CN=test", "-keyout", &key, "-out", &certificate];
        self.run("openssl", &[&new[..], &files[..]].concat());
    }

    /// Starts the daemon, which installs sealed files only. `more` is for the component's section.
    pub(crate) fn start(&mut self, more: &str) {
        let public = fs::read_to_string(self.path("release.pub")).unwrap();
        let sections = format!(
            "{}{more}\n[package]\nseal = \"required\"\n[[package.keys]]\npublic = {:?}\n",
            self.shown("toml"),
            public.lines().nth(1).unwrap()
        );
        self.sandbox.configure(&self.sandbox.restart_line(), &sections).unwrap();
        self.sandbox.start_daemon().unwrap();
    }

    /// Seals what the updater takes, and has it installed.
    pub(crate) fn install(&self, file: &str, version: &str) -> Child {
        let (file, key, out) = (self.named(file), self.named("release.key"), self.named(""));
        let label = ["--product", "APPLICATION", "--version", version];
        let seal = ["--key", &key, "--seal-place", "before", "--out", &out];
        self.uplift(&[&["pack", &file][..], &label, &seal].concat());
        let sealed = self.named(&format!("APPLICATION_{version}.bin"));
        let mut install = self.sandbox.command(&["install", &sealed]);
        install.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The report, once the client has it.
    pub(crate) fn report(&self, client: Child) -> Report {
        let output = client.wait_with_output().unwrap();
        self.sandbox.status().unwrap().last.unwrap_or_else(|| panic!("no report: {output:?}"))
    }

    pub(crate) fn upgrade(&self, file: &str, version: &str) -> Report {
        self.report(self.install(file, version))
    }

    /// The version that the application tells.
    pub(crate) fn told(&self) -> String {
        let status = self.sandbox.status().unwrap();
        let application = status.component("application".parse().unwrap()).unwrap();
        application.version.map_or_else(String::new, |version| version.to_string())
    }
}

pub(crate) fn assert_succeeded(report: &Report) {
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
    let evidence = report.evidence.as_ref().unwrap();
    assert_eq!(evidence.running, RunningEvidence::VersionTold);
}

/// All that a report says of a failure.
pub(crate) fn words(report: &Report) -> String {
    let failure = report.failure.as_ref().map_or_else(String::new, ToString::to_string);
    format!("{failure}\n{}", report.program_log.join("\n"))
}

/// Keeps others away from what a machine has once.
pub(crate) fn alone(lock: &'static Mutex<()>) -> MutexGuard<'static, ()> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

fn assert_done(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
