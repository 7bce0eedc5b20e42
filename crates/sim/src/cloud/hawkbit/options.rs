//! What the simulated server is told to be. Knows nothing of how it comes about.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;

use crate::cloud::content::Content;
use crate::cloud::delivery::Delivery;

/// How the server is. The default is a server of the newest release that is as it should be.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 is any free one.
    pub listen: SocketAddr,
    /// What stands before the tenant in its links, where that is not what it listens at: behind a
    /// proxy with TLS.
    pub public_url: Option<String>,
    /// The tenant.
    pub tenant: String,
    /// Which server it is.
    pub release: Release,
    /// Who may ask.
    pub auth: Auth,
    /// Offered to each device that appears.
    pub deployment: Option<Deployment>,
    /// The number of the first action.
    pub first_action: u64,
    /// `sleep` of the poll, as it is sent.
    pub sleep: String,
    /// A device must confirm what it is offered.
    pub confirmation: bool,
    /// How artifacts are handed out.
    pub delivery: Delivery,
    /// Links to artifacts lead to the second server, as those of a content delivery network do.
    pub cdn: bool,
    /// How the first feedbacks are lost, one after the other.
    pub lost_feedbacks: Vec<Lost>,
    /// What is not true in its answers.
    pub lies: Vec<Lie>,
    /// What happens in the course of an action, each once.
    pub turns: Vec<(Moment, Turn)>,
    /// Entries that an action may have.
    pub entry_quota: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            public_url: None,
            tenant: "DEFAULT".to_owned(),
            release: Release::V1_1,
            auth: Auth::None,
            deployment: None,
            // A client for microcontrollers could not cancel actions whose number ended with a zero.
            first_action: 10,
            sleep: "00:05:00".to_owned(),
            confirmation: false,
            delivery: Delivery::default(),
            cdn: false,
            lost_feedbacks: Vec::new(),
            lies: Vec::new(),
            turns: Vec::new(),
            entry_quota: 1000,
        }
    }
}

/// Which server is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Release {
    /// hawkBit 0.9: quota is 403, text that looks like markup is refused, old headers of proxies.
    #[value(name = "0.9")]
    V0_9,
    /// hawkBit 0.10: quota is 429, old headers of proxies.
    #[value(name = "0.10")]
    V0_10,
    /// hawkBit 1.0: new headers of proxies; a range far into a file takes its time.
    #[value(name = "1.0")]
    V1_0,
    /// hawkBit 1.1.
    #[default]
    #[value(name = "1.1")]
    V1_1,
    /// What comes after hawkBit 1.1: a confirmation can be taken back.
    Master,
    /// gooseBit 0.2.12: one software a device, SHA-1 only, nothing to cancel or to confirm.
    Goosebit,
    /// The Rust crate hawkbit_mock: takes what it expects word by word, knows no ranges.
    Mock,
}

/// Who may ask. The second of each is the secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    /// Anybody.
    None,
    /// Whoever says `TargetToken` and this.
    Target(String),
    /// Whoever says `GatewayToken` and this.
    Gateway(String),
    /// Whoever comes through a proxy that tells a device and this hash of the certificate's issuer.
    Proxy(String),
}

// Secrets stay out of what is printed.
impl std::fmt::Debug for Auth {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::None => "None",
            Self::Target(_) => "Target(..)",
            Self::Gateway(_) => "Gateway(..)",
            Self::Proxy(_) => "Proxy(..)",
        })
    }
}

/// What is to be installed, and how.
#[derive(Debug, Clone, Default)]
pub struct Deployment {
    /// Software modules.
    pub chunks: Vec<Chunk>,
    /// How urgent it is.
    pub handling: Handling,
    /// There is a maintenance window, and it is closed for so many looks at the deployment.
    pub closed_looks: Option<u32>,
}

/// How urgent it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Handling {
    /// Download and update at once.
    #[default]
    Forced,
    /// Download and update when it suits: `attempt`.
    Soft,
    /// Download at once, and update never: it ends with `downloaded`.
    DownloadOnly,
    /// Neither: `skip`.
    Skip,
}

/// A software module.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Key of its type: `os`, `bApp`, …
    pub part: String,
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Its files.
    pub artifacts: Vec<Artifact>,
    /// Keys and values.
    pub metadata: Vec<(String, String)>,
}

/// A file of a software module.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// Name.
    pub name: String,
    /// Bytes.
    pub content: Content,
}

impl Deployment {
    /// One file as the only one of a software module.
    #[must_use]
    pub fn of(chunk: Chunk) -> Self {
        Self { chunks: vec![chunk], ..Self::default() }
    }
}

impl Chunk {
    /// A software module with one file, named as firmware files are: `Product_Vaa.bb.cc.dd.bin` makes
    /// its name and version; whatever else the file is called is the name of version 1.0.0.
    pub fn of_file(path: &Path) -> anyhow::Result<Self> {
        let artifact = Artifact::of_file(path)?;
        let stem = artifact.name.strip_suffix(".bin").unwrap_or(&artifact.name);
        let (name, version) = match stem.rsplit_once('_') {
            Some((name, version)) if version.parse::<crate::Version>().is_ok() => (name, version),
            _ => (stem, "1.0.0"),
        };
        Ok(Self::of(name, version, artifact.clone()))
    }

    /// A software module of the type `os` with this file.
    #[must_use]
    pub fn of(name: &str, version: &str, artifact: Artifact) -> Self {
        Self {
            part: "os".to_owned(),
            name: name.to_owned(),
            version: version.to_owned(),
            artifacts: vec![artifact],
            metadata: Vec::new(),
        }
    }

    pub(super) fn artifact(&self, name: &str) -> Option<&Artifact> {
        self.artifacts.iter().find(|artifact| artifact.name == name)
    }
}

impl Artifact {
    /// The file at `path`.
    pub fn of_file(path: &Path) -> anyhow::Result<Self> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{} has no name of text", path.display()))?;
        Ok(Self { name: name.to_owned(), content: Content::open(path)? })
    }

    /// A file with these bytes.
    #[must_use]
    pub fn new(name: &str, bytes: &[u8]) -> Self {
        Self { name: name.to_owned(), content: Content::new(bytes) }
    }
}

/// How a feedback is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lost {
    /// It is not stored, and the answer is 500.
    Error,
    /// It is stored, and the connection cut before the answer.
    Answer,
    /// It is not stored, and the connection cut before the answer.
    Request,
    /// It is not stored, and the answer is 429.
    Quota,
    /// It is not stored, and the answer is 400.
    BadRequest,
}

/// Which digests are told of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Digests {
    /// Right SHA-1 alone.
    Sha1Only,
    /// None.
    None,
    /// Wrong ones.
    Wrong,
    /// In upper case.
    UpperCase,
    /// Cut short.
    Short,
}

/// What is not as it should be in the server's answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lie {
    /// Digests.
    Digests(Digests),
    /// The size of each file is this.
    Size(i64),
    /// The deployment says that it is another action.
    OtherAction,
    /// Each link to a file is this text.
    Href(String),
    /// The link to the deployment is this text.
    PollHref(String),
    /// A member of the poll's answer, named by a JSON pointer, is missing.
    PollMissing(String),
    /// A member of the poll's answer, named by a JSON pointer, is this instead; with the pointer `""`
    /// all of it.
    PollReplaced(String, serde_json::Value),
    /// A member of the deployment, named by a JSON pointer, is missing.
    Missing(String),
    /// A member of the deployment, named by a JSON pointer, is this instead.
    Replaced(String, serde_json::Value),
    /// A name in the deployment has 10 MiB.
    HugeString,
    /// The answer is text that is no JSON.
    Garbage,
    /// The answer is JSON that ends in the middle.
    HalfJson,
}

/// When something happens in the course of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Moment {
    /// After the device read what it is offered.
    BeforeDownload,
    /// In the middle of a file.
    InDownload,
    /// At the first feedback after the last file was sent.
    Installing,
}

/// What happens.
#[derive(Debug, Clone)]
pub enum Turn {
    /// The action is cancelled.
    Cancel,
    /// The device is offered this instead.
    Change(Deployment),
    /// The server goes away for a while, and with it all connections.
    Restart(Duration),
}
