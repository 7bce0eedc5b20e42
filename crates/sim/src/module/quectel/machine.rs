//! The module as a state machine with its platform, without a line: commands in, bytes out.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use md5::Digest as _;

use super::event::Event;
use super::options::{Options, Plan, Stage};
use crate::cloud::event::Log;

/// Longest command that the module takes.
const LONGEST_COMMAND: usize = 512;
/// Times of the module, in seconds.
const SUBMITTED: f64 = 30.0;
const READABLE: f64 = 60.0;
const UPDATING: f64 = 20.0 * 60.0;
const DOWNLOADING: f64 = 5.0;
/// What starting anew takes.
const START: f64 = 2.0;

#[derive(Debug)]
pub(super) struct Machine {
    options: Options,
    log: Log<Event>,
    echo: bool,
    line: Vec<u8>,
    out: VecDeque<Vec<u8>>,
    versions: BTreeMap<String, String>,
    /// Failures of each plan; one that is over has as many as there may be.
    failures: Vec<u32>,
    connection: u8,
    product: Option<(String, String)>,
    stage: Stage,
    /// Which plan is under way.
    current: usize,
    /// The piece: its first byte and the one behind it.
    piece: (u64, u64),
    with_sha256: bool,
    was_early: bool,
    due: Vec<(Instant, Due)>,
    /// A timer of the stage.
    until: Option<Instant>,
    reads: u32,
    answers: u32,
    own_upgrade_told: bool,
    was_reset: bool,
}

/// What is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Offer,
    File,
    Piece,
    StillDownloading,
    Push,
    Connected,
}

impl Machine {
    pub(super) fn new(options: Options, log: Log<Event>, now: Instant) -> Self {
        let failures = vec![0; options.plans.len()];
        let is_connected = options.connected && options.product.is_none();
        let due = vec![(now + options.push, Due::Push)];
        Self {
            echo: options.echo,
            connection: if is_connected { 8 } else { 0 },
            options,
            log,
            line: Vec::new(),
            out: VecDeque::new(),
            versions: BTreeMap::new(),
            failures,
            product: None,
            stage: Stage::Idle,
            current: 0,
            piece: (0, 0),
            with_sha256: false,
            was_early: false,
            due,
            until: None,
            reads: 0,
            answers: 0,
            own_upgrade_told: false,
            was_reset: false,
        }
    }

    pub(super) fn said(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    pub(super) fn say(&mut self, bytes: Vec<u8>) {
        self.out.push_back(bytes);
    }

    pub(super) fn plan(&mut self, plan: Plan) {
        self.options.plans.push(plan);
        self.failures.push(0);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.iter().map(|(time, _)| *time).chain(self.until).min()
    }

    fn after(&mut self, now: Instant, time: Duration, due: Due) {
        self.due.push((now + time, due));
    }

    fn time(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds * self.options.timers)
    }

    fn event(&mut self, text: &str) {
        self.out.push_back(format!("\r\n+QIOTEVT: {text}\r\n").into_bytes());
    }

    fn go(&mut self, stage: Stage, now: Instant) {
        self.stage = stage;
        let seconds = match stage {
            Stage::Submitted => Some(SUBMITTED),
            Stage::Readable => Some(READABLE),
            Stage::Updating => Some(UPDATING),
            Stage::Idle | Stage::PlanReceived | Stage::Downloading => None,
        };
        self.until = seconds.map(|seconds| now + self.time(seconds));
        self.due.retain(|(_, due)| matches!(due, Due::Offer | Due::Push | Due::Connected));
        if self.options.reset_in == Some(stage) && !std::mem::replace(&mut self.was_reset, true) {
            self.reset(now);
        }
    }

    pub(super) fn reset(&mut self, now: Instant) {
        self.log.tell(Event::Reset);
        self.echo = self.options.echo;
        self.line.clear();
        self.out.push_back(b"\r\nRDY\r\n".to_vec());
        if self.connection == 8 {
            self.connection = 2;
        }
        let start = self.time(START);
        self.after(now, start, Due::Connected);
        if !matches!(self.stage, Stage::Idle | Stage::Updating | Stage::PlanReceived) {
            self.fail("the module has started anew");
        } else if self.stage == Stage::PlanReceived {
            self.go(Stage::Idle, now);
        }
    }

    pub(super) fn fail(&mut self, why: &str) {
        if self.stage == Stage::Idle {
            return;
        }
        self.failures[self.current] += 1;
        let to = self.options.plans[self.current].to.clone();
        self.log.tell(Event::Failed { to, why: why.to_owned() });
        self.event("7,10706");
        (self.stage, self.until) = (Stage::Idle, None);
        self.due.retain(|(_, due)| matches!(due, Due::Offer | Due::Push | Due::Connected));
    }

    pub(super) fn push(&mut self, now: Instant) {
        self.offer(now);
    }

    pub(super) fn tick(&mut self, now: Instant) {
        let (over, left) = self.due.drain(..).partition(|(time, _)| *time <= now);
        self.due = left;
        let over: Vec<(Instant, Due)> = over;
        for (_, due) in over {
            self.happen(due, now);
        }
        if self.until.is_some_and(|until| until <= now) {
            let why = match self.stage {
                Stage::Submitted => "no file within 30 s",
                Stage::Readable => "no read within 60 s",
                _ => "no version within 20 min",
            };
            self.fail(why);
        }
    }

    fn happen(&mut self, due: Due, now: Instant) {
        match due {
            Due::Offer => self.offer(now),
            Due::Push => {
                self.offer(now);
                let push = self.options.push;
                self.after(now, push, Due::Push);
            }
            Due::Connected => {
                self.connection = 8;
                ["1,10200", "2,10200", "3,10200"].iter().for_each(|text| self.event(text));
            }
            Due::File => self.tell_file(now),
            Due::StillDownloading => {
                self.event("7,10702");
                let pause = self.time(DOWNLOADING);
                self.after(now, pause, Due::StillDownloading);
            }
            Due::Piece => {
                let plan = &self.options.plans[self.current];
                let length = plan.content.len() as u64;
                let start = self.piece.0;
                let size = self.options.piece.max(1).min(length - start);
                self.piece.1 = start + size;
                let text = format!("7,10703,\"{}\",{length},{start},{size}", plan.component);
                self.event(&text);
                self.log.tell(Event::Readable { start, size });
                self.go(Stage::Readable, now);
                if self.options.early && !std::mem::replace(&mut self.was_early, true) {
                    self.event("7,10704");
                }
            }
        }
    }

    /// The platform looks whether it has a plan for what was announced.
    fn offer(&mut self, now: Instant) {
        if !matches!(self.stage, Stage::Idle | Stage::PlanReceived) || self.connection != 8 {
            return;
        }
        let wanted = self.options.plans.iter().zip(&self.failures).position(|(plan, failures)| {
            let version = self.versions.get(&plan.component);
            *failures < self.options.tries
                && version.is_some_and(|version| {
                    *version != plan.to && (plan.from.is_empty() || plan.from == *version)
                })
        });
        let Some(wanted) = wanted else { return };
        if self.options.own_upgrade && !std::mem::replace(&mut self.own_upgrade_told, true) {
            ["7,10701", "7,10702", "7,10703"].iter().for_each(|text| self.event(text));
        }
        self.current = wanted;
        let plan = self.options.plans[wanted].clone();
        let space = plan.space.unwrap_or(plan.content.len() as u64);
        let text = format!(
            "7,10700,\"{}\",\"{}\",\"{}\",{},{},{space}",
            plan.component, plan.from, plan.to, plan.battery, plan.signal
        );
        self.event(&text);
        self.log.tell(Event::Planned { component: plan.component, to: plan.to });
        self.go(Stage::PlanReceived, now);
    }

    fn tell_file(&mut self, now: Instant) {
        let plan = &self.options.plans[self.current];
        let mut text = format!("7,10701,\"{}\",{}", plan.component, plan.content.len());
        let (content, wrong) = (&plan.content, self.options.wrong_md5);
        let md5 = if wrong { md5::Md5::digest(b"wrong") } else { md5::Md5::digest(content) };
        let _ = write!(text, ",\"{}\",{}", hex(&md5), crc32(content));
        if self.with_sha256 && self.options.sha256 && !wrong {
            let told: &[u8] = if self.options.wrong_sha256 { b"wrong" } else { content };
            let _ = write!(text, ",\"{}\"", hex(&sha2::Sha256::digest(told)));
        }
        self.event(&text);
        self.piece = (0, 0);
        self.download(now);
    }

    fn download(&mut self, now: Instant) {
        self.go(Stage::Downloading, now);
        if self.stage != Stage::Downloading {
            return;
        }
        self.event("7,10702");
        let (latency, pause) = (self.options.latency, self.time(DOWNLOADING));
        self.after(now, latency, Due::Piece);
        self.after(now, pause, Due::StillDownloading);
    }

    pub(super) fn hear(&mut self, bytes: &[u8], now: Instant) {
        for byte in bytes {
            match byte {
                b'\r' => {
                    let line = std::mem::take(&mut self.line);
                    if !line.is_empty() {
                        self.take(&String::from_utf8_lossy(&line), now);
                    }
                }
                b'\n' => {}
                byte if self.line.len() < LONGEST_COMMAND => self.line.push(*byte),
                _ => {}
            }
        }
    }

    fn take(&mut self, command: &str, now: Instant) {
        if self.echo {
            self.out.push_back(format!("{command}\r").into_bytes());
        }
        if self.options.chatter {
            self.event("4,10200");
        }
        // What the platform has to say comes after the answer.
        let before = self.out.len();
        let ok = self.obey(command, now);
        let (answer, events): (Vec<_>, Vec<_>) = self
            .out
            .split_off(before)
            .into_iter()
            .partition(|bytes| !bytes.starts_with(b"\r\n+QIOTEVT"));
        self.log.tell(Event::Command { text: command.to_owned(), ok });
        self.answers += 1;
        if !self.options.lost_answers.contains(&self.answers) {
            self.out.extend(answer);
            let end = if ok { "\r\nOK\r\n" } else { "\r\nERROR\r\n" };
            self.out.push_back(end.into());
        }
        self.out.extend(events);
    }

    /// Whether a command is obeyed.
    fn obey(&mut self, command: &str, now: Instant) -> bool {
        let Some(text) = command.strip_prefix("AT") else { return false };
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        match (name, value) {
            ("", _) => true,
            ("E0" | "E1", _) => {
                self.echo = name == "E1";
                true
            }
            ("+CSQ", _) => self.line(&format!("+CSQ: {},99", self.options.strength)),
            ("+QIOTCFG", value) => self.configure(value),
            ("+QIOTREG", value) => self.register(value, now),
            ("+QIOTSTATE?", _) => self.line(&format!("+QIOTSTATE: {}", self.connection)),
            ("+QIOTMCUVER?", _) => {
                let all: Vec<String> = self
                    .versions
                    .iter()
                    .map(|(component, version)| {
                        format!("+QIOTMCUVER: \"{component}\",\"{version}\"")
                    })
                    .collect();
                all.iter().all(|line| self.line(line))
            }
            ("+QIOTMCUVER", value) => self.version(value, now),
            ("+QIOTOTAREQ", value) => self.request(value, now),
            ("+QIOTUPDATE", value) => self.action(value, now),
            ("+QIOTOTARD", "?") => {
                let (start, most) = (self.piece.0, self.options.most);
                self.line(&format!("+QIOTOTARD: {start},(1-{most})"))
            }
            ("+QIOTOTARD", value) => self.read(value, now),
            _ => false,
        }
    }

    fn line(&mut self, text: &str) -> bool {
        self.out.push_back(format!("\r\n{text}\r\n").into_bytes());
        true
    }

    fn configure(&mut self, value: &str) -> bool {
        let fields = fields(value);
        if let [name, key, secret] = &fields[..]
            && name == "productinfo"
        {
            self.product = Some((key.clone(), secret.clone()));
        }
        fields.len() > 1
    }

    fn register(&mut self, value: &str, now: Instant) -> bool {
        if value == "0" {
            self.connection = 11;
            return true;
        }
        if self.options.product.is_some() && self.product.is_none() {
            return false;
        }
        if self.options.product == self.product {
            let latency = self.options.latency;
            self.after(now, latency, Due::Connected);
        } else {
            self.connection = 4;
            self.event("1,10422");
        }
        true
    }

    fn version(&mut self, value: &str, now: Instant) -> bool {
        let fields = fields(value);
        let [component, rest @ ..] = &fields[..] else { return false };
        let [version] = rest else {
            let known = self.versions.get(component).cloned();
            return known.is_none_or(|version| {
                self.line(&format!("+QIOTMCUVER: \"{component}\",\"{version}\""))
            });
        };
        if component.len() > 32 || version.len() > 64 {
            return false;
        }
        self.log.tell(Event::Announced { component: component.clone(), version: version.clone() });
        self.versions.insert(component.clone(), version.clone());
        let is_judged = !matches!(self.stage, Stage::Idle | Stage::PlanReceived);
        if is_judged && self.options.plans[self.current].component == *component {
            self.judge(&version.clone(), now);
        }
        true
    }

    fn judge(&mut self, version: &str, now: Instant) {
        let to = self.options.plans[self.current].to.clone();
        if version != to {
            self.fail(&format!("{version} was announced"));
            return;
        }
        self.log.tell(Event::Succeeded { to });
        self.event("7,10705");
        self.go(Stage::Idle, now);
        // The next plan need not wait to be asked for.
        let latency = self.options.latency;
        self.after(now, latency, Due::Offer);
    }

    fn request(&mut self, value: &str, now: Instant) -> bool {
        if value == "1" && !self.options.knows_sha256 {
            return false;
        }
        if self.connection != 8 {
            return false;
        }
        self.with_sha256 = value == "1";
        let latency = self.options.latency;
        self.after(now, latency, Due::Offer);
        true
    }

    fn action(&mut self, value: &str, now: Instant) -> bool {
        let length = self.options.plans.get(self.current).map_or(0, |plan| plan.content.len());
        let is_last = self.piece.1 == length as u64;
        let latency = self.options.latency;
        match (value, self.stage) {
            ("0", Stage::PlanReceived) => {
                let to = self.options.plans[self.current].to.clone();
                self.log.tell(Event::Refused { to });
                self.go(Stage::Idle, now);
                // It is not offered again before the platform's time is over.
                self.failures[self.current] = self.options.tries;
            }
            ("1", Stage::PlanReceived) => {
                let to = self.options.plans[self.current].to.clone();
                self.log.tell(Event::Accepted { to });
                self.go(Stage::Submitted, now);
                if self.stage == Stage::Submitted {
                    self.after(now, latency, Due::File);
                }
            }
            ("1", Stage::Submitted) => {}
            ("2", Stage::Readable) if !is_last => {
                self.piece.0 = self.piece.1;
                self.download(now);
            }
            ("3", Stage::Readable) if is_last && !self.options.early => {
                self.log.tell(Event::Updating);
                self.event("7,10704");
                self.go(Stage::Updating, now);
            }
            ("3", Stage::Updating) => {}
            _ => return false,
        }
        true
    }

    fn read(&mut self, value: &str, now: Instant) -> bool {
        let numbers = value.split_once(',').and_then(|(start, length)| {
            Some((start.parse::<u64>().ok()?, length.parse::<u32>().ok()?))
        });
        let Some((start, length)) = numbers else { return false };
        let (from, to) = self.piece;
        if self.stage != Stage::Readable || !(from..to).contains(&start) || length == 0 {
            return false;
        }
        self.until = Some(now + self.time(READABLE));
        self.reads += 1;
        if self.options.failing_reads.contains(&self.reads) {
            return false;
        }
        let most = self.options.short_reads.unwrap_or(u32::MAX).min(self.options.most);
        let end = to.min(start + u64::from(length.min(most)));
        let index = |byte: u64| usize::try_from(byte).unwrap_or(usize::MAX);
        let content = &self.options.plans[self.current].content;
        let bytes = &content[index(start)..index(end)];
        let mut data = format!("\r\n+QIOTOTARD: {start},{}\r\n", bytes.len()).into_bytes();
        data.extend_from_slice(bytes);
        data.extend_from_slice(b"\r\n");
        self.out.push_back(data);
        self.log.tell(Event::Read { start, size: end - start });
        if self.options.chatter {
            self.event("4,10200");
        }
        if self.options.fails_after_reads.is_some_and(|reads| self.reads >= reads) {
            self.options.fails_after_reads = None;
            self.fail("the network is gone");
        }
        true
    }
}

fn fields(text: &str) -> Vec<String> {
    text.split(',').map(|field| field.trim_matches('"').to_owned()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// CRC-32 of IEEE 802.3.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |mut crc, byte| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let odd = crc & 1;
            crc = (crc >> 1) ^ (0xEDB8_8320 & (0_u32.wrapping_sub(odd)));
        }
        crc
    })
}
