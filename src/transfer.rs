//! How bytes arrive: one file a way. A transfer fills a [`crate::stage::Receiving`] and knows
//! nothing of who asked.

pub mod dcftp;
pub mod ftp_client;
pub mod http;
pub mod through;
pub(crate) mod tls;
