//! Deltas: a program as what turns an older one into it, small because most of a new build is the old
//! one, moved.
//!
//! [`make`] needs the memory of both programs and some times more; [`apply`] reads the old program where
//! it must, writes the new one from its beginning to its end, and has the same memory whatever their
//! size. docs/wire/delta.md has the bytes. Nothing here knows what a container or a payload is.

mod base;
mod coder;
mod field;
mod format;
mod made;
mod plan;

use std::io;

pub use base::Base;
pub use format::apply;
pub use plan::make;

/// Smallest and largest window, in bytes: what of the new program is remembered.
pub const WINDOWS: std::ops::RangeInclusive<u64> = 1024..=4 << 20;

/// Why a delta is not applied, or not made.
#[derive(Debug)]
#[non_exhaustive]
pub enum DeltaError {
    /// It is none, or not one of these two programs; what is wrong of it.
    Wrong(&'static str),
    /// It ends before its end.
    CutOff,
    /// Something stands behind its end.
    Behind,
    /// The delta can't be read.
    Input(io::Error),
    /// The old program can't be read.
    Base(io::Error),
    /// What comes of it can't be written.
    Output(io::Error),
}

impl std::fmt::Display for DeltaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Wrong(what) => what,
            Self::CutOff => "it ends before its end",
            Self::Behind => "something stands behind its end",
            Self::Input(_) => "it can't be read",
            Self::Base(_) => "the old program can't be read",
            Self::Output(_) => "its bytes can't be passed on",
        })
    }
}

impl std::error::Error for DeltaError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Input(error) | Self::Base(error) | Self::Output(error) => Some(error),
            Self::Wrong(_) | Self::CutOff | Self::Behind => None,
        }
    }
}
