use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::config::Baud;

/// A device node, and a sysfs in which its adapter has (or has not) a latency timer.
fn adapter(timer: Option<&str>) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let attributes = directory.path().join("bus/usb-serial/devices/ttyUSB7");
    fs::create_dir_all(&attributes).unwrap();
    fs::File::create(directory.path().join("ttyUSB7")).unwrap();
    let device = directory.path().join("payload-link");
    symlink("ttyUSB7", &device).unwrap();
    if let Some(timer) = timer {
        symlink(timer, attributes.join("latency_timer")).unwrap();
    }
    (directory, device)
}

#[test]
fn an_adapter_that_holds_bytes_back_is_asked_not_to() {
    let (sysfs, device) = adapter(Some("../../../../timer"));
    let timer = sysfs.path().join("timer");
    for (before, after) in [("16\n", "16\n"), ("1\n", "1\n")] {
        use std::io::Write as _;
        fs::File::create(&timer).unwrap().write_all(before.as_bytes()).unwrap();
        assert_eq!(request_low_latency(sysfs.path(), &device), None);
        // A file keeps what lies behind the one byte that is written; the kernel's attribute does
        // not.
        assert_eq!(fs::read_to_string(&timer).unwrap().as_bytes()[0], b'1', "{before:?} {after:?}");
    }
}

#[test]
fn an_adapter_that_can_not_be_asked_is_named_in_the_status() {
    // Readable and not writable, for root too: a file of the kernel's own.
    let (sysfs, device) = adapter(Some("/proc/version"));
    let notice = request_low_latency(sysfs.path(), &device).unwrap();
    assert!(notice.contains("latency_timer can't be set to 1"), "{notice}");
}

#[test]
fn an_adapter_that_holds_nothing_back_is_left_alone() {
    use std::io::Write as _;
    let (sysfs, device) = adapter(Some("../../../../timer"));
    let timer = sysfs.path().join("timer");
    fs::File::create(&timer).unwrap().write_all(b"0\n").unwrap();
    assert_eq!(request_low_latency(sysfs.path(), &device), None);
    assert_eq!(fs::read_to_string(&timer).unwrap(), "0\n");
}

#[test]
fn a_device_without_a_timer_has_nothing_to_say() {
    let (sysfs, device) = adapter(None);
    assert_eq!(request_low_latency(sysfs.path(), &device), None);
    assert_eq!(request_low_latency(sysfs.path(), Path::new("/nowhere")), None);
}

/// The steps of one cycle: route, rate, and how many probes.
fn cycle(baud: Baud, first: u32) -> (Vec<(Route, u32, usize)>, Duration) {
    let began = Instant::now();
    let (mut search, mut now, mut rate, mut steps) =
        (Search::new(baud, first, began), began, 0, Vec::<(Route, u32, usize)>::new());
    let mut begun = 0;
    loop {
        now = search.due().max(now);
        match search.next(now) {
            Due::Rate(next) => {
                begun += 1;
                if begun > 16 || (matches!(baud, Baud::Fixed(_)) && begun > 4) {
                    return (steps, now - began);
                }
                rate = next;
            }
            Due::ProbeAll => panic!("probes are seldom in the first minute"),
            Due::Probe(route) => match steps.last_mut() {
                Some(last) if steps_is(last, route, rate) && last.2 < 5 => last.2 += 1,
                _ => steps.push((route, rate, 1)),
            },
        }
    }
}

fn steps_is(step: &(Route, u32, usize), route: Route, rate: u32) -> bool {
    (step.0, step.1) == (route, rate)
}

#[test]
fn all_routes_are_probed_in_the_vendors_order() {
    use Route::{FromCa, FromE5, FromEa};
    let at_all =
        |route| [115_200, 230_400, 460_800, 921_600, 1_000_000].map(|rate| (route, rate, 5));
    let expected =
        [&[(FromCa, 921_600, 5)][..], &at_all(FromE5), &at_all(FromCa), &at_all(FromEa)].concat();
    // 16 steps of five probes, 20 ms apart.
    assert_eq!(cycle(Baud::Auto, 921_600), (expected, Duration::from_millis(1600)));
    let fixed =
        vec![(FromCa, 57_600, 5), (FromE5, 57_600, 5), (FromCa, 57_600, 5), (FromEa, 57_600, 5)];
    assert_eq!(cycle(Baud::Fixed(57_600), 57_600), (fixed, Duration::from_millis(400)));
}

#[test]
fn a_rate_that_the_device_does_not_have_is_skipped() {
    let now = Instant::now();
    let mut search = Search::new(Baud::Auto, 115_200, now);
    assert_eq!(search.next(now), Due::Rate(115_200));
    search.skip(now);
    assert!(search.due() > now);
    assert_eq!(search.next(now), Due::Rate(115_200), "the next step, of another route");
    assert_eq!(search.next(now), Due::Probe(Route::FromE5));
}

/// A silent line for so long: the search, and what it has done when.
fn silent_for(baud: Baud, time: Duration) -> (Search, Vec<(Instant, Due)>) {
    let began = Instant::now();
    let (mut search, mut done) = (Search::new(baud, 115_200, began), Vec::new());
    while search.due() < began + time {
        let now = search.due();
        done.push((now, search.next(now)));
    }
    (search, done)
}

/// At an aircraft that appears at `since`: until it has heard a probe of its own route and rate.
fn heard_after(done: &[(Instant, Due)], since: Instant, route: Route, rate: u32) -> Duration {
    let mut at = 0;
    let mut hears = |(now, due): &(Instant, Due)| match due {
        Due::Rate(next) => {
            at = *next;
            false
        }
        Due::Probe(probed) => at == rate && *probed == route && *now >= since,
        Due::ProbeAll => at == rate && *now >= since,
    };
    let (now, _) = done.iter().find(|one| hears(one)).expect("it is probed for ever");
    *now - since
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn on_a_line_that_stays_silent_probes_become_seldom() {
    for (baud, most) in [(Baud::Auto, 2.5), (Baud::Fixed(57_600), 1.0)] {
        let (_, done) = silent_for(baud, 3 * MINUTE);
        let began = done[0].0;
        let wake_ups = |from: Duration, to: Duration| {
            let mut at: Vec<_> = done.iter().map(|(now, _)| *now - began).collect();
            at.dedup();
            let number = at.iter().filter(|at| (from..to).contains(*at)).count();
            f64::from(u32::try_from(number).unwrap()) / (to - from).as_secs_f64()
        };
        assert!(wake_ups(Duration::ZERO, MINUTE) > 40.0, "{baud:?}");
        let seldom = wake_ups(2 * MINUTE, 3 * MINUTE);
        assert!(seldom <= most, "{baud:?}: {seldom} a second");
    }
}

#[test]
fn an_aircraft_that_appears_late_is_probed_soon_whatever_its_port_and_rate() {
    for (baud, rates) in [(Baud::Auto, &probe::RATES[..]), (Baud::Fixed(57_600), &[57_600])] {
        let (_, done) = silent_for(baud, 3 * MINUTE);
        let since = |milliseconds| done[0].0 + 2 * MINUTE + Duration::from_millis(milliseconds);
        for (rate, route) in rates.iter().flat_map(|rate| Route::ALL.map(|route| (*rate, route))) {
            let waits = (0..4000).step_by(7).map(|at| heard_after(&done, since(at), route, rate));
            let longest = waits.max().unwrap();
            assert!(longest <= Duration::from_secs(2), "{longest:?}: {route:?} at {rate}");
        }
    }
}

#[test]
fn the_order_of_rates_and_routes_stays_where_probes_are_seldom() {
    let (_, done) = silent_for(Baud::Auto, 2 * MINUTE);
    let first = done.iter().position(|(_, due)| *due == Due::ProbeAll).unwrap() - 1;
    let rates = [115_200, 230_400, 460_800, 921_600, 1_000_000, 115_200];
    let expected = rates.iter().flat_map(|rate| [Due::Rate(*rate), Due::ProbeAll]);
    let seldom: Vec<Due> = done[first..].iter().map(|(_, due)| *due).take(12).collect();
    assert_eq!(seldom, expected.collect::<Vec<_>>());
    assert_eq!(Route::ALL, [Route::FromE5, Route::FromCa, Route::FromEa]);
}

#[test]
fn a_sign_of_life_makes_probes_quick_again_for_a_minute() {
    let (mut search, done) = silent_for(Baud::Auto, 2 * MINUTE);
    let now = done.last().unwrap().0 + Duration::from_millis(1);
    let mut aircraft = Aircraft::Sought { search, heard: None };
    aircraft.noticed(now);
    // What has come may be the beginning of an answer: the rate is not left at once.
    assert_eq!(aircraft.due(), now + Duration::from_millis(20));
    let Aircraft::Sought { search: sought, .. } = aircraft else { panic!("it is found") };
    search = sought;
    let mut probes = 0;
    while search.due() <= now + Duration::from_secs(50) {
        probes += u32::from(matches!(search.next(search.due()), Due::Probe(_)));
    }
    assert!(probes > 40 * 50, "{probes}");
    while search.due() <= now + Duration::from_secs(62) {
        search.next(search.due());
    }
    assert!(matches!(search.next(search.due()), Due::Rate(_) | Due::ProbeAll));
}

#[test]
fn a_rate_that_the_device_does_not_have_costs_no_more_wake_ups_where_probes_are_seldom() {
    let (mut search, done) = silent_for(Baud::Auto, 2 * MINUTE);
    let mut now = done.last().unwrap().0;
    while !matches!(search.next(search.due()), Due::Rate(_)) {
        now = search.due();
    }
    search.skip(now);
    assert!(search.due() >= now + Duration::from_millis(400));
    assert!(matches!(search.next(search.due()), Due::Rate(_)), "the next one");
}

fn sought() -> Aircraft {
    Aircraft::Sought { search: Search::new(Baud::Auto, 115_200, Instant::now()), heard: None }
}

fn answer(route: Route, kind: u8) -> Frame {
    route.request(1).response(vec![kind])
}

/// Lets an aircraft hear a frame as the link does; true when that is news.
fn hear(aircraft: &mut Aircraft, frame: &Frame) -> bool {
    match aircraft.meaning(frame) {
        Meaning::Answer(place) => aircraft.found(place, Instant::now()),
        Meaning::Command(address) => {
            aircraft.found(Place { address, answer: None }, Instant::now())
        }
        Meaning::Nothing | Meaning::Echo => false,
    }
}

fn address(aircraft: &Aircraft) -> Option<Address> {
    match aircraft {
        Aircraft::Found { place, .. } => Some(place.address),
        Aircraft::Sought { .. } => None,
    }
}

#[test]
fn the_first_answer_decides_the_port() {
    let mut aircraft = sought();
    assert!(!hear(&mut aircraft, &answer(Route::FromCa, 60)), "an M300 has no E-Port");
    assert!(hear(&mut aircraft, &answer(Route::FromE5, 60)));
    assert_eq!(address(&aircraft), Some(Address(0x13)));
    assert!(!hear(&mut aircraft, &answer(Route::FromCa, 89)), "too late");
    assert_eq!(address(&aircraft), Some(Address(0x13)));
    assert!(hear(&mut aircraft, &answer(Route::FromE5, 89)), "another type on the same port");
}

#[test]
fn a_command_tells_the_address_until_the_probe_is_answered() {
    let command = |to| Frame::request(Address(0x2A), Address(to), 1, id::VERSION, vec![4]);
    let mut aircraft = sought();
    assert!(!hear(&mut aircraft, &command(0x44)), "no payload's address");
    assert!(hear(&mut aircraft, &command(0x13)));
    assert!(hear(&mut aircraft, &answer(Route::FromCa, 89)));
    assert_eq!(address(&aircraft), Some(Address(0xCA)));
    assert!(
        matches!(aircraft.meaning(&command(0x13)), Meaning::Nothing),
        "requests to other addresses are not answered"
    );
    assert!(matches!(aircraft.meaning(&command(0xCA)), Meaning::Command(Address(0xCA))));
}

#[test]
fn what_the_line_echoes_shows_nothing() {
    let mut aircraft = sought();
    assert!(matches!(aircraft.meaning(&Route::FromE5.request(1)), Meaning::Echo));
    hear(&mut aircraft, &answer(Route::FromE5, 60));
    let own = Frame::push(Address(0x13), HOST, 1, id::PRESENCE, &PRESENCE[..]);
    assert!(matches!(aircraft.meaning(&own), Meaning::Echo));
}

#[test]
fn a_silent_aircraft_is_probed_and_then_looked_for_unless_an_upgrade_goes_on() {
    let cases = [
        (0, false, Silence::Usual),
        (9, true, Silence::Usual),
        (10, false, Silence::Suspicious),
        (59, false, Silence::Suspicious),
    ];
    for (seconds, in_use, expected) in cases {
        assert_eq!(Silence::of(Duration::from_secs(seconds), in_use), expected, "{seconds} s");
    }
    assert_eq!(Silence::of(Duration::from_secs(60), false), Silence::Lost);
    assert_eq!(Silence::of(Duration::from_secs(3600), true), Silence::Suspicious);
}

#[test]
fn a_presence_that_is_late_once_is_not_late_for_ever_nor_made_up_for() {
    let due = Instant::now();
    let step = PRESENCE_INTERVAL;
    assert_eq!(next_presence(due, due + step / 10), due + step);
    assert_eq!(next_presence(due, due + step * 5), due + step * 6);
}

#[test]
fn any_good_frame_keeps_the_rate_whoever_it_is_for() {
    let stranger = Frame::push(
        Address(0x03),
        Address(0x0A),
        1,
        super::super::frame::CommandId::new(0x03, 0x43),
        vec![1],
    );
    let mut aircraft = sought();
    let now = Instant::now();
    assert!(matches!(aircraft.meaning(&stranger), Meaning::Nothing));
    aircraft.noticed(now);
    assert!(
        matches!(aircraft, Aircraft::Sought { heard: Some(at), .. } if at == now),
        "the search stays at this rate"
    );
    hear(&mut aircraft, &answer(Route::FromE5, 60));
    let later = now + guess::LINK_LOST_AFTER;
    aircraft.noticed(later);
    assert!(
        matches!(aircraft, Aircraft::Found { heard, .. } if Silence::of(later - heard, false) == Silence::Usual)
    );
}
