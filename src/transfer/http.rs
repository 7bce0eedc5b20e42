//! Files over HTTP and HTTPS: fetched to the last byte over connections that break, from servers
//! that lie (docs/use/download.md), at a rate that leaves others theirs.
//!
//! Blocking, on a thread of the caller's. It knows nothing of what is in a file, of digests, or of
//! who asked. Nothing that it says names a secret: no query of a URL, no token.

mod accept;
mod client;
mod download;
mod pace;
mod piece;
mod redirect;
mod retry_after;
mod socket;
mod transport;
mod trouble;
mod url;
mod validator;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ureq::http::HeaderValue;
pub(crate) use ureq::http::{Method, header};

pub(crate) use client::{Ask, Client, Reply};
pub(crate) use download::download;
pub(crate) use piece::Pieces;
pub(crate) use trouble::Trouble;
pub(crate) use url::{Url, WrongUrl};
pub(crate) use validator::Validator;

/// What is to be fetched.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Where it lies.
    pub(crate) url: Url,
    /// Its size in bytes, where it was announced.
    pub(crate) size: Option<u64>,
    /// The largest file in bytes that may come.
    pub(crate) most: u64,
    /// Who asks.
    pub(crate) authorization: Option<Authorization>,
    /// Whether it comes in pieces.
    pub(crate) pieces: Pieces,
}

/// Bytes that are there durably, and what proves of which file they are.
#[derive(Debug, Clone)]
pub(crate) struct Have {
    /// How many.
    pub(crate) bytes: u64,
    /// What [`Sink::begin`] was given with them.
    pub(crate) validator: Validator,
}

/// Where the bytes go.
pub(crate) trait Sink {
    /// The body goes on behind `offset` of `total` bytes. Called once before the first byte, and
    /// again with offset 0 when the server began anew: what was there is of no use then. The
    /// validator is what a later download needs to go on.
    fn begin(&mut self, offset: u64, total: Option<u64>, validator: &Validator) -> io::Result<()>;

    /// The next bytes, never none. An error ends the download.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// The server is about to be asked for it, or for the rest of it. An error ends the download.
    fn asks(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// The server has answered with it, or with a part of it.
    fn answered(&mut self) {}

    /// It goes on after a pause, because of this.
    fn pauses(&mut self, _trouble: &Trouble, _pause: Duration) {}
}

/// A value of the header `Authorization`, such as `Bearer …`. It never shows itself.
#[derive(Clone)]
pub(crate) struct Authorization(HeaderValue);

impl Authorization {
    /// Nothing where it can't be in a header.
    pub(crate) fn new(value: &str) -> Option<Self> {
        Self::of(value.as_bytes())
    }

    fn of(value: &[u8]) -> Option<Self> {
        let mut value = HeaderValue::from_bytes(value).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(…)")
    }
}

/// Ends downloads and exchanges from another thread, within a second.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// All that look at it end.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// For the fuzzer: takes bytes as the head of an answer. Panics where a promise is broken.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    accept::fuzz(bytes);
}
