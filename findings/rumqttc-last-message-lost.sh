#!/bin/sh
# rumqttc-v4-next does not tell a message that a broker sends right before it closes the connection.
#
# Behaviour: the client reads what is there, up to ten packets at once by default. Where the broker's end of the connection stands behind a
# message in one read, `EventLoop::poll` returns the error, and the message is never told: not before the error, and not behind it. With
# `set_read_batch_size(1)` it is told, and then the error.
# Most would guess: what came whole is told first.
#
# Shown with rumqttc-v4-next 0.34.0, against a broker of a few lines that greets, and sends one message of QoS 0 and its end together. Needs cargo
# and python3; writes only below a temporary directory.
set -eu
VERSION=0.34.0

work=$(mktemp -d)
trap 'rm -rf "$work"; kill "$broker" 2>/dev/null || true' EXIT
broker=
cd "$work"
cat >broker.py <<'END_OF_PROGRAM'
import socket

listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    connection.recv(1024)
    message = b"\x30\x07\x00\x01t" + b"last"
    connection.sendall(b"\x20\x02\x00\x00" + message)
    connection.close()
END_OF_PROGRAM
mkdir client client/src
cat >client/Cargo.toml <<END
[package]
name = "client"
version = "0.0.0"
edition = "2024"
[dependencies]
rumqttc-v4-next = { version = "=$VERSION", default-features = false }
tokio = { version = "1", features = ["rt", "macros", "time"] }
END
cat >client/src/main.rs <<'END_OF_PROGRAM'
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions};

/// What is told of one connection.
async fn heard(port: u16, batch: usize) -> String {
    let mut options = MqttOptions::new("c", ("127.0.0.1", port));
    options.set_read_batch_size(batch);
    let (_client, mut events) = AsyncClient::builder(options).build();
    let mut told = Vec::new();
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(_))) => told.push("connected"),
            Ok(Event::Incoming(Incoming::Publish(_))) => told.push("message"),
            Ok(_) => {}
            Err(_) => told.push("error"),
        }
        if told.last() == Some(&"error") {
            return told.join(", ");
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let port = std::env::args().nth(1).unwrap().parse().unwrap();
    println!("by default: {}", heard(port, 0).await);
    println!("one packet a read: {}", heard(port, 1).await);
}
END_OF_PROGRAM
cargo build --quiet --manifest-path client/Cargo.toml
mkfifo said
python3 broker.py >said &
broker=$!
read -r port <said
echo "rumqttc-v4-next $VERSION"
client/target/debug/client "$port" | tee told
[ "$(cat told)" = "$(printf 'by default: connected, error\none packet a read: connected, message, error')" ] || { echo "the behaviour has changed"; exit 1; }
