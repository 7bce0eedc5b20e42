//! Our connections as the HTTP library wants them, plain and encrypted.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use super::socket::{Halt, Limit, Socket, Watch, addresses};
use super::trouble::{Late, Trouble};
use crate::transfer::tls::Tls;

/// Makes the connections of one exchange. All deadlines are the watch's; the library has none.
#[derive(Debug, Clone)]
pub(super) struct Dialler {
    pub(super) watch: Arc<Watch>,
    pub(super) tls: Arc<Tls>,
    /// When the connection must be there.
    pub(super) end: Instant,
    /// How long the head of the answer may take from then on.
    pub(super) answer: Duration,
    /// When it must be there in any case.
    pub(super) latest: Option<Instant>,
    /// Who is handed a connection that the library has done with.
    pub(super) rest: Sender<Rest>,
}

/// A connection behind the head of an answer, from which the rest of it is to be read.
pub(super) type Rest = Box<dyn Read + Send + Sync>;

impl Resolver for Dialler {
    fn resolve(
        &self,
        uri: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let Some(host) = uri.host() else { return Err(ureq::Error::HostNotFound) };
        let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(usual);
        let found = addresses(host, port, &self.watch)
            .map_err(|error| halted(error, |error| Trouble::NoAddress(host.to_owned(), error)))?;
        let mut resolved = self.empty();
        found.into_iter().for_each(|address| resolved.push(address));
        if resolved.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(resolved) }
    }
}

impl Connector for Dialler {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let host = details.uri.host().unwrap_or_default();
        let place = details.uri.authority().map_or(host, |authority| authority.as_str());
        let unreachable = |error| halted(error, |error| Trouble::Unreachable(place.into(), error));
        let socket = Socket::open(&details.addrs, self.end, &self.watch).map_err(unreachable)?;
        let buffers = LazyBuffers::new(
            details.config.input_buffer_size(),
            details.config.output_buffer_size(),
        );
        let rest = self.rest.clone();
        let transport: Box<dyn Transport> = if details.needs_tls() {
            let stream = self.encrypted(host, place, socket)?;
            Box::new(Connection { buffers, stream: Some(stream), is_tls: true, rest })
        } else {
            Box::new(Connection { buffers, stream: Some(socket), is_tls: false, rest })
        };
        let end = Instant::now() + self.answer;
        let end = self.latest.map_or(end, |latest| end.min(latest));
        self.watch.limit(Limit::Until(end, Late::Answer));
        Ok(Some(transport))
    }
}

impl Dialler {
    fn encrypted(
        &self,
        host: &str,
        place: &str,
        mut socket: Socket,
    ) -> Result<StreamOwned<ClientConnection, Socket>, ureq::Error> {
        let config = self.tls.config().map_err(|failure| other(Trouble::Tls(failure)))?;
        let untrusted = |error| other(Trouble::Untrusted(place.to_owned(), error));
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|_| untrusted(rustls::Error::General("no such name".into())))?;
        let mut connection = ClientConnection::new(config, name).map_err(untrusted)?;
        while connection.is_handshaking() {
            match connection.complete_io(&mut socket) {
                Ok((0, 0)) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(_) => {}
                Err(error) => return Err(halted(error, |error| broken(place, error))),
            }
        }
        Ok(StreamOwned::new(connection, socket))
    }
}

/// What the other side of an encrypted connection has done: who does not trust, or is not trusted,
/// stays so; all else passes.
pub(super) fn broken(place: &str, error: io::Error) -> Trouble {
    use rustls::{AlertDescription as Alert, CertificateError};
    let reason = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match reason {
        Some(rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        )) => Trouble::NotValidYet(place.to_owned()),
        Some(
            reason @ (rustls::Error::InvalidCertificate(_)
            | rustls::Error::NoCertificatesPresented
            | rustls::Error::PeerIncompatible(_)
            | rustls::Error::AlertReceived(
                Alert::HandshakeFailure
                | Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::ProtocolVersion
                | Alert::InsufficientSecurity
                | Alert::UnrecognisedName
                | Alert::CertificateRequired,
            )),
        ) => Trouble::Untrusted(place.to_owned(), reason.clone()),
        _ => Trouble::Broken(error),
    }
}

/// A halt stays one; any other error is this trouble.
fn halted(error: io::Error, trouble: impl FnOnce(io::Error) -> Trouble) -> ureq::Error {
    if Halt::in_error(&error).is_some() { error.into() } else { other(trouble(error)) }
}

fn other(trouble: Trouble) -> ureq::Error {
    ureq::Error::Other(Box::new(trouble))
}

/// A connection in the library's hands.
struct Connection<S: Read + Send + Sync + 'static> {
    buffers: LazyBuffers,
    /// There until it is dropped.
    stream: Option<S>,
    is_tls: bool,
    rest: Sender<Rest>,
}

impl<S: Read + Send + Sync + 'static> fmt::Debug for Connection<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("is_tls", &self.is_tls).finish_non_exhaustive()
    }
}

impl<S: Read + Write + Send + Sync + 'static> Transport for Connection<S> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        let stream = self.stream.as_mut().ok_or(ureq::Error::ConnectionFailed)?;
        stream.write_all(&self.buffers.output()[..amount])?;
        Ok(stream.flush()?)
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        let stream = self.stream.as_mut().ok_or(ureq::Error::ConnectionFailed)?;
        let amount = stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// None is used twice.
    fn is_open(&mut self) -> bool {
        false
    }

    fn is_tls(&self) -> bool {
        self.is_tls
    }
}

impl<S: Read + Send + Sync + 'static> Drop for Connection<S> {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        let came = io::Cursor::new(self.buffers.input().to_vec());
        // Nobody wants it where the exchange is over.
        let _ = self.rest.send(Box::new(came.chain(stream)));
    }
}
