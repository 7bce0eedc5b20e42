//! A process without rights that turns bytes into others: this very program, with a hidden
//! subcommand. It reads through a socket, which takes its words of an error too, and writes through a pipe;
//! one that needs a file has that as its standard input, open already.
//!
//! Where systemd runs and can be asked, it is a transient unit with a user of its own, without
//! files, network, privileges, and with little memory. Elsewhere it is a child that gives up its
//! rights itself ([`give_up_rights`]) before it reads its first byte. Knows nothing of what it does.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, Read as _, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::resource::{Resource, rlim_t, setrlimit};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use super::command::{self, CommandError, Isolation};
use super::unit;

/// Longest time without a byte of it.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest time that it takes for all of its work.
const DEADLINE: Duration = Duration::from_secs(900);
/// Longest that is quoted of what it says of an error.
const LONGEST_WORDS: u64 = 1024;
/// Memory of it, all mapped files and its stack counted, in bytes.
const MEMORY: rlim_t = 96 << 20;
/// Memory that its unit may touch: window, buffers, and its program.
const UNIT_MEMORY: &str = "MemoryMax=32M";
/// The user that nobody is, and its group.
const NOBODY: u32 = 65534;

/// What a helper may be in a unit of its own: it has three descriptors, and opens nothing but its
/// own program.
const SANDBOX: [&str; 26] = [
    "DynamicUser=yes",
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "PrivateNetwork=yes",
    "PrivateDevices=yes",
    "PrivateUsers=yes",
    "PrivateTmp=yes",
    "PrivateMounts=yes",
    // `none`, which units have, systemd-run of systemd 252 refuses; sockets are filtered besides.
    "RestrictAddressFamilies=AF_UNIX",
    "IPAddressDeny=any",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "ProtectProc=invisible",
    "ProcSubset=pid",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "TasksMax=2",
    UNIT_MEMORY,
];

/// A helper at work. Dropped, it is ended.
#[derive(Debug)]
pub(crate) struct Helper {
    child: Child,
    output: PipeReader,
    words: UnixStream,
    until: Instant,
}

/// What a helper is fed through. Dropped, that was all.
#[derive(Debug)]
pub(crate) struct Feed(UnixStream);

impl Write for Feed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // The other direction stays; a helper that is gone needs no end of its input.
        let _ = self.0.shutdown(Shutdown::Write);
    }
}

impl Helper {
    /// Starts this program with these arguments and, where there is one, with this file, isolated as
    /// configured. What it is fed goes into what is given back.
    pub(crate) fn start(
        arguments: &[&str],
        file: Option<File>,
        isolation: Isolation,
    ) -> Result<(Self, Feed), CommandError> {
        let program = own_program()?;
        let mut command = match command::isolates(isolation)? {
            true => unit_of(program.into(), arguments),
            false => {
                let mut command = Command::new(program);
                command.args(arguments);
                command
            }
        };
        let (output, out) = io::pipe()?;
        // A unit is handed three descriptors and no more: what it is fed comes where its words go.
        let (words, inner) = UnixStream::pair()?;
        let feed = Feed(words.try_clone()?);
        command
            .env_clear()
            .env("LANG", "C.UTF-8")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir("/")
            .stdin(file.map_or_else(Stdio::null, Stdio::from))
            .stdout(out)
            .stderr(OwnedFd::from(inner));
        let until = Instant::now() + DEADLINE;
        let child = command::spawn(&mut command, until)?;
        drop(command); // and with it our copies of its ends, or they would never close
        Ok((Self { child, output, words, until }, feed))
    }

    /// Its next bytes; 0 at their end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now()).min(SILENCE);
        wait_for(&self.output, left)?;
        self.output.read(buffer)
    }

    /// Ends it now, whatever it does.
    pub(crate) fn kill(&mut self) {
        // One that is gone already needs no end.
        let _ = self.child.kill();
    }

    /// Waits for its end, once its bytes have ended: how it ended, and what it said of that.
    pub(crate) fn end(mut self) -> io::Result<(ExitStatus, String)> {
        let mut words = Vec::new();
        let left = self.until.saturating_duration_since(Instant::now()).min(SILENCE);
        let told = wait_for(&self.words, left)
            .and_then(|()| (&self.words).take(LONGEST_WORDS).read_to_end(&mut words));
        if told.is_err() {
            self.kill();
        }
        let status = self.child.wait()?;
        let words = String::from_utf8_lossy(&words);
        Ok((status, unit::visible(words.lines().next().unwrap_or_default())))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

fn wait_for(peer: &impl AsFd, time: Duration) -> io::Result<()> {
    let until = Instant::now() + time;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(peer.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "it says nothing any more"));
            }
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The same in a transient unit.
fn unit_of(program: OsString, arguments: &[&str]) -> Command {
    let mut command = Command::new("systemd-run");
    command.args(["--quiet", "--pipe", "--wait", "--collect"]);
    let limit = format!("RuntimeMaxSec={}", DEADLINE.as_secs());
    for property in SANDBOX.into_iter().chain(["SystemCallArchitectures=native", &limit]) {
        command.args(["--property", property]);
    }
    // What it may call: what a program needs to begin, and to read, write and end.
    for filter in ["@system-service", "~@privileged @resources @network-io @ipc @chown"] {
        command.args(["--property", &format!("SystemCallFilter={filter}")]);
    }
    command.args(["--property", "SystemCallErrorNumber=EPERM", "--"]);
    command.arg(program).args(arguments.iter().map(|argument| unit::literal(argument)));
    command
}

/// What this process was started from, or what has replaced it since.
pub(crate) fn own_program() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let text = path.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or_else(|| path.clone(), PathBuf::from))
}

/// Gives up every right that this process can do without: it opens, connects and starts nothing any
/// more, writes to no file, and has little memory. As root it becomes nobody, where it may.
pub(crate) fn give_up_rights() -> io::Result<()> {
    prctl::set_no_new_privs()?;
    prctl::set_dumpable(false)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    setrlimit(Resource::RLIMIT_FSIZE, 0, 0)?;
    setrlimit(Resource::RLIMIT_AS, MEMORY, MEMORY)?;
    if Uid::effective().is_root() {
        become_nobody()?;
    }
    setrlimit(Resource::RLIMIT_NPROC, 0, 0)?;
    // The last one: nothing can be opened from here on.
    setrlimit(Resource::RLIMIT_NOFILE, 0, 0)?;
    Ok(())
}

fn become_nobody() -> io::Result<()> {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    let became = setgroups(&[])
        .and_then(|()| setresgid(group, group, group))
        .and_then(|()| setresuid(user, user, user));
    match became {
        // A daemon whose unit takes that right from it, where systemd can't be asked: the limits
        // hold all the same.
        Err(Errno::EPERM) => Ok(()),
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_of_a_helper_has_nothing_but_its_descriptors() {
        let command = unit_of("/usr/bin/uplift".into(), &["decode", "a$b"]);
        let arguments: Vec<_> = command.get_args().map(|one| one.to_string_lossy()).collect();
        let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
        for property in
            ["DynamicUser=yes", "PrivateNetwork=yes", "CapabilityBoundingSet=", "MemoryMax=32M"]
        {
            assert!(has(property), "{property}: {arguments:?}");
        }
        assert_eq!(arguments[arguments.len() - 4..], ["--", "/usr/bin/uplift", "decode", "a$$b"]);
    }
}
