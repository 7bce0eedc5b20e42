//! A developer's directory: a program, keys, and the configuration of a payload that the files are
//! for.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use uplift::model::version::Version;
use uplift_fixtures::elf::{Architecture, Program};
use uplift_fixtures::executable;

pub(crate) struct Shop(tempfile::TempDir);

impl Shop {
    /// With a program of V02.00.00.00 to seal, and one of V01.00.00.00 that runs on the payload.
    pub(crate) fn new() -> Self {
        let shop = Self(tempfile::tempdir().unwrap());
        for (name, version) in [("program", "V02.00.00.00"), ("installed", "V01.00.00.00")] {
            let program = Program::new(
                Architecture::host().unwrap(),
                version.parse::<Version>().unwrap().numbers(),
            )
            .filled_to(4000);
            executable::write(&shop.path(name), &program.bytes()).unwrap();
        }
        shop
    }

    /// With a key `release` besides.
    pub(crate) fn with_key() -> Self {
        let shop = Self::new();
        assert_done(&shop.uplift(&["keygen", "--out", "release", "--no-password"]));
        shop
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// The second line of the public key's file.
    pub(crate) fn public(&self, key: &str) -> String {
        fs::read_to_string(self.path(&format!("{key}.pub"))).unwrap().lines().nth(1).unwrap().into()
    }

    /// What minisign itself calls the key.
    pub(crate) fn key_id(&self, key: &str) -> String {
        let text = fs::read_to_string(self.path(&format!("{key}.pub"))).unwrap();
        text.lines().next().unwrap().rsplit(' ').next().unwrap().into()
    }

    pub(crate) fn configure(&self, seal: &str, keys: &[&str]) {
        let mut text = format!(
            "[component.program]\npath = {:?}\nproduct = \"DEMO\"\nversion_command = [\"--version\"]\nisolate_commands = \"never\"\n[package]\nseal = {seal:?}\n",
            self.path("installed")
        );
        for key in keys {
            text += &format!("[[package.keys]]\npublic = {:?}\nnote = {key:?}\n", self.public(key));
        }
        text += &format!("[paths]\ncontrol = {:?}\n", self.path("no-daemon"));
        self.file("uplift.toml", text.as_bytes());
    }

    pub(crate) fn uplift(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_uplift"));
        // A session of its own, so that no terminal can be asked for a password.
        command
            .arg("--config")
            .arg(self.path("uplift.toml"))
            .args(arguments)
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        let mut alone = Command::new("setsid");
        alone
            .arg("--wait")
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        alone.output().unwrap()
    }

    /// `uplift check`, as on a machine without a configuration.
    pub(crate) fn check_alone(&self, arguments: &[&str]) -> Output {
        self.run(env!("CARGO_BIN_EXE_uplift"), &[&["check"], arguments].concat())
    }

    pub(crate) fn pack(&self, key: &str, more: &[&str]) -> Output {
        let key = format!("{key}.key");
        let arguments =
            ["pack", "program", "--product", "DEMO", "--version", "V02.00.00.00", "--key", &key];
        self.uplift(&[&arguments[..], more].concat())
    }

    /// Another tool, in the shop's directory.
    pub(crate) fn run(&self, tool: &str, arguments: &[&str]) -> Output {
        let result = Command::new(tool)
            .args(arguments)
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .output();
        result.unwrap_or_else(|error| {
            panic!("{tool} can't be run ({error}); `tests/run` installs it")
        })
    }

    /// Temporary files that nobody removed.
    pub(crate) fn left_behind(&self) -> Vec<String> {
        let names = self
            .0
            .path()
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with('.')).collect()
    }
}

/// What it printed.
pub(crate) fn assert_done(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What it said of its failure.
pub(crate) fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}
