//! As much of an FTP server as one upload needs, and one that loses the connection if asked to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

/// What one upload left behind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Uploaded {
    pub(super) commands: Vec<String>,
    pub(super) data: Vec<u8>,
}

/// Serves connections one after another until an upload is complete; hangs up on the first `broken`
/// ones in the middle.
pub(super) fn serve(broken: u32) -> (u16, JoinHandle<Uploaded>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        for _ in 0..broken {
            session(&listener.accept().unwrap().0, true);
        }
        session(&listener.accept().unwrap().0, false)
    });
    (port, server)
}

fn session(mut control: &TcpStream, broken: bool) -> Uploaded {
    let mut uploaded = Uploaded { commands: Vec::new(), data: Vec::new() };
    let passive = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = passive.local_addr().unwrap().port();
    control.write_all(b"220 ready\r\n").unwrap();
    for line in BufReader::new(control).lines() {
        let Ok(line) = line else { break };
        let word = line.split(' ').next().unwrap_or_default().to_owned();
        uploaded.commands.push(line);
        let answer = match word.as_str() {
            "USER" => "331 password".to_owned(),
            "PASS" => "230 in".to_owned(),
            "PASV" => format!("227 here (127,0,0,1,{},{})", port >> 8, port & 0xFF),
            "STOR" => {
                control.write_all(b"150 go\r\n").unwrap();
                let mut data = passive.accept().unwrap().0;
                if broken {
                    data.read_exact(&mut [0; 10]).unwrap();
                    return uploaded;
                }
                data.read_to_end(&mut uploaded.data).unwrap();
                "226 done".to_owned()
            }
            "QUIT" => return uploaded,
            _ => "200 fine".to_owned(),
        };
        control.write_all(format!("{answer}\r\n").as_bytes()).unwrap();
    }
    uploaded
}
