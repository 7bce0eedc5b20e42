//! A command that runs: what it writes is taken, and when its time is over it is ended with all its
//! descendants.

use std::io::{self, PipeReader, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::environment;
use super::output::{Output, Stream};
use crate::host::{command, descendants};
use crate::model::without_number;
use crate::record::change::{Ended, Job};

/// What a command has to end by itself once it was told to.
pub(super) const GRACE: Duration = Duration::from_secs(10);
/// How long a program may be held open by a child that was forked while it was written.
const BUSY: Duration = Duration::from_secs(1);
/// Between two looks for descendants: their end tells no event to who is not their parent.
const PAUSE: Duration = Duration::from_millis(20);
/// Most that is read of a stream after the end of the command; a pipe holds far less.
const LARGEST_REST: usize = 1 << 20;

/// Runs the command of a job to its end.
pub(super) fn run(job: &Job, output: &mut Output) -> Ended {
    match Running::start(&job.command) {
        Ok(running) => running.watch(job.deadline, output),
        Err(error) => Ended::NotStarted(without_number(&error.to_string()).to_owned()),
    }
}

struct Running {
    /// Nothing once it was closed.
    streams: [(Stream, Option<PipeReader>); 2],
    /// Closed at the end of the command.
    end: PipeReader,
    waiter: JoinHandle<io::Result<ExitStatus>>,
}

impl Running {
    fn start(words: &[String]) -> io::Result<Self> {
        let (program, arguments) = words
            .split_first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "there is no command"))?;
        let (stdout, for_stdout) = io::pipe()?;
        let (stderr, for_stderr) = io::pipe()?;
        let (end, at_end) = io::pipe()?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(environment())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(for_stdout)
            .stderr(for_stderr)
            .process_group(0);
        let mut child = command::spawn(&mut command, Instant::now() + BUSY)?;
        drop(command); // and with it our ends for writing
        let waiter = thread::spawn(move || {
            let status = child.wait();
            drop(at_end);
            status
        });
        let streams = [(Stream::Output, Some(stdout)), (Stream::Errors, Some(stderr))];
        Ok(Self { streams, end, waiter })
    }

    fn watch(mut self, deadline: Duration, output: &mut Output) -> Ended {
        if self.ends_within(deadline, output) {
            return self.status();
        }
        descendants::signal(Signal::SIGTERM);
        let end = Instant::now() + GRACE;
        let ends = self.ends_within(GRACE, output);
        while ends && descendants::any_lives() && Instant::now() < end {
            thread::sleep(PAUSE);
        }
        // Again and again, for those that they have started meanwhile; one that the kernel holds
        // may never end.
        let end = Instant::now() + GRACE;
        while descendants::signal(Signal::SIGKILL) > 0 && Instant::now() < end {
            thread::sleep(PAUSE);
        }
        self.take_rest(output);
        Ended::TimedOut
    }

    fn status(self) -> Ended {
        let status = self.waiter.join().map_err(|_| io::ErrorKind::Other.into());
        match status.and_then(|status| status) {
            Ok(status) => match status.signal() {
                Some(signal) => Ended::Signal(signal),
                None => Ended::Exit(status.code().unwrap_or_default()),
            },
            // Nobody else waits for it.
            Err(_) => Ended::Vanished,
        }
    }

    /// Takes what the command writes until its end; whether that came in time. What it has left
    /// running may hold its streams open, and is not waited for.
    fn ends_within(&mut self, limit: Duration, output: &mut Output) -> bool {
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Some((has_ended, readable)) = self.ready(left) else { return false };
            self.take(readable, output);
            if has_ended {
                self.take_rest(output);
                return true;
            }
        }
    }

    /// Waits until the command has ended or has written something: whether it has ended, and what
    /// can be read. Nothing if neither came in time.
    fn ready(&self, left: Duration) -> Option<(bool, [bool; 2])> {
        let until = Instant::now() + left;
        let mut descriptors = vec![PollFd::new(self.end.as_fd(), PollFlags::POLLIN)];
        let mut open = Vec::new();
        for (nth, (_, stream)) in self.streams.iter().enumerate() {
            if let Some(stream) = stream {
                descriptors.push(PollFd::new(stream.as_fd(), PollFlags::POLLIN));
                open.push(nth);
            }
        }
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let longest = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut descriptors, longest) {
                Ok(0) if Instant::now() >= until => return None,
                Ok(0) | Err(Errno::EINTR) => {}
                // It can't be watched: then it is ended.
                Err(_) => return None,
                Ok(_) => break,
            }
        }
        let mut readable = [false; 2];
        let is_ready = |nth: usize| descriptors[nth].any() == Some(true);
        for (nth, stream) in open.into_iter().enumerate() {
            readable[stream] = is_ready(nth + 1);
        }
        Some((is_ready(0), readable))
    }

    fn take(&mut self, readable: [bool; 2], output: &mut Output) -> usize {
        let mut buffer = [0; 4096];
        let mut taken = 0;
        for ((stream, reader), _) in
            self.streams.iter_mut().zip(readable).filter(|(_, readable)| *readable)
        {
            match reader.as_mut().map(|reader| reader.read(&mut buffer)) {
                Some(Ok(length)) if length > 0 => {
                    output.take(*stream, &buffer[..length]);
                    taken += length;
                }
                Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => *reader = None,
            }
        }
        taken
    }

    /// What was written before the end, and lies in the pipes.
    fn take_rest(&mut self, output: &mut Output) {
        let mut taken = 0;
        while taken < LARGEST_REST {
            let Some((_, readable)) = self.ready(Duration::ZERO) else { return };
            if readable == [false; 2] {
                return;
            }
            taken += self.take(readable, output);
        }
    }
}
