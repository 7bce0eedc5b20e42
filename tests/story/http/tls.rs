//! Whom a download trusts, and what it tells whom.

use super::{offered, succeeded, text};
use crate::world::payload::{NEW, OLD, Payload};
use crate::world::web::nginx::{Nginx, Way};
use crate::world::web::raw::{Raw, Turn, answer};

fn trusting(nginx: &Nginx, more: &str) -> Payload {
    let ca = nginx.certificates.file("ca.pem");
    Payload::setup().sections(&format!("[transfer.http]\nca_file = {ca:?}\n{more}")).start()
}

fn https(nginx: &Nginx, way: Way) -> String {
    format!("https://{}/PSDK_APPALIAS_{NEW}.bin", nginx.address(way))
}

#[test]
fn a_private_authority_is_trusted_where_the_configuration_says_so_and_nowhere_else() {
    let nginx = Nginx::start(None);
    let mut payload = trusting(&nginx, "");
    offered(&payload, NEW, &nginx.files());
    succeeded(&mut payload, &["install", &https(&nginx, Way::Tls)], NEW);

    let stranger = nginx.certificates.file("stranger.pem");
    for section in [String::new(), format!("[transfer.http]\nca_file = {stranger:?}\n")] {
        let payload = Payload::setup().sections(&section).start();
        let (code, said) = payload.uplift(&["install", &https(&nginx, Way::Tls)]);
        assert_eq!(code, Some(1));
        assert!(said.contains("can't be trusted") && said.contains("hint: `ca_file`"), "{said}");
    }
    // The certificate is for 127.0.0.1.
    let port = nginx.address(Way::Tls).port();
    let (_, said) = payload.uplift(&["install", &format!("https://localhost:{port}/A_{NEW}.bin")]);
    assert!(said.contains("localhost") && said.contains("can't be trusted"), "{said}");
}

#[test]
fn a_server_that_wants_to_know_who_asks_is_told() {
    let nginx = Nginx::start(None);
    let file = |name: &str| nginx.certificates.file(name);
    let (certificate, key) = (file("client.pem"), file("client.key"));
    let mut payload =
        trusting(&nginx, &format!("client_certificate = {certificate:?}\nclient_key = {key:?}\n"));
    offered(&payload, NEW, &nginx.files());
    succeeded(&mut payload, &["install", &https(&nginx, Way::Mutual)], NEW);
    let unknown = trusting(&nginx, "");
    let (code, said) = unknown.uplift(&["install", &https(&nginx, Way::Mutual)]);
    assert!(code == Some(1) && said.contains("refused the request (status 400)"), "{said}");
}

#[test]
fn dl_10_nothing_leads_from_https_to_http() {
    let nginx = Nginx::start(None);
    let payload = trusting(&nginx, "");
    offered(&payload, NEW, &nginx.files());
    let url = format!("https://{}/down/A_{NEW}.bin", nginx.address(Way::Tls));
    let (code, said) = payload.uplift(&["install", &url]);
    assert!(code == Some(1) && said.contains("leads from https to http"), "{said}");
    assert_eq!(payload.reported_version().unwrap(), OLD);
}

/// DL-10: the user of a URL is told to its origin, and to nobody else; a query is never shown.
#[test]
fn secrets_of_a_url_stay_where_they_belong() {
    let payload = Payload::setup().sections(super::SHORT).start();
    let foreign = Raw::start(&[], [Turn::Say(answer(&["HTTP/1.1 404 Not Found"], b""))]);
    let leads =
        |to: String| Turn::Say(answer(&["HTTP/1.1 302 Found", &format!("Location: {to}")], b""));
    let away = format!("http://{}/b?other=secret2", foreign.address());
    let own = Raw::start(&[], [leads("/a/A_V02.00.00.00.bin?next=secret3".into()), leads(away)]);
    let url = format!("http://user:secret4@{}/A_{NEW}.bin?token=secret1", own.address());
    let (code, said) = payload.uplift(&["install", &url]);
    assert_eq!(code, Some(1));
    assert!(said.contains("no such file (status 404)") && !said.contains("secret"), "{said}");
    assert!(!payload.logs().contains("secret"));
    let basic = "authorization: basic dxnlcjpzzwnyzxq0\r\n"; // in small letters
    let [first, second] = &own.requests()[..] else { panic!("two requests") };
    assert!(first.contains("?token=secret1 HTTP/1.1") && first.contains(basic), "{first}");
    assert!(second.contains("?next=secret3 ") && second.contains(basic), "{second}");
    let third = foreign.requests().concat();
    assert!(third.contains("?other=secret2 ") && !third.contains("authorization"), "{third}");
}

#[test]
fn certificates_that_can_not_be_used_are_found_before() {
    let nginx = Nginx::start(None);
    let file = |name: &str| nginx.certificates.file(name);
    let (ca, key, client, server) =
        (file("ca.pem"), file("client.key"), file("client.pem"), file("server.key"));
    for (section, field, why) in [
        ("ca_file = \"/no/such.pem\"\n".to_owned(), "ca_file", "can't be read"),
        (format!("ca_file = {key:?}\n"), "ca_file", "has no certificate"),
        (format!("client_certificate = {client:?}\n"), "client_key", "has no private key"),
        (
            format!("client_certificate = {client:?}\nclient_key = {server:?}\n"),
            "client_key",
            "do not belong together",
        ),
    ] {
        let payload = Payload::setup().sections(&format!("[transfer.http]\n{section}")).start();
        let (_, said) = payload.uplift(&["config", "check"]);
        let line = said.lines().find(|line| line.contains(&format!("transfer.http.{field}")));
        assert!(line.is_some_and(|line| line.contains(why)), "{section}: {said}");
        let (code, said) = payload.uplift(&["install", "http://127.0.0.1:1/A_V02.00.00.00.bin"]);
        assert!(code == Some(1) && said.contains(why), "{section}: {said}");
    }
    let payload =
        Payload::setup().sections(&format!("[transfer.http]\nca_file = {ca:?}\n")).start();
    let output = payload.command(&["config", "check"]).output().unwrap();
    assert!(!text(&output.stdout).contains("transfer.http"), "{output:?}");
}
