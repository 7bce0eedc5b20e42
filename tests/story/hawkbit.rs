//! A hawkBit server upgrades the payload: offers, feedback, cancellation, confirmation, and what
//! goes wrong on the way, against the simulated server (channels over HTTP, HB-1 to HB-16).

use std::time::Duration;

use serde_json::Value;
use uplift::model::{ChannelState, FailureKind, Outcome, Phase, Report};
use uplift_sim::cloud::hawkbit::{
    Artifact, Chunk, Deployment, Event, Execution, Options, Server, State,
};
use uplift_sim::signer::Signer;

use crate::world::payload::{NEW, OLD, Payload};
use crate::world::watched::Watched as _;

const DEVICE: &str = "PAYLOAD0001";
const LONG: Duration = Duration::from_secs(60);

/// A payload that polls a server of its own.
struct Site {
    payload: Payload,
    server: Server,
    signer: Signer,
}

impl Site {
    fn of(options: Options, section: &str) -> Self {
        Self::with(Payload::setup(), options, section)
    }

    fn with(setup: crate::world::payload::Setup, options: Options, section: &str) -> Self {
        let signer = Signer::new(std::path::Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
        let server = Server::start(Options { sleep: "00:00:05".to_owned(), ..options }).unwrap();
        let channel = format!(
            "[package]\n{}\n[channel.hawkbit]\nserver = \"{}\"\ncontroller_id = \"{DEVICE}\"\nspread = \"0s\"\n{section}\n",
            signer.trusted_section(),
            server.url()
        );
        let mut payload = setup.sections(&channel).start();
        payload.start_channels().unwrap();
        Self { payload, server, signer }
    }

    fn new() -> Self {
        Self::of(Options::default(), "")
    }

    /// The sealed new program as an action.
    fn deployment(&self) -> Deployment {
        Deployment::of(Chunk::of("payload-fw", "2.0.0", self.artifact()))
    }

    fn artifact(&self) -> Artifact {
        let firmware = self.payload.new_firmware();
        self.signer.seal_file(&firmware).unwrap();
        Artifact::of_file(&firmware).unwrap()
    }

    fn assign(&self) -> u64 {
        self.server.assign(DEVICE, self.deployment())
    }

    /// Waits until the action is closed, and returns what was said of it.
    fn closed(&self, action: u64) -> Vec<(String, String, Vec<String>)> {
        let mut events = self.server.events();
        let mut said = Vec::new();
        loop {
            let event = events.next(LONG).unwrap_or_else(|| panic!("not closed: {said:?}"));
            if let Event::Feedback { action: of, execution, finished, details, status, .. } = event
                && of == action
            {
                let finished = finished.unwrap_or_default();
                said.push((execution.clone(), finished, details));
                let state = self.server.state(DEVICE, action);
                if status == 200 && state.is_some_and(|state| !state.is_active()) {
                    return said;
                }
            }
        }
    }

    fn reported(&self) -> Report {
        self.payload
            .wait_for_status(|status| {
                status.phase == Phase::Idle
                    && status.unacknowledged.is_empty()
                    && status.last.is_some()
            })
            .unwrap();
        self.payload.last_report()
    }
}

fn executions(said: &[(String, String, Vec<String>)]) -> Vec<(&str, &str)> {
    said.iter().map(|(execution, finished, _)| (&**execution, &**finished)).collect()
}

#[test]
fn hb_10_an_action_is_closed_when_the_new_program_has_proved_itself() {
    let mut site = Site::new();
    let action = site.assign();
    site.payload.restart_when_asked();
    let said = site.closed(action);
    let words = executions(&said);
    assert_eq!(words.last(), Some(&("closed", "success")), "{said:?}");
    assert!(words[..words.len() - 1].iter().all(|(_, finished)| *finished == "none"), "{said:?}");
    let report = site.reported();
    assert_eq!((report.outcome, report.request.channel.as_str()), (Outcome::Succeeded, "hawkbit"));
    assert_eq!(site.payload.reported_version().unwrap(), NEW);
    assert_eq!(site.server.state(DEVICE, action), Some(State::Finished));
    // Told once.
    assert_eq!(words.iter().filter(|(execution, _)| *execution == "closed").count(), 1);
    let shown = site.payload.uplift(&["status"]).1;
    assert!(shown.contains("hawkbit: works"), "{shown}");
}
