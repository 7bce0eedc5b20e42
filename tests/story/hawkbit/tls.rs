//! A server over https, by Debian's nginx with an authority of its own: whom the payload trusts, and
//! a certificate as what lets it in, of which the server hears by the headers of its proxy.

use std::path::Path;

use uplift_sim::cloud::hawkbit::{Auth, Options, Server};
use uplift_sim::signer::Signer;

use super::site::{DEVICE, Site};
use crate::world::clock;
use crate::world::payload::{NEW, OLD, Payload};
use crate::world::web::certificates;
use crate::world::web::nginx::{ISSUER, Nginx, Way};

/// A server that lets in whoever its proxy knows by certificate, and a payload with these lines in the
/// section `[transfer.http]`, in which `CERTIFICATES` is where they lie.
fn site(http: &str) -> (Site, Nginx) {
    let auth = Auth::Proxy(ISSUER.to_owned());
    let options = Options { auth, sleep: "00:00:05".to_owned(), ..Options::default() };
    let server = Server::start(options).unwrap();
    let behind = server.url().strip_prefix("http://").unwrap().parse().unwrap();
    let nginx = Nginx::start(Some(behind));
    let url = format!("https://{}", nginx.address(Way::Devices));
    server.change(|options| options.public_url = Some(url.clone()));
    let http = http.replace("CERTIFICATES", nginx.certificates.as_ref().to_str().unwrap());
    let setup = Payload::setup().sections(&format!("[transfer.http]\n{http}\n"));
    let signer = Signer::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
    (Site::at(setup, server, &url, "", signer), nginx)
}

const TRUSTED: &str = "ca_file = \"CERTIFICATES/ca.pem\"";

fn as_who(name: &str) -> String {
    format!(
        "{TRUSTED}\nclient_certificate = \"CERTIFICATES/{name}.pem\"\nclient_key = \"CERTIFICATES/{name}.key\""
    )
}

#[test]
fn a_client_certificate_lets_a_device_in_and_upgrades_it_over_https() {
    assert_eq!(certificates::DEVICE, DEVICE);
    let (mut site, nginx) = site(&as_who(DEVICE));
    let action = site.offer_new();
    site.payload.restart_when_asked();
    site.succeeds(action);
    assert_eq!(site.payload.reported_version().unwrap(), NEW);
    let shown = site.shows(&format!("polls {}", nginx.address(Way::Devices)));
    assert!(shown.contains("hawkbit: works"), "{shown}");
    let log = nginx.log();
    assert!(log.contains("/softwaremodules/") && log.contains("POST /DEFAULT"), "{log}");
}

#[test]
fn who_has_no_certificate_or_that_of_another_device_is_told_so() {
    for http in [TRUSTED.to_owned(), as_who("client")] {
        let (mut site, _nginx) = site(&http);
        let action = site.offer_new();
        let shown = site.shows("does not let this device in (status 401): look at its name, and at its token or certificate");
        assert!(!shown.contains("hawkbit: works"), "{shown}");
        assert_eq!(site.words(action), Vec::<String>::new());
        assert_eq!(site.payload.reported_version().unwrap(), OLD);
    }
}

/// It passes when somebody sets the clock, so nothing is lost by it.
#[test]
fn a_clock_in_1970_is_named_where_no_certificate_is_valid_yet() {
    let (mut site, nginx) = site(&as_who(DEVICE));
    clock::in_1970(&mut site.payload);
    site.payload.restart_daemon();
    let action = site.offer_new();
    let shown = site.shows("is not valid yet by the clock of this machine, which may be wrong");
    assert!(shown.contains("set the clock") && !shown.contains("hawkbit: works"), "{shown}");
    let url = format!("https://{}/PSDK_APPALIAS_{NEW}.bin", nginx.address(Way::Tls));
    let (code, said) = site.payload.uplift(&["install", &url]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("by the clock of this machine") && said.contains("hint: set the clock"),
        "{said}"
    );
    assert_eq!(nginx.log(), "");
    // Set, all goes on.
    clock::is_right(&mut site.payload);
    site.restart_channels();
    site.payload.restart_when_asked();
    site.succeeds(action);
}

#[test]
fn a_server_whose_authority_is_not_trusted_is_told_nothing_and_a_person_why() {
    for http in ["ca_file = \"CERTIFICATES/stranger.pem\"", ""] {
        let (mut site, nginx) = site(http);
        site.offer_new();
        let shown = site.shows("can't be trusted: invalid peer certificate: UnknownIssuer");
        assert!(
            shown.contains("`ca_file` in the [transfer.http] section names who is trusted"),
            "{shown}"
        );
        assert!(!shown.contains("hawkbit: works"), "{shown}");
        assert_eq!(nginx.log(), "");
        assert_eq!(site.payload.reported_version().unwrap(), OLD);
    }
}
