//! A socket that takes what a person or a script wants of the chip, a line each:
//! `reset 0|1`, `cut N [TEAR]`, `fail N [TEAR]`, `ops`, `save FILE`. Each is answered by a line:
//! `ok`, a number, or what is wrong.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use clap::ValueEnum as _;

use super::chip::Wish;
use super::options::Tear;

/// The socket, with a thread that serves one connection after the other. Dropped, it is gone.
#[derive(Debug)]
pub(super) struct Control {
    path: PathBuf,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    pub(super) fn open(
        path: PathBuf,
        wishes: Sender<Wish>,
        operations: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        let is_over = Arc::<AtomicBool>::default();
        let over = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                // Who goes away in the middle has seen enough.
                let _ = stream.and_then(|stream| serve(&stream, &wishes, &operations));
            }
        });
        Ok(Self { path, is_over, thread: Some(thread) })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread up.
        let woken = UnixStream::connect(&self.path);
        let _ = fs::remove_file(&self.path);
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            // A panic of it was printed.
            let _ = thread.join();
        }
    }
}

/// Says one line to the socket of a simulated chip, and gives its answer.
///
/// # Errors
/// There is no chip at that socket, or it went away.
pub fn tell(socket: &Path, line: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    writeln!(stream, "{line}")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer.trim_end().to_owned())
}

fn serve(stream: &UnixStream, wishes: &Sender<Wish>, operations: &AtomicU64) -> io::Result<()> {
    // One that connects and says nothing holds nobody up for long.
    stream.set_read_timeout(Some(std::time::Duration::from_secs(1)))?;
    for line in BufReader::new(stream).lines() {
        let answer = obey(&line?, wishes, operations).unwrap_or_else(|wrong| wrong);
        writeln!(&*stream, "{answer}")?;
    }
    Ok(())
}

fn obey(line: &str, wishes: &Sender<Wish>, operations: &AtomicU64) -> Result<String, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let wish = match *words {
        ["reset", boot0 @ ("0" | "1")] => return reset(boot0 == "1", wishes),
        ["cut", after] => trap(after, "nothing", true)?,
        ["cut", after, tear] => trap(after, tear, true)?,
        ["fail", after] => trap(after, "nothing", false)?,
        ["fail", after, tear] => trap(after, tear, false)?,
        ["ops"] => return Ok(operations.load(Ordering::Relaxed).to_string()),
        ["save", path] => return save(path, wishes),
        _ => {
            let all = "reset 0|1, cut N [TEAR], fail N [TEAR], ops, save FILE";
            return Err(format!("not understood; it takes: {all}"));
        }
    };
    wishes.send(wish).map_err(|_| gone())?;
    Ok("ok".to_owned())
}

fn reset(boot0: bool, wishes: &Sender<Wish>) -> Result<String, String> {
    let (done, is_done) = channel();
    wishes.send(Wish::Reset { boot0, done }).map_err(|_| gone())?;
    is_done.recv().map_err(|_| gone())?;
    Ok("ok".to_owned())
}

fn trap(after: &str, tear: &str, is_cut: bool) -> Result<Wish, String> {
    let after = after.parse().map_err(|_| "a number of operations is expected".to_owned())?;
    Ok(Wish::Trap { after, tear: Tear::from_str(tear, true)?, is_cut })
}

fn save(path: &str, wishes: &Sender<Wish>) -> Result<String, String> {
    let (answer, flash) = channel();
    wishes.send(Wish::Flash(answer)).map_err(|_| gone())?;
    let flash = flash.recv().map_err(|_| gone())?;
    let written = File::create(path).and_then(|mut file| file.write_all(&flash));
    written.map(|()| "ok".to_owned()).map_err(|error| format!("{path}: {error}"))
}

fn gone() -> String {
    "the chip is gone".to_owned()
}
