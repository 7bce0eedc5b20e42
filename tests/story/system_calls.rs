//! What the kernel is asked to do to the program, seen from outside: a whole upgrade under
//! `strace`.
//!
//! The bytes are written, then synced, then exchanged with the program, then both directories are
//! synced, then the restart is asked for; and no other call than that one exchange changes what is
//! at the program's path.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::world::payload::Payload;

/// Calls that only look at what they name, whatever their arguments; `fdatasync` makes durable what
/// is there, and changes none of it.
const LOOKS: [&str; 28] = [
    "access",
    "close",
    "execve",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fcntl",
    "fdatasync",
    "fgetxattr",
    "flistxattr",
    "fstat",
    "fstatfs",
    "getdents64",
    "inotify_add_watch",
    "lseek",
    "lstat",
    "mmap",
    "newfstatat",
    "poll",
    "ppoll",
    "pread64",
    "read",
    "readlink",
    "readlinkat",
    "readv",
    "stat",
    "statx",
    "epoll_ctl",
];
/// Calls that change the bytes, the size or the metadata of an open file.
const CHANGES: [&str; 11] = [
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "ftruncate",
    "fallocate",
    "copy_file_range",
    "sendfile",
    "fchown",
    "fchmod",
    "fsetxattr",
];
/// How long the tracer may take to write the end of its trace.
const DEADLINE: Duration = Duration::from_secs(30);

/// One system call. Its text has the paths of its descriptors behind them, in angle brackets.
#[derive(Debug)]
struct Call {
    name: String,
    text: String,
    /// Numbers of the trace's lines where it began and ended.
    began: usize,
    ended: usize,
}

impl Call {
    /// Whether it names this path, from the root or from its directory, or a descriptor of what has
    /// this path.
    fn is_about(&self, path: &Path) -> bool {
        let (directory, name) =
            (path.parent().unwrap().display(), path.file_name().unwrap().to_string_lossy());
        let path = path.display();
        [format!("\"{path}\""), format!("<{path}>"), format!("<{directory}>, \"{name}\"")]
            .iter()
            .any(|words| self.text.contains(words))
    }

    fn is_on_descriptor_below(&self, path: &Path) -> bool {
        self.text.contains(&format!("<{}", path.display()))
    }

    fn succeeded(&self) -> bool {
        self.text.rsplit_once(" = ").is_some_and(|(_, result)| !result.starts_with('-'))
    }
}

/// The calls of a trace, in the order of their ends.
fn calls(trace: &str) -> Vec<Call> {
    let mut begun: HashMap<&str, (String, usize)> = HashMap::new();
    let mut calls = Vec::new();
    for (number, line) in trace.lines().enumerate() {
        let (process, text) = line.split_once(' ').expect("a process and a call");
        let text = text.trim_start();
        if text.starts_with("+++") || text.starts_with("---") {
            continue;
        }
        if let Some(beginning) = text.strip_suffix(" <unfinished ...>") {
            begun.insert(process, (beginning.to_owned(), number));
            continue;
        }
        let (text, began) = match text.strip_prefix("<... ") {
            Some(rest) => {
                let (beginning, began) = begun.remove(process).expect("what is resumed was begun");
                (beginning + rest.split_once("resumed>").expect("what is resumed").1, began)
            }
            None => (text.to_owned(), number),
        };
        let name = text.split('(').next().unwrap_or_default().to_owned();
        calls.push(Call { name, text, began, ended: number });
    }
    assert!(
        begun.values().all(|(text, _)| !text.starts_with("rename") && !text.starts_with("fsync")),
        "cut off: {begun:?}"
    );
    calls
}

/// The trace of both daemons of an upgrade, the one that swaps and the one that concludes.
fn trace_upgrade(payload: &mut Payload) -> String {
    let firmware = payload.firmware_of("V02.00.00.00", 600_000);
    let trace = payload.root().join("trace");
    let (output, kinds) = (trace.to_str().unwrap(), "trace=%file,%desc");
    payload.wrap_daemon(&[
        "strace", "-D", "-f", "-q", "-y", "-s", "256", "-A", "-o", output, "-e", kinds,
    ]);
    payload.start_daemon().unwrap();
    let mut client = payload.install_file(&firmware);
    payload.restart_when_asked();
    assert!(client.wait().unwrap().success());
    payload.kill_daemon();
    whole(&trace)
}

/// The tracer writes the end of the second daemon last.
fn whole(trace: &Path) -> String {
    let end = Instant::now() + DEADLINE;
    loop {
        let text = fs::read_to_string(trace).unwrap();
        let killed: Vec<&str> =
            text.lines().filter(|line| line.contains("+++ killed by SIGKILL")).collect();
        let executed = text
            .lines()
            .filter(|line| line.contains("\"daemon\"") && line.contains("execve("))
            .filter_map(|line| line.split(' ').next());
        if executed.clone().count() >= 2
            && executed.clone().all(|process| killed.iter().any(|line| line.starts_with(process)))
        {
            return text;
        }
        assert!(Instant::now() < end, "the tracer does not end: {killed:?}");
        sleep(Duration::from_millis(5));
    }
}

/// The one call for which this holds.
fn only(calls: &[Call], what: &str, is: impl Fn(&Call) -> bool) -> usize {
    let found: Vec<usize> = (0..calls.len()).filter(|&i| is(&calls[i])).collect();
    assert_eq!(
        found.len(),
        1,
        "{what}: {:?}",
        found.iter().map(|&i| &calls[i].text).collect::<Vec<_>>()
    );
    found[0]
}

#[test]
fn written_synced_exchanged_synced_and_nothing_else_touches_the_path() {
    let mut payload = Payload::setup().stopped();
    let calls = calls(&trace_upgrade(&mut payload));
    let program = payload.program();
    let directory = program.parent().unwrap().to_owned();
    let area = directory.join(".uplift");
    in_order(&calls, &program, &directory, &area);
    assert!(
        calls.iter().any(|call| call.name == "execve" && call.is_about(&program)),
        "the trace has the program"
    );
    for call in calls.iter().filter(|call| call.is_about(&program)) {
        assert!(
            only_looks(call) || is_the_exchange(call, &program),
            "this changes the program: {}",
            call.text
        );
    }
}

fn in_order(calls: &[Call], program: &Path, directory: &Path, area: &Path) {
    let exchange = &calls[only(calls, "exchanges", |call| is_the_exchange(call, program))];
    assert!(exchange.succeeded(), "{}", exchange.text);
    let incoming = area.join("incoming-");
    let changes = calls.iter().filter(|call| {
        CHANGES.contains(&call.name.as_str()) && call.is_on_descriptor_below(&incoming)
    });
    let last_change = changes.clone().map(|call| call.ended).max().expect("the bytes are written");
    assert!(changes.clone().any(|call| call.name == "write"), "the bytes are written");
    let synced = calls.iter().find(|call| {
        call.name == "fsync" && call.is_on_descriptor_below(&incoming) && call.began > last_change
    });
    let synced = synced.expect("a sync of the program after the last change to it");
    assert!(
        synced.succeeded() && synced.ended < exchange.began,
        "{} comes before {}",
        exchange.text,
        synced.text
    );
    let restart = calls
        .iter()
        .find(|call| call.name == "execve" && call.text.contains("\"touch\"") && call.succeeded())
        .expect("the restart");
    for directory in [directory, area] {
        let after = |call: &&Call| {
            call.name == "fsync"
                && call.text.contains(&format!("<{}>", directory.display()))
                && call.began > exchange.ended
        };
        let synced = calls
            .iter()
            .find(after)
            .unwrap_or_else(|| panic!("{} is not synced after the exchange", directory.display()));
        assert!(synced.succeeded() && synced.ended < restart.began, "{}", synced.text);
    }
}

fn is_the_exchange(call: &Call, program: &Path) -> bool {
    call.name == "renameat2" && call.is_about(program) && call.text.contains("RENAME_EXCHANGE")
}

fn only_looks(call: &Call) -> bool {
    let opened_for_reading = || {
        call.text.contains("O_RDONLY")
            && !["O_CREAT", "O_TRUNC", "O_TMPFILE"].iter().any(|flag| call.text.contains(flag))
    };
    match call.name.as_str() {
        "open" | "openat" => opened_for_reading(),
        "ioctl" => call.text.contains("FS_IOC_GETFLAGS"),
        name => LOOKS.contains(&name),
    }
}

#[test]
fn a_trace_is_read_as_it_was_meant() {
    let trace = "7 openat(AT_FDCWD</>, \"/p\", O_RDONLY) = 3</p>\n\
                 7 fsync(3</p> <unfinished ...>\n\
                 8 read(4</q>, \"x\", 1) = 1\n\
                 7 <... fsync resumed>) = -1 EIO (Input/output error)\n\
                 8 +++ exited with 0 +++\n";
    let calls = calls(trace);
    let read: Vec<(&str, usize, usize, bool)> =
        calls.iter().map(|call| (&*call.name, call.began, call.ended, call.succeeded())).collect();
    assert_eq!(read, [("openat", 0, 0, true), ("read", 2, 2, true), ("fsync", 1, 3, false)]);
    assert!(
        only_looks(&calls[0])
            && calls[0].is_about(Path::new("/p"))
            && !calls[1].is_about(Path::new("/p"))
    );
    assert!(!only_looks(&calls[2]), "a sync is no look");
    let truncating = &self::calls("7 openat(AT_FDCWD</>, \"/p\", O_RDONLY|O_TRUNC) = 3</p>\n")[0];
    assert!(!only_looks(truncating));
}
