use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;

use super::*;
use crate::cloud::content::tests::example;

/// Tells what was asked; each path has another answer.
struct Echo;

impl Site for Echo {
    fn answer(&self, request: &Request) -> Option<Response> {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let mut response = Response::text(200, "text/plain", format!("{} {body}", request.method));
        match request.path() {
            "/nothing" => return None,
            "/chunked" => response.framing = Framing::Chunked,
            "/close" => response.framing = Framing::Close,
            "/longer" => response.framing = Framing::WrongLength(3),
            "/shorter" => response.framing = Framing::WrongLength(-3),
            "/cut" => response.pace.cut_after = Some(2),
            "/header" => response = response.with("X-Text", "one\r\nX-Other: two"),
            "/none" => return Some(Response::new(304)),
            _ => {}
        }
        Some(response)
    }
}

fn start() -> Server {
    Server::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Arc::new(Echo)).unwrap()
}

/// Sends bytes, and what comes until the server closes.
fn ask(server: &Server, bytes: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_body_is_framed_as_asked() {
    let server = start();
    for (path, answer) in [
        ("/", "Content-Length: 4\r\n\r\nGET "),
        ("/chunked", "Transfer-Encoding: chunked\r\n\r\n2\r\nGE\r\n2\r\nT \r\n0\r\n\r\n"),
        ("/close", "Connection: close\r\n\r\nGET "),
        ("/longer", "Content-Length: 7\r\n\r\nGET "),
        ("/shorter", "Content-Length: 1\r\n\r\nGET "),
        ("/cut", "Content-Length: 4\r\n\r\nGE"),
        ("/header", "X-Text: oneX-Other: two\r\nContent-Length: 4\r\n\r\nGET "),
        ("/none", "HTTP/1.1 304 Not Modified\r\n\r\n"),
        ("/nothing", ""),
    ] {
        let told = ask(&server, &format!("GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n"));
        assert!(told.ends_with(answer), "{path}: {told}");
    }
}

#[test]
fn a_request_is_read_however_it_comes() {
    let server = start();
    for (request, answer) in [
        ("PUT / HTTP/1.0\r\ncontent-length: 2\r\n\r\nhi", "PUT hi"),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1;x\r\nh\r\n1\r\ni\r\n0\r\nA: b\r\n\r\n",
            "POST hi",
        ),
        ("HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n", "Content-Length: 5\r\n\r\n"),
        (
            "PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx",
            "PUT x",
        ),
        // Two on one connection.
        (
            "GET / HTTP/1.1\r\n\r\nPUT / HTTP/1.1\r\nConnection: close\r\nContent-Length: 1\r\n\r\ny",
            "PUT y",
        ),
        ("nonsense\r\n\r\n", "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
        (
            "PUT / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            "400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "PUT / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
            "413 Content Too Large\r\nContent-Length: 0\r\n\r\n",
        ),
    ] {
        let told = ask(&server, request);
        assert!(told.ends_with(answer), "{request}: {told}");
    }
}

#[test]
fn a_server_that_is_down_refuses_and_comes_back_at_its_port() {
    let server = start();
    let mut open = TcpStream::connect(server.address()).unwrap();
    open.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut first = [0; 4];
    open.read_exact(&mut first).unwrap();
    server.go_down();
    assert!(open.read_to_end(&mut Vec::new()).is_ok_and(|_| true));
    assert!(TcpStream::connect(server.address()).is_err());
    server.come_back().unwrap();
    server.come_back().unwrap();
    assert!(ask(&server, "GET / HTTP/1.0\r\n\r\n").ends_with("GET "));
}

#[test]
fn somebody_is_told_at_half_and_at_the_end() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let (half, end) = (Arc::clone(&told), Arc::clone(&told));
    let mut response = Response::new(200)
        .midway(move || lock(&half).push(0))
        .finished(move |sent| lock(&end).push(sent));
    response.body = Body(vec![Piece::Part(example(), 0..4096), Piece::Bytes(vec![1; 4])]);
    response.pace.cut_after = Some(3000);
    let mut sent = Vec::new();
    assert_eq!(response.send(&mut sent, false).unwrap(), Sent::Close);
    assert_eq!(*lock(&told), [0, 3000]);
    assert!(sent.ends_with(&[(2999 % 256) as u8]));
}
