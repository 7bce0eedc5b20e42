//! The clients of a local socket, each in a place of its own. Knows nothing of what they want.

use std::pin::Pin;

use tokio::net::{UnixListener, UnixStream};

use super::local_socket;
use super::places::{Place, Places, Standing};

/// A client that is being served.
pub(crate) type Conversation = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// How many clients a socket has at a time. Beyond that the user who has most of them makes room,
/// with the one that has been waiting or watching for longest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seats {
    /// The socket, for the log.
    pub(crate) socket: &'static str,
    /// Clients at a time.
    pub(crate) most: usize,
    /// Beyond these: of root and of the daemon's own user, whom nobody else can keep out.
    pub(crate) kept_for_root: usize,
}

/// Serves clients until the task is dropped.
pub(crate) async fn serve(
    listener: UnixListener,
    seats: Seats,
    converse: impl Fn(UnixStream, Place<u32>) -> Conversation,
) {
    let places: Places<u32> = Places::new(seats.most);
    loop {
        let stream = local_socket::accept(&listener, seats.socket).await;
        match seat(&places, seats, &stream).await {
            Some(place) => {
                let conversation = converse(stream, place.clone());
                tokio::spawn(attend(seats.socket, place, conversation));
            }
            None => tracing::warn!("all places at the {} are taken", seats.socket),
        }
    }
}

/// Makes sure of the place for what must not break off.
pub(crate) fn stay(place: &Place<u32>) -> anyhow::Result<()> {
    anyhow::ensure!(place.stand(Standing::Fixed), "it makes room for another one");
    Ok(())
}

async fn seat(places: &Places<u32>, seats: Seats, stream: &UnixStream) -> Option<Place<u32>> {
    let uid = local_socket::uid_of(stream);
    let is_kept = seats.kept_for_root > 0 && (uid == 0 || uid == nix::unistd::geteuid().as_raw());
    let place = places.take(uid, if is_kept { seats.kept_for_root } else { 0 }).await?;
    if is_kept {
        place.guard();
    }
    Some(place)
}

/// Whatever it is about, a client that has to make room is left at once: it may be one that does
/// not read its answers.
async fn attend(socket: &'static str, place: Place<u32>, conversation: Conversation) {
    let ended = tokio::select! {
        ended = conversation => ended,
        () = place.told_to_leave() => Err(anyhow::anyhow!("it made room for another one")),
    };
    if let Err(error) = ended {
        tracing::debug!("a client of the {socket} left: {error:#}");
    }
}
