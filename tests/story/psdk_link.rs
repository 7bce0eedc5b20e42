//! The payload link over a pseudo-terminal: finding the aircraft, living with unplugged devices and
//! noise, and an upgrade over DCFTP and over FTP, seen from the host. The engine is scripted;
//! everything else is real.

mod aircraft;
mod payload_side;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use uplift::channel::psdk::serial::frame::{Address, Frame};
use uplift::channel::psdk::serial::wire::id;
use uplift::config::{Baud, TransferChoice};
use uplift::digest::{Beside, Hasher};
use uplift::model::{FailureKind, LinkState, Outcome};

use self::aircraft::{Aircraft, HOST, PAYLOAD, PC, Probes};
use self::payload_side::{PayloadSide, Script, eventually, place};

const VERSION: &[u8] = &[0, 4, 0, 0, 0, 0, 0, 0, 0, 4, 3, 2, 1];

/// A linked pair.
fn linked(script: Script) -> (tempfile::TempDir, Aircraft, PayloadSide) {
    linked_with(script, TransferChoice::Auto)
}

fn linked_with(
    script: Script,
    transfer: TransferChoice,
) -> (tempfile::TempDir, Aircraft, PayloadSide) {
    let (directory, device) = place();
    let mut aircraft = Aircraft::plug(&device);
    let payload = PayloadSide::start_with(&device, script, Baud::Auto, transfer);
    aircraft.await_push(id::PRESENCE, b"psdk");
    (directory, aircraft, payload)
}

fn at_a_fixed_rate(device: &Path) -> PayloadSide {
    PayloadSide::start_with(device, Script::default(), Baud::Fixed(921_600), TransferChoice::Auto)
}

fn md5(content: &[u8]) -> [u8; 16] {
    let mut hasher = Hasher::new(Beside { md5: true, ..Beside::default() });
    hasher.update(content);
    hasher.finish().md5.unwrap().0
}

#[test]
fn the_aircraft_is_found_at_every_rate() {
    let rates = [115_200, 230_400, 460_800, 921_600, 1_000_000];
    let searches = rates.map(|baud| {
        std::thread::spawn(move || {
            let (_directory, device) = place();
            let mut aircraft = Aircraft::plug(&device);
            aircraft.probes = Probes::AtRate(baud);
            let mut payload = PayloadSide::start(&device, Script::default());
            aircraft.await_push(id::PRESENCE, b"psdk");
            let link = payload.await_link(LinkState::Linked);
            assert_eq!((link.baud, link.aircraft_type, link.notice), (Some(baud), Some(60), None));
        })
    });
    for search in searches {
        search.join().unwrap();
    }
}

/// The routes that an aircraft answers, its type, and the payload's address.
type AircraftPort = (&'static [(u8, u8)], u8, u8);

/// The table of docs/wire/payload-link.md section 2: the route that is answered gives the payload
/// its address.
#[test]
fn the_address_follows_from_the_route_and_the_aircraft() {
    let ports: [AircraftPort; 6] = [
        (&[(0xE5, 0x65)], 60, 0x13),
        (&[(0xE5, 0x65)], 89, 0x13),
        (&[(0xCA, 0x03)], 89, 0xCA),
        (&[(0xE5, 0x65), (0xCA, 0x03)], 67, 0x73),
        (&[(0xCA, 0x03)], 99, 0x73),
        (&[(0xEA, 0x03)], 78, 0xEA),
    ];
    for (routes, aircraft_type, address) in ports {
        let (_directory, device) = place();
        let mut aircraft = Aircraft::plug(&device);
        (aircraft.routes, aircraft.aircraft_type) = (routes.to_vec(), aircraft_type);
        let mut payload =
            PayloadSide::start_with(&device, Script::default(), Baud::Auto, TransferChoice::Dcftp);
        assert_eq!(
            aircraft.await_push(id::PRESENCE, b"psdk").sender,
            Address(address),
            "type {aircraft_type} on {routes:02x?}"
        );
        assert_eq!(payload.await_link(LinkState::Linked).aircraft_type, Some(aircraft_type));
        // Another address is somebody else's; the next answer is that to the next question.
        aircraft.send(&Frame::request(
            PC,
            Address(if address == 0x13 { 0xCA } else { 0x13 }),
            900,
            id::VERSION,
            vec![4],
        ));
        aircraft.payload = Address(address);
        assert_eq!(aircraft.ask(id::VERSION, vec![4]), VERSION);
        assert_eq!(aircraft.ask(id::ENTER, vec![0])[..2], [0xC7, 2]);
        let content = [7; 100];
        aircraft.start_dcftp(100, "P_V01.00.00.01.bin");
        assert_eq!(aircraft.chunk(0, &content), (0, 0, 1));
        assert_eq!(aircraft.finish_dcftp(&md5(&content)), [0][..]);
        assert_eq!(aircraft.ask(id::CHECK, vec![]), [6][..]);
        assert_eq!(aircraft.await_push(id::STATUS, &[6]).sender, Address(address));
    }
}

/// Taken for the wrong port, it would be deaf for good.
#[test]
fn an_answer_that_fits_no_port_is_not_taken() {
    let (_directory, device) = place();
    let mut aircraft = Aircraft::plug(&device);
    aircraft.routes = vec![(0xE5, 0x65), (0xCA, 0x03)];
    let _payload = at_a_fixed_rate(&device);
    // The E-Port's route comes first, and an M300 has none.
    assert_eq!(aircraft.await_push(id::PRESENCE, b"psdk").sender, PAYLOAD);
}

#[test]
fn answers_with_ack_bits_are_answers() {
    for flags in [0xA0, 0xC0] {
        let (_directory, device) = place();
        let mut aircraft = Aircraft::plug(&device);
        aircraft.answer_flags = flags;
        let mut payload = PayloadSide::start(&device, Script::default());
        aircraft.await_push(id::PRESENCE, b"psdk");
        assert_eq!(payload.await_link(LinkState::Linked).aircraft_type, Some(60), "{flags:02x}");
    }
}

#[test]
fn a_fixed_rate_is_the_only_one() {
    let (_directory, device) = place();
    let mut aircraft = Aircraft::plug(&device);
    aircraft.probes = Probes::AtRate(921_600);
    let mut payload = at_a_fixed_rate(&device);
    aircraft.await_push(id::PRESENCE, b"psdk");
    assert_eq!(payload.await_link(LinkState::Linked).baud, Some(921_600));
}

#[test]
fn an_answer_that_begins_with_zero_is_not_taken() {
    let (_directory, device) = place();
    let mut aircraft = Aircraft::plug(&device);
    aircraft.aircraft_type = 0;
    let mut payload = PayloadSide::start(&device, Script::default());
    payload.await_link(LinkState::Probing);
    aircraft.listen(Duration::from_millis(200));
    assert_eq!(aircraft.pushes.len(), 0);
    aircraft.aircraft_type = 67;
    aircraft.await_push(id::PRESENCE, b"psdk");
    assert_eq!(payload.await_link(LinkState::Linked).aircraft_type, Some(67));
}

#[test]
fn a_command_is_as_good_as_an_answer_to_the_probe() {
    let (_directory, device) = place();
    let mut aircraft = Aircraft::plug(&device);
    aircraft.probes = Probes::Never;
    let mut payload = PayloadSide::start(&device, Script::default());
    payload.await_link(LinkState::Probing);
    assert_eq!(aircraft.ask(id::VERSION, vec![4]), VERSION);
    assert_eq!(payload.await_link(LinkState::Linked).aircraft_type, None);
}

#[test]
fn presence_is_pushed_once_a_second() {
    let (_directory, mut aircraft, _payload) = linked(Script::default());
    aircraft.listen(Duration::from_millis(3500));
    let presence: Vec<Instant> = aircraft
        .pushes
        .iter()
        .filter(|(_, push)| push.command == id::PRESENCE)
        .map(|(at, _)| *at)
        .collect();
    assert!((3..=5).contains(&presence.len()), "{} in 3.5 s", presence.len());
    assert_eq!(aircraft.pushes[0].1.payload.len(), 64);
    assert_eq!(aircraft.pushes[0].1.receiver, HOST);
    assert!(
        aircraft.pushes.iter().all(|(_, push)| push.command == id::PRESENCE),
        "nothing else while idle"
    );
}

#[test]
fn a_device_that_is_not_there_yet_is_waited_for() {
    let (_directory, device) = place();
    let mut payload = PayloadSide::start(&device, Script::default());
    let notice = payload.await_status("a reason", |status| {
        status.link.notice.as_ref().is_some_and(|notice| notice.contains("can't be opened"))
    });
    assert!(notice.link.notice.unwrap().contains(device.to_str().unwrap()));
    assert_eq!(notice.link.state, LinkState::Waiting);
    let mut aircraft = Aircraft::plug(&device);
    aircraft.await_push(id::PRESENCE, b"psdk");
    payload.await_link(LinkState::Linked);
}

#[test]
fn a_device_that_is_no_serial_port_is_told_as_such() {
    let (_directory, device) = place();
    std::os::unix::fs::symlink("/dev/null", &device).unwrap();
    let mut payload = PayloadSide::start(&device, Script::default());
    payload.await_status("a reason", |status| {
        status.link.notice.as_ref().is_some_and(|notice| notice.contains("not a serial port"))
    });
}

#[test]
fn unplugged_and_plugged_in_again_it_goes_on() {
    let (directory, mut aircraft, mut payload) = linked(Script::default());
    let device = directory.path().join("ttyUSB0");
    for _ in 0..3 {
        aircraft.unplug(&device);
        let link = payload.await_link(LinkState::Waiting);
        assert!(link.notice.is_some());
        aircraft = Aircraft::plug(&device);
        assert_eq!(aircraft.await_push(id::PRESENCE, b"psdk").sender, PAYLOAD);
        payload.await_link(LinkState::Linked);
    }
    assert_eq!(aircraft.ask(id::VERSION, vec![4]), VERSION);
    // Once a link, and not at every sign of life.
    assert_eq!(
        payload.woken.load(Ordering::Relaxed),
        4,
        "the FTP server is woken when there is a host"
    );
}

#[test]
fn noise_is_lived_with() {
    let (_directory, mut aircraft, _payload) = linked(Script::default());
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..50 {
        let noise: Vec<u8> = (0..random.usize(1..200)).map(|_| random.u8(..)).collect();
        aircraft.send_bytes(&noise);
        assert_eq!(aircraft.ask(id::VERSION, vec![4]), VERSION);
    }
    // A header that promises 1023 bytes, and then silence: the good frame behind it is not held
    // back.
    let whole = Frame::push(PC, PAYLOAD, 1, id::CHECK, vec![0; 1010]);
    let mut bytes = bytes::BytesMut::new();
    tokio_util::codec::Encoder::encode(
        &mut uplift::channel::psdk::serial::frame::FrameCodec::new(),
        whole,
        &mut bytes,
    )
    .unwrap();
    aircraft.send_bytes(&bytes[..4]);
    let asked = Instant::now();
    assert_eq!(aircraft.ask(id::VERSION, vec![4]), VERSION);
    assert!(asked.elapsed() < Duration::from_secs(5));
}

/// On a line that is never silent a false header is given up after the time that its frame would
/// take.
#[test]
fn a_false_header_does_not_hold_an_answer_back_on_a_busy_line() {
    let (_directory, mut aircraft, _payload) = linked(Script::default());
    let whole = Frame::push(PC, PAYLOAD, 1, id::CHECK, vec![0; 1010]);
    let mut bytes = bytes::BytesMut::new();
    tokio_util::codec::Encoder::encode(
        &mut uplift::channel::psdk::serial::frame::FrameCodec::new(),
        whole,
        &mut bytes,
    )
    .unwrap();
    aircraft.send_bytes(&bytes[..4]);
    // One byte every 10 ms: 1023 would have come after ten seconds.
    let question = Frame::request(PC, PAYLOAD, 950, id::VERSION, vec![4]);
    aircraft.send(&question);
    let asked = Instant::now();
    let answered = loop {
        assert!(asked.elapsed() < Duration::from_secs(8), "held back");
        aircraft.send_bytes(&[0]);
        let frame = aircraft.next(Instant::now() + Duration::from_millis(10));
        if let Some(frame) = frame.filter(|frame| frame.sequence == 950) {
            break frame;
        }
    };
    assert_eq!(answered.payload, VERSION);
}

#[test]
fn unknown_commands_and_receivers_get_no_answer() {
    let (_directory, mut aircraft, _payload) = linked(Script::default());
    aircraft.send(&Frame::request(
        PC,
        PAYLOAD,
        900,
        uplift::channel::psdk::serial::frame::CommandId::new(0, 0x99),
        vec![],
    ));
    aircraft.send(&Frame::request(PC, HOST, 901, id::VERSION, vec![4]));
    aircraft.send(&Frame::request(PC, PAYLOAD, 902, id::VERSION, vec![5]));
    assert_eq!(
        aircraft.ask(id::VERSION, vec![4]),
        VERSION,
        "the first answer is that to the last question"
    );
}

#[test]
fn an_upgrade_over_dcftp() {
    let (_directory, mut aircraft, payload) = linked_with(Script::default(), TransferChoice::Dcftp);
    let content: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
    assert_eq!(aircraft.ask(id::ENTER, vec![0])[..2], [0xC7, 2]);
    assert_eq!(aircraft.start_dcftp(100_000, "P_V01.00.00.01.bin"), [0, 0, 1, 1, 0, 1, 0][..]);
    for (next, chunk) in (0..).zip(content.chunks(256)) {
        assert_eq!(
            aircraft.chunk(next + 1, chunk),
            (0, u32::wrapping_sub(next, 1), next),
            "ahead of its turn"
        );
        assert_eq!(aircraft.chunk(next, chunk), (0, next, next + 1));
        assert_eq!(aircraft.chunk(next, chunk), (0, next, next + 1), "repeated");
    }
    assert_eq!(aircraft.finish_dcftp(&md5(&content)), [0][..]);
    assert_eq!(aircraft.finish_dcftp(&md5(&content)), [0][..], "repeated");
    assert_eq!(aircraft.ask(id::TRANSFER, vec![]), [0][..]);
    assert!(
        aircraft.pushes.iter().all(|(_, push)| push.command == id::PRESENCE),
        "no status before the check"
    );
    assert_eq!(aircraft.ask(id::CHECK, vec![]), [6][..]);
    assert_eq!(aircraft.ask(id::CHECK, vec![]), [6][..], "repeated");
    aircraft.await_push(id::STATUS, &[6, 60]);
    for receiver in [HOST, PC] {
        let ongoing = |push: &Frame| {
            push.command == id::STATUS && push.receiver == receiver && push.payload[0] == 3
        };
        assert!(
            aircraft.pushes.iter().any(|(_, push)| ongoing(push)),
            "{receiver} was told of the progress"
        );
    }
    assert_eq!(payload.checked.lock().unwrap().as_deref(), Some(&content[..]));
    assert!(payload.was_told("begin 0x2a DCFTP") && payload.was_told("start"));
}

#[test]
fn an_upgrade_over_ftp() {
    let content = vec![7; 5000];
    let (_directory, mut aircraft, payload) =
        linked(Script { upload: content.clone(), ..Script::default() });
    assert_eq!(aircraft.ask(id::ENTER, vec![0])[..2], [0xC7, 1]);
    let port = aircraft.ask(id::TRANSFER, vec![]);
    assert_eq!(
        (port.len(), port[0], u32::from_le_bytes(port[5..9].try_into().unwrap())),
        (71, 0, 2121)
    );
    assert_eq!(aircraft.ask(id::CHECK, vec![]), [6][..]);
    aircraft.await_push(id::STATUS, &[6, 60]);
    assert_eq!(payload.checked.lock().unwrap().as_deref(), Some(&content[..]));
}

#[test]
fn dcftp_is_offered_when_the_ftp_server_does_not_answer() {
    let (_directory, mut aircraft, _payload) = linked(Script { no_ftp: true, ..Script::default() });
    assert_eq!(aircraft.ask(id::ENTER, vec![0])[..2], [0xC7, 2]);
    let (_directory, mut aircraft, payload) =
        linked_with(Script { no_ftp: true, ..Script::default() }, TransferChoice::Ftp);
    assert_eq!(aircraft.ask(id::ENTER, vec![0]), [&[0xCD][..], &[0; 10]].concat());
    assert_eq!(payload.told.lock().unwrap().len(), 0, "the engine was not asked");
}

#[test]
fn a_second_host_is_refused_and_does_not_disturb_the_first() {
    let (_directory, mut aircraft, _payload) =
        linked_with(Script::default(), TransferChoice::Dcftp);
    assert_eq!(aircraft.ask_as(PC, id::ENTER, vec![0])[0], 0xC7);
    assert_eq!(aircraft.start_dcftp(8, "P_V01.00.00.01.bin")[0], 0);
    assert_eq!(aircraft.chunk(0, b"1234"), (0, 0, 1));
    assert_eq!(aircraft.ask_as(HOST, id::ENTER, vec![0])[0], 0xCD);
    assert_eq!(aircraft.chunk(1, b"5678"), (0, 1, 2));
    assert_eq!(aircraft.finish_dcftp(&md5(b"12345678")), [0][..]);
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// A payload that has received a file from the PC's side.
fn with_a_file(script: Script) -> (tempfile::TempDir, Aircraft, PayloadSide) {
    let (directory, mut aircraft, payload) = linked_with(script, TransferChoice::Dcftp);
    aircraft.ask(id::ENTER, vec![0]);
    aircraft.start_dcftp(4, "P_V01.00.00.01.bin");
    aircraft.chunk(0, b"1234");
    (directory, aircraft, payload)
}

#[test]
fn two_requests_in_one_write_get_two_answers() {
    let both = hex("550e04662a130501400085000027550e0466ed130601400085006019");
    let (_directory, mut aircraft, _payload) =
        linked_with(Script::default(), TransferChoice::Dcftp);
    assert_eq!(
        aircraft.answers_to(&both, 2),
        [(PC, 0x0105, vec![0xF2]), (HOST, 0x0106, vec![0xF2])],
        "nothing to check"
    );
    let (_directory, mut aircraft, _payload) = with_a_file(Script::default());
    assert_eq!(aircraft.finish_dcftp(&md5(b"1234")), [0][..]);
    let mut answers = aircraft.answers_to(&both, 2);
    answers.sort();
    // Only whoever entered may start.
    assert_eq!(answers, [(PC, 0x0105, vec![6]), (HOST, 0x0106, vec![0xF2])]);
}

#[test]
fn the_same_host_gets_an_answer_to_each_of_its_requests() {
    let (_directory, mut aircraft, _payload) = with_a_file(Script::default());
    assert_eq!(aircraft.finish_dcftp(&md5(b"1234")), [0][..]);
    let both: Vec<u8> =
        [7, 8].iter().flat_map(|sequence| frame(id::CHECK, *sequence, vec![])).collect();
    assert_eq!(aircraft.answers_to(&both, 2), [(PC, 7, vec![6]), (PC, 8, vec![6])]);
}

fn frame(
    command: uplift::channel::psdk::serial::frame::CommandId,
    sequence: u16,
    payload: Vec<u8>,
) -> Vec<u8> {
    let mut bytes = bytes::BytesMut::new();
    let frame = Frame::request(PC, PAYLOAD, sequence, command, payload);
    tokio_util::codec::Encoder::encode(
        &mut uplift::channel::psdk::serial::frame::FrameCodec::new(),
        frame,
        &mut bytes,
    )
    .unwrap();
    bytes.to_vec()
}

#[test]
fn finish_transfer_and_check_in_one_write_are_carried_out_one_after_the_other() {
    let (_directory, mut aircraft, _payload) = with_a_file(Script::default());
    let finish = frame(id::DCFTP, 7, [&[3][..], &md5(b"1234")].concat());
    let all = [finish, frame(id::TRANSFER, 8, vec![]), frame(id::CHECK, 9, vec![])].concat();
    assert_eq!(
        aircraft.answers_to(&all, 3),
        [(PC, 7, vec![0]), (PC, 8, vec![0]), (PC, 9, vec![6])]
    );
}

#[test]
fn another_host_can_not_take_a_transfer_over() {
    let (_directory, mut aircraft, payload) = with_a_file(Script::default());
    let other = "Q_V09.00.00.00.bin";
    let start = [&[1][..], &9_u32.to_le_bytes(), &[other.len() as u8], other.as_bytes()].concat();
    assert_eq!(aircraft.ask_as(HOST, id::DCFTP, start), [1][..]);
    assert_eq!(
        aircraft.ask_as(HOST, id::DCFTP, vec![2, 1, 0, 0, 0, 7]),
        [1, 0, 0, 0, 0, 0, 0, 0, 0][..]
    );
    assert_eq!(aircraft.ask_as(HOST, id::DCFTP, [&[3][..], &md5(b"1234")].concat()), [1][..]);
    assert_eq!(aircraft.ask_as(HOST, id::TRANSFER, vec![]), [1][..]);
    assert_eq!(aircraft.ask_as(HOST, id::CHECK, vec![]), [0xF2][..]);
    assert_eq!(aircraft.finish_dcftp(&md5(b"1234")), [0][..], "the first host's goes on");
    assert!(!payload.was_told("receive Q_V09.00.00.00.bin 9"));
}

#[test]
fn a_name_whose_length_counts_its_nul_is_taken() {
    let (_directory, mut aircraft, payload) = linked_with(Script::default(), TransferChoice::Dcftp);
    aircraft.ask(id::ENTER, vec![0]);
    let start = hex(
        "553204062a13110140002a01508b00001f5053444b5f415050414c4941535f5630322e30302e30302e30302e62696e005f85",
    );
    assert_eq!(aircraft.answers_to(&start, 1), [(PC, 0x0111, vec![0, 0, 1, 1, 0, 1, 0])]);
    assert!(payload.was_told("receive PSDK_APPALIAS_V02.00.00.00.bin 35664"));
}

#[test]
fn a_disk_that_takes_no_more_is_told_and_leaves_nothing() {
    let (_directory, mut aircraft, payload) =
        linked_with(Script { disk_takes: Some(512), ..Script::default() }, TransferChoice::Dcftp);
    aircraft.ask(id::ENTER, vec![0]);
    aircraft.start_dcftp(1_000_000, "P_V01.00.00.01.bin");
    let refused = (0..1_000)
        .map(|sequence| aircraft.chunk(sequence, &[0; 1000]))
        .find(|answer| answer.0 != 0);
    assert_eq!(refused.map(|answer| answer.0), Some(1));
    assert_eq!(aircraft.finish_dcftp(&[0; 16]), [1][..]);
    assert_eq!(aircraft.ask(id::CHECK, vec![]), [0xF2][..]);
    eventually("an empty stage", || payload.staged_files() == 0);
}

#[test]
fn a_wrong_md5_is_refused_and_the_file_can_be_sent_again() {
    let (_directory, mut aircraft, payload) = linked_with(Script::default(), TransferChoice::Dcftp);
    aircraft.ask(id::ENTER, vec![0]);
    for (digest, answer) in [([0; 16], 1), (md5(b"1234"), 0)] {
        assert_eq!(aircraft.start_dcftp(4, "P_V01.00.00.01.bin")[0], 0);
        assert_eq!(aircraft.chunk(0, b"1234"), (0, 0, 1));
        assert_eq!(aircraft.finish_dcftp(&digest), [answer][..]);
    }
    // One byte too few is refused like a wrong digest.
    assert_eq!(aircraft.start_dcftp(5, "P_V01.00.00.01.bin")[0], 0);
    assert_eq!(aircraft.chunk(0, b"1234"), (0, 0, 1));
    assert_eq!(aircraft.finish_dcftp(&md5(b"1234")), [1][..]);
    assert!(payload.was_told("receive P_V01.00.00.01.bin 5"));
    eventually("the engine hears of both", || {
        payload.was_told("reception failed digest-mismatch")
            && payload.was_told("reception failed truncated")
    });
}

#[test]
fn a_failed_check_is_answered_and_pushed_until_it_is_acknowledged() {
    let script =
        Script { check_fails: Some(FailureKind::Downgrade), upload: vec![1], ..Script::default() };
    let (_directory, mut aircraft, payload) = linked(script);
    aircraft.ask(id::ENTER, vec![0]);
    assert_eq!(aircraft.ask(id::CHECK, vec![]), [0xF2][..]);
    let end = [4, 9, 1, 0x13, 0, 0, 0, 0, 0, 0, 0];
    aircraft.await_push(id::STATUS, &end);
    aircraft.send(&Frame::push(PC, PAYLOAD, 1, id::CONTROL, vec![4]));
    eventually("acknowledged", || payload.was_told("acknowledge psdk"));
}

#[test]
fn a_report_from_before_the_restart_is_pushed_every_second_to_both() {
    let (_directory, mut aircraft, payload) =
        linked(Script { report: Some(Outcome::Succeeded), ..Script::default() });
    aircraft.listen(Duration::from_millis(2500));
    for receiver in [HOST, PC] {
        let ends = aircraft.pushes.iter().filter(|(_, push)| {
            push.receiver == receiver && push.payload == Bytes::from_static(&[4, 1, 0])
        });
        assert!((2..=4).contains(&ends.count()), "{receiver}");
    }
    aircraft.send(&Frame::push(HOST, PAYLOAD, 1, id::CONTROL, vec![4]));
    eventually("acknowledged", || payload.was_told("acknowledge psdk"));
    // What was on its way before the acknowledgement is read first.
    assert_eq!(aircraft.ask(id::VERSION, vec![4]), VERSION);
    aircraft.pushes.clear();
    aircraft.listen(Duration::from_millis(1500));
    assert!(aircraft.pushes.iter().all(|(_, push)| push.command == id::PRESENCE));
}

/// Presence pushes came once a second since `began`.
fn assert_presence_on_time(aircraft: &Aircraft, began: Instant) {
    let seconds = began.elapsed().as_secs();
    let pushes = aircraft.pushes.iter().filter(|(_, push)| push.command == id::PRESENCE).count();
    let on_time = seconds..=seconds + 1;
    assert!(on_time.contains(&(pushes as u64)), "{pushes} in {:?}", began.elapsed());
}

#[test]
fn presence_is_on_time_while_a_file_is_received() {
    let (_directory, mut aircraft, _payload) =
        linked_with(Script::default(), TransferChoice::Dcftp);
    aircraft.ask(id::ENTER, vec![0]);
    aircraft.start_dcftp(100_000_000, "P_V01.00.00.01.bin");
    aircraft.pushes.clear();
    let began = Instant::now();
    let mut sequence = 0;
    while began.elapsed() < Duration::from_millis(3500) {
        assert_eq!(aircraft.chunk(sequence, &[0; 64]).0, 0);
        sequence += 1;
    }
    assert_presence_on_time(&aircraft, began);
}

#[test]
fn a_disk_that_stands_still_delays_one_answer_and_nothing_else() {
    let (_directory, mut aircraft, payload) =
        linked_with(Script { disk_stalls: true, ..Script::default() }, TransferChoice::Dcftp);
    let stalled = std::sync::Arc::clone(&payload.stalled);
    let stalled = stalled.lock().unwrap();
    aircraft.ask(id::ENTER, vec![0]);
    aircraft.start_dcftp(1_000_000, "P_V01.00.00.01.bin");
    let mut sequence = 0;
    while aircraft.try_chunk(sequence, &[0; 256], Duration::from_millis(500)) {
        sequence += 1;
        assert!(sequence < 1000, "memory is bounded");
    }
    aircraft.pushes.clear();
    let began = Instant::now();
    aircraft.listen(Duration::from_millis(3500));
    assert_presence_on_time(&aircraft, began);
    assert_eq!(aircraft.ask(id::VERSION, vec![4]), VERSION);
    drop(stalled);
    assert_eq!(aircraft.chunk(sequence, &[0; 256]).2, sequence + 1, "repeated, it is acknowledged");
    assert_eq!(aircraft.chunk(sequence + 1, &[0; 256]), (0, sequence + 1, sequence + 2));
}
