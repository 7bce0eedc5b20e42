//! A hawkBit server, or one that speaks as it does: its Direct Device Integration, the side of the
//! device (docs/hawkbit.md).
//!
//! `words` are what both sides say; nothing there knows a socket or a clock.

mod fuzz;
// The loop that speaks them comes next.
#[allow(dead_code, unused_imports)]
pub(crate) mod words;

pub use fuzz::fuzz;
