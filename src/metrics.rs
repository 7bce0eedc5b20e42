//! What monitoring reads: a Prometheus text endpoint on a UNIX socket of its own, `GET /metrics`.
//! Off unless configured.
//!
//! One request a connection, with a limit on its size, its time and its number. Everything is
//! measured when somebody asks; between two requests nothing runs. Knows the engine's handle, and
//! neither files nor the machine.

mod text;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::engine::Engine;
use crate::wire::guests::{self, Conversation, Seats};

use text::Tally;

/// Nobody there keeps a place for good.
const SEATS: Seats = Seats { socket: "metrics socket", most: 4, kept_for_root: 0 };
/// Longest head of a request; what scrapers send has a few hundred bytes.
const LONGEST_HEAD: usize = 4096;
/// A client that has not sent its request, or not read the answer, after this long is left.
const CLIENT_DEADLINE: Duration = Duration::from_secs(5);

/// Answers scrapers until the task is dropped.
pub(crate) async fn serve(listener: UnixListener, engine: Engine) {
    let tally: Arc<Mutex<Tally>> = Arc::default();
    let serve_one = |stream, _| -> Conversation {
        let (engine, tally) = (engine.clone(), Arc::clone(&tally));
        Box::pin(async move { converse(stream, &engine, &tally).await })
    };
    guests::serve(listener, SEATS, serve_one).await;
}

async fn converse(
    mut stream: UnixStream,
    engine: &Engine,
    tally: &Mutex<Tally>,
) -> anyhow::Result<()> {
    let head = timeout(CLIENT_DEADLINE, read_head(&mut stream))
        .await
        .context("the client is silent")??;
    engine.looked_or_late().await;
    let answer = answer(&head, engine, tally).await?;
    timeout(CLIENT_DEADLINE, stream.write_all(answer.as_bytes()))
        .await
        .context("the client does not read")??;
    Ok(())
}

/// The request up to its empty line; shorter where the client sends too much or closes before.
async fn read_head(stream: &mut UnixStream) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !is_complete(&head) && head.len() < LONGEST_HEAD {
        let left = (LONGEST_HEAD - head.len()) as u64;
        if stream.take(left).read_buf(&mut head).await? == 0 {
            break;
        }
    }
    Ok(head)
}

fn is_complete(head: &[u8]) -> bool {
    memchr::memmem::find(head, b"\r\n\r\n").is_some()
        || memchr::memmem::find(head, b"\n\n").is_some()
}

/// What a request is for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Metrics {
        with_body: bool,
    },
    SomethingElse,
    /// By a method that is not there.
    Forbidden,
    Nonsense,
}

fn asked(head: &[u8]) -> Asked {
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let words = std::str::from_utf8(line)
        .unwrap_or_default()
        .trim_end_matches('\r')
        .split(' ')
        .collect::<Vec<_>>();
    let [method, target, "HTTP/1.1" | "HTTP/1.0"] = words[..] else { return Asked::Nonsense };
    if !is_complete(head) {
        return Asked::Nonsense;
    }
    match (method, target.split('?').next()) {
        ("GET" | "HEAD", Some("/metrics")) => Asked::Metrics { with_body: method == "GET" },
        ("GET" | "HEAD", _) => Asked::SomethingElse,
        _ => Asked::Forbidden,
    }
}

async fn answer(head: &[u8], engine: &Engine, tally: &Mutex<Tally>) -> anyhow::Result<String> {
    Ok(match asked(head) {
        Asked::Metrics { with_body } => {
            let measures = engine.measure().await?;
            let status = engine.status().borrow().clone();
            let body = {
                let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                tally.count(&measures.ended);
                text::render(&status, &measures, &tally)
            };
            response("200 OK", "", &body, with_body)
        }
        Asked::SomethingElse => {
            response("404 Not Found", "", "the metrics are at /metrics\n", true)
        }
        Asked::Forbidden => response(
            "405 Method Not Allowed",
            "Allow: GET, HEAD\r\n",
            "the metrics can be read only\n",
            true,
        ),
        Asked::Nonsense => {
            response("400 Bad Request", "", "this is not a request of HTTP/1.1\n", true)
        }
    })
}

fn response(status: &str, header: &str, body: &str, with_body: bool) -> String {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n{header}Connection: close\r\n\r\n",
        body.len()
    );
    if with_body { head + body } else { head }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_its_first_line_says() {
        let request = |line: &str| asked(format!("{line}\r\nHost: localhost\r\n\r\n").as_bytes());
        assert_eq!(request("GET /metrics HTTP/1.1"), Asked::Metrics { with_body: true });
        assert_eq!(request("GET /metrics?name[]=x HTTP/1.0"), Asked::Metrics { with_body: true });
        assert_eq!(request("HEAD /metrics HTTP/1.1"), Asked::Metrics { with_body: false });
        assert_eq!(request("GET /metricsx HTTP/1.1"), Asked::SomethingElse);
        assert_eq!(request("POST /metrics HTTP/1.1"), Asked::Forbidden);
        for nonsense in
            ["", "GET /metrics", "GET  /metrics HTTP/1.1", "GET /metrics HTTP/2", "\u{1}"]
        {
            assert_eq!(request(nonsense), Asked::Nonsense, "{nonsense}");
        }
        assert_eq!(
            asked(b"GET /metrics HTTP/1.1\r\nHost: x\r\n"),
            Asked::Nonsense,
            "the head is not complete"
        );
        assert_eq!(asked(&[0xff; 100]), Asked::Nonsense);
    }
}
