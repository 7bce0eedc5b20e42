//! What must hold of any bytes of a broker, for the fuzzer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::SetOnce;

use super::library::{Heard, Library as _, Loss, Post};
use super::rumqttc::Rumqttc;
use super::{Broker, Message};

/// Small, so that the fuzzer finds what is larger.
const LARGEST: usize = 1 << 10;

/// Takes bytes as what a broker sends, in pieces of the first one's size, whoever asked. Panics where
/// a promise is broken.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else { return };
    for is_clean in [true, false] {
        let whole = hear(bytes, bytes.len().max(1), is_clean);
        holds(bytes, &whole);
        assert_eq!(whole, hear(bytes, usize::from(*piece).max(1), is_clean), "cut elsewhere");
    }
}

/// All that is heard until the end, and whether a subscription was granted.
#[derive(Debug, PartialEq)]
struct Told {
    heard: Vec<Heard>,
    loss: Loss,
    granted: Option<bool>,
}

fn holds(bytes: &[u8], told: &Told) {
    let is_there = |part: &[u8]| part.is_empty() || bytes.windows(part.len()).any(|it| it == part);
    for (place, heard) in told.heard.iter().enumerate() {
        assert_eq!(place == 0, *heard == Heard::Connected, "let in once, and first");
        if let Heard::Message(Message { topic, payload, .. }) = heard {
            assert!(payload.len() <= LARGEST && is_there(payload));
            assert!(!topic.is_empty() && !topic.contains(['+', '#', '\0']));
            assert!(is_there(topic.as_bytes()));
        }
    }
    // The library reads a length that is written longer than it must be, and passes over flags.
    let length = 1 + bytes.iter().skip(1).take_while(|byte| **byte >= 0x80).count();
    let is = |byte: &u8, packet| byte >> 4 == packet;
    let is_greeted = bytes.first().is_some_and(|byte| is(byte, 2));
    let is_let_in = is_greeted && bytes.get(length + 2) == Some(&0);
    assert!(is_let_in || told.heard.is_empty());
    assert!(told.granted.is_none() || bytes.iter().any(|byte| is(byte, 9)), "nobody has answered");
    assert!(!told.loss.to_string().contains(char::is_control), "{}", told.loss);
}

fn hear(bytes: &[u8], piece: usize, is_clean: bool) -> Told {
    let stream = Stream { bytes: bytes.to_vec(), piece };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let Ok(runtime) = runtime else { panic!("no runtime") };
    runtime.block_on(async {
        let (post, mut library) = Rumqttc::over(&broker(is_clean), stream);
        let ended = SetOnce::new();
        let listen = async {
            let mut heard = Vec::new();
            loop {
                match library.next().await {
                    Ok(Heard::Else) => {}
                    Ok(other) => heard.push(other),
                    Err(loss) => {
                        let _ = ended.set(());
                        return (heard, loss);
                    }
                }
            }
        };
        // What the library has not taken when it ends it never answers.
        let ask = async {
            tokio::select! {
                biased;
                granted = Post::subscribe(&post, "a") => granted.ok(),
                () = async { _ = ended.wait().await } => None,
            }
        };
        // It is asked first: what the broker sends waits for nobody.
        let (granted, (heard, loss)) = tokio::join!(ask, listen);
        Told { heard, loss, granted }
    })
}

fn broker(clean_session: bool) -> Broker {
    Broker {
        host: "broker".into(),
        port: 1883,
        tls: None,
        client_id: "device".into(),
        login: None,
        keep_alive: Duration::from_secs(60),
        clean_session,
        largest: LARGEST,
        spread: Duration::ZERO,
    }
}

/// Gives bytes in pieces, and then ends; takes everything.
struct Stream {
    bytes: Vec<u8>,
    piece: usize,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let size = self.bytes.len().min(self.piece).min(into.remaining());
        into.put_slice(&self.bytes.drain(..size).collect::<Vec<_>>());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A legal message that stands before a wrong one in the same read is heard.
    #[test]
    fn what_came_whole_is_told_before_the_connection_ends() {
        let there = [0x30, 4, 0, 1, b'a', b'1'];
        let closed = "it has closed the connection";
        let wrong = "it does not speak MQTT: payload size limit exceeded: 16385";
        for (end, loss) in [(&[0xd0, 0x81, 0x80, 1][..], wrong), (&[], closed)] {
            let bytes = [&[0x20, 2, 0, 0][..], &there, &there, end].concat();
            let told = hear(&bytes, bytes.len(), true);
            assert_eq!((told.heard.len(), told.loss.to_string()), (3, loss.to_owned()));
        }
    }

    #[test]
    fn what_stands_behind_a_message_that_is_too_large_is_heard() {
        let there = [0x30, 4, 0, 1, b'a', b'1'];
        let too_large = [&[0x30, 0x84, 0x08, 0, 1, b'b'][..], &[b'x'; 1025]].concat();
        let bytes = [&[0x20, 2, 0, 0][..], &too_large, &there].concat();
        let told = hear(&bytes, 100, true);
        let payloads = told.heard.iter().filter_map(|heard| match heard {
            Heard::Message(message) => Some((message.topic.as_str(), message.payload.len())),
            _ => None,
        });
        assert_eq!(payloads.collect::<Vec<_>>(), [("b", 0), ("a", 1)]);
    }

    #[test]
    fn the_corpus_keeps_the_promises() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/mqtt");
        let mut seen = 0;
        for file in std::fs::read_dir(corpus).unwrap() {
            fuzz(&std::fs::read(file.unwrap().path()).unwrap());
            seen += 1;
        }
        assert!(seen > 5);
    }
}
