//! A web server that does as it is told, and wrongs that no real one can be made to do.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::cutter::reset;

/// What is done at one request, which is read before.
pub(crate) enum Turn {
    /// These bytes, then the connection is closed.
    Say(Vec<u8>),
    /// These bytes, then nothing, until the client leaves.
    Stall(Vec<u8>),
    /// These bytes, then the connection is reset.
    Reset(Vec<u8>),
    /// These bytes, then the second again and again, as fast as they are taken.
    Flood(Vec<u8>, &'static [u8]),
    /// These bytes, then one byte now and then.
    Drip(Vec<u8>),
    /// Another file from now on, which is served.
    Replace(Vec<u8>),
}

/// A running server. When all turns are over it serves a file, by ranges.
pub(crate) struct Raw {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

struct State {
    file: Vec<u8>,
    /// How often it was replaced.
    generation: u32,
    turns: VecDeque<Turn>,
}

impl Raw {
    pub(crate) fn start(file: &[u8], turns: impl IntoIterator<Item = Turn>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, stop) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let (heard, stopped) = (Arc::clone(&requests), Arc::clone(&stop));
        let turns = turns.into_iter().collect();
        let state = Arc::new(Mutex::new(State { file: file.to_vec(), generation: 0, turns }));
        let acceptor = thread::spawn(move || {
            for client in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (state, heard) = (Arc::clone(&state), Arc::clone(&heard));
                // A client that goes away is in its right.
                thread::spawn(move || drop(serve(client.unwrap(), &state, &heard)));
            }
        });
        Self { address, requests, stop, acceptor: Some(acceptor) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The heads of all requests, in small letters but for the first line.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn serve(
    mut client: TcpStream,
    state: &Mutex<State>,
    heard: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let request = head(&client)?;
    heard.lock().unwrap().push(request.clone());
    let turn = state.lock().unwrap().turns.pop_front();
    match turn {
        None => {}
        Some(Turn::Replace(file)) => {
            let mut state = state.lock().unwrap();
            state.file = file;
            state.generation += 1;
        }
        Some(Turn::Say(bytes)) => return client.write_all(&bytes),
        Some(Turn::Stall(bytes)) => {
            client.write_all(&bytes)?;
            return client.read_to_end(&mut Vec::new()).map(drop);
        }
        Some(Turn::Reset(bytes)) => {
            client.write_all(&bytes)?;
            reset(&client);
            return Ok(());
        }
        Some(Turn::Flood(bytes, again)) => {
            client.write_all(&bytes)?;
            loop {
                client.write_all(again)?;
            }
        }
        Some(Turn::Drip(bytes)) => return drip(client, &bytes),
    }
    let answer = {
        let state = state.lock().unwrap();
        honest(&request, &state.file, state.generation)
    };
    client.write_all(&answer)
}

/// Paced by the client's silence: it never sends anything behind its request.
fn drip(mut client: TcpStream, bytes: &[u8]) -> io::Result<()> {
    client.write_all(bytes)?;
    client.set_read_timeout(Some(Duration::from_millis(50)))?;
    loop {
        match client.read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => client.write_all(b"x")?,
            _ => return Ok(()),
        }
    }
}

fn head(client: &TcpStream) -> io::Result<String> {
    let (mut reader, mut text) = (BufReader::new(client), String::new());
    while !text.ends_with("\r\n\r\n") {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        text += &if text.is_empty() { line } else { line.to_ascii_lowercase() };
    }
    Ok(text)
}

fn honest(request: &str, file: &[u8], generation: u32) -> Vec<u8> {
    let tag = format!("\"generation-{generation}\"");
    let said = |name: &str| {
        request.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned))
    };
    let from = said("range")
        .filter(|_| said("if-range") == Some(tag.clone()))
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok())
        .filter(|from| *from < file.len());
    let (status, range, body) = match from {
        Some(from) => {
            let range =
                format!("Content-Range: bytes {from}-{}/{}\r\n", file.len() - 1, file.len());
            ("206 Partial Content", range, &file[from..])
        }
        None => ("200 OK", String::new(), file),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nETag: {tag}\r\n{range}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// An answer: the lines of its head without their ends, and its body.
pub(crate) fn answer(lines: &[&str], body: &[u8]) -> Vec<u8> {
    let head: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    [format!("{head}\r\n").as_bytes(), body].concat()
}

/// A body as one chunk and the end.
pub(crate) fn chunked(body: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat()
}
