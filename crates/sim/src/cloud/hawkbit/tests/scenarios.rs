use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::*;
use crate::cloud::delivery::{Delivery, Redirect};

const SOON: Duration = Duration::from_secs(30);
const FILE: &str = "/DEFAULT/controller/v1/PAYLOAD0001/softwaremodules/1001/artifacts/pl.bin";

#[test]
fn what_is_to_happen_happens_at_its_moment_and_once() {
    for (moment, states) in [
        (Moment::BeforeDownload, [State::Canceling, State::Canceling, State::Canceling]),
        (Moment::InDownload, [State::Running, State::Canceling, State::Canceling]),
        (Moment::Installing, [State::Running, State::Running, State::Canceling]),
    ] {
        let server = Asking::new(Options { turns: vec![(moment, Turn::Cancel)], ..options() });
        server.get("");
        let mut seen = Vec::new();
        server.get("/deploymentBase/10");
        seen.push(server.state(10));
        server.download(FILE);
        seen.push(server.state(10));
        server.feedback(10, "proceeding", "none");
        seen.push(server.state(10));
        assert_eq!(seen, states, "{moment:?}");
        server.cancel_feedback(10, "rejected", "none");
        server.feedback(10, "proceeding", "none");
        assert_eq!(server.state(10), State::Running, "{moment:?}");
    }
}

#[test]
fn the_offer_changes_under_the_hand() {
    let turns = vec![(Moment::InDownload, Turn::Change(Deployment::of(chunk("other"))))];
    let server = Asking::new(Options { turns, ..options() });
    server.get("");
    server.download(FILE);
    assert_eq!((server.state(10), server.state(11)), (State::Canceling, State::Running));
    assert_eq!(server.download(FILE), 404);
}

/// HB-8: how a feedback is lost, and what of it the server has then.
#[test]
fn the_first_feedbacks_are_lost() {
    for (lost, status, state) in [
        (Lost::Error, Some(500), State::Running),
        (Lost::Quota, Some(429), State::Running),
        (Lost::BadRequest, Some(400), State::Running),
        (Lost::Request, None, State::Running),
        (Lost::Answer, None, State::Finished),
    ] {
        let server = Asking::new(Options { lost_feedbacks: vec![lost], ..options() });
        server.get("");
        let path = format!("{BASE}/deploymentBase/10/feedback");
        let request =
            Request::of("POST", &path, &[]).with(&feedback("closed", "success").to_string());
        assert_eq!(server.0.answer(&request).map(|response| response.status), status);
        assert_eq!(server.state(10), state, "{lost:?}");
        let again = if state == State::Finished { 410 } else { 200 };
        assert_eq!(server.ask(&request).status, again);
    }
}

/// HB-14: the other origin refuses whoever brings the secret along.
#[test]
fn a_secret_that_goes_elsewhere_is_noticed() {
    let auth = Auth::Target("secret".to_owned());
    let server = Server::start(Options { auth, cdn: true, ..options() }).unwrap();
    let secret = "Authorization: TargetToken secret\r\n";
    assert!(get(&server.url(), BASE, secret).starts_with("HTTP/1.1 200"));
    let document = get(&server.url(), &format!("{BASE}/deploymentBase/10"), secret);
    let (_, href) = document.split_once("\"download\":{\"href\":\"").unwrap();
    let href = href.split('"').next().unwrap();
    let path = href.strip_prefix(&server.elsewhere()).unwrap();
    assert!(get(&server.elsewhere(), path, "").starts_with("HTTP/1.1 200"));
    assert!(get(&server.elsewhere(), path, secret).starts_with("HTTP/1.1 400"));
    let leaked = |event: &Event| matches!(event, Event::SecretLeaked { .. });
    assert!(server.events().wait_for(SOON, leaked).is_some());
    server.change(|options| {
        options.cdn = false;
        options.delivery = Delivery { redirect: Redirect::Elsewhere, ..Delivery::default() };
    });
    let redirected = get(&server.url(), path, secret);
    assert!(redirected.starts_with("HTTP/1.1 302"), "{redirected}");
    assert!(redirected.contains(&format!("Location: {href}\r\n")), "{redirected}");
}

#[test]
fn a_server_that_restarts_knows_what_it_knew() {
    let turns = vec![(Moment::InDownload, Turn::Restart(Duration::ZERO))];
    let server = Server::start(Options { turns, ..options() }).unwrap();
    get(&server.url(), BASE, "");
    get(&server.url(), FILE, "");
    assert!(server.events().wait_for(SOON, |event| *event == Event::Up).is_some());
    assert_eq!(server.state("PAYLOAD0001", 10), Some(State::Running));
    server.go_down();
    server.come_back().unwrap();
    assert!(get(&server.url(), FILE, "").starts_with("HTTP/1.1 200"));
    server.close();
}

#[test]
fn the_ending_is_judged() {
    let success = Ending::expected(&options());
    assert_eq!(success, Ending::Success);
    let lying = |lie| Ending::expected(&Options { lies: vec![lie], ..options() });
    assert_eq!(lying(Lie::Digests(Digests::Wrong)), Ending::NotInstalled);
    assert_eq!(lying(Lie::Digests(Digests::Sha1Only)), Ending::Success);
    let cancel =
        |moment| Ending::expected(&Options { turns: vec![(moment, Turn::Cancel)], ..options() });
    assert_eq!(cancel(Moment::InDownload), Ending::Canceled);
    assert_eq!(cancel(Moment::Installing), Ending::Success);
    assert!(Ending::Failure.satisfies(Ending::NotInstalled));
    assert!(!Ending::Failure.satisfies(Ending::Success));
    let server = Asking::new(options());
    server.get("");
    server.get("/deploymentBase/10");
    (0..3).for_each(|_| drop(server.get("")));
    let ending = |server: &Asking, expected| {
        let mut watch = Watch::default();
        server.0.events().so_far().iter().for_each(|event| watch.see(event));
        watch.ending(expected)
    };
    assert_eq!(ending(&server, Ending::NotInstalled), Some(Ending::NotInstalled));
    assert_eq!(ending(&server, Ending::Success), None);
    server.feedback(10, "closed", "failure");
    assert_eq!(ending(&server, Ending::Success), Some(Ending::Failure));
}

/// The whole answer to a request of a client that speaks HTTP/1.0.
fn get(url: &str, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n{headers}\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}
