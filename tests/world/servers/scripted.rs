//! An FTP server that does as it is told, and wrongs that no real one can be made to do.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

/// What goes wrong in one download.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Both connections break after so many bytes.
    Break(usize),
    /// Nothing comes any more after so many bytes.
    Stall(usize),
    /// "226" after so many bytes, as if that were all.
    Done(usize),
}

/// What the server has and does.
#[derive(Default)]
pub(crate) struct Script {
    /// Contents and time of change (as MDTM has it).
    pub(crate) files: BTreeMap<Vec<u8>, (Vec<u8>, &'static str)>,
    /// One a download, in order; none left is none.
    pub(crate) faults: VecDeque<Fault>,
    /// The size that is told instead of the real one.
    pub(crate) told_size: Option<String>,
    pub(crate) without_mdtm: bool,
    pub(crate) without_rest: bool,
    /// So many downloads to come add a byte to the file, each.
    pub(crate) grows: usize,
    /// A listing without end.
    pub(crate) endless_listing: bool,
    /// One byte now and then instead of a greeting.
    pub(crate) drips: bool,
    pub(crate) other_password: bool,
    /// "226" comes only when the client has closed its side of the data connection.
    pub(crate) waits_for_the_client: bool,
    /// Every command, as it came.
    pub(crate) log: Vec<String>,
}

/// A running server.
pub(crate) struct Scripted {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    script: Mutex<Script>,
    stop: AtomicBool,
    /// Shut down at the end, which wakes whoever reads from them.
    sockets: Mutex<Vec<TcpStream>>,
}

impl Scripted {
    pub(crate) fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { script: Mutex::new(script), ..Shared::default() });
        let serving = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || {
            let mut sessions = Vec::new();
            for connection in listener.incoming() {
                if serving.stop.load(Ordering::Relaxed) {
                    break;
                }
                let connection = connection.unwrap();
                serving.sockets.lock().unwrap().push(connection.try_clone().unwrap());
                let shared = Arc::clone(&serving);
                // A session ends with an error when its client goes away; that is the client's
                // right.
                sessions.push(std::thread::spawn(move || {
                    drop(Session { shared, control: connection, passive: None, rest: 0 }.serve());
                }));
            }
            sessions.into_iter().for_each(|session| session.join().unwrap());
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all sessions.
    pub(crate) fn hang_up(&self) {
        for socket in self.shared.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.shared.script.lock().unwrap()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        self.hang_up();
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

struct Session {
    shared: Arc<Shared>,
    control: TcpStream,
    passive: Option<TcpListener>,
    rest: usize,
}

impl Session {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.shared.script.lock().unwrap()
    }

    fn say(&mut self, line: &str) -> std::io::Result<()> {
        self.control.write_all(format!("{line}\r\n").as_bytes())
    }

    fn serve(mut self) -> std::io::Result<()> {
        if self.script().drips {
            return self.drip();
        }
        self.say("220 ready")?;
        let mut commands = BufReader::new(self.control.try_clone()?);
        loop {
            let mut line = Vec::new();
            if commands.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_ascii_end();
            self.script().log.push(String::from_utf8_lossy(line).into_owned());
            let (verb, argument) = match line.iter().position(|&byte| byte == b' ') {
                Some(space) => (&line[..space], &line[space + 1..]),
                None => (line, &b""[..]),
            };
            self.answer(verb, argument)?;
        }
    }

    fn drip(&mut self) -> std::io::Result<()> {
        // Paced by the client's silence: it never sends anything before the greeting.
        self.control.set_read_timeout(Some(std::time::Duration::from_millis(50)))?;
        let reader = self.control.try_clone()?;
        loop {
            self.control.write_all(b"2")?;
            match std::io::Read::read(&mut &reader, &mut [0]) {
                Ok(0) => return Ok(()),
                _ => continue,
            }
        }
    }

    fn answer(&mut self, verb: &[u8], argument: &[u8]) -> std::io::Result<()> {
        let file = self.script().files.get(argument).cloned();
        match (verb, file) {
            (b"USER", _) => self.say("331 password"),
            (b"PASS", _) if self.script().other_password => self.say("530 Login incorrect."),
            (b"PASS", _) => self.say("230 in"),
            (b"TYPE", _) => self.say("200 type"),
            (b"PASV", _) => self.passive(),
            (b"NLST", _) => self.list(),
            (b"SIZE", Some((bytes, _))) => {
                let size =
                    self.script().told_size.clone().unwrap_or_else(|| bytes.len().to_string());
                self.say(&format!("213 {size}"))
            }
            (b"MDTM", Some((_, time))) if !self.script().without_mdtm => {
                self.say(&format!("213 {time}"))
            }
            (b"MDTM", Some(_)) => self.say("502 what?"),
            (b"REST", _) if self.script().without_rest => self.say("502 no"),
            (b"REST", _) => {
                self.rest = String::from_utf8_lossy(argument).parse().unwrap();
                self.say("350 from there")
            }
            (b"RETR", Some((bytes, _))) => self.send(argument, &bytes),
            (b"DELE", Some(_)) => {
                self.script().files.remove(argument);
                self.say("250 gone")
            }
            (b"QUIT", _) => self.say("221 bye"),
            (b"SIZE" | b"MDTM" | b"RETR" | b"DELE", None) => self.say("550 no such file"),
            _ => self.say("502 what?"),
        }
    }

    fn passive(&mut self) -> std::io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        self.passive = Some(listener);
        // The address is wrong on purpose: a client must not be sent to another machine.
        self.say(&format!("227 Entering Passive Mode (192,0,2,1,{},{})", port >> 8, port & 0xff))
    }

    fn open(&mut self) -> std::io::Result<TcpStream> {
        self.say("150 here it comes")?;
        let (data, _) = self.passive.take().unwrap().accept()?;
        self.shared.sockets.lock().unwrap().push(data.try_clone()?);
        Ok(data)
    }

    fn list(&mut self) -> std::io::Result<()> {
        let mut data = self.open()?;
        let (names, endless) = {
            let script = self.script();
            (
                script
                    .files
                    .keys()
                    .flat_map(|name| [name, &b"\r\n"[..]].concat())
                    .collect::<Vec<u8>>(),
                script.endless_listing,
            )
        };
        data.write_all(&names)?;
        if endless {
            loop {
                data.write_all(b"one more name\r\n")?;
            }
        }
        self.end(&data)
    }

    /// Ends a data connection, and says so.
    fn end(&mut self, mut data: &TcpStream) -> std::io::Result<()> {
        // A copy of the socket is kept for the end, so dropping ours would not close it.
        if self.script().waits_for_the_client {
            data.shutdown(Shutdown::Write)?;
            while std::io::Read::read(&mut data, &mut [0; 64])? > 0 {}
        }
        // It fails where the client has closed its side.
        let _ = data.shutdown(Shutdown::Both);
        self.say("226 done")
    }

    fn send(&mut self, name: &[u8], bytes: &[u8]) -> std::io::Result<()> {
        let fault = self.script().faults.pop_front();
        let bytes = &bytes[std::mem::take(&mut self.rest).min(bytes.len())..];
        let mut data = self.open()?;
        let part = |n: usize| &bytes[..n.min(bytes.len())];
        match fault {
            None => data.write_all(bytes)?,
            Some(Fault::Done(n)) => data.write_all(part(n))?,
            Some(Fault::Break(n)) => {
                data.write_all(part(n))?;
                data.shutdown(Shutdown::Both)?;
                return self.control.shutdown(Shutdown::Both);
            }
            Some(Fault::Stall(n)) => {
                data.write_all(part(n))?;
                // Until the client has enough of it.
                let _ = std::io::Read::read(&mut data, &mut [0]);
            }
        }
        {
            let mut script = self.script();
            if let Some(fewer) = script.grows.checked_sub(1) {
                script.grows = fewer;
                script.files.entry(name.into()).and_modify(|(bytes, _)| bytes.push(b'+'));
            }
        }
        self.end(&data)
    }
}
