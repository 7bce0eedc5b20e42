//! What the simulated platform is told to be.

use std::net::{Ipv4Addr, SocketAddr};

use crate::cloud::broker::Choice;
use crate::cloud::content::Content;

/// How the platform is. The default is 0.5.4 and has no task.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where files are handed out; port 0 is any free one.
    pub listen: SocketAddr,
    /// The broker.
    pub broker: Choice,
    /// Which version of the platform.
    pub generation: Generation,
    /// The device's key: its access token, or since 1.0 its number.
    pub device: String,
    /// Topics that are others than the generation's.
    pub topics: Topics,
    /// On which spelling of its topic 1.x pushes.
    pub spelling: Spelling,
    /// The task that every device gets; further ones come by `Server::push`.
    pub task: Option<Task>,
    /// When it is pushed.
    pub when: PushWhen,
    /// Whether the broker keeps the push.
    pub is_retained: bool,
    /// How often each push is published.
    pub times: u32,
    /// How often 0.5.4 pushes again after a version that is not the wanted one.
    pub retries: u32,
    /// How files are handed out.
    pub way: Way,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            broker: Choice::default(),
            generation: Generation::default(),
            device: "PAYLOAD0001".to_owned(),
            topics: Topics::default(),
            spelling: Spelling::default(),
            task: None,
            when: PushWhen::default(),
            is_retained: false,
            times: 1,
            retries: 3,
            way: Way::default(),
        }
    }
}

/// Which version of the platform.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Generation {
    /// 0.4.8: the topic of tasks is misspelt, a task has no size.
    LegacyInfrom,
    /// 0.5.4.
    #[default]
    V05,
    /// 1.x: other topics, no version report, a size of "0" and an empty sign.
    V1,
}

/// Topics in place of the generation's; `{device}` stands for the device's key.
#[derive(Debug, Clone, Default)]
pub struct Topics {
    /// Of tasks.
    pub tasks: Option<String>,
    /// Of progress.
    pub progress: Option<String>,
    /// Of versions, which may be a filter.
    pub report: Option<String>,
}

/// How the topic of tasks is spelt since 1.0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Spelling {
    /// `infrom`, as the server's own configuration has it.
    #[default]
    Infrom,
    /// `inform`, as the documents and the broker's rules have it.
    Inform,
    /// Both, as several forks do.
    Both,
}

/// When the task of the options is pushed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum PushWhen {
    /// When a device tells its version: it is there then.
    #[default]
    OnReport,
    /// At the start, whoever hears it.
    AtStart,
}

/// An upgrade task.
#[derive(Debug, Clone)]
pub struct Task {
    /// The package's version.
    pub version: String,
    /// The module; null where there is none.
    pub module: Option<String>,
    /// Name of the file at the platform.
    pub file_name: String,
    /// The file.
    pub content: Content,
    /// What of a digest is told.
    pub signed: Signed,
    /// How its size is told; by default as the generation does it.
    pub size: Option<Size>,
    /// Whether the code is a number and no text.
    pub code_is_number: bool,
    /// Whether the URL is a path alone.
    pub path_only: bool,
    /// Instead of all of `url`.
    pub url: Option<String>,
    /// The task's name; by default nine digits by chance.
    pub id: Option<String>,
}

impl Task {
    /// One for the whole firmware, all of whose words are right.
    #[must_use]
    pub fn of(version: &str, content: Content) -> Self {
        Self {
            version: version.to_owned(),
            module: Some("default".to_owned()),
            file_name: "package.bin".to_owned(),
            content,
            signed: Signed::default(),
            size: None,
            code_is_number: false,
            path_only: false,
            url: None,
            id: None,
        }
    }
}

/// What of a digest is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Signed {
    /// As the generation does it: MD5 before 1.0, an empty one since.
    #[default]
    Usual,
    /// `MD5`.
    Md5,
    /// `SHA256`.
    Sha256,
    /// `SHA-256`, with large letters.
    Dashed,
    /// An empty `sign`.
    Empty,
    /// `signMethod` and `sign` are null.
    Null,
    /// There is neither.
    Absent,
    /// MD5, of something else.
    Wrong,
    /// A method that nobody knows.
    Unknown,
}

/// How a size is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Size {
    /// A number.
    Number,
    /// Its digits as text.
    Text,
    /// "0", which is unknown.
    Zero,
    /// Not at all.
    Absent,
    /// One too many.
    Wrong,
}

/// How files are handed out.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// What is done with a range.
    pub ranges: Ranges,
    /// Bytes a second at most.
    pub rate: Option<u64>,
    /// Cuts a body after so many bytes.
    pub cut_after: Option<u64>,
    /// How often it does; 0 is always.
    pub cuts: u32,
    /// So many of the next sums of parts are wrong.
    pub wrong_sums: u32,
    /// Statuses that the next requests are answered with instead.
    pub statuses: Vec<u16>,
}

/// What is done with a range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Ranges {
    /// As the generation does it: 206 before 1.0, 200 with `Content-Range` since.
    #[default]
    Usual,
    /// All of the file is sent.
    Ignored,
}
