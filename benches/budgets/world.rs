//! What the tests have too: an upgrade server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "shared with tests, where what can't go on panics"
)]

#[path = "../../tests/world/goosebit.rs"]
pub(crate) mod goosebit;
#[allow(dead_code, reason = "not all that tests ask")]
#[path = "../../tests/world/http.rs"]
mod http;
#[allow(dead_code, reason = "not all that tests do with it")]
#[path = "../../tests/world/running.rs"]
mod running;
