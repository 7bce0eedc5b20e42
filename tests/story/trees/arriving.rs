//! A tree by whatever way a file comes.

use std::fs;
use std::path::Path;

use uplift::model::Outcome;
use uplift_sim::cloud::hawkbit::{Chunk, Deployment, Options, Server, State};
use uplift_sim::signer::Signer;

use super::{TRIAL, known_by, made, of_tree, packed, packed_as, setup, start, tree, version_in};
use crate::world::payload::{NEW, Payload, Transfer};
use crate::world::web::python::Python;

const DEVICE: &str = "PAYLOAD0001";

/// The tree at the path is the one that was made.
#[track_caller]
fn is_installed(payload: &Payload, channel: &str) {
    let report = payload.last_report();
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
    assert_eq!(report.request.channel.as_str(), channel);
    assert_eq!(version_in(payload), NEW);
    assert_eq!(report.package.unwrap().program_digest, known_by(&tree(payload)));
    assert_eq!(payload.running().as_deref(), Some(NEW));
}

#[test]
fn it_comes_over_dcftp_and_ftp_from_the_aircraft() {
    for transfer in Transfer::BOTH {
        let setup = setup(TRIAL).link("921600", None).ftp_server(transfer == Transfer::Ftp);
        let payload = start(&setup);
        let file = packed(&payload, &made(&payload, NEW), NEW, &[]);
        let aircraft = payload.aircraft(transfer, &file, &[]);
        aircraft.hears("success");
        is_installed(&payload, "psdk");
    }
}

#[test]
fn it_comes_over_http() {
    let (payload, server) = (start(&setup(TRIAL)), Python::start());
    let file = packed(&payload, &made(&payload, NEW), NEW, &[]);
    let name = file.file_name().unwrap().to_str().unwrap();
    fs::copy(&file, server.files().join(name)).unwrap();
    let url = format!("http://{}/{name}", server.address);
    let (code, said) = payload.uplift(&["install", &url]);
    assert_eq!(code, Some(0), "{said}");
    is_installed(&payload, "shell");
}

#[test]
fn it_comes_by_hawkbit() {
    let signer = Signer::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
    let server = Server::start(Options { sleep: "00:00:05".into(), ..Options::default() }).unwrap();
    let channel = format!(
        "[package]\n{}\n[channel.hawkbit]\nserver = \"{}\"\ncontroller_id = \"{DEVICE}\"\nspread = \"0s\"\n",
        signer.trusted_section(),
        server.url(),
    );
    let setup = setup(TRIAL).sections(&channel);
    let mut payload = setup.stopped();
    of_tree(&payload);
    setup.run(&mut payload);
    let key = signer.secret_key();
    let how = ["--key", key.to_str().unwrap()];
    let file = packed_as(&payload, &made(&payload, NEW), NEW, &how);
    let action = server.assign(DEVICE, Deployment::of(Chunk::of_file(&file).unwrap()));
    payload.start_channels().unwrap();
    payload.wait_for("the action's end", || server.state(DEVICE, action) == Some(State::Finished));
    is_installed(&payload, "hawkbit");
}
