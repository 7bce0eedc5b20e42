//! Uploads that go straight through: what a host sends over FTP lands in the stage at once, and all
//! that clients see of the upload area stays true.
//!
//! An aircraft enters the upgrade mode and waits; meanwhile clients by hand do at the FTP server
//! what hosts do, and what they should not do.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use uplift::model::{FailureKind, Phase};

use crate::ftp_server::neighbours::Neighbour;
use crate::ftp_server::peer::Peer;
use crate::world::local_socket::{self, answer};
use crate::world::mounted::Mounted;
use crate::world::payload::{Aircraft, NEW, OLD, Payload, Setup, Transfer};
use crate::world::watched::Watched as _;

const NAME: &str = "PSDK_APPALIAS_V02.00.00.00.bin";
/// A user of this machine who is nobody's.
const NOBODY: u32 = 65534;

fn setup() -> Setup {
    Payload::setup().link("921600", None).ftp_server(true)
}

/// A payload whose upgrade was entered by an aircraft that goes on after so long.
struct Entered {
    payload: Payload,
    aircraft: Aircraft,
    firmware: PathBuf,
}

impl Entered {
    fn at(payload: Payload, pause: &str) -> Self {
        let firmware = payload.new_firmware();
        let aircraft = payload.aircraft(Transfer::Ftp, &firmware, &["--pause", pause]);
        payload.wait_for_status(|status| status.upgrade.is_some()).unwrap();
        Self { payload, aircraft, firmware }
    }

    /// The aircraft never goes on.
    fn for_long() -> Self {
        Self::at(setup().start(), "enter=600s")
    }

    /// A client of this machine's root.
    fn login(&self) -> Peer {
        Peer::new(TcpStream::connect(self.ftp()).unwrap()).logged_in()
    }

    fn ftp(&self) -> SocketAddr {
        self.payload.ftp_address()
    }

    /// How many have a connection to the FTP server.
    fn guests(&self) -> usize {
        let here = format!(" 0100007F:{:04X} ", self.ftp().port());
        let connections = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let established = |line: &&str| {
            line.split_once(&here).is_some_and(|(_, rest)| rest.split(' ').nth(1) == Some("01"))
        };
        connections.lines().filter(established).count()
    }

    fn content(&self) -> Vec<u8> {
        std::fs::read(&self.firmware).unwrap()
    }
}

impl Payload {
    fn ftp_address(&self) -> SocketAddr {
        let config = std::fs::read_to_string(self.config()).unwrap();
        let listen = config.lines().find_map(|line| line.strip_prefix("listen = ")).unwrap();
        listen.trim_matches('"').parse().unwrap()
    }

    /// What was received and lies in the stage.
    fn received(&self) -> Vec<Vec<u8>> {
        let names = std::fs::read_dir(self.stage()).into_iter().flatten().flatten();
        let received =
            names.filter(|name| name.file_name().to_string_lossy().starts_with("incoming-"));
        received.map(|name| std::fs::read(name.path()).unwrap()).collect()
    }

    fn in_the_area(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.upload_area()).unwrap().flatten();
        names.map(|name| name.file_name().into_string().unwrap()).collect()
    }
}

/// What a client is told of a file: its size, and its name in a listing.
#[track_caller]
fn shows(client: &mut Peer, name: &str, size: usize) {
    assert_eq!(client.ask(&format!("SIZE {name}"), 213), format!("213 {size}\r\n"));
    client.ask(&format!("MDTM {name}"), 213);
    assert_eq!(client.download("NLST"), format!("{name}\r\n").as_bytes());
    let facts = String::from_utf8(client.download("MLSD")).unwrap();
    assert!(facts.contains(&format!("size={size};")) && facts.contains(name), "{facts}");
}

impl Entered {
    /// Sends the first bytes of a file, and closes as a client does whose network is gone.
    fn break_off(&self, bytes: &[u8]) {
        let mut client = self.login();
        let mut data = client.begin_upload(NAME);
        data.write_all(bytes).unwrap();
        self.payload.wait_for("what is sent", || self.with_daemon() == (bytes.len(), true));
        client.reset();
        drop(data);
        self.payload.wait_for("its end", || self.with_daemon() == (bytes.len(), false));
    }

    /// How much the daemon has, and whether it comes.
    fn with_daemon(&self) -> (usize, bool) {
        let look = b"{\"request\":\"look\"}\n";
        let answer = answer(&local_socket::say(&self.payload.uploads_socket(), look));
        let upload = &answer["upload"];
        let size = upload["size"].as_u64().unwrap_or_default();
        (usize::try_from(size).unwrap(), upload["is_arriving"] == true)
    }
}

#[test]
fn what_the_host_uploads_is_in_the_stage_when_it_is_told_so() {
    let mut entered = Entered::at(setup().start(), "finish=3s");
    let content = entered.content();
    entered.payload.wait_for("the upload", || entered.with_daemon() == (content.len(), false));
    assert!(entered.payload.received() == [content.clone()]);
    assert!(entered.payload.in_the_area().is_empty(), "written once");
    assert_eq!(entered.payload.status().unwrap().phase, Phase::Receiving);
    shows(&mut entered.login(), NAME, content.len());
    entered.payload.restart_when_asked();
    entered.aircraft.hears("success");
    assert_eq!(entered.payload.reported_version().unwrap(), NEW);
    assert!(!entered.payload.logs().contains("the upload area could not be emptied"));
}

#[test]
fn only_a_firmware_file_of_an_allowed_component_goes_through() {
    let entered = Entered::for_long();
    let mut client = entered.login();
    for name in ["firmware.bin", "OTHER_V02.00.00.00.bin", "PSDK_APPALIAS_V2.bin"] {
        client.upload(name, b"content");
        assert!(entered.payload.received().is_empty(), "{name}");
        assert_eq!(entered.payload.in_the_area(), [name]);
        client.ask(&format!("DELE {name}"), 250);
    }
    // What would be refused at its end does not begin here either, and ends no upgrade.
    client.upload("PSDK_APPALIAS_V00.00.00.01.bin", b"content");
    assert_eq!(entered.payload.in_the_area(), ["PSDK_APPALIAS_V00.00.00.01.bin"]);
    assert!(entered.payload.received().is_empty());
}

#[test]
fn without_an_upgrade_that_waits_it_lies_in_the_area() {
    let payload = setup().start();
    let mut client = Peer::new(TcpStream::connect(payload.ftp_address()).unwrap()).logged_in();
    client.upload(NAME, b"content");
    assert_eq!(payload.in_the_area(), [NAME]);
    // Nor is one whose daemon is away.
    let mut payload = payload;
    payload.kill_daemon();
    client.upload(NAME, b"other content");
    assert_eq!(std::fs::read(payload.upload_area().join(NAME)).unwrap(), b"other content");
}

#[test]
fn the_first_one_goes_through_and_another_s_lies_in_the_area() {
    let entered = Entered::for_long();
    let (mut host, mut other) = (entered.login(), Neighbour::user(NOBODY).login_at(entered.ftp()));
    let mut upload = host.begin_upload(NAME);
    upload.write_all(b"half of it").unwrap();
    other.upload("PSDK_APPALIAS_V03.00.00.00.bin", b"a stranger's");
    assert_eq!(entered.payload.in_the_area(), ["PSDK_APPALIAS_V03.00.00.00.bin"]);
    upload.write_all(b", and the rest").unwrap();
    drop(upload);
    host.expect(226);
    assert_eq!(entered.payload.received(), [b"half of it, and the rest"]);
    // Whole or not, it is its host's.
    for command in ["DELE", "RNFR", "STOR", "RETR"] {
        other.data_port();
        other.ask(&format!("{command} {NAME}"), 550);
    }
    other.ask("RNFR PSDK_APPALIAS_V03.00.00.00.bin", 350);
    other.ask(&format!("RNTO {NAME}"), 550);
    assert_eq!(entered.payload.received(), [b"half of it, and the rest"]);
    // A second one of the host's own too.
    host.upload("PSDK_APPALIAS_V04.00.00.00.bin", b"another");
    assert_eq!(entered.payload.in_the_area().len(), 2);
}

#[test]
fn the_same_host_may_send_it_again() {
    let entered = Entered::for_long();
    let mut host = entered.login();
    host.upload(NAME, b"wrong content");
    host.upload(NAME, b"right content");
    assert_eq!(entered.payload.received(), [b"right content"]);
    assert!(entered.payload.in_the_area().is_empty());
}

#[test]
fn an_upload_that_broke_off_goes_on_where_its_client_says() {
    let content = Entered::for_long();
    let bytes = content.content();
    drop(content);
    let (half, less) = (bytes.len() / 2, bytes.len() / 3);
    for offset in [half, less, 1, 0] {
        let entered = Entered::for_long();
        entered.break_off(&bytes[..half]);
        let mut host = entered.login();
        shows(&mut host, NAME, half);
        let mut data = host.data();
        host.ask(&format!("REST {offset}"), 350);
        host.ask(&format!("STOR {NAME}"), 150);
        data.write_all(&bytes[offset..]).unwrap();
        drop(data);
        let told = host.expect(226);
        assert!(told.contains(&format!("{} bytes", bytes.len())), "{told}");
        assert!(entered.payload.received() == [bytes.clone()], "from {offset} on");
    }
}

#[test]
fn nothing_goes_on_behind_what_never_came() {
    let entered = Entered::for_long();
    let mut host = entered.login();
    host.data_port();
    host.ask("REST 1", 350);
    host.ask(&format!("STOR {NAME}"), 554);
    entered.break_off(b"12345");
    shows(&mut host, NAME, 5);
    host.data_port();
    host.ask("REST 6", 350);
    host.ask(&format!("STOR {NAME}"), 554);
    // It lost nothing by that.
    let mut data = host.data();
    host.ask("REST 5", 350);
    host.ask(&format!("STOR {NAME}"), 150);
    data.write_all(b"67").unwrap();
    drop(data);
    host.expect(226);
    assert_eq!(entered.payload.received(), [b"1234567"]);
    // Behind the beginning of what is whole, too.
    let mut data = host.data();
    host.ask("REST 2", 350);
    host.ask(&format!("STOR {NAME}"), 150);
    data.write_all(b"xyz").unwrap();
    drop(data);
    host.expect(226);
    assert_eq!(entered.payload.received(), [b"12xyz"]);
}

#[test]
fn a_rename_changes_the_name_alone_and_keeps_to_its_component() {
    let camera = "[component.camera]\npath = \"ROOT/bin/camera\"\nproduct = \"CAMERA\"\nversion_command = [\"--version\"]\nisolate_commands = \"never\"\n";
    let payload = setup().sections(camera).stopped();
    payload.edit_config(|text| {
        text.replace("[channel.psdk]", "[channel.psdk]\ncomponents = [\"program\", \"camera\"]")
    });
    let mut payload = payload;
    setup().run(&mut payload);
    let entered = Entered::at(payload, "enter=600s");
    let mut host = entered.login();
    host.upload(NAME, b"content");
    for (to, code) in [
        ("CAMERA_V02.00.00.00.bin", 553),
        ("OTHER_V02.00.00.00.bin", 553),
        ("firmware.bin", 553),
        ("PSDK_APPALIAS_V02.00.00.07.bin", 250),
    ] {
        host.ask(&format!("RNFR {NAME}"), 350);
        host.ask(&format!("RNTO {to}"), code);
    }
    shows(&mut host, "PSDK_APPALIAS_V02.00.00.07.bin", 7);
    assert_eq!(entered.payload.received(), [b"content"]);
    host.ask(&format!("SIZE {NAME}"), 550);
}

#[test]
fn a_file_that_takes_its_name_takes_its_place() {
    let entered = Entered::for_long();
    let mut host = entered.login();
    host.upload(NAME, b"went through");
    host.upload("a.part", b"came by a rename");
    host.ask("RNFR a.part", 350);
    host.ask(&format!("RNTO {NAME}"), 250);
    assert!(entered.payload.received().is_empty());
    shows(&mut host, NAME, b"came by a rename".len());
    assert_eq!(host.download(&format!("RETR {NAME}")), b"came by a rename");
}

#[test]
fn a_file_that_is_deleted_is_gone_and_another_may_come() {
    let entered = Entered::for_long();
    let mut host = entered.login();
    host.upload(NAME, b"content");
    host.data_port();
    let told = host.ask(&format!("RETR {NAME}"), 550);
    assert!(told.contains("The daemon has the file"), "{told}");
    host.ask(&format!("DELE {NAME}"), 250);
    assert!(entered.payload.received().is_empty());
    host.ask(&format!("SIZE {NAME}"), 550);
    let status = entered.payload.status().unwrap();
    let failure = status.upgrade.and_then(|upgrade| upgrade.failure).expect("a failure");
    assert!(failure.sentence.contains("was deleted"), "{failure}");
    host.upload(NAME, b"again");
    assert_eq!(entered.payload.received(), [b"again"]);
}

#[test]
fn a_daemon_that_goes_during_an_upload_is_451() {
    let mut entered = Entered::for_long();
    let mut host = entered.login();
    let mut data = host.begin_upload(NAME);
    data.write_all(&[7; 100_000]).unwrap();
    entered.payload.kill_daemon();
    // The server may have closed by then.
    let _ = data.write_all(&[7; 100_000]);
    drop(data);
    let told = host.expect(451);
    assert!(told.contains("The daemon is away"), "{told}");
    assert!(entered.payload.in_the_area().is_empty());
    host.upload(NAME, b"for later");
    assert_eq!(entered.payload.in_the_area(), [NAME]);
}

#[test]
fn an_ftp_server_that_goes_after_the_upload_costs_nothing() {
    let mut entered = Entered::at(setup().start(), "finish=3s");
    let content = entered.content();
    // All bytes are there a moment before the daemon has heard that they are all, and the host is
    // told later still: it says goodbye then, and the daemon alone is connected.
    let is_over = || entered.with_daemon() == (content.len(), false) && entered.guests() <= 1;
    entered.payload.wait_for("the upload", is_over);
    entered.payload.kill_ftp_server();
    entered.payload.restart_when_asked();
    entered.aircraft.hears("success");
}

#[test]
fn at_the_host_s_word_what_is_not_whole_does_not_count() {
    let mut entered = Entered::at(setup().start(), "enter=8s");
    // A stranger's goes through, stays at its beginning, and has the host's lie in the area.
    let mut stranger = Neighbour::user(NOBODY).login_at(entered.ftp());
    let mut data = stranger.begin_upload("PSDK_APPALIAS_V09.00.00.00.bin");
    data.write_all(b"and so on").unwrap();
    entered.payload.restart_when_asked();
    entered.aircraft.hears("success");
    assert_eq!(entered.payload.reported_version().unwrap(), NEW);
}

#[test]
fn a_stranger_s_whole_file_beside_the_host_s_is_refused_by_name() {
    let entered = Entered::at(setup().start(), "enter=8s");
    let stranger = "PSDK_APPALIAS_V09.00.00.00.bin";
    Neighbour::user(NOBODY).login_at(entered.ftp()).upload(stranger, b"content");
    entered.aircraft.hears("failure");
    let failure = entered.payload.last_report().failure.expect("a failure").to_string();
    assert!(failure.contains(NAME) && failure.contains(stranger), "{failure}");
    assert_eq!(entered.payload.reported_version().unwrap(), OLD);
}

#[test]
fn an_upload_that_does_not_fit_is_452_and_leaves_the_program_its_space() {
    let mut payload = setup().stopped();
    let bin = payload.root().join("bin");
    let disk = Mounted::on(&bin, &["-t", "tmpfs", "-o", "size=8m", "tmpfs"]);
    payload.install_by_hand(OLD.parse().unwrap()).unwrap();
    setup().run(&mut payload);
    let mut entered = Entered::at(payload, "enter=600s");
    let mut host = entered.login();
    let mut data = host.begin_upload(NAME);
    // Nobody said how much it will be.
    while data.write_all(&[7; 100_000]).is_ok() {}
    drop(data);
    let told = host.expect(452);
    assert!(told.contains("reserved"), "{told}");
    assert!(entered.payload.received().is_empty());
    let status = entered.payload.status().unwrap();
    let failure = status.upgrade.and_then(|upgrade| upgrade.failure).expect("a failure");
    assert_eq!(failure.kind, FailureKind::NoSpace);
    host.upload(NAME, b"one that fits");
    assert_eq!(entered.payload.received(), [b"one that fits"]);
    entered.payload.power_off();
    drop(disk);
}

#[test]
fn an_upload_that_is_too_large_is_552() {
    let payload = setup().sections("[package]\nmax_size = \"1MiB\"\n").start();
    let entered = Entered::at(payload, "enter=600s");
    let mut host = entered.login();
    let mut data = host.begin_upload(NAME);
    while data.write_all(&[7; 100_000]).is_ok() {}
    drop(data);
    host.expect(552);
    assert!(entered.payload.received().is_empty());
}
