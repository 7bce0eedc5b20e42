//! Which boot this is. In a container the kernel's boot id is that of the host, whatever a
//! container's manager shows elsewhere: the units' sandbox mounts `/proc/sys` anew. There the start
//! of the container's first process tells one boot from the next.

use std::io;
use std::path::Path;

use crate::config::Paths;
use crate::host::start_in;
use crate::model::CONTAINER_START;

/// Files by which a container is known: systemd's, podman's, docker's.
const MARKS: [&str; 3] = ["/run/systemd/container", "/run/.containerenv", "/.dockerenv"];
/// The first process of the container. In one that shares the numbers of processes with its host it
/// is the host's, and tells nothing.
const FIRST_PROCESS: &str = "/proc/1/stat";

/// The name of this boot: what the kernel says in this file; in a container, where it is the
/// kernel's own file, with the container's start.
pub fn boot_id(file: &Path) -> io::Result<String> {
    by_marks(file, &MARKS)
}

fn by_marks(file: &Path, marks: &[&str]) -> io::Result<String> {
    let id = std::fs::read_to_string(file)?.trim().to_owned();
    let is_kernels = file == Paths::default().boot_id;
    if !is_kernels || !marks.iter().any(|mark| Path::new(mark).exists()) {
        return Ok(id);
    }
    // Where it can't be read, there is what there was without it.
    Ok(in_container(id, &std::fs::read_to_string(FIRST_PROCESS).unwrap_or_default()))
}

fn in_container(id: String, first_process: &str) -> String {
    match start_in(first_process) {
        Some(start) => format!("{id}{CONTAINER_START}{start}"),
        None => id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_container_the_start_of_its_first_process_is_part_of_the_name() {
        let stat = |start| {
            format!(
                "1 (sys) temd (x) S 0 1 1 0 -1 4194560 1 2 0 2 3 1 4 4 20 0 13 0 {start} 57778176 5954\n"
            )
        };
        assert_eq!(in_container("id".into(), &stat(4711)), "id+4711");
        assert_eq!(in_container("id".into(), "nonsense"), "id");
        assert_eq!(in_container("id".into(), "1 (x) S 0"), "id");
    }

    #[test]
    fn a_file_that_a_person_names_is_taken_by_its_word() {
        let file = tempfile::NamedTempFile::new().unwrap();
        #[allow(clippy::disallowed_methods, reason = "files of a test need not survive anything")]
        std::fs::write(file.path(), "boot-1\n").unwrap();
        for marks in [&[][..], &["/"]] {
            assert_eq!(by_marks(file.path(), marks).unwrap(), "boot-1");
        }
        assert_eq!(boot_id(file.path()).unwrap(), "boot-1");
    }

    #[test]
    fn the_kernel_s_file_is_not_enough_where_a_mark_says_that_this_is_a_container() {
        let file = Paths::default().boot_id;
        let plain = by_marks(&file, &["/nothing/is/here"]).unwrap();
        let in_a_container = by_marks(&file, &["/nothing/is/here", "/"]).unwrap();
        assert!(!plain.contains(CONTAINER_START), "{plain}");
        assert!(
            in_a_container.starts_with(&format!("{plain}{CONTAINER_START}")),
            "{in_a_container}"
        );
    }
}
