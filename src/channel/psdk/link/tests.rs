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
        // A file keeps what lies behind the one byte that is written; the kernel's attribute does not.
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

#[test]
fn a_cycle_through_the_rates_takes_about_three_seconds() {
    let mut rates = Rates::new(Baud::Auto);
    let began = Instant::now();
    let (mut now, mut seen) = (began, Vec::new());
    loop {
        seen.push(rates.current());
        let mut probe = Probe::new(now);
        let mut routes = Vec::new();
        while let Some(route) = probe.next(now) {
            routes.push(route);
            now = probe.due();
        }
        assert!(routes.chunks(2).all(|pair| pair == probe::ROUTES), "both routes in turn");
        if rates.advance() == probe::RATES[0] {
            break;
        }
    }
    assert_eq!(seen, probe::RATES);
    assert_eq!(now - began, Duration::from_millis(3200));
}

#[test]
fn a_search_begins_at_the_rate_that_was_right_last() {
    let mut rates = Rates::new(Baud::Auto);
    rates.advance();
    rates.keep();
    rates.advance();
    rates.restart();
    assert_eq!(rates.current(), 230_400);
    let mut fixed = Rates::new(Baud::Fixed(57_600));
    assert_eq!((fixed.advance(), fixed.is_fixed()), (57_600, true));
}

#[test]
fn a_silent_aircraft_is_probed_and_then_looked_for_unless_an_upgrade_goes_on() {
    let cases = [(0, false, Silence::Usual), (9, true, Silence::Usual), (10, false, Silence::Suspicious), (59, false, Silence::Suspicious)];
    for (seconds, in_use, expected) in cases {
        assert_eq!(Silence::of(Duration::from_secs(seconds), in_use), expected, "{seconds} s");
    }
    assert_eq!(Silence::of(Duration::from_secs(60), false), Silence::Lost);
    assert_eq!(Silence::of(Duration::from_secs(3600), true), Silence::Suspicious);
}

#[test]
fn a_presence_that_is_late_once_is_not_late_for_ever_nor_made_up_for() {
    let due = Instant::now();
    let second = Duration::from_secs(1);
    assert_eq!(next_presence(due, due + second / 10), due + second);
    assert_eq!(next_presence(due, due + second * 5), due + second * 6);
}
