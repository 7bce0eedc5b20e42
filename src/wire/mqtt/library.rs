//! What is asked of a library of MQTT: one value of it is one connection, from its beginning to its
//! end. When there is another one, and what is said over it, is not its business.

use std::fmt;

use super::{Broker, Message};

/// How surely a message arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Qos {
    /// Once, or not.
    AtMostOnce,
    /// The broker acknowledges it.
    AtLeastOnce,
}

/// What happened on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The broker has let us in. The first that is heard.
    Connected,
    /// A message has come.
    Message(Message),
    /// Something that is the library's own business.
    Else,
}

/// Why a connection ended, or was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Loss {
    /// The broker does not let us in.
    #[error("it does not let us in: {0}")]
    NotAllowed(String),
    /// The machine has slept.
    #[error("the machine has slept")]
    Slept,
    /// The network, the broker, or its bytes.
    #[error("{0}")]
    Else(String),
}

/// There is no connection any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// A connection. Dropped, it is closed.
pub(crate) trait Library: Sized + Send {
    /// Sends over it.
    type Post: Post;

    /// A connection, which the first [`next`](Self::next) makes.
    fn open(broker: &Broker) -> (Self::Post, Self);

    /// What happens next. Nothing is sent or heard while it is not awaited.
    fn next(&mut self) -> impl Future<Output = Result<Heard, Loss>> + Send;
}

/// Sends over a connection; a copy is the same one.
pub(crate) trait Post: Clone + fmt::Debug + Send + Sync + 'static {
    /// Subscribes, with acknowledged messages; the answer is whether the broker grants it.
    fn subscribe(&self, topic: &str) -> impl Future<Output = Result<bool, Gone>> + Send;

    /// Publishes; with [`Qos::AtLeastOnce`] until it is acknowledged.
    fn publish(
        &self,
        topic: &str,
        payload: Vec<u8>,
        qos: Qos,
    ) -> impl Future<Output = Result<(), Gone>> + Send;
}
