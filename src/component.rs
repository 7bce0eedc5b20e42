//! What an upgrade replaces. The only room that touches what it replaces.

pub mod command;
pub mod mcu;
pub mod program;
