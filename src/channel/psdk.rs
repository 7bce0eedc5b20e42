//! The payload link: DJI Assistant 2's "local upgrade" through the aircraft (docs/payload-link.md).

pub mod frame;
