//! What payloads differ in, before they start.

use std::net::SocketAddr;
use std::path::Path;

use uplift_sim::ports::free_address;
use uplift_sim::sandbox::Sandbox;

use super::{OLD, Payload, Unit};

/// A payload that is not there yet. In all lines of its configuration `ROOT` is the directory of
/// the sandbox, and `RESTART` the line that has the sandbox told of a restart.
#[derive(Default)]
#[must_use]
pub(crate) struct Setup {
    program: String,
    version: Option<String>,
    sections: String,
    link: Option<(String, Option<SocketAddr>)>,
    unit: Option<Unit>,
    rescue_timer: String,
    without_program: bool,
    program_runs: bool,
    ftp_server_runs: bool,
}

impl Setup {
    /// Lines of the section `[component.program]`. Without a restart of its own and without systemd
    /// the sandbox is told of restarts.
    pub(crate) fn program(mut self, lines: &str) -> Self {
        self.program = lines.to_owned();
        self
    }

    /// The line that has the program asked for its version is replaced by these.
    pub(crate) fn version(mut self, lines: &str) -> Self {
        self.version = Some(lines.to_owned());
        self
    }

    /// Lines of the section `[trial]`, and whatever sections follow.
    pub(crate) fn trial(self, lines: &str) -> Self {
        self.sections(&format!("[trial]\n{lines}\n"))
    }

    /// Further sections.
    pub(crate) fn sections(mut self, text: &str) -> Self {
        self.sections += text;
        self
    }

    /// A serial line at `run/ttyPayload`, at the rate that stands in the configuration, and an FTP
    /// server at this address or a free one.
    pub(crate) fn link(mut self, baud: &str, ftp: Option<SocketAddr>) -> Self {
        self.link = Some((baud.to_owned(), ftp));
        self
    }

    /// The program is a unit of systemd, which is a script.
    pub(crate) fn with_systemd(mut self) -> Self {
        self.unit = Some(Unit::Program);
        self
    }

    /// The daemon is a unit of systemd, which is a script; it runs from the path that it upgrades.
    pub(crate) fn with_daemon_as_unit(mut self) -> Self {
        self.unit = Some(Unit::Daemon);
        self.without_program()
    }

    /// The daemon arms this timer of systemd for the rescue.
    pub(crate) fn rescue_timer(mut self, name: &str) -> Self {
        self.rescue_timer = name.to_owned();
        self
    }

    /// Nothing is installed.
    pub(crate) fn without_program(mut self) -> Self {
        self.without_program = true;
        self
    }

    /// The program runs, and is started again by a restart.
    pub(crate) fn with_program_running(mut self) -> Self {
        self.program_runs = true;
        self
    }

    /// uplift's own FTP server runs, if it shall.
    pub(crate) fn ftp_server(mut self, runs: bool) -> Self {
        self.ftp_server_runs = runs;
        self
    }

    /// Nothing runs yet.
    pub(crate) fn stopped(&self) -> Payload {
        let sandbox = Sandbox::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
        let mut payload = Payload { sandbox, unit: self.unit };
        if !self.without_program {
            payload.install_by_hand(OLD.parse().unwrap()).unwrap();
        }
        if payload.unit.is_some() {
            payload.install_systemd();
        }
        payload.set_rescue_timer(&self.rescue_timer);
        let (program, sections) = (self.program_of(&payload), self.sections_of(&payload));
        payload.configure(&program, &sections).unwrap();
        if let Some(lines) = &self.version {
            payload.edit_config(|text| text.replace("version_command = [\"--version\"]", lines));
        }
        payload
    }

    /// All of it runs.
    pub(crate) fn start(&self) -> Payload {
        let mut payload = self.stopped();
        self.run(&mut payload);
        payload
    }

    /// Starts what was stopped: an application that has the link comes when the daemon listens, so
    /// that a host that asks at once is not refused.
    pub(crate) fn run(&self, payload: &mut Payload) {
        if self.ftp_server_runs {
            payload.start_ftp_server().unwrap();
        }
        if self.unit != Some(Unit::Daemon) {
            payload.start_daemon().unwrap();
        }
        if self.unit.is_some() {
            payload.start_unit();
        }
        if self.program_runs {
            payload.start_program().unwrap();
        }
    }

    fn program_of(&self, payload: &Payload) -> String {
        let lines = placed(&self.program, payload);
        match self.unit {
            Some(unit) => format!("unit = \"{}\"\n{lines}", unit.name()),
            None if lines.contains("restart = ") => lines,
            None => placed("RESTART\n", payload) + &lines,
        }
    }

    fn sections_of(&self, payload: &Payload) -> String {
        let link = self.link.as_ref().map_or_else(String::new, |(baud, ftp)| {
            payload.link_sections(baud, ftp.unwrap_or_else(|| free_address().unwrap()))
        });
        link + &placed(&self.sections, payload)
    }
}

/// With what is the sandbox's own in its place.
fn placed(text: &str, payload: &Payload) -> String {
    text.replace("ROOT", payload.root().to_str().unwrap())
        .replace("RESTART", &payload.restart_line())
}
