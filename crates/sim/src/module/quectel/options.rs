//! What a simulated module and its platform are like.

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;

/// What a module and its platform are like; each field is a scenario.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the platform plans, one after the other.
    pub plans: Vec<Plan>,
    /// Holds the pace of a line of so many bits a second.
    pub baud: Option<u32>,
    /// Whether commands are repeated until `ATE0`.
    pub echo: bool,
    /// Most bytes of a file that the module's memory holds: the size of a piece.
    pub piece: u64,
    /// Most bytes that may be read at a time.
    pub most: u32,
    /// An event comes between each command and its `OK`, and before and after data.
    pub chatter: bool,
    /// Reads that are answered by `ERROR`, counted from 1.
    pub failing_reads: Vec<u32>,
    /// A read gives no more than so many bytes.
    pub short_reads: Option<u32>,
    /// Answers that get lost, counted from 1.
    pub lost_answers: Vec<u32>,
    /// All times of the module are multiplied by it.
    pub timers: f64,
    /// Whether SHA-256 is told where it was asked for.
    pub sha256: bool,
    /// Whether it can be asked for.
    pub knows_sha256: bool,
    /// The platform tells another MD5 than the file's, and no SHA-256.
    pub wrong_md5: bool,
    /// The platform tells another SHA-256 than the file's.
    pub wrong_sha256: bool,
    /// The module is upgraded itself before: events without data.
    pub own_upgrade: bool,
    /// The module starts anew, once, when it gets there.
    pub reset_in: Option<Stage>,
    /// The plan fails, once, after so many reads.
    pub fails_after_reads: Option<u32>,
    /// The module says that the file is being installed before it was read, and takes no such word.
    pub early: bool,
    /// Strength of the signal as `AT+CSQ` tells it, 0 to 31 or 99.
    pub strength: u32,
    /// Whether the module is connected at its start.
    pub connected: bool,
    /// Key and secret without which it does not connect.
    pub product: Option<(String, String)>,
    /// How often the platform pushes its plans by itself.
    pub push: Duration,
    /// What the platform and the network take for an answer.
    pub latency: Duration,
    /// Failures after which a plan is given up.
    pub tries: u32,
}

/// A plan of the platform.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The component.
    pub component: String,
    /// The version that it must have now; empty is any.
    pub from: String,
    /// The version that it is to have.
    pub to: String,
    /// The file.
    pub content: Arc<[u8]>,
    /// The least charge of the battery in percent.
    pub battery: u32,
    /// The weakest signal in dBm.
    pub signal: i32,
    /// Bytes that must be free; as many as the file has where nothing is said.
    pub space: Option<u64>,
}

/// Where a module is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// Nothing is planned.
    Idle,
    /// A plan is announced.
    PlanReceived,
    /// It was accepted.
    Submitted,
    /// The file comes.
    Downloading,
    /// A piece can be read.
    Readable,
    /// The file is being installed.
    Updating,
}

impl Plan {
    /// A plan for this version of a component.
    #[must_use]
    pub fn new(component: &str, to: &str, content: impl Into<Arc<[u8]>>) -> Self {
        Self {
            component: component.to_owned(),
            from: String::new(),
            to: to.to_owned(),
            content: content.into(),
            battery: 30,
            signal: -113,
            space: None,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            plans: Vec::new(),
            baud: None,
            echo: true,
            piece: u64::MAX,
            most: 1024,
            chatter: false,
            failing_reads: Vec::new(),
            short_reads: None,
            lost_answers: Vec::new(),
            timers: 1.0,
            sha256: true,
            knows_sha256: true,
            wrong_md5: false,
            wrong_sha256: false,
            own_upgrade: false,
            reset_in: None,
            fails_after_reads: None,
            early: false,
            strength: 24,
            connected: true,
            product: None,
            push: Duration::from_secs(600),
            latency: Duration::from_millis(20),
            tries: 5,
        }
    }
}
