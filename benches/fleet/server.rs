//! A server that has nothing for anybody, or stands before one that may have, and tells of each
//! request: a process of its own, which is killed and started again.

use std::time::Duration;

use anyhow::Result;
use nix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// What stands before the number of each device in what it asks.
pub(crate) const DEVICE: &str = "device-";
const LARGEST: usize = 16 << 10;

/// Who answers.
#[derive(Clone)]
pub(crate) enum Behind {
    /// This server itself, with this document.
    Document(String),
    /// The server at this port.
    Port(u16),
}

/// Milliseconds by the kernel's monotonic clock, which all processes share.
pub(crate) fn now() -> Result<u64> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?).as_millis().try_into()?)
}

/// Serves until it is killed. Says a line when it is ready, and one for each request: when, whose,
/// and whether it was answered.
pub(crate) fn serve(port: u16, behind: &Behind) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let bound = TcpSocket::new_v4()?;
        bound.set_reuseaddr(true)?;
        bound.bind(([127, 0, 0, 1], port).into())?;
        let listener: TcpListener = bound.listen(4096)?;
        println!("{}", listener.local_addr()?.port());
        loop {
            let (stream, _) = listener.accept().await?;
            let behind = behind.clone();
            tokio::spawn(async move {
                // Who goes away early was not answered.
                let _ = answer(stream, &behind).await;
            });
        }
    })
}

async fn answer(mut stream: TcpStream, behind: &Behind) -> Result<()> {
    let asked = read(&mut stream).await?;
    let at = now()?;
    let answer = match behind {
        Behind::Document(document) => {
            let length = document.len();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
            Ok(format!("{head}\r\nContent-Length: {length}\r\n\r\n{document}").into_bytes())
        }
        Behind::Port(port) => pass_on(*port, &asked).await,
    };
    let sent = match &answer {
        Ok(answer) => stream.write_all(answer).await.map_err(Into::into),
        Err(error) => Err(anyhow::anyhow!("{error}")),
    };
    let is_good = sent.is_ok() && answer.is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200"));
    let asked = String::from_utf8_lossy(&asked);
    let number = asked.split_once(DEVICE).map(|(_, rest)| rest).unwrap_or_default();
    let number: String = number.chars().take_while(char::is_ascii_digit).collect();
    println!("{at} {number} {}", u8::from(is_good));
    Ok(())
}

/// A request, whole.
async fn read(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut asked = Vec::new();
    loop {
        let end = asked.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        if let Some(end) = end
            && asked.len() >= end + length(&asked[..end])
        {
            return Ok(asked);
        }
        let read = stream.read_buf(&mut asked).await?;
        anyhow::ensure!(read > 0 && asked.len() < LARGEST, "no request");
    }
}

fn length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    length.and_then(|length| length.trim().parse().ok()).unwrap_or_default()
}

/// The answer of whoever stands behind, who is asked to close after it.
async fn pass_on(port: u16, asked: &[u8]) -> Result<Vec<u8>> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    server.write_all(&without_keeping(asked)).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    Ok(answer)
}

fn without_keeping(asked: &[u8]) -> Vec<u8> {
    let end = asked.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    [&asked[..end], b"Connection: close\r\n", &asked[end..]].concat()
}
