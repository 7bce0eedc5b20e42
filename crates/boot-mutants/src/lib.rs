//! The bootloader core with one mistake each. Its text is that of crates/boot/src, changed in one
//! or two places by the build script, so that no mistake is ever part of what is shipped, and none
//! grows old: a place that is not there exactly once fails the build.

// Cut out of another crate, they are not all used here.
#![allow(dead_code, unused_imports, unused_variables, clippy::all, missing_docs)]

include!(concat!(env!("OUT_DIR"), "/mutants.rs"));
