//! What the simulated platform is told to be.

use std::net::{Ipv4Addr, SocketAddr};

use crate::cloud::content::Content;
use crate::cloud::delivery::Delivery;

/// Requests for the same file in a day after which a device counts as being in a loop.
pub(super) const LOOP_LIMIT: u32 = 6;

/// How the platform is. The default has no package.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 is any free one.
    pub listen: SocketAddr,
    /// Key of the project; any is taken without one.
    pub project_key: Option<String>,
    /// The packages.
    pub packages: Vec<Package>,
    /// How a file is handed out.
    pub delivery: Delivery,
    /// What the next requests are answered with, one after the other, before all else.
    pub answers: Vec<Answer>,
    /// HTTP status of an answer that is a code; what the platform itself sends is not published.
    pub code_status: u16,
    /// Downloads of one file after which the device is told that it is in a loop; 0 is never.
    pub loop_limit: u32,
    /// A wrong SHA-256 is told by the newer protocol; empty: none at all.
    pub told_sha256: Option<String>,
    /// Results that are not answered as taken, by the newer protocol.
    pub lost_results: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            project_key: None,
            packages: Vec::new(),
            delivery: Delivery::default(),
            answers: Vec::new(),
            code_status: 400,
            loop_limit: LOOP_LIMIT,
            told_sha256: None,
            lost_results: 0,
        }
    }
}

/// A package that was uploaded.
#[derive(Debug, Clone)]
pub struct Package {
    /// `PROJECT_LuatOS-SoC_BSP`; for the newer protocol the name of the script.
    pub firmware_name: String,
    /// `core.x.z`, of which each part is a number.
    pub version: String,
    /// The file.
    pub content: Content,
}

/// What a request is answered with whatever it asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This code.
    Code(i64),
    /// This code with this HTTP status.
    CodeWith(i64, u16),
    /// 200, and nothing.
    Empty,
    /// The file, as if it were due.
    File,
    /// No answer: the connection is cut.
    Nothing,
}
