#!/bin/sh
# rumqttc-v4-next ends the connection at a message above its limit, and a retained one above it ends every connection.
#
# Behaviour: with `set_max_packet_size(N, N)` a larger PUBLISH makes `EventLoop::poll` return an error and close the connection; no part of the message
# is passed over. MQTT 3.1.1 has no way to tell a broker the limit. A message that the broker has retained comes again with each subscription,
# so that each connection ends there, and a client with a clean session fares no better.
# Most would guess: what is too large is left out, as with the maximum packet size of MQTT 5; or a new, clean session is free of it.
#
# Shown with rumqttc-v4-next 0.34.0 and Debian's mosquitto. Needs cargo, mosquitto and mosquitto-clients; writes only below a temporary directory.
set -eu
VERSION=0.34.0
export PATH="$PATH:/usr/sbin"

work=$(mktemp -d)
trap 'rm -rf "$work"; kill "$broker" 2>/dev/null || true' EXIT
broker=
cd "$work"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
printf 'listener %s 127.0.0.1\nallow_anonymous true\n' "$port" >conf
mosquitto -c conf >log 2>&1 &
broker=$!
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
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};

/// What is told of one connection with one subscription, until it ends or a small message is there.
async fn heard(port: u16, limit: usize) -> String {
    let mut options = MqttOptions::new("c", ("127.0.0.1", port));
    options.set_max_packet_size(limit, limit);
    options.set_clean_session(true);
    let (client, mut events) = AsyncClient::builder(options).build();
    client.subscribe("t/#", QoS::AtLeastOnce).await.unwrap();
    let mut told = Vec::new();
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Incoming::Publish(message))) => told.push(message.payload.len().to_string()),
            Ok(_) => {}
            Err(_) => told.push("error".to_owned()),
        }
        if matches!(told.last().map(String::as_str), Some("error" | "5")) {
            return told.join(", ");
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let port = std::env::args().nth(1).unwrap().parse().unwrap();
    for connection in 1..=3 {
        println!("limit 1000, connection {connection}: {}", heard(port, 1000).await);
    }
    println!("limit 100000: {}", heard(port, 100_000).await);
}
END_OF_PROGRAM
cargo build --quiet --manifest-path client/Cargo.toml
# Retained ones come in the order of their topics' names.
head -c 20000 /dev/zero | tr '\0' x | mosquitto_pub -p "$port" -t t/a -r -s
mosquitto_pub -p "$port" -t t/b -r -m small
echo "rumqttc-v4-next $VERSION, $(mosquitto -h | sed -n 1p)"
timeout 60 client/target/debug/client "$port" | tee told
expected=$(printf 'limit 1000, connection %s: error\n' 1 2 3; echo 'limit 100000: 20000, 5')
[ "$(cat told)" = "$expected" ] || { echo "the behaviour has changed"; exit 1; }
