//! The LuatOS platform, or a server of its kind: a device asks with one GET, and the answer is the
//! file, or a word that there is none. Nothing is reported, but in the turnkey protocol.

mod fuzz;
pub(crate) mod ration;
pub(crate) mod words;

pub use fuzz::fuzz;
