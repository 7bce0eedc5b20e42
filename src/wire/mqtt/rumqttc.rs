//! The library that is used, `rumqttc-v4-next`. Its traps: no more than 10 KiB a message by default,
//! the client's own queues, which outlive a connection, five seconds for all of a connection's
//! beginning, what came whole is forgotten where something worse comes in the same read, and a message
//! above the limit ends the connection, so that the limit is kept below it ([`Narrow`]).

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rumqttc::mqttbytes::Error as Bytes;
use rumqttc::mqttbytes::v4::{ConnectReturnCode, SubscribeReasonCode};
use rumqttc::{
    AsyncClient, ConnectionError, EventLoop, MqttOptions, PublishOptions, QoS, StateError,
};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::library::{Gone, Heard, Library, Loss, Post, Qos};
use super::narrow::Narrow;
use super::{Broker, LARGEST_SENT, Message, PATIENCE};

/// Characters that are kept of a reason.
const LONGEST_REASON: usize = 200;
/// Messages on their way that the broker has not acknowledged.
const IN_FLIGHT: u16 = 16;
/// Bytes of a message's topic and head.
const HEAD: usize = 1 << 10;

/// A connection of this library.
pub(crate) struct Rumqttc(EventLoop);

impl Library for Rumqttc {
    type Post = AsyncClient;

    fn open(broker: &Broker) -> (AsyncClient, Self) {
        let (mut options, broker) = (options(broker), broker.clone());
        options.set_socket_connector(move |_, _| connect(broker.clone()));
        Self::with(options)
    }

    async fn next(&mut self) -> Result<Heard, Loss> {
        use rumqttc::{Event, Incoming};
        Ok(match self.0.poll().await? {
            Event::Incoming(Incoming::ConnAck(_)) => Heard::Connected,
            Event::Incoming(Incoming::Publish(message)) => Heard::Message(Message {
                topic: String::from_utf8_lossy(&message.topic).into_owned(),
                payload: message.payload,
                is_retained: message.retain,
            }),
            Event::Incoming(_) | Event::Outgoing(_) => Heard::Else,
        })
    }
}

impl Rumqttc {
    fn with(options: MqttOptions) -> (AsyncClient, Self) {
        let (client, mut events) = AsyncClient::builder(options).build();
        events.network_options.set_connection_timeout(PATIENCE.as_secs());
        (client, Self(events))
    }

    /// A connection over a stream that is there already.
    pub(super) fn over<S: Stream>(broker: &Broker, stream: S) -> (AsyncClient, Self) {
        let stream = Narrow::new(stream, broker.largest);
        let (mut options, stream) = (options(broker), Mutex::new(Some(stream)));
        options.set_socket_connector(move |_, _| {
            let stream = stream.lock().ok().and_then(|mut stream| stream.take());
            async move { stream.ok_or_else(|| io::ErrorKind::NotConnected.into()) }
        });
        Self::with(options)
    }
}

fn options(broker: &Broker) -> MqttOptions {
    let mut options = MqttOptions::new(&broker.client_id, (broker.host.clone(), broker.port));
    let seconds = broker.keep_alive.as_secs().try_into().unwrap_or(u16::MAX);
    options
        .set_keep_alive(seconds)
        .set_clean_session(broker.clean_session)
        .set_max_packet_size(broker.largest, LARGEST_SENT + HEAD)
        .set_request_channel_capacity(IN_FLIGHT.into())
        .set_read_batch_size(1)
        .set_inflight(IN_FLIGHT);
    if let Some(login) = &broker.login {
        options.set_credentials(&login.user, login.password.clone());
    }
    options
}

/// What a connection goes over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static> Stream for S {}

async fn connect(broker: Broker) -> io::Result<Narrow<Box<dyn Stream>>> {
    let stream = reach(&broker).await?;
    // An answer follows the confirmation of its command, and must not wait until that is confirmed.
    stream.set_nodelay(true)?;
    let stream: Box<dyn Stream> = match &broker.tls {
        None => Box::new(stream),
        Some(tls) => {
            let name = ServerName::try_from(broker.host.clone()).map_err(no_tls)?;
            let connector = TlsConnector::from(Arc::clone(tls));
            Box::new(connector.connect(name, stream).await.map_err(no_tls)?)
        }
    };
    Ok(Narrow::new(stream, broker.largest))
}

/// One of the broker's addresses, each of which has its part of the time.
async fn reach(broker: &Broker) -> io::Result<TcpStream> {
    let found = lookup_host((broker.host.as_str(), broker.port)).await?;
    let addresses: Vec<SocketAddr> = found.collect();
    let patience = PATIENCE / addresses.len().clamp(1, 15) as u32;
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failed)
}

fn no_tls(error: impl std::error::Error) -> io::Error {
    io::Error::other(format!("no TLS with it: {error}"))
}

impl Post for AsyncClient {
    async fn subscribe(&self, topic: &str) -> Result<bool, Gone> {
        let notice = self.subscribe_tracked(topic, QoS::AtLeastOnce).await.map_err(|_| Gone)?;
        let answer = notice.wait_async().await.map_err(|_| Gone)?;
        Ok(!answer.return_codes.contains(&SubscribeReasonCode::Failure))
    }

    async fn publish(&self, topic: &str, payload: Vec<u8>, qos: Qos) -> Result<(), Gone> {
        let qos = match qos {
            Qos::AtMostOnce => QoS::AtMostOnce,
            Qos::AtLeastOnce => QoS::AtLeastOnce,
        };
        let options = PublishOptions::new(qos);
        let sent = self.publish_tracked(topic, payload, options).await.map_err(|_| Gone)?;
        sent.wait_completion_async().await.map_err(|_| Gone)
    }
}

impl From<ConnectionError> for Loss {
    fn from(error: ConnectionError) -> Self {
        use ConnectionError as E;
        use StateError as S;
        Self::Else(match error {
            E::ConnectionRefused(
                code @ (ConnectReturnCode::BadUserNamePassword
                | ConnectReturnCode::NotAuthorized
                | ConnectReturnCode::BadClientId),
            ) => return Self::NotAllowed(refusal(code).to_owned()),
            E::ConnectionRefused(code) => format!("it does not let us in now: {code:?}"),
            E::NetworkTimeout => "it does not answer".into(),
            E::FlushTimeout => "it takes nothing any more".into(),
            E::MqttState(S::AwaitPingResp) => "it says nothing any more".into(),
            E::MqttState(S::ConnectionAborted) => "it has closed the connection".into(),
            E::Io(error) | E::MqttState(S::Deserialization(Bytes::Io(error)) | S::Io(error)) => {
                error.to_string()
            }
            E::NotConnAck(_) => {
                "it does not speak MQTT: something else came than its greeting".into()
            }
            E::MqttState(S::Deserialization(error)) => {
                plain(&format!("it does not speak MQTT: {error}"))
            }
            error => plain(&innermost(&error)),
        })
    }
}

fn refusal(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::BadClientId => "it does not accept our client id",
        ConnectReturnCode::BadUserNamePassword => "our user or password is wrong",
        _ => "our user, password or client id has no right there",
    }
}

/// A text of the library's on one line: it may repeat what the broker has sent.
fn plain(text: &str) -> String {
    let letters = text.chars().map(|c| if c.is_control() { '?' } else { c });
    letters.take(LONGEST_REASON).collect()
}

/// The cause of an error whose own words only repeat it.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map_or_else(String::new, ToString::to_string)
}
