//! Who asks for an upgrade: one folder or file a system. A channel knows its peer's words and the
//! engine's handle, nothing else.

pub mod hawkbit;
pub(crate) mod loopback;
// The channels that use them come next.
#[allow(dead_code)]
pub(crate) mod job;
// Its loop comes next.
#[allow(dead_code)]
pub mod luatos;
#[allow(dead_code)]
pub(crate) mod offer;
pub mod psdk;
