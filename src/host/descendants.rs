//! The processes that descend from this one, whatever process group or session they have made
//! their own: a package manager gives what it runs a terminal, and with it a session.
//!
//! Complete only where this process is the subreaper of its descendants (prctl(2)): otherwise those
//! whose parent has ended are init's.

use std::collections::HashMap;
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Sends a signal to each of them that lives; how many those are.
pub(crate) fn signal(signal: Signal) -> usize {
    let living = living();
    for &id in &living {
        // It may have ended by itself meanwhile.
        let _ = kill(Pid::from_raw(id), signal);
    }
    living.len()
}

/// Whether one of them lives.
pub(crate) fn any_lives() -> bool {
    !living().is_empty()
}

/// Their ids. One that has ended and waits for its parent to look is none.
fn living() -> Vec<i32> {
    let processes: HashMap<i32, Process> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            // It may have ended since its directory was listed.
            Some((id, parse(&fs::read_to_string(entry.path().join("stat")).ok()?)?))
        })
        .collect();
    let own = std::process::id().cast_signed();
    let descends = |mut id: i32| {
        // A list that was read while processes came and went may have a circle.
        for _ in 0..processes.len() {
            match processes.get(&id) {
                Some(process) if process.parent == own => return true,
                Some(process) => id = process.parent,
                None => return false,
            }
        }
        false
    };
    let of_ours = processes.iter().filter(|(id, process)| process.lives && descends(**id));
    of_ours.map(|(&id, _)| id).collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Process {
    parent: i32,
    lives: bool,
}

/// The process in the kernel's line about it: `12 (name) S 1 …`, where the name may have any
/// character.
fn parse(stat: &str) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut words = rest.split(' ');
    let lives = !matches!(words.next()?, "Z" | "X");
    Some(Process { parent: words.next()?.parse().ok()?, lives })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let process = |parent, lives| Some(Process { parent, lives });
        assert_eq!(parse("12 (sh) S 1 12 12 0"), process(1, true));
        assert_eq!(parse("12 (a) Z 3 (b) ) Z 7 12"), process(7, false));
        assert_eq!(parse(""), None);
        assert_eq!(parse("12 (sh) S"), None);
    }

    #[test]
    fn a_child_in_a_session_of_its_own_is_found_until_it_has_ended() {
        let mut child = Command::new("setsid").args(["cat"]).stdin(Stdio::piped()).spawn().unwrap();
        let id = child.id().cast_signed();
        assert!(living().contains(&id) && any_lives());
        child.kill().unwrap();
        // A zombie until it is waited for.
        let ended = nix::sys::wait::WaitPidFlag::WEXITED | nix::sys::wait::WaitPidFlag::WNOWAIT;
        nix::sys::wait::waitid(nix::sys::wait::Id::Pid(Pid::from_raw(id)), ended).unwrap();
        assert!(!living().contains(&id));
        child.wait().unwrap();
    }
}
