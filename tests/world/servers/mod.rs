//! FTP servers that a payload may have.

pub(crate) mod own;
pub(crate) mod pyftpdlib;
pub(crate) mod scripted;
pub(crate) mod stock;
pub(crate) mod vsftpd;
