//! The other processes of uplift, which the daemon has systemd start where its configuration needs
//! them, and not before: the port of the upload server, whose password is published, and the
//! channels of the network.

use std::io;
use std::sync::Arc;

use crate::config::{Config, TransferChoice};
use crate::engine::Engine;
use crate::host::unit;
use crate::model::{Failure, FailureKind};

/// Holds the port, and starts the server at the first connection.
const SOCKET: &str = "uplift-ftp.socket";
/// The process of the network's channels.
const CHANNELS: &str = "uplift-channels.service";
/// The daemon's own unit.
const DAEMON: &str = "uplift.service";

/// Has systemd start what this configuration needs. What keeps it from that is a notice in the
/// status.
pub(super) async fn start(config: Arc<Config>, engine: Engine) {
    let (port, channels) = (needs_port(&config), config.networks().next().is_some());
    if !(port || channels) || !is_the_service().await {
        return;
    }
    if port && let Some(reason) = refused(SOCKET, &["start", "--", SOCKET]).await {
        engine.tell(not_open(&config, reason)).await;
    }
    // It waits for the daemon, which must not wait for it.
    let start = ["start", "--no-block", "--", CHANNELS];
    if channels && let Some(reason) = refused(CHANNELS, &start).await {
        engine.tell(not_started(reason)).await;
    }
}

/// Why systemd does not start a unit. One that is masked or not installed is not wanted: somebody
/// has something else in its place.
async fn refused(unit: &str, arguments: &[&str]) -> Option<io::Error> {
    let reason = unit::systemctl(arguments).await.err()?;
    let unit = unit::show(unit).await.ok()?;
    (unit.load_state == "loaded" && unit.active_state != "active").then_some(reason)
}

fn not_started(reason: io::Error) -> Failure {
    let sentence = format!("{CHANNELS} can't be started, so nothing comes from the network");
    let hint = format!("`systemctl status {CHANNELS}` says why; then `systemctl start {CHANNELS}`");
    Failure::new(FailureKind::TransferFailed, sentence).because(reason).with_hint(hint)
}

fn not_open(config: &Config, reason: io::Error) -> Failure {
    let port = config.ftp.address.port();
    let sentence = format!(
        "{SOCKET} can't be started, so uplift's own FTP server takes no uploads; another server may hold port {port}"
    );
    let hint = format!(
        "`ss -ltnp sport = :{port}` names who holds it: stop that and restart {DAEMON}, or mask {SOCKET} where the other server is the one to pull from"
    );
    Failure::new(FailureKind::TransferFailed, sentence).because(reason).with_hint(hint)
}

fn needs_port(config: &Config) -> bool {
    config.link.as_ref().is_some_and(|link| link.transfer != TransferChoice::Dcftp)
        && config.ftp.address.ip().is_loopback()
}

/// A daemon that a person started, or a test, changes nothing on the machine.
async fn is_the_service() -> bool {
    unit::show(DAEMON).await.is_ok_and(|unit| unit.main_pid == Some(std::process::id()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(sections: &str) -> Config {
        Config::parse(
            &format!("[component.program]\nname = \"demo\"\nproduct = \"DEMO\"\n{sections}"),
            Path::new("uplift.toml"),
        )
        .unwrap()
    }

    #[test]
    fn the_port_is_needed_where_a_host_may_be_told_of_it() {
        for (sections, needed) in [
            ("", false),
            ("[ftp_server]\nlisten = \"0.0.0.0:21\"", false),
            ("[channel.psdk]", true),
            ("[channel.psdk]\ntransfer = \"ftp\"", true),
            ("[channel.psdk]\ntransfer = \"dcftp\"", false),
            ("[channel.psdk]\n[transfer.ftp]\naddress = \"192.0.2.7:21\"", false),
        ] {
            assert_eq!(needs_port(&config(sections)), needed, "{sections}");
        }
    }

    #[test]
    fn a_port_that_is_taken_is_a_sentence_with_its_reason_and_a_hint() {
        let failure =
            not_open(&config("[channel.psdk]"), std::io::Error::other("Address already in use"));
        let (sentence, hint) = (failure.to_string(), failure.hint.clone().unwrap_or_default());
        assert!(
            sentence.contains("port 21")
                && sentence.contains("Address already in use")
                && hint.contains("sport = :21"),
            "{failure:?}"
        );
    }
}
