//! After the swap: the restart, and the evidence that the new program works.

pub mod application;
pub mod change;
mod command;
pub mod health;
pub mod restart;
#[cfg(test)]
mod systemctl;
