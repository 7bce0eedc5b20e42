//! A payload, and the simulated server that it polls.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use uplift::model::{Phase, Report, Status};
use uplift_sim::cloud::hawkbit::{
    Artifact, Chunk, Deployment, Event, Handling, Options, Server, State,
};
use uplift_sim::signer::Signer;

use crate::world::payload::{OLD, Payload, Setup};
use crate::world::watched::Watched as _;

pub(super) const DEVICE: &str = "PAYLOAD0001";
/// How long something may take. Generous: a loaded machine is no failure.
pub(super) const LONG: Duration = Duration::from_secs(120);

/// A payload that polls a server of its own.
pub(super) struct Site {
    pub(super) payload: Payload,
    pub(super) server: Server,
    pub(super) signer: Signer,
}

/// What the server heard of an action.
#[derive(Debug)]
pub(super) struct Said {
    /// `deploymentBase` or another resource.
    pub(super) resource: String,
    /// `execution` and `finished`, as in `closed/success`.
    pub(super) word: String,
    pub(super) details: Vec<String>,
    /// What the server answered; 0 where nothing.
    pub(super) status: u16,
}

impl Site {
    pub(super) fn new() -> Self {
        Self::of(Options::default(), "")
    }

    /// With these lines in the section `[channel.hawkbit]`, and whatever sections follow.
    pub(super) fn of(options: Options, section: &str) -> Self {
        Self::with(Payload::setup(), options, section)
    }

    /// Nothing is polled before something is offered, or [`Self::polls`].
    pub(super) fn with(setup: Setup, options: Options, section: &str) -> Self {
        let signer = Signer::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
        let sleep = match options.sleep.as_str() {
            "00:05:00" => "00:00:05".to_owned(),
            other => other.to_owned(),
        };
        let server = Server::start(Options { sleep, ..options }).unwrap();
        let url = server.url();
        Self::at(setup, server, &url, section, signer)
    }

    /// At a server that is reached at this URL.
    pub(super) fn at(
        setup: Setup,
        server: Server,
        url: &str,
        section: &str,
        signer: Signer,
    ) -> Self {
        let channel = format!(
            "[package]\n{}\n[channel.hawkbit]\nserver = \"{url}\"\ncontroller_id = \"{DEVICE}\"\nspread = \"0s\"\n{section}\n",
            signer.trusted_section(),
        );
        Self { payload: setup.sections(&channel).start(), server, signer }
    }

    /// Sealed firmware of this version and so many bytes.
    pub(super) fn sealed(&self, version: &str, size: u64) -> PathBuf {
        let firmware = self.payload.firmware_of(version, size);
        self.signer.seal_file(&firmware).unwrap();
        firmware
    }

    /// The sealed new program.
    pub(super) fn firmware(&self) -> PathBuf {
        let firmware = self.payload.new_firmware();
        self.signer.seal_file(&firmware).unwrap();
        firmware
    }

    /// Assigns these files, each a software module; the number of the action.
    pub(super) fn offer(&mut self, files: &[&Path]) -> u64 {
        self.offer_as(Handling::Forced, None, files)
    }

    pub(super) fn offer_as(
        &mut self,
        handling: Handling,
        closed_looks: Option<u32>,
        files: &[&Path],
    ) -> u64 {
        let action = self
            .server
            .assign(DEVICE, Deployment { handling, closed_looks, chunks: chunks(files) });
        self.polls();
        action
    }

    /// Assigns the new program.
    pub(super) fn offer_new(&mut self) -> u64 {
        let firmware = self.firmware();
        self.offer(&[&firmware])
    }

    /// The channels run from now on.
    pub(super) fn polls(&mut self) {
        if self.payload.channels_pid().is_none() {
            self.payload.start_channels().unwrap();
        }
    }

    pub(super) fn restart_channels(&mut self) {
        self.payload.kill_channels();
        self.payload.start_channels().unwrap();
    }

    /// Waits until the server has seen this.
    #[track_caller]
    pub(super) fn sees(&self, what: &str, wanted: impl FnMut(&Event) -> bool) -> Event {
        let seen = self.server.events().wait_for(LONG, wanted);
        seen.unwrap_or_else(|| panic!("{what} did not come: {}", self.seen()))
    }

    /// Waits until this was said of the action, and taken.
    #[track_caller]
    pub(super) fn hears(&self, action: u64, wanted: &str) {
        self.sees(wanted, |event| {
            said(event, action).is_some_and(|said| said.status == 200 && said.word == wanted)
        });
    }

    /// Waits for so many polls from now on.
    #[track_caller]
    pub(super) fn is_polled(&self, times: usize) {
        let mut events = self.server.events();
        while events.next(Duration::ZERO).is_some() {}
        for _ in 0..times {
            let poll = events.wait_for(LONG, |event| matches!(event, Event::Poll { .. }));
            assert!(poll.is_some(), "no poll: {}", self.seen());
        }
    }

    /// All that was said of an action so far.
    pub(super) fn said(&self, action: u64) -> Vec<Said> {
        self.server.events().so_far().iter().filter_map(|event| said(event, action)).collect()
    }

    pub(super) fn words(&self, action: u64) -> Vec<String> {
        self.said(action).into_iter().map(|said| said.word).collect()
    }

    /// Waits until the action is over at the server; what was said of it.
    #[track_caller]
    pub(super) fn over(&self, action: u64) -> Vec<Said> {
        self.sees("the end", |event| match event {
            Event::Action { action: of, state, .. } => *of == action && !state.is_active(),
            _ => false,
        });
        self.said(action)
    }

    /// Waits until the action has failed in this way and the old program runs; the details.
    #[track_caller]
    pub(super) fn fails(&self, action: u64, kind: &str) -> String {
        let details = self.closes(action, "closed/failure");
        assert!(details.contains(&format!("Failure: {kind}")), "{kind}: {details}");
        assert_eq!(self.server.state(DEVICE, action), Some(State::Error));
        assert_eq!(self.payload.reported_version().unwrap(), OLD);
        details
    }

    /// Waits until the action has succeeded, and is told once.
    #[track_caller]
    pub(super) fn succeeds(&self, action: u64) -> String {
        let details = self.closes(action, "closed/success");
        assert_eq!(self.server.state(DEVICE, action), Some(State::Finished));
        details
    }

    /// Waits until the action is closed with this word; nothing before it was final, and nothing is
    /// said after it.
    #[track_caller]
    fn closes(&self, action: u64, word: &str) -> String {
        self.over(action);
        self.acknowledged();
        let said = self.said(action);
        let ends: Vec<&Said> = said.iter().filter(|said| said.word.starts_with("closed")).collect();
        let taken = ends.iter().filter(|said| said.status == 200).count();
        assert!(taken <= 1, "{said:?}");
        assert_eq!(ends.last().map(|end| &*end.word), Some(word), "{said:?}");
        assert!(said.last().is_some_and(|last| last.word == word), "{said:?}");
        self.is_sound();
        ends.last().unwrap().details.join("\n")
    }

    /// Waits until no report waits for the server.
    #[track_caller]
    pub(super) fn acknowledged(&self) {
        let settled = self.payload.wait_for_status(|status| {
            status.phase == Phase::Idle && status.unacknowledged.is_empty()
        });
        settled.unwrap_or_else(|error| panic!("{error:#}: {}", self.seen()));
    }

    /// Waits until the daemon has so many bytes of a file.
    #[track_caller]
    pub(super) fn has_received(&self, bytes: u64) {
        let has = |status: &Status| {
            status.upgrade.as_ref().is_some_and(|upgrade| upgrade.progress.done >= bytes)
        };
        self.payload
            .wait_for_status(has)
            .unwrap_or_else(|error| panic!("{error:#}: {}", self.seen()));
    }

    pub(super) fn report(&self) -> Report {
        self.payload.last_report()
    }

    /// What is never so, whatever happens.
    #[track_caller]
    pub(super) fn is_sound(&self) {
        let events = self.server.events().so_far();
        assert!(!events.iter().any(|event| matches!(event, Event::SecretLeaked { .. })));
        assert!(!self.log().contains("panicked"), "{}", self.log());
    }

    /// What the channels wrote.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.payload.log("channels")).unwrap_or_default()
    }

    /// What `uplift status` shows of the channel, once it shows this.
    #[track_caller]
    pub(super) fn shows(&self, text: &str) -> String {
        let end = Instant::now() + LONG;
        let is_shown = |status: &Status| {
            assert!(Instant::now() < end, "{text}: {}", self.seen());
            status.channels.iter().any(|channel| channel.sentence.contains(text))
        };
        self.payload
            .wait_for_status(is_shown)
            .unwrap_or_else(|error| panic!("{error:#}: {}", self.payload.uplift(&["status"]).1));
        self.payload.uplift(&["status"]).1
    }

    /// The downloads so far: from which byte on, how many bytes.
    pub(super) fn downloads(&self) -> Vec<(u64, u64)> {
        let events = self.server.events().so_far().into_iter();
        let downloads = events.filter_map(|event| match event {
            Event::Download { from, sent, status: 200 | 206, .. } => Some((from, sent)),
            _ => None,
        });
        downloads.collect()
    }

    fn seen(&self) -> String {
        let events = self.server.events().so_far();
        let lines: Vec<String> = events.iter().map(ToString::to_string).collect();
        format!("\n{}\n{}", lines.join("\n"), self.log())
    }
}

/// Each file as a software module.
pub(super) fn chunks(files: &[&Path]) -> Vec<Chunk> {
    files.iter().map(|file| Chunk::of_file(file).unwrap()).collect()
}

/// These bytes as a software module whose file has this name.
pub(super) fn chunk(name: &str, bytes: &[u8]) -> Chunk {
    Chunk::of("payload-fw", "2.0.0", Artifact::new(name, bytes))
}

fn said(event: &Event, of: u64) -> Option<Said> {
    let Event::Feedback { action, resource, execution, finished, details, status, .. } = event
    else {
        return None;
    };
    let word = match finished {
        Some(finished) => format!("{execution}/{finished}"),
        None => execution.clone(),
    };
    (*action == of).then(|| Said {
        resource: resource.clone(),
        word,
        details: details.clone(),
        status: *status,
    })
}
