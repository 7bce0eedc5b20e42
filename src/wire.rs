//! Sockets and lines: on which others are listened to, and how many peers at a time. Knows nothing of what
//! is said over them.

pub(crate) mod guests;
pub(crate) mod lines;
pub(crate) mod local_socket;
pub(crate) mod places;
