//! One exchange with a server, and where its answer leads.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use ct_codecs::{Base64, Encoder as _};
use ureq::http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderName};
use ureq::http::response::Parts;
use ureq::http::{HeaderMap, HeaderValue, Method, Request, Response};
use ureq::{Agent, Body};

use super::retry_after::retry_after;
use super::socket::{Halt, Limit, Watch};
use super::transport::{Dialler, Rest, broken};
use super::trouble::{Late, Trouble};
use super::url::Url;
use super::{Authorization, Stop, accept, redirect};
use crate::config::Http;
use crate::model::Failure;
use crate::transfer::tls::Tls;

/// DL-10.
const MOST_REDIRECTS: usize = 5;
/// Largest head of an answer in bytes.
const LARGEST_HEAD: usize = 32 << 10;
/// What the library reads at once: a head, and bodies whose end only it knows.
const READ_SIZE: usize = 2 * LARGEST_HEAD;
/// Who we are.
const USER_AGENT: &str = concat!("uplift/", env!("CARGO_PKG_VERSION"));

/// What all exchanges with servers have in common.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    tls: Arc<Tls>,
    pub(super) config: Http,
}

/// What a server is asked.
#[derive(Clone)]
pub(crate) struct Ask {
    /// How.
    pub(crate) method: Method,
    /// Where.
    pub(crate) url: Url,
    /// By whom. Not told to another server that an answer leads to.
    pub(crate) authorization: Option<Authorization>,
    /// What else is said.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// What is sent.
    pub(crate) body: Option<Vec<u8>>,
}

impl Ask {
    /// For what lies at a URL.
    pub(crate) fn get(url: Url, authorization: Option<Authorization>) -> Self {
        Self { method: Method::GET, url, authorization, headers: Vec::new(), body: None }
    }

    /// The same, with one thing more said; what can't be in a header is left out.
    #[must_use]
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    /// JSON to be taken there.
    pub(crate) fn json(
        method: Method,
        url: Url,
        authorization: Option<Authorization>,
        body: Vec<u8>,
    ) -> Self {
        let asked = Self { method, body: Some(body), ..Self::get(url, authorization) };
        asked.with(CONTENT_TYPE, "application/json")
    }
}

/// Nothing of what is sent: it may hold secrets.
impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ask({} {})", self.method, self.url)
    }
}

/// What it answers, whatever the status.
pub(crate) struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    /// The status.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// A header that is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// How long the server wants to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers, since_1970())
    }

    /// The body, all of it.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }
}

/// Nothing of what was sent: it may hold secrets.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({}, {} bytes)", self.status, self.body.len())
    }
}

/// An answer whose body was not read yet.
pub(super) struct Answer {
    pub(super) parts: Parts,
    body: Box<dyn Read + Send + Sync>,
    pub(super) watch: Arc<Watch>,
    /// Who answers.
    place: String,
}

impl Answer {
    /// One that nobody sent.
    #[cfg(test)]
    pub(super) fn scripted(status: u16, headers: HeaderMap, body: Body) -> Self {
        let mut response = ureq::http::Response::new(());
        *response.status_mut() = ureq::http::StatusCode::from_u16(status).unwrap();
        *response.headers_mut() = headers;
        let limit = Limit::Silence(Duration::from_secs(9));
        let watch = Arc::new(Watch::new(Stop::default(), limit));
        let (parts, body) = (response.into_parts().0, Box::new(body.into_reader()));
        Self { parts, body, watch, place: "h".to_owned() }
    }

    /// Reads of the body; 0 is its end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Trouble> {
        self.body.read(buffer).map_err(|error| of_io(&self.place, error))
    }

    pub(super) fn head(&self) -> accept::Head<'_> {
        let Parts { status, version, headers, .. } = &self.parts;
        accept::Head { status: status.as_u16(), version: *version, headers, now: since_1970() }
    }
}

impl Client {
    /// A client by this configuration. Certificates of its own are read now, those of the system
    /// when they are needed.
    pub(crate) fn new(config: &Http) -> Result<Self, Failure> {
        Ok(Self { tls: Arc::new(Tls::new(&config.tls_files())?), config: config.clone() })
    }

    /// Asks, and takes an answer with a body of at most `limit` bytes. Redirects are followed where
    /// nothing is sent.
    pub(crate) fn exchange(&self, ask: &Ask, limit: usize, stop: &Stop) -> Result<Reply, Trouble> {
        match self.beginning(ask, limit, stop)? {
            (reply, false) => Ok(reply),
            (_, true) => Err(Trouble::TooLarge { most: limit as u64 }),
        }
    }

    /// Asks, and takes the first `limit` bytes of the answer's body; true where more would come.
    pub(crate) fn beginning(
        &self,
        ask: &Ask,
        limit: usize,
        stop: &Stop,
    ) -> Result<(Reply, bool), Trouble> {
        let mut answer = self.answer(ask, stop, None)?;
        // A small answer comes at once, or drop by drop for ever.
        let end = Instant::now() + self.config.stall_deadline;
        answer.watch.limit(Limit::Until(end, Late::Body));
        accept::plain(&answer.parts.headers)?;
        let (mut body, mut buffer) = (Vec::new(), vec![0; 16 << 10]);
        while body.len() <= limit {
            match answer.read(&mut buffer)? {
                0 => break,
                n => body.extend_from_slice(&buffer[..n]),
            }
        }
        let is_more = body.len() > limit;
        body.truncate(limit);
        let Parts { status, headers, .. } = answer.parts;
        Ok((Reply { status: status.as_u16(), headers, body }, is_more))
    }

    /// Asks, and where that leads elsewhere asks there. All that is before the answer is over at
    /// `latest`.
    pub(super) fn answer(
        &self,
        ask: &Ask,
        stop: &Stop,
        latest: Option<Instant>,
    ) -> Result<Answer, Trouble> {
        let (mut url, mut authorization) = (ask.url.clone(), authorization(ask));
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.ask(ask, &url, authorization.as_ref(), stop, latest)?;
            let status = answer.parts.status.as_u16();
            let leads_on = ask.method == Method::GET || ask.method == Method::HEAD;
            if !leads_on {
                return Ok(answer);
            }
            let Some(next) = redirect::next(&url, status, &answer.parts.headers)? else {
                return Ok(answer);
            };
            if !next.same_origin(&url) {
                authorization = None;
            }
            url = next;
        }
        Err(Trouble::Redirects(MOST_REDIRECTS))
    }

    fn ask(
        &self,
        ask: &Ask,
        url: &Url,
        authorization: Option<&Authorization>,
        stop: &Stop,
        latest: Option<Instant>,
    ) -> Result<Answer, Trouble> {
        let end = Instant::now() + self.config.connect_deadline;
        let end = latest.map_or(end, |latest| end.min(latest));
        let watch = Arc::new(Watch::new(stop.clone(), Limit::Until(end, Late::Connection)));
        let (rest, connection) = channel();
        let dialler = Dialler {
            rest,
            watch: Arc::clone(&watch),
            tls: Arc::clone(&self.tls),
            end,
            answer: self.config.first_byte_deadline,
            latest,
        };
        let place = url.authority();
        let agent = Agent::with_parts(settings(), dialler.clone(), dialler);
        let response =
            run(&agent, ask, url, authorization).map_err(|error| of_library(&place, error))?;
        watch.limit(Limit::Silence(self.config.stall_deadline));
        let (parts, body) = response.into_parts();
        Ok(Answer { parts, body: reader(body, &connection), watch, place })
    }
}

/// What reads a body: the library where only it knows the end. A body of a length that was said
/// comes straight from the connection, because the library copies each byte once more.
fn reader(body: Body, connection: &Receiver<Rest>) -> Box<dyn Read + Send + Sync> {
    let Some(length) = body.content_length() else { return Box::new(body.into_reader()) };
    drop(body);
    let rest = connection.try_recv().unwrap_or_else(|_| Box::new(io::empty()));
    Box::new(OfLength(rest.take(length)))
}

/// A body that ends neither before its length nor behind it.
struct OfLength(io::Take<Rest>);

impl Read for OfLength {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 if self.0.limit() > 0 && !buffer.is_empty() => {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            count => Ok(count),
        }
    }
}

/// Of the library's own rules only its limit of the head: redirects, statuses, deadlines and proxies
/// are ours or nobody's.
fn settings() -> ureq::config::Config {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(USER_AGENT)
        .max_response_header_size(LARGEST_HEAD)
        .input_buffer_size(READ_SIZE)
        .output_buffer_size(LARGEST_HEAD)
        .max_idle_connections(0)
        .allow_non_standard_methods(false)
        .build()
}

fn run(
    agent: &Agent,
    ask: &Ask,
    url: &Url,
    authorization: Option<&Authorization>,
) -> Result<Response<Body>, ureq::Error> {
    let mut request = Request::builder().method(&ask.method).uri(url.target());
    if let Some(headers) = request.headers_mut() {
        headers.extend(ask.headers.iter().cloned());
        // DL-7.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(Authorization(value)) = authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
    }
    match &ask.body {
        Some(body) => agent.run(request.body(body.as_slice())?),
        None => agent.run(request.body(())?),
    }
}

/// The one that is given, or the user of the URL.
fn authorization(ask: &Ask) -> Option<Authorization> {
    let of_user = || {
        let basic = Base64::encode_to_string(ask.url.user()?).ok()?;
        Authorization::of(format!("Basic {basic}").as_bytes())
    };
    ask.authorization.clone().or_else(of_user)
}

#[allow(
    clippy::disallowed_methods,
    reason = "a server may say a time of the day; whoever asks knows that the clock may be wrong"
)]
fn since_1970() -> Option<Duration> {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()
}

/// What an error of the library means. Its own words are left out where they could repeat a URL.
fn of_library(place: &str, error: ureq::Error) -> Trouble {
    match error {
        ureq::Error::Io(error) => of_io(place, error),
        ureq::Error::Other(error) => match error.downcast::<Trouble>() {
            Ok(trouble) => *trouble,
            Err(error) => Trouble::Broken(io::Error::other(error)),
        },
        ureq::Error::LargeResponseHeader(..) => {
            Trouble::NotHttp(format!("its head has more than {LARGEST_HEAD} bytes"))
        }
        ureq::Error::HostNotFound => {
            Trouble::NoAddress(place.to_owned(), io::ErrorKind::NotFound.into())
        }
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            Trouble::Senseless("its URL can't be asked for")
        }
        other => Trouble::NotHttp(other.to_string()),
    }
}

fn of_io(place: &str, error: io::Error) -> Trouble {
    match Halt::in_error(&error) {
        Some(Halt::Stopped) => return Trouble::Stopped,
        Some(Halt::Late(late)) => return late.into(),
        None => {}
    }
    let is_librarys = error.get_ref().is_some_and(|inner| inner.is::<ureq::Error>());
    if !is_librarys {
        return broken(place, error);
    }
    match ureq::Error::from(error) {
        ureq::Error::Io(error) => broken(place, error),
        error => of_library(place, error),
    }
}

#[cfg(test)]
mod tests;
