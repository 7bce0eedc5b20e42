//! The form of the files below `/var/lib/uplift`: what stands in them, how they are read, and what
//! outlives a version that does not know it. Who writes them is the journal (state and history), the
//! rescue (its file), whoever runs another updater (`change`), and the policy (`hold`).
//!
//! All are JSON that a person can read. A reader takes what it knows and passes over the rest, so
//! that a daemon and the one before it can follow each other in either order.

pub mod change;
pub(crate) mod checksum;
pub(crate) mod history;
pub(crate) mod hold;
pub(crate) mod memory;
pub(crate) mod part;
pub(crate) mod past;
pub(crate) mod rescue;
pub(crate) mod salvage;
pub(crate) mod state;
pub(crate) mod trial;

pub use history::HISTORY_LENGTH;
pub use past::InstalledRecord;

/// The state, in the daemon's directory.
pub(crate) const STATE_FILE: &str = "state.json";
/// The history, beside it.
pub(crate) const HISTORY_FILE: &str = "history.json";
/// Largest state or history that is read: both are far smaller, and a damaged one must not fill the
/// memory.
pub(crate) const LARGEST_FILE: u64 = 4 << 20;
