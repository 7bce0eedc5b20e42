//! What a host's wait for an answer hangs on: every deadline in one place, with the room between
//! them. Decides nothing.
//!
//! How long a host waits is a guess, one for all answers: [`HOST_WAIT_FOR_CHECK`], 5 s. What can't
//! end within it is not waited for.
//!
//! | the host waits for | which hangs on | that takes at most | and if it takes that long |
//! |---|---|---|---|
//! | the answer to `83` | the login at the FTP server, and the empty upload area: [`PREPARE_DEADLINE`] | less than 5 s | DCFTP is offered, or `CD` |
//! | | the empty stage | the disk's time | – |
//! | the answer to `85` | the rest of the transfer, over FTP | minutes | `06` after 5 s; where it fails, `end` later |
//! | | the version that the program tells: `preflight_deadline` of `[component.program]` | 20 s by default, 2 min at most | the same |
//! | | what systemd says of the program's unit, before the swap | 10 s, twice | the same |
//! | the answer to `4F`, `84`, `2A 01`, `2A 03` | the engine's next step | no wait of anybody's | – |
//! | the answer to `2A 02` | the disk | the disk's time | the host sends it again |
//! | `end`, once the restart is announced | `restart_deadline` and the trial's `deadline` | 255 s together | `end` all the same |
//!
//! A program that hangs is thus answered `06` and then `end` with the reason: it is not installed,
//! because the word to install is given only after the check. A `preflight_deadline` below 5 s has
//! the check fail in time for `F2`.
//!
//! [`HOST_WAIT_FOR_CHECK`]: super::guess::HOST_WAIT_FOR_CHECK
//! [`PREPARE_DEADLINE`]: crate::transfer::ftp_client::PREPARE_DEADLINE

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::super::guess::HOST_WAIT_FOR_CHECK;
    use crate::config::Config;
    use crate::transfer::ftp_client::PREPARE_DEADLINE;

    #[test]
    fn there_is_room_between_a_hosts_wait_and_what_it_hangs_on() {
        const ROOM: Duration = Duration::from_millis(500);
        assert!(PREPARE_DEADLINE + ROOM <= HOST_WAIT_FOR_CHECK);
        let config = Config::parse(
            "[component.program]\nname = \"p\"\nproduct = \"P\"\n",
            Path::new("uplift.toml"),
        )
        .unwrap();
        // Equal, it would be chance which of the two a host hears.
        assert!(
            config.components.programs().next().unwrap().common.preflight_deadline
                >= HOST_WAIT_FOR_CHECK + Duration::from_secs(10)
        );
    }
}
