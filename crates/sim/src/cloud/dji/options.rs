//! What the simulated platform is told to be, and what it asks for.

use std::net::{Ipv4Addr, SocketAddr};

use crate::cloud::broker::Choice;
use crate::cloud::content::Content;
use crate::cloud::delivery::Delivery;

/// How the platform is.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its broker.
    pub broker: Choice,
    /// Where files are handed out; port 0 is any free one.
    pub listen: SocketAddr,
    /// How they are.
    pub delivery: Delivery,
    /// The URL of a file is not valid any more after its first request.
    pub expires: bool,
    /// How a topology is answered: the code, or not at all.
    pub topology: Option<i64>,
    /// Which events are answered.
    pub answers: Answers,
}

/// Which progress events are answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Answers {
    /// All.
    #[default]
    Always,
    /// None.
    Never,
    /// Final ones from the third telling on.
    Late,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Order {
    /// The devices.
    pub devices: Vec<Device>,
}

/// One device of it.
#[derive(Debug, Clone)]
pub struct Device {
    /// Its serial number.
    pub sn: String,
    /// The version that it should have.
    pub product_version: String,
    /// `firmware_upgrade_type`.
    pub kind: u64,
    /// The file, if it has one.
    pub file: Option<File>,
}

/// A file, and what is said of it.
#[derive(Debug, Clone)]
pub struct File {
    /// Its bytes.
    pub content: Content,
    /// Its name.
    pub name: String,
    /// What is said of its MD5.
    pub md5: Md5,
    /// What is added to its size.
    pub size_error: i64,
}

/// What is said of a file's MD5.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Md5 {
    /// The truth, in small letters.
    #[default]
    Right,
    /// The truth, in capitals.
    Upper,
    /// That of another file.
    Wrong,
    /// Nothing.
    None,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            broker: Choice::default(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            delivery: Delivery::default(),
            expires: false,
            topology: Some(0),
            answers: Answers::Always,
        }
    }
}

impl Order {
    /// One file for one device.
    #[must_use]
    pub fn of(sn: &str, product_version: &str, content: Content, name: &str) -> Self {
        let file = File { content, name: name.to_owned(), md5: Md5::Right, size_error: 0 };
        let (sn, product_version) = (sn.to_owned(), product_version.to_owned());
        Self { devices: vec![Device { sn, product_version, kind: 4, file: Some(file) }] }
    }
}
