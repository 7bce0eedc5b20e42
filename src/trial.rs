//! After the swap: the restart, and the evidence that the new program works.

pub mod health;
pub mod restart;
