//! The proof that no power cut bricks a payload or makes its daemon lie, by enumeration: for tests
//! alone.
//!
//! | module | what it is for |
//! |---|---|
//! | [`tree`] | a file tree as data |
//! | [`model`] | a file system: what is durable, what is pending |
//! | [`enumerate`] | every tree that a power cut can leave of it |
//! | [`payload`] | a payload in a directory, with the real engine |
//! | [`firmware`] | the programs of a story |
//! | [`host`] | the machine that it runs on, as a model |
//! | [`updater`] | another updater, as a model |
//! | [`recording`] | the changes of one story, and what was promised to the peer when |
//! | [`labels`] | what each change is called |
//! | [`proof`] | what must hold in every state, whoever starts from it |
//! | [`stories`] | the stories, each exhaustively |
//! | [`change`] | the stories of another updater, each exhaustively |
//! | [`fat`] | the stories on a file system that keeps less, which must not pass |
//! | [`trees`] | the exchange of two directories, exhaustively |
//! | [`mutants`] | the same stories with a step left out or exchanged, which must not pass |
//!
//! The crash model and its bounds stand in docs/design/crash-states.md.

mod change;
pub(crate) mod enumerate;
mod fat;
mod files;
mod firmware;
mod host;
mod labels;
pub(crate) mod model;
mod mutants;
mod payload;
mod proof;
mod recording;
mod setting;
mod stories;
pub(crate) mod tree;
mod trees;
mod updater;
