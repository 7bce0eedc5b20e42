//! What is said and heard on this wire, as pure functions: a task from the bytes of a message, the
//! bytes of progress and of a version. Nothing here knows a connection, a clock or a file.
//! docs/use/thingspanel.md has the rules that it keeps, by their numbers.

mod progress;
mod report;
mod task;
mod version;

#[cfg(test)]
mod tests;

pub(super) use progress::{Code, Progress, Step, code_of};
pub(super) use report::report;
pub(super) use task::{Heard, LONGEST_MODULE, Task, Url, heard, url_of};
pub(super) use version::print;
