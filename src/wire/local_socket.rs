//! UNIX sockets on which the daemon listens: for its own user and the members of a group, and
//! nobody else.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;

/// Its members may ask what a person may.
pub(crate) const PEOPLE: &str = "uplift";
/// The upload server's.
pub(crate) const UPLOAD_SERVER: &str = "uplift-ftp";
/// That of the channels of the network.
pub(crate) const CHANNELS: &str = "uplift-channels";
/// That of the payload's own application.
pub(crate) const BRIDGE: &str = "uplift-bridge";
/// Owner and group may ask, nobody else.
const SOCKET_MODE: u32 = 0o660;
/// How long the socket of a daemon that was killed may answer still: a child that was on its way has
/// it until it runs its program.
const LEFT: Duration = Duration::from_secs(1);
/// Between two looks at it, of which no event tells.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Pause after an error of the socket itself.
const PAUSE: Duration = Duration::from_secs(1);

/// The id of a group in the text of /etc/group, where systemd-sysusers writes it. The C library
/// would load its name service modules for the question, and they stay in memory for ever.
fn group_id(groups: &str, name: &str) -> Option<nix::unistd::Gid> {
    let fields = groups
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&name))?;
    fields.get(2)?.parse().ok().map(nix::unistd::Gid::from_raw)
}

/// Binds the socket, which is `what`, configured as `field`, and open to a group; one that a dead
/// daemon left is removed.
pub(crate) fn bind(
    path: &Path,
    group: &str,
    what: &str,
    field: &str,
) -> anyhow::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("the directory {} can't be made", directory.display()))?;
    }
    if is_served(path) {
        anyhow::bail!("another daemon listens on {}; only one may run", path.display());
    }
    remove_left(path, what, field)?;
    let listener = UnixListener::bind(path)
        .with_context(|| format!("the {what} {} can't be made", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    let group =
        std::fs::read_to_string("/etc/group").ok().and_then(|groups| group_id(&groups, group));
    if group.is_some() {
        // A daemon without the right to give the socket away still serves its own user.
        let _ = nix::unistd::chown(path, None, group);
    }
    Ok(listener)
}

fn is_served(path: &Path) -> bool {
    let end = Instant::now() + LEFT;
    while StdStream::connect(path).is_ok() {
        if Instant::now() >= end {
            return true;
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    false
}

/// A misspelt path may lead to anybody's file, so nothing but a socket is removed.
fn remove_left(path: &Path, what: &str, field: &str) -> anyhow::Result<()> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            anyhow::bail!(
                "{} is not a socket and was left alone: the {what} needs a path of its own; correct the field {field}",
                path.display()
            )
        }
        _ => {}
    }
    std::fs::remove_file(path).with_context(|| format!("an old {what} can't be removed"))
}

/// The next client of the socket, which is `what`.
pub(crate) async fn accept(listener: &UnixListener, what: &str) -> UnixStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!("a client of the {what} could not be accepted: {error}");
                // Out of descriptors: the error would come back at once, again and again.
                sleep(PAUSE).await;
            }
        }
    }
}

/// Whose the client is. One whose user can't be told is nobody's; the kernel tells it of every
/// stream.
pub(crate) fn uid_of(stream: &UnixStream) -> u32 {
    stream.peer_cred().map_or(u32::MAX, |peer| peer.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        let groups = "root:x:0:\nuplift-ftp:x:7:\nuplift:x:998:me,you\nbroken\nwrong:x:many:\n";
        assert_eq!(group_id(groups, "uplift").map(nix::unistd::Gid::as_raw), Some(998));
        for missing in ["uplif", "broken", "wrong", ""] {
            assert_eq!(group_id(groups, missing), None, "{missing}");
        }
    }

    #[tokio::test]
    async fn what_a_daemon_that_is_gone_has_left_is_waited_for_and_another_daemon_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let open = || bind(&path, PEOPLE, "control socket", "paths.control");
        let left = std::os::unix::net::UnixListener::bind(&path).unwrap();
        // It answers once.
        let goes = std::thread::spawn(move || drop(left.accept().unwrap()));
        let listener = open().unwrap();
        goes.join().unwrap();
        let error = open().unwrap_err().to_string();
        assert!(error.contains("another daemon listens"), "{error}");
        drop(listener);
    }

    #[test]
    fn nothing_but_a_socket_makes_room_for_one() {
        let directory = tempfile::tempdir().unwrap();
        let (left, file, link) = (
            directory.path().join("left"),
            directory.path().join("file"),
            directory.path().join("link"),
        );
        // A listener's copy in a child of another test, which is about to run its program, would answer still.
        drop(std::os::unix::net::UnixDatagram::bind(&left).unwrap());
        std::fs::File::create(&file).unwrap();
        std::os::unix::fs::symlink(&left, &link).unwrap();
        for other in [&file, &link, &directory.path().to_owned()] {
            let error =
                bind(other, PEOPLE, "metrics socket", "metrics.socket").unwrap_err().to_string();
            assert!(
                error.contains(&other.display().to_string())
                    && error.contains("field metrics.socket"),
                "{error}"
            );
            assert!(other.symlink_metadata().is_ok());
        }
        remove_left(&left, "control socket", "paths.control").unwrap();
        assert!(!left.exists());
        remove_left(&left, "control socket", "paths.control").unwrap();
    }
}
