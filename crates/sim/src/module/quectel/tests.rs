//! The module by itself, in the words of its manual.

use super::*;

/// A module whose clock is held.
struct Table {
    machine: Machine,
    events: Events<Event>,
    now: Instant,
}

impl Table {
    fn new(options: Options) -> Self {
        let plan = Plan::new("PAYLOAD", "2_0_0", content());
        let (log, now) = (Log::new(), Instant::now());
        let events = log.events();
        let options = Options { plans: vec![plan], echo: false, ..options };
        Self { machine: Machine::new(options, log, now), events, now }
    }

    /// The plan has been accepted, and the first piece can be read.
    fn readable(options: Options) -> Self {
        let mut table = Self::new(options);
        table.says("AT+QIOTMCUVER=\"PAYLOAD\",\"1_0_0\"", "OK");
        table.says("AT+QIOTOTAREQ=1", "OK");
        table.tells("+QIOTEVT: 7,10700,\"PAYLOAD\",\"\",\"2_0_0\",30,-113,4096");
        table.says("AT+QIOTUPDATE=1", "OK");
        table.tells(
            "+QIOTEVT: 7,10701,\"PAYLOAD\",4096,\"2bcd3c4de20c918e19fab5c36249c70d\",2727420034,\"c8f5d0341d54d951a71b136e6e2afcb14d11ed8489a7ae126a8fee0df6ecf193\"\n+QIOTEVT: 7,10702",
        );
        table
    }

    fn said(&mut self) -> String {
        let bytes: Vec<u8> = std::iter::from_fn(|| self.machine.said()).flatten().collect();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let lines: Vec<&str> = text.split("\r\n").filter(|line| !line.is_empty()).collect();
        lines.join("\n")
    }

    #[track_caller]
    fn says(&mut self, command: &str, wanted: &str) {
        self.machine.hear(format!("{command}\r").as_bytes(), self.now);
        assert_eq!(self.said(), wanted, "{command}");
    }

    /// What it says by itself, once the next thing is due.
    #[track_caller]
    fn tells(&mut self, wanted: &str) {
        self.passes(Options::default().latency);
        assert_eq!(self.said(), wanted);
    }

    fn passes(&mut self, time: Duration) {
        self.now += time;
        self.machine.tick(self.now);
    }

    #[track_caller]
    fn failed(&mut self, wanted: &str) {
        let events = self.events.so_far();
        let failed = events
            .iter()
            .any(|event| matches!(event, Event::Failed { why, .. } if why.contains(wanted)));
        assert!(failed, "{events:?}");
        assert!(self.said().ends_with("+QIOTEVT: 7,10706"));
    }
}

/// The bytes 00 to FF sixteen times.
fn content() -> Vec<u8> {
    (0..=255).cycle().take(4096).collect()
}

#[test]
fn the_transcript_of_an_upgrade() {
    let mut table = Table::readable(Options { piece: 3072, ..Options::default() });
    table.tells("+QIOTEVT: 7,10703,\"PAYLOAD\",4096,0,3072");
    table.machine.hear(b"AT+QIOTOTARD=0,1024\r", table.now);
    let mut wanted = b"\r\n+QIOTOTARD: 0,1024\r\n".to_vec();
    wanted.extend_from_slice(&content()[..1024]);
    wanted.extend_from_slice(b"\r\n\r\nOK\r\n");
    let said: Vec<u8> = std::iter::from_fn(|| table.machine.said()).flatten().collect();
    assert_eq!(said, wanted);
    table.says("AT+QIOTUPDATE=2", "OK\n+QIOTEVT: 7,10702");
    table.tells("+QIOTEVT: 7,10703,\"PAYLOAD\",4096,3072,1024");
    table.says("AT+QIOTUPDATE=3", "OK\n+QIOTEVT: 7,10704");
    table.says("AT+QIOTUPDATE=3", "OK");
    table.says("AT+QIOTMCUVER=\"PAYLOAD\",\"2_0_0\"", "OK\n+QIOTEVT: 7,10705");
    assert!(table.events.so_far().contains(&Event::Succeeded { to: "2_0_0".into() }));
}

#[test]
fn a_command_out_of_turn_is_an_error() {
    let mut table = Table::new(Options::default());
    for command in ["0", "1", "2", "3"] {
        table.says(&format!("AT+QIOTUPDATE={command}"), "ERROR");
    }
    table.says("AT+QIOTOTARD=0,1", "ERROR");
    table.says("AT+NONSENSE", "ERROR");
    let mut table = Table::readable(Options { piece: 3072, ..Options::default() });
    table.says("AT+QIOTOTARD=0,1", "ERROR");
    table.tells("+QIOTEVT: 7,10703,\"PAYLOAD\",4096,0,3072");
    for command in ["AT+QIOTUPDATE=0", "AT+QIOTUPDATE=1", "AT+QIOTUPDATE=3", "AT+QIOTOTARD=3072,1"]
    {
        table.says(command, "ERROR");
    }
}

#[test]
fn each_time_ends_a_plan() {
    let mut table = Table::readable(Options::default());
    table.tells("+QIOTEVT: 7,10703,\"PAYLOAD\",4096,0,4096");
    table.passes(Duration::from_secs(59));
    table.machine.hear(b"AT+QIOTOTARD=0,16\r", table.now);
    table.said();
    table.passes(Duration::from_secs(59));
    assert_eq!(table.said(), "");
    table.passes(Duration::from_secs(1));
    table.failed("60 s");
    let mut table = Table::readable(Options::default());
    table.tells("+QIOTEVT: 7,10703,\"PAYLOAD\",4096,0,4096");
    table.says("AT+QIOTUPDATE=3", "OK\n+QIOTEVT: 7,10704");
    table.passes(Duration::from_secs(1200));
    table.failed("20 min");
}

#[test]
fn another_version_ends_a_plan_at_once_and_none_that_is_not_accepted() {
    let mut table = Table::readable(Options::default());
    table.says("AT+QIOTMCUVER=\"PAYLOAD\",\"1_0_0\"", "OK\n+QIOTEVT: 7,10706");
    let mut table = Table::new(Options::default());
    table.says("AT+QIOTMCUVER=\"PAYLOAD\",\"1_0_0\"", "OK");
    table.says("AT+QIOTOTAREQ", "OK");
    table.tells("+QIOTEVT: 7,10700,\"PAYLOAD\",\"\",\"2_0_0\",30,-113,4096");
    table.says("AT+QIOTMCUVER=\"PAYLOAD\",\"1_0_1\"", "OK");
    table.says("AT+QIOTUPDATE=0", "OK");
}

#[test]
fn what_is_being_installed_outlives_the_module_and_nothing_else_does() {
    let mut table = Table::readable(Options::default());
    table.tells("+QIOTEVT: 7,10703,\"PAYLOAD\",4096,0,4096");
    table.says("AT+QIOTUPDATE=3", "OK\n+QIOTEVT: 7,10704");
    table.machine.reset(table.now);
    assert_eq!(table.said(), "RDY");
    table.says("AT+QIOTSTATE?", "+QIOTSTATE: 2\nOK");
    table.says("AT+QIOTMCUVER=\"PAYLOAD\",\"2_0_0\"", "OK\n+QIOTEVT: 7,10705");
    let mut table = Table::readable(Options::default());
    table.machine.reset(table.now);
    assert_eq!(table.said(), "RDY\n+QIOTEVT: 7,10706");
}

#[test]
fn without_a_version_there_is_no_plan() {
    let mut table = Table::new(Options::default());
    table.says("AT+QIOTOTAREQ", "OK");
    table.tells("");
}
