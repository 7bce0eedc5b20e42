//! Where the words of daemon and FTP server go: to the journal with fields where systemd reads
//! them, otherwise to stderr as lines for a person. Knows of what is logged only which upgrade it
//! is about.

mod about;
pub(crate) mod message;
#[cfg(test)]
pub(crate) mod said;

use std::io;
use std::os::fd::AsFd as _;

use anstream::{AutoStream, ColorChoice};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

pub(crate) use about::{About, about};

use about::WithUpgrade;

/// Environment variable that chooses what is logged, such as `uplift=debug`.
const FILTER: &str = "UPLIFT_LOG";

/// Installs the log; `identifier` names the process in the journal.
pub(crate) fn install(identifier: &str) {
    let chosen = std::env::var(FILTER)
        .ok()
        .filter(|text| !text.is_empty())
        .and_then(|text| text.parse::<Targets>().ok());
    // Without a filter every dependency's innermost thoughts would reach the journal.
    let filter = chosen.unwrap_or_else(|| {
        Targets::new()
            .with_target("uplift", tracing::Level::INFO)
            .with_default(tracing::Level::WARN)
    });
    let journal = if stderr_is_journal() { tracing_journald::layer().ok() } else { None };
    // A second log in the same process keeps the first.
    let _ = match journal {
        Some(layer) => {
            let layer = layer.with_field_prefix(None).with_syslog_identifier(identifier.to_owned());
            tracing_subscriber::registry().with(WithUpgrade(layer).with_filter(filter)).try_init()
        }
        None => {
            // The fields are for `journalctl`; a person reads the sentence.
            let sentence =
                debug_fn(
                    |out, field, value| {
                        if field.name() == "message" { write!(out, "{value:?}") } else { Ok(()) }
                    },
                );
            let lines = tracing_subscriber::fmt::layer()
                .with_target(false)
                .with_ansi(AutoStream::choice(&io::stderr()) != ColorChoice::Never)
                .without_time()
                .fmt_fields(sentence)
                .with_writer(io::stderr);
            tracing_subscriber::registry().with(lines.with_filter(filter)).try_init()
        }
    };
}

/// systemd names the journal's stream by device and inode (systemd.exec(5)), because the variable
/// is inherited by processes whose stderr is something else.
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stderr) = nix::sys::stat::fstat(io::stderr().as_fd()) else { return false };
    stream == format!("{}:{}", stderr.st_dev, stderr.st_ino)
}
