//! Small exchanges, with a server of a few lines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};

use super::*;

/// Answers one connection after the other with these, and gives back what it was asked.
fn serve(answers: Vec<Vec<u8>>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let answer = |answer: Vec<u8>| {
            let (stream, _) = listener.accept().unwrap();
            let (mut reader, mut head) = (BufReader::new(&stream), String::new());
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            reader.read_exact(&mut body).unwrap();
            // The client may have seen enough.
            let _ = (&stream).write_all(&answer);
            head + &String::from_utf8(body).unwrap()
        };
        answers.into_iter().map(answer).collect()
    });
    (address, server)
}

fn get(address: SocketAddr) -> Ask {
    Ask {
        method: Method::GET,
        url: format!("http://{address}/poll?key=secret").parse().unwrap(),
        authorization: Authorization::new("TargetToken secret"),
        headers: vec![(HeaderName::from_static("accept"), HeaderValue::from_static("a/b"))],
        body: None,
    }
}

fn client() -> Client {
    Client::new(&Http { stall_deadline: Duration::from_millis(300), ..Http::default() }).unwrap()
}

fn exchange(ask: &Ask, limit: usize) -> Result<Reply, Trouble> {
    client().exchange(ask, limit, &Stop::default())
}

#[test]
fn a_poll_is_answered_whatever_the_status() {
    let answer = "HTTP/1.1 429 No\r\nRetry-After: 9\r\nX-Y: z\r\nContent-Length: 2\r\n\r\n{}";
    let (address, server) = serve(vec![answer.into()]);
    let reply = exchange(&get(address), 2).unwrap();
    assert_eq!((reply.status(), reply.body(), reply.header("x-y")), (429, &b"{}"[..], Some("z")));
    assert_eq!(reply.retry_after(), Some(Duration::from_secs(9)));
    let asked = server.join().unwrap().concat();
    assert!(asked.starts_with("GET /poll?key=secret HTTP/1.1\r\n"), "{asked}");
    for line in ["authorization: TargetToken secret", "accept: a/b", "accept-encoding: identity"] {
        assert_eq!(asked.matches(&format!("{line}\r\n")).count(), 1, "{asked}");
    }
    assert!(asked.contains(&format!("user-agent: {USER_AGENT}\r\n")), "{asked}");
}

#[test]
fn a_server_may_say_by_a_date_how_long_it_wants_to_be_left_alone() {
    let answer = "HTTP/1.1 503 No\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:51:37 GMT\r\nContent-Length: 0\r\n\r\n";
    let (address, _server) = serve(vec![answer.into()]);
    let reply = exchange(&get(address), 2).unwrap();
    assert_eq!(reply.retry_after(), Some(Duration::from_secs(120)));
}

#[test]
fn a_message_is_sent_with_its_length_and_led_nowhere_else() {
    let answer = "HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n";
    let (address, server) = serve(vec![answer.into()]);
    let ask = Ask { method: Method::POST, body: Some(b"{\"a\":1}".to_vec()), ..get(address) };
    assert_eq!(exchange(&ask, 10).unwrap().status(), 302);
    let asked = server.join().unwrap().concat();
    assert!(
        asked.contains("content-length: 7\r\n") && asked.ends_with("\r\n\r\n{\"a\":1}"),
        "{asked}"
    );
}

#[test]
fn an_answer_is_no_longer_than_it_may_be_and_no_slower() {
    let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let (address, _server) = serve(vec![chunks.to_vec(), chunks.to_vec()]);
    assert_eq!(exchange(&get(address), 3).unwrap().body(), b"abc");
    let ended = exchange(&get(address), 2);
    assert!(matches!(ended, Err(Trouble::TooLarge { most: 2 })), "{ended:?}");

    let encoded = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc";
    let (address, _server) = serve(vec![encoded.to_vec()]);
    let ended = exchange(&get(address), 3);
    assert!(matches!(ended, Err(Trouble::Encoded(_))), "{ended:?}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let dripping = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n").unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        // What is asked comes first, then a silence by which it is paced, and the end.
        while stream.write_all(b"x").is_ok() && !matches!(stream.read(&mut [0; 999]), Ok(0)) {}
    });
    let ended = exchange(&get(address), 999);
    assert!(matches!(ended, Err(Trouble::Late(Late::Body))), "{ended:?}");
    dripping.join().unwrap();
}

#[test]
fn a_body_ends_at_the_length_that_was_said_and_not_before() {
    // Some of it comes with the head, and most of it behind.
    let body: Vec<u8> = (0..3 * READ_SIZE).map(|byte| (byte % 251) as u8).collect();
    let answer = |length: usize| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        [head.as_bytes(), &body].concat()
    };
    let size = body.len();
    let (address, _) = serve(vec![answer(size), answer(size - 7), answer(size + 1)]);
    for length in [size, size - 7] {
        let reply = exchange(&get(address), 2 * size).unwrap();
        assert!(reply.body() == &body[..length], "{length}");
    }
    let cut = exchange(&get(address), 2 * size).unwrap_err();
    assert!(matches!(cut, Trouble::Broken(_)), "{cut:?}");
}

#[test]
fn dl_10_a_token_stays_with_its_origin() {
    let here = "HTTP/1.1 307 Elsewhere\r\nLocation: /b\r\n\r\n";
    let (foreign, heard) = serve(vec!["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into()]);
    let away = format!("HTTP/1.1 307 Elsewhere\r\nLocation: http://{foreign}/c\r\n\r\n");
    let (address, server) = serve(vec![here.into(), away.into()]);
    assert_eq!(exchange(&get(address), 3).unwrap().status(), 200);
    let own = server.join().unwrap();
    assert!(own.iter().all(|asked| asked.contains("authorization: ")), "{own:?}");
    let told = heard.join().unwrap().concat();
    assert!(told.starts_with("GET /c ") && !told.contains("authorization"), "{told}");
}

#[test]
fn nothing_shows_a_secret() {
    let ask = Ask { body: Some(b"secret".to_vec()), ..get("127.0.0.1:1".parse().unwrap()) };
    let ended = exchange(&ask, 3).unwrap_err();
    let shown = format!("{ask:?} {ended:?} {ended}") + &format!("{:?}", ended.into_failure());
    assert!(!shown.contains("secret"), "{shown}");
    assert!(Authorization::new("a\r\nb: c").is_none());
}
