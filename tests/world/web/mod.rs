//! Web servers: Debian's and Python's, one that does as it is told, and a connection to either that
//! breaks.

pub(crate) mod certificates;
pub(crate) mod cutter;
pub(crate) mod nginx;
pub(crate) mod python;
pub(crate) mod raw;
