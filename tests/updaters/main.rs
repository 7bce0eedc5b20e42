//! Other updaters as they are: Debian's RAUC, SWUpdate and apt-get install what the daemon hands
//! them, by the configurations of docs/use/components.md. Apart from tests/story/updater.rs, which
//! needs neither root nor packages.

#![allow(clippy::disallowed_methods, reason = "files of a test need not survive anything")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on should stop where it is"
)]

mod apt;
mod payload;
mod rauc;
mod swupdate;
#[path = "../world/watched.rs"]
mod watched;
