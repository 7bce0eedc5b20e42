//! Sockets, serial ports and lines: on which others are listened to, and how many peers at a time;
//! connections to brokers of MQTT. Knows nothing of what is said over them.

pub(crate) mod guests;
pub(crate) mod lines;
pub(crate) mod local_socket;
pub(crate) mod mqtt;
pub(crate) mod places;
pub(crate) mod serial;
pub(crate) mod spread;
