use proptest::prelude::*;

use super::*;
use crate::model::Failure;

const HOUR: u64 = 3600;

fn target(name: &str) -> Target {
    serde_json::from_value(serde_json::json!({ "etag": name })).unwrap()
}

fn now(boot: &str, up: u64) -> Now {
    Now { boot: boot.into(), up: Duration::from_secs(up) }
}

fn at(up: u64) -> Now {
    now("one", up)
}

/// A record that began with this boot.
fn fresh() -> Ration {
    let mut ration = Ration::default();
    ration.advance(at(0));
    ration
}

fn end(ration: &mut Ration, file: &Target, how: Ending) {
    ration.take(file.clone());
    ration.end(&file.name(), how);
}

fn left(gate: &Gate) -> u64 {
    match gate {
        Gate::Open => 0,
        Gate::Shut { left, .. } => left.as_secs(),
    }
}

#[test]
fn lu_3_a_file_is_asked_for_five_times_a_day_at_most() {
    let mut ration = fresh();
    let file = target("1");
    for hour in 0..5 {
        ration.advance(at(hour * HOUR));
        // A request that finds the file needs another one to fetch it.
        assert_eq!(left(&ration.may_ask()) > 0, hour >= 4, "{hour}");
        assert_eq!(ration.may_fetch(&file), Gate::Open);
        ration.served(&file);
    }
    assert_eq!(left(&ration.may_fetch(&file)), 20 * HOUR);
    assert_eq!(left(&ration.may_ask()), 21 * HOUR);
    assert_eq!(ration.may_fetch(&target("2")), Gate::Open, "another file has its own");
    ration.advance(at(24 * HOUR - 1));
    assert_eq!(left(&ration.may_fetch(&file)), 1);
    ration.advance(at(24 * HOUR));
    assert_eq!(ration.may_fetch(&file), Gate::Open);
}

#[test]
fn lu_3_a_server_with_another_file_each_time_has_a_limit_too() {
    let mut ration = fresh();
    for file in 0..MOST_OF_ALL {
        assert_eq!(ration.may_ask(), Gate::Open);
        ration.served(&target(&file.to_string()));
    }
    assert_eq!(left(&ration.may_ask()), 24 * HOUR);
    assert_eq!(left(&ration.may_fetch(&target("new"))), 24 * HOUR);
}

#[test]
fn code_40_blocks_for_a_day_over_restarts_of_the_process_and_of_the_machine() {
    let mut ration = fresh();
    ration.hear(Heard::Blocked { sentence: "x".into() });
    ration.advance(at(HOUR));
    let mut ration = Ration::read(&ration.write()).0;
    assert_eq!(left(&ration.may_ask()), 23 * HOUR);
    // The machine was off for any time, and has been on for two hours.
    ration.advance(now("two", 2 * HOUR));
    assert_eq!(left(&ration.may_fetch(&target("1"))), 21 * HOUR);
    ration.advance(now("two", 23 * HOUR));
    assert_eq!(ration.may_ask(), Gate::Open);
}

#[test]
fn code_43_is_waited_for_ten_times() {
    let not_yet = || Heard::NotYet { why: "x".into() };
    let mut ration = fresh();
    for _ in 0..10 {
        ration = Ration::read(&ration.write()).0;
        assert_eq!(ration.hear(not_yet()), not_yet());
    }
    let Heard::Nothing { why } = ration.hear(not_yet()) else { panic!() };
    assert!(why.contains("10 more requests"), "{why}");
    assert_eq!(ration.hear(not_yet()), not_yet(), "the next time it begins anew");
    ration.hear(Heard::Retry { why: "x".into() });
    assert_eq!(ration.not_yet, 0);
}

#[test]
fn a_file_that_is_installed_is_never_fetched_again_and_the_server_is_told_so() {
    let mut ration = fresh();
    let file = target("\"1\"");
    end(&mut ration, &file, Ending::Installed);
    ration.advance(at(1000 * DAY));
    assert_eq!(ration.settled(&file), Some(Ending::Installed));
    assert_eq!(ration.validators().if_none_match.as_deref(), Some("\"1\""));
    assert_eq!(ration.settled(&target("\"2\"")), None);
}

/// A platform hears the new version in the next request.
#[test]
fn lu_3_a_file_that_is_installed_needs_nothing_left_to_fetch_it() {
    let mut ration = fresh();
    let file = target("1");
    (0..4).for_each(|_| ration.served(&file));
    assert_ne!(ration.may_ask(), Gate::Open);
    end(&mut ration, &file, Ending::Installed);
    assert_eq!(ration.may_ask(), Gate::Open);
    ration.served(&file);
    assert_ne!(ration.may_ask(), Gate::Open);
}

#[test]
fn a_file_that_was_refused_is_tried_again_after_a_week_and_one_that_failed_at_once() {
    let mut ration = fresh();
    let file = target("1");
    end(&mut ration, &file, Ending::Refused);
    ration.advance(at(REFUSED - 1));
    assert_eq!(ration.settled(&file), Some(Ending::Refused));
    ration.advance(at(REFUSED));
    assert_eq!((ration.settled(&file), ration.validators()), (None, Validators::default()));
    end(&mut ration, &file, Ending::Failed);
    assert_eq!((ration.settled(&file), ration.validators()), (None, Validators::default()));
}

/// The next program often has the size of the last one.
#[test]
fn a_size_alone_settles_nothing() {
    let file: Target = serde_json::from_str("{\"size\":4096}").unwrap();
    let mut ration = fresh();
    end(&mut ration, &file, Ending::Installed);
    assert_eq!(ration.settled(&file), None);
}

#[test]
fn an_ending_is_the_file_s_or_the_moment_s() {
    let failed = |kind| What::Failed {
        failure: Failure::new(kind, "x"),
        replaced: Vec::new(),
        kept: Vec::new(),
    };
    assert_eq!(Ending::of(&What::Succeeded { sentence: "x".into() }), Some(Ending::Installed));
    assert_eq!(Ending::of(&What::Cancelled), Some(Ending::Failed));
    assert_eq!((Ending::of(&What::OnTrial), Ending::of(&What::TooLate)), (None, None));
    for (kind, ending) in [
        (FailureKind::SealMissing, Ending::Refused),
        (FailureKind::SameVersion, Ending::Refused),
        (FailureKind::Unhealthy, Ending::Refused),
        (FailureKind::TransferFailed, Ending::Failed),
        (FailureKind::NoSpace, Ending::Failed),
        (FailureKind::NotNow, Ending::Failed),
        (FailureKind::DigestMismatch, Ending::Failed),
    ] {
        assert_eq!(Ending::of(&failed(kind)), Some(ending), "{kind:?}");
    }
}

#[test]
fn a_damaged_record_is_an_empty_one_and_that_is_told() {
    assert_eq!(Ration::read(b""), (Ration::default(), None));
    let mut ration = fresh();
    ration.served(&target("1"));
    ration.hear(Heard::Blocked { sentence: "x".into() });
    let good = String::from_utf8(ration.write()).unwrap();
    assert_eq!(Ration::read(good.as_bytes()), (ration, None));
    let far = u64::MAX.to_string();
    for bad in [
        good[..good.len() - 1].to_owned(),
        "null".into(),
        "\0\0\0".into(),
        good.replace("\"clock\":0", "\"clock\":-1"),
        good.replace("\"at\":0", &format!("\"at\":{far}")),
        good.replace("\"blocked_until\":86400", &format!("\"blocked_until\":{far}")),
        good.replace("\"clock\":0", &format!("\"clock\":{far}")),
        good.replace("\"not_yet\":0", "\"not_yet\":11"),
        format!("{good}{}", " ".repeat(LARGEST_RECORD)),
    ] {
        assert_ne!(bad, good);
        assert_eq!(Ration::read(bad.as_bytes()), (Ration::default(), Some(Damaged)), "{bad}");
    }
}

/// What may happen to a record.
#[derive(Debug, Clone)]
enum Event {
    /// Time passes.
    Pass(u64),
    /// The process starts anew.
    Restart,
    /// The machine is off for a while, and its wall clock may say anything then.
    Boot(u64),
    /// The clock says less than it did.
    Back(u64),
    /// A request, and the fetch of what it finds.
    Ask(u8),
    Fetch(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..30 * HOUR).prop_map(Event::Pass),
        (0..600u64).prop_map(Event::Pass),
        Just(Event::Restart),
        (0..400 * DAY).prop_map(Event::Boot),
        (0..400 * DAY).prop_map(Event::Back),
        (0u8..3).prop_map(Event::Ask),
        (0u8..3).prop_map(Event::Fetch),
        (0u8..1).prop_map(Event::Fetch),
    ]
}

proptest! {
    /// In true time, whatever the machine's clock does that does not run ahead of it.
    #[test]
    fn lu_3_the_ration_is_never_exceeded(events in prop::collection::vec(event(), 1..120)) {
        let mut ration = fresh();
        let (mut time, mut boot, mut up) = (0_u64, 0_u32, 0_u64);
        let mut served: Vec<(u8, u64)> = Vec::new();
        for event in events {
            match event {
                Event::Pass(seconds) => (time, up) = (time + seconds, up + seconds),
                Event::Restart => ration = Ration::read(&ration.write()).0,
                Event::Boot(off) => (time, boot, up) = (time + off, boot + 1, 0),
                Event::Back(seconds) => up = up.saturating_sub(seconds),
                Event::Ask(_) | Event::Fetch(_) => {}
            }
            ration.advance(now(&boot.to_string(), up));
            let (file, gate) = match event {
                Event::Ask(file) => (file, ration.may_ask()),
                Event::Fetch(file) => (file, ration.may_fetch(&target(&file.to_string()))),
                _ => continue,
            };
            if gate == Gate::Open {
                ration.served(&target(&file.to_string()));
                served.push((file, time));
            }
        }
        for (file, from) in &served {
            let of_day = |(other, at): &&(u8, u64)| other == file && (*from..from + DAY).contains(at);
            prop_assert!(served.iter().filter(of_day).count() <= MOST_OF_A_FILE);
        }
    }

    /// Nothing shuts the gate for longer than a day of a clock that runs.
    #[test]
    fn lu_3_the_gate_always_opens(events in prop::collection::vec((event(), any::<u64>()), 1..60)) {
        let mut ration = fresh();
        for (event, up) in events {
            match event {
                Event::Ask(file) | Event::Fetch(file) => ration.served(&target(&file.to_string())),
                Event::Boot(_) => { ration.hear(Heard::Blocked { sentence: "x".into() }); }
                _ => ration.advance(now("one", up)),
            }
        }
        ration.advance(now("two", 0));
        prop_assert!(left(&ration.may_ask()) <= DAY);
        ration.advance(now("two", DAY));
        prop_assert_eq!(ration.may_ask(), Gate::Open);
    }

    #[test]
    fn any_bytes_are_a_record_or_damage(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (ration, damage) = Ration::read(&bytes);
        prop_assert!(damage.is_none() || ration == Ration::default());
    }
}

#[test]
fn the_longest_record_has_room() {
    let mut ration = fresh();
    for number in 0..2 * MOST_OF_ALL {
        let name = format!("{}{number:02}", "\\".repeat(126));
        let file =
            serde_json::json!({ "sn": name, "etag": name, "last_modified": name, "size": 1 });
        let file: Target = serde_json::from_value(file).unwrap();
        ration.served(&file);
        end(&mut ration, &file, Ending::Installed);
    }
    assert_eq!(Ration::read(&ration.write()), (ration, None));
}
