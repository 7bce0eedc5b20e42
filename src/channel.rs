//! Who asks for an upgrade: one folder or file a system. A channel knows its peer's words and the
//! engine's handle, nothing else.

pub(crate) mod loopback;
// Its loop comes next.
#[allow(dead_code)]
pub mod luatos;
// The channels that use it come next.
#[allow(dead_code)]
pub(crate) mod offer;
pub mod psdk;
