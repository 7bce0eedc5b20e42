//! The payload link: DJI Assistant 2's "local upgrade" through the aircraft (docs/payload-link.md).
//!
//! Data moves down this list, answers back up: [`link`] finds the aircraft ([`route`]: on which
//! port) and carries frames, [`message`] reads them, [`session`] decides, [`driver`] performs what
//! it decided with the engine and the transfers ([`uploads`] is the FTP side). How long a host is
//! made to wait is in `waits`.

pub mod driver;
pub mod frame;
pub mod guess;
pub mod link;
pub mod message;
pub mod route;
pub mod session;
pub mod uploads;
mod waits;
