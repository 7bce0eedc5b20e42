//! Downloads from servers that are played here, by a clock that stands still unless somebody
//! sleeps.

mod pieces;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, Read};

use ureq::Body;
use ureq::http::HeaderMap;

use super::super::trouble::Late;
use super::*;
use crate::config::{Http, Size};

/// What the server does at one request.
enum Turn {
    /// An answer whose body breaks off behind these bytes where `breaks`.
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Vec<u8>,
        breaks: bool,
    },
    Fails(Trouble),
}

/// A file that is served by ranges where the request proves that it knows the file.
struct Server {
    file: RefCell<Vec<u8>>,
    etag: RefCell<String>,
    turns: RefCell<VecDeque<Turn>>,
    /// Bytes after which each answer of its own breaks off.
    breaks_after: Cell<usize>,
    ranges: Cell<bool>,
    asked: RefCell<Vec<String>>,
}

struct Broken(io::Cursor<Vec<u8>>, bool);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 if self.1 => Err(io::ErrorKind::ConnectionReset.into()),
            count => Ok(count),
        }
    }
}

impl Server {
    fn new(size: usize) -> Self {
        Self {
            file: RefCell::new((0..size).map(|i| (i * 7 % 251) as u8).collect()),
            etag: RefCell::new("\"a\"".into()),
            turns: RefCell::default(),
            breaks_after: Cell::new(usize::MAX),
            ranges: Cell::new(true),
            asked: RefCell::default(),
        }
    }

    fn with_turns(size: usize, turns: impl IntoIterator<Item = Turn>) -> Self {
        Self { turns: RefCell::new(turns.into_iter().collect()), ..Self::new(size) }
    }

    fn answer(&self, ask: &Ask) -> Result<Answer, Trouble> {
        let said = |name: &str| {
            let found = ask.headers.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.to_str().unwrap().to_owned())
        };
        let (range, proof) = (said("range"), said("if-range"));
        self.asked.borrow_mut().push(range.clone().unwrap_or_default());
        let turn = self.turns.borrow_mut().pop_front();
        let turn = turn.unwrap_or_else(|| self.serve(range.as_deref(), proof.as_deref()));
        match turn {
            Turn::Fails(trouble) => Err(trouble),
            Turn::Answer { status, headers, body, breaks } => {
                let headers: HeaderMap = headers
                    .into_iter()
                    .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                    .collect();
                let body = Body::builder().reader(Broken(io::Cursor::new(body), breaks));
                Ok(Answer::scripted(status, headers, body))
            }
        }
    }

    fn serve(&self, range: Option<&str>, proof: Option<&str>) -> Turn {
        let (file, etag) = (self.file.borrow(), self.etag.borrow());
        let from = range.filter(|_| self.ranges.get() && proof == Some(&**etag));
        let from: Option<usize> = from
            .map(|range| range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap())
            .map(|from| from.parse().unwrap());
        let mut body = file[from.unwrap_or(0)..].to_vec();
        let mut headers = vec![("content-length", body.len().to_string()), ("etag", etag.clone())];
        if let Some(from) = from {
            let range = format!("bytes {from}-{}/{}", file.len() - 1, file.len());
            headers.push(("content-range", range));
        }
        let breaks = body.len() > self.breaks_after.get();
        body.truncate(self.breaks_after.get());
        Turn::Answer { status: if from.is_some() { 206 } else { 200 }, headers, body, breaks }
    }
}

/// Time that passes by sleeping.
#[derive(Default)]
struct Slept(Cell<Duration>, Option<Instant>);

impl Slept {
    fn new() -> Self {
        Self(Cell::default(), Some(Instant::now()))
    }
}

impl Clock for Slept {
    fn now(&self) -> Instant {
        self.1.unwrap() + self.0.get()
    }

    fn sleep(&self, time: Duration) {
        self.0.set(self.0.get() + time);
    }
}

/// What came.
#[derive(Default)]
struct Kept {
    begun: Vec<u64>,
    bytes: Vec<u8>,
    validator: Option<Validator>,
    fails_at: Option<usize>,
    pauses: u32,
    /// Is set at the first pause.
    stops: Option<Stop>,
}

impl Sink for Kept {
    fn begin(&mut self, offset: u64, total: Option<u64>, validator: &Validator) -> io::Result<()> {
        assert!(total.is_none_or(|total| offset <= total));
        self.begun.push(offset);
        self.bytes.truncate(offset as usize);
        assert_eq!(self.bytes.len() as u64, offset);
        self.validator = Some(validator.clone());
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        assert!(!self.begun.is_empty() && !bytes.is_empty());
        self.bytes.extend_from_slice(bytes);
        match self.fails_at {
            Some(most) if self.bytes.len() > most => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn pauses(&mut self, _: &Trouble, _: Duration) {
        self.pauses += 1;
        self.stops.iter().for_each(Stop::set);
    }
}

struct Play {
    config: Http,
    size: Option<u64>,
    most: u64,
    have: Option<Have>,
    stop: Stop,
    clock: Slept,
    kept: Kept,
    pieces: Pieces,
}

impl Play {
    fn new() -> Self {
        Self {
            config: Http::default(),
            size: None,
            most: 1 << 30,
            have: None,
            stop: Stop::default(),
            clock: Slept::new(),
            kept: Kept::default(),
            pieces: Pieces::None,
        }
    }

    fn run(&mut self, server: &Server) -> Result<u64, Trouble> {
        let client = Client::new(&self.config).unwrap();
        let wanted = Wanted {
            url: "http://h/file?token=x".parse().unwrap(),
            size: self.size,
            most: self.most,
            authorization: None,
            pieces: self.pieces,
        };
        let download = Download::new(
            &client,
            &wanted,
            self.have.take(),
            &mut self.kept,
            &self.stop,
            &self.clock,
        );
        download.run(|ask, _| server.answer(ask))
    }
}

fn later(after: Option<u64>) -> Turn {
    Turn::Fails(Trouble::Later { status: 503, after: after.map(Duration::from_secs) })
}

fn answer(status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> Turn {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Turn::Answer { status, headers, body: body.to_vec(), breaks: false }
}

#[test]
fn a_file_comes_over_connections_that_break() {
    let (server, mut play) = (Server::new(1000), Play::new());
    server.breaks_after.set(300);
    assert_eq!(play.run(&server).unwrap(), 1000);
    assert_eq!(play.kept.bytes, *server.file.borrow());
    assert_eq!(*server.asked.borrow(), ["", "bytes=300-", "bytes=600-", "bytes=900-"]);
    assert_eq!((play.kept.begun, play.kept.pauses), (vec![0], 3));
}

#[test]
fn what_was_there_before_is_gone_on_with_and_nothing_else_is_asked_for() {
    let (server, mut play) = (Server::new(1000), Play::new());
    server.breaks_after.set(300);
    play.kept.stops = Some(play.stop.clone());
    assert!(matches!(play.run(&server), Err(Trouble::Stopped)));
    let mut next = Play::new();
    next.kept.bytes = play.kept.bytes;
    next.have = Some(Have { bytes: 300, validator: play.kept.validator.unwrap() });
    next.size = Some(1000);
    server.breaks_after.set(usize::MAX);
    assert_eq!(next.run(&server).unwrap(), 1000);
    assert_eq!((next.kept.bytes, next.kept.begun), (server.file.borrow().clone(), vec![300]));
    assert_eq!(*server.asked.borrow(), ["", "bytes=300-"]);
}

#[test]
fn dl_1_what_is_there_of_another_file_is_left() {
    let validator = |url: &str, total| {
        let headers = [("etag".parse().unwrap(), "\"a\"".parse().unwrap())].into_iter().collect();
        Validator::of(&url.parse().unwrap(), &headers, total)
    };
    for (bytes, validator, size) in [
        (300, validator("http://h/other", Some(1000)), None),
        (300, validator("http://h/file", Some(999)), Some(1000)),
        (1001, validator("http://h/file", Some(1000)), None),
        (300, Validator::of(&"http://h/file".parse().unwrap(), &HeaderMap::new(), None), None),
    ] {
        let (server, mut play) = (Server::new(1000), Play::new());
        (play.have, play.size) = (Some(Have { bytes, validator }), size);
        play.kept.bytes = vec![0; bytes as usize];
        assert_eq!(play.run(&server).unwrap(), 1000);
        assert_eq!((&play.kept.bytes, &play.kept.begun), (&*server.file.borrow(), &vec![0]));
        assert_eq!(*server.asked.borrow(), [""]);
    }
}

#[test]
fn all_that_is_there_already_is_all() {
    let (server, mut first) = (Server::new(10), Play::new());
    first.run(&server).unwrap();
    let have = || Some(Have { bytes: 10, validator: first.kept.validator.clone().unwrap() });
    let mut announced = Play { have: have(), size: Some(10), ..Play::new() };
    announced.kept.bytes = first.kept.bytes.clone();
    assert_eq!(announced.run(&server).unwrap(), 10);
    assert_eq!((server.asked.borrow().len(), announced.kept.begun), (1, vec![10]));
    // The server is asked where nobody else knows.
    let mut unknown = Play { have: have(), ..Play::new() };
    unknown.kept.bytes = first.kept.bytes.clone();
    let page = answer(416, &[("content-range", "bytes */10")], b"<html>");
    let server = Server::with_turns(10, [page]);
    assert_eq!(unknown.run(&server).unwrap(), 10);
    assert_eq!(unknown.kept.bytes, first.kept.bytes);
    assert_eq!(*server.asked.borrow(), ["bytes=10-"]);
}

#[test]
fn a_file_that_changes_begins_anew_and_not_for_ever() {
    let (server, mut play) = (Server::new(1000), Play::new());
    server.breaks_after.set(300);
    let replaced = Cell::new(0);
    let run = |play: &mut Play, times: u32| {
        let client = Client::new(&play.config).unwrap();
        let url = "http://h/file".parse().unwrap();
        let wanted =
            Wanted { url, size: None, most: 1 << 20, authorization: None, pieces: Pieces::None };
        let download =
            Download::new(&client, &wanted, None, &mut play.kept, &play.stop, &play.clock);
        download.run(|ask, _| {
            if replaced.get() < times && !server.asked.borrow().is_empty() {
                replaced.set(replaced.get() + 1);
                *server.etag.borrow_mut() = format!("\"{}\"", replaced.get());
                server.file.borrow_mut().iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
            }
            server.answer(ask)
        })
    };
    assert_eq!(run(&mut play, 2).unwrap(), 1000);
    assert_eq!((&play.kept.bytes, &play.kept.begun), (&*server.file.borrow(), &vec![0, 0, 0]));
    replaced.set(0);
    let ended = run(&mut Play::new(), u32::MAX);
    assert!(matches!(ended, Err(Trouble::Changes)), "{ended:?}");
}

#[test]
fn a_range_that_begins_elsewhere_is_dropped_and_no_other_is_asked_for() {
    let wrong = [("content-range", "bytes 200-999/1000"), ("content-length", "800")];
    let server = Server::with_turns(
        1000,
        [
            Turn::Answer {
                status: 200,
                headers: vec![("content-length", "1000".into()), ("etag", "\"a\"".into())],
                body: vec![9; 300],
                breaks: true,
            },
            answer(206, &wrong, &[7; 800]),
        ],
    );
    let mut play = Play::new();
    assert_eq!(play.run(&server).unwrap(), 1000);
    assert_eq!(*server.asked.borrow(), ["", "bytes=300-", ""]);
    assert_eq!((play.kept.bytes, play.kept.begun), (server.file.borrow().clone(), vec![0, 0]));
}

#[test]
fn a_server_without_ranges_is_given_up_when_it_never_comes_further() {
    let (server, mut play) = (Server::new(1000), Play::new());
    server.breaks_after.set(300);
    server.ranges.set(false);
    let ended = play.run(&server);
    assert!(matches!(ended, Err(Trouble::GaveUp { .. })), "{ended:?}");
    let slept = play.clock.0.get();
    assert!(slept <= play.config.patience && slept > play.config.patience / 2, "{slept:?}");
}

#[test]
fn a_server_that_gives_a_piece_at_a_time_is_asked_for_the_next() {
    let tag = ("etag", "\"a\"");
    let server = Server::with_turns(
        10,
        [
            answer(206, &[("content-range", "bytes 0-3/10"), tag], &[1; 4]),
            answer(200, &[("content-range", "bytes 4-9/10"), tag], &[2; 6]),
        ],
    );
    let mut play = Play::new();
    assert_eq!(play.run(&server).unwrap(), 10);
    assert_eq!(play.kept.bytes, [[1; 4].as_slice(), &[2; 6]].concat());
    assert_eq!(*server.asked.borrow(), ["", "bytes=4-"]);
    assert_eq!(play.kept.pauses, 0);
}

#[test]
fn dl_8_an_end_that_nobody_announced_is_none_and_an_announced_one_must_be_reached() {
    let cut = || Server::with_turns(10, [answer(200, &[], &[1; 4])]);
    assert!(matches!(Play::new().run(&cut()), Err(Trouble::EndUnknown)));
    let mut play = Play { size: Some(10), ..Play::new() };
    let server = cut();
    assert_eq!(play.run(&server).unwrap(), 10);
    assert_eq!(play.kept.bytes, *server.file.borrow());
    let whole = Server::with_turns(10, [answer(200, &[], &[1; 10])]);
    assert_eq!(Play { size: Some(10), ..Play::new() }.run(&whole).unwrap(), 10);
}

#[test]
fn dl_6_more_than_was_announced_or_may_come_is_not_taken() {
    let chunks = || answer(200, &[("transfer-encoding", "chunked")], &[1; 11]);
    let mut play = Play { size: Some(10), ..Play::new() };
    let ended = play.run(&Server::with_turns(0, [chunks()]));
    assert!(matches!(ended, Err(Trouble::Longer(10))), "{ended:?}");
    assert!(play.kept.bytes.len() <= 10);
    let mut play = Play { most: 10, ..Play::new() };
    let ended = play.run(&Server::with_turns(0, [chunks()]));
    assert!(matches!(ended, Err(Trouble::TooLarge { most: 10 })), "{ended:?}");
    let mut play = Play { most: 11, ..Play::new() };
    assert_eq!(play.run(&Server::with_turns(0, [chunks()])).unwrap(), 11);
    let nothing = answer(200, &[("transfer-encoding", "chunked")], &[]);
    let ended = Play::new().run(&Server::with_turns(0, [nothing]));
    assert!(matches!(ended, Err(Trouble::Empty)), "{ended:?}");
}

#[test]
fn what_passes_is_waited_for_as_long_as_the_server_asks() {
    let server = Server::with_turns(
        10,
        [later(Some(40)), later(None), Turn::Fails(Trouble::Late(Late::Answer))],
    );
    let mut play = Play::new();
    assert_eq!(play.run(&server).unwrap(), 10);
    let slept = play.clock.0.get().as_secs_f64();
    assert!((40.0..45.0).contains(&slept), "{slept}");
    assert_eq!(play.kept.pauses, 3);
}

#[test]
fn patience_ends_with_the_last_reason_and_says_how_long_it_was() {
    let server = Server::with_turns(10, (0..1000).map(|_| later(Some(30))));
    let mut play = Play::new();
    let ended = play.run(&server).unwrap_err();
    assert_eq!(ended.retry_after(), Some(Duration::from_secs(30)));
    let slept = play.clock.0.get();
    let told = format!("after {} s without progress", slept.as_secs());
    assert!(ended.to_string().contains(&told) && slept.as_secs() > 260, "{ended}");
    // Nobody asks for more patience than there is: the last attempt is at its end.
    let server = Server::with_turns(10, (0..1000).map(|_| later(None)));
    let mut play = Play::new();
    let ended = play.run(&server).unwrap_err();
    assert!(ended.to_string().contains("after 300 s without progress"), "{ended}");
    assert_eq!(play.clock.0.get(), Duration::from_secs(300));
}

#[test]
fn what_stays_is_told_at_once() {
    for status in [401, 403, 404, 410, 400, 204] {
        let server = Server::with_turns(10, [answer(status, &[], b"page")]);
        let mut play = Play::new();
        assert!(!play.run(&server).unwrap_err().passes(), "{status}");
        assert!(play.kept.begun.is_empty() && server.asked.borrow().len() == 1);
    }
}

#[test]
fn a_full_disk_ends_it_and_says_so() {
    let mut play = Play::new();
    play.kept.fails_at = Some(10);
    let failure = play.run(&Server::new(1000)).unwrap_err().into_failure();
    assert_eq!(failure.kind, crate::model::FailureKind::NoSpace);
}

#[test]
fn somebody_stops_it_in_a_pause() {
    struct Stopping(Slept, Stop);
    impl Clock for Stopping {
        fn now(&self) -> Instant {
            self.0.now()
        }
        fn sleep(&self, time: Duration) {
            assert!(time <= LOOK);
            self.0.sleep(time);
            self.1.set();
        }
    }
    let clock = Stopping(Slept::new(), Stop::default());
    let client = Client::new(&Http::default()).unwrap();
    let url = "http://h/file".parse().unwrap();
    let wanted = Wanted { url, size: None, most: 10, authorization: None, pieces: Pieces::None };
    let mut kept = Kept::default();
    let server = Server::with_turns(10, [later(Some(100))]);
    let ended = Download::new(&client, &wanted, None, &mut kept, &clock.1, &clock)
        .run(|ask, _| server.answer(ask));
    assert!(matches!(ended, Err(Trouble::Stopped)), "{ended:?}");
    assert!(clock.0.0.get() <= LOOK);
}

#[test]
fn a_rate_is_kept_over_the_whole_file() {
    let mut play = Play::new();
    play.config.rate_limit = Size(10_000);
    play.run(&Server::new(100_000)).unwrap();
    let slept = play.clock.0.get().as_secs_f64();
    assert!((9.5..10.5).contains(&slept), "{slept}");
}

#[test]
fn a_trickle_is_no_progress() {
    // A byte a connection: each is slower than the lowest rate.
    let (server, mut play) = (Server::new(1 << 20), Play::new());
    server.breaks_after.set(1);
    let ended = play.run(&server);
    assert!(matches!(ended, Err(Trouble::GaveUp { .. })), "{ended:?}");
}
