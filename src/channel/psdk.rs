//! The payload link: DJI Assistant 2's "local upgrade" through the aircraft
//! (docs/wire/payload-link.md).
//!
//! Data moves down this list, answers back up: a [`door`] brings [`words`], at the [`serial`] line
//! or over the [`bridge`] from the payload's own application; [`session`] decides, [`driver`]
//! performs what it decided with the engine and the transfers ([`uploads`] is the FTP side). How
//! long a host is made to wait is in `waits`.

pub mod bridge;
pub mod door;
pub mod driver;
pub mod guess;
pub mod serial;
pub mod session;
pub mod uploads;
mod waits;
pub mod words;
