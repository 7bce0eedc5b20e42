//! What can go wrong, through the real binaries: the rows of docs/design/faults.md that no other
//! test has. systemd is a script of one unit, disks are real ones, and a phase is held by what
//! holds it in life: a lock, a program that never ends.

mod by_hand;
mod clock;
mod full_disk;
mod hanging;
mod killed_twice;
mod lost_files;
mod story;
mod table;
mod versions;
mod way_back;
