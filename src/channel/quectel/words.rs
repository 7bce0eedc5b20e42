//! What is said over the AT port, in bytes: [`Parser`] reads the module, [`Command`] is what it is
//! told. docs/use/quectel.md has the rules by their numbers. Nothing here knows what follows from a
//! word, nor a port or a clock.

mod command;
mod line;
mod parser;

pub(crate) use command::Command;
pub(crate) use line::{Event, FileInfo, Piece, PlanInfo, Said};
pub(crate) use parser::{Heard, Parser};
