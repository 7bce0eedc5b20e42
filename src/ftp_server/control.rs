//! The control connection of a session: typed commands in, replies out, each with a deadline.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::command::Command;
use super::line::{LONGEST_LINE, Line, LineBuffer};
use super::reply::Reply;

/// Commands that may wait for the end of a transfer. Clients send one or two ahead.
const MOST_WAITING: usize = 16;
/// A client that does not take a reply within this time is gone.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// The session can't go on: the client went, or takes no replies.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Gone {
    #[error("the client closed the connection")]
    Closed,
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("the client sends commands without end during a transfer")]
    Flooded,
    #[error("it made room for another one")]
    MadeRoom,
}

/// A line as it came: a command, or the reply that refuses it.
pub(crate) type Received = Result<Command, Reply>;

/// The control connection.
#[derive(Debug)]
pub(crate) struct Control {
    reader: OwnedReadHalf,
    lines: LineBuffer,
    writer: OwnedWriteHalf,
    waiting: VecDeque<Received>,
}

impl Control {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        // Clients send ABOR as urgent data, whose last byte (with some the line end itself) would
        // else be left out.
        nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::OobInline, &true)?;
        let (reader, writer) = stream.into_split();
        Ok(Self { reader, lines: LineBuffer::default(), writer, waiting: VecDeque::new() })
    }

    /// Sends a reply.
    pub(crate) async fn reply(&mut self, reply: &Reply) -> Result<(), Gone> {
        let text = reply.to_bytes();
        timeout(REPLY_TIMEOUT, self.writer.write_all(&text))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(())
    }

    /// Sends a reply if that needs no waiting.
    pub(crate) fn reply_at_once(&self, reply: &Reply) {
        // A client that does not read has no use for it.
        let _ = self.writer.try_write(&reply.to_bytes());
    }

    /// The next command. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Received, Gone> {
        match self.waiting.pop_front() {
            Some(received) => Ok(received),
            None => self.read().await,
        }
    }

    /// Waits, during a transfer, for `ABOR` or the loss of the connection; other commands are kept
    /// for later.
    pub(crate) async fn aborted(&mut self) -> Result<(), Gone> {
        loop {
            match self.read().await? {
                Ok(Command::Abor) => return Ok(()),
                _ if self.waiting.len() >= MOST_WAITING => return Err(Gone::Flooded),
                other => self.waiting.push_back(other),
            }
        }
    }

    async fn read(&mut self) -> Result<Received, Gone> {
        loop {
            match self.lines.take_line() {
                Some(Line::Complete(line)) => return Ok(Command::parse(&line)),
                Some(Line::TooLong) => {
                    return Ok(Err(Reply::new(
                        500,
                        format!("A line has at most {LONGEST_LINE} bytes"),
                    )));
                }
                None => self.read_bytes().await?,
            }
        }
    }

    async fn read_bytes(&mut self) -> Result<(), Gone> {
        self.reader.readable().await?;
        // Not `read`: it takes a short read for the last one, but a read also stops short at the
        // mark of urgent data, and the byte behind the mark would then wait for another event,
        // which never comes.
        match self.reader.try_read_buf(self.lines.bytes()) {
            Ok(0) => Err(Gone::Closed),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A control connection, and the client's end of it.
    async fn connected() -> (Control, std::net::TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Control::new(listener.accept().await.unwrap().0).unwrap(), client)
    }

    #[tokio::test]
    async fn a_connection_that_broke_is_told_from_one_that_was_closed() {
        let (mut control, client) = connected().await;
        drop(client);
        assert!(matches!(control.next().await, Err(Gone::Closed)));
        let (mut control, client) = connected().await;
        // What lies there unread makes the end of the client's socket a reset.
        control.reply_at_once(&Reply::new(220, "Ready"));
        let mut first = [0; 1];
        std::io::Read::read_exact(&mut &client, &mut first).unwrap();
        drop(client);
        assert!(matches!(control.next().await, Err(Gone::Broken(_))));
    }

    #[tokio::test]
    async fn so_many_commands_wait_for_the_end_of_a_transfer_and_no_more() {
        let (mut control, mut client) = connected().await;
        let mut send = |commands: usize| {
            let lines = "NOOP\r\n".repeat(commands) + "ABOR\r\n";
            std::io::Write::write_all(&mut client, lines.as_bytes()).unwrap();
        };
        send(MOST_WAITING);
        control.aborted().await.unwrap();
        for _ in 0..MOST_WAITING {
            assert_eq!(control.next().await.unwrap(), Ok(Command::Noop));
        }
        send(MOST_WAITING + 1);
        assert!(matches!(control.aborted().await, Err(Gone::Flooded)));
    }
}
