use super::*;
use crate::channel::quectel::words::{Heard, Parser};

const FILE: &str = "+QIOTEVT: 7,10701,\"P\",4096,\"2bcd3c4de20c918e19fab5c36249c70d\",1";
const PLAN: &str = "+QIOTEVT: 7,10700,\"P\",\"\",\"2_0_0\",30,-113,4096";
const HOUR: Duration = Duration::from_secs(3600);

/// A dialogue, and a clock that stands still.
struct Table {
    dialogue: Dialogue,
    now: Instant,
}

impl Table {
    /// A module that is connected, and to which all was told.
    fn new() -> Self {
        let mut table = Self::closed();
        table.dialogue.opened();
        table.asks("AT");
        table.settles();
        table.asks("ATE0");
        table.says_ok();
        table.asks("AT+QIOTOTARD=?");
        table.says("+QIOTOTARD: 0,(1-2048)\r\n\r\nOK");
        table.asks("AT+QIOTSTATE?");
        table.says("+QIOTSTATE: 8\r\n\r\nOK");
        table
    }

    fn closed() -> Self {
        let settings = Settings {
            product: Vec::new(),
            form: QuectelVersions::default(),
            period: HOUR,
            block: 1024,
            baud: 115_200,
            sha256: true,
        };
        Self { dialogue: Dialogue::new(settings), now: Instant::now() }
    }

    /// The same while the platform plans something and that was accepted.
    fn accepted() -> Self {
        let mut table = Self::new();
        table.says(PLAN);
        table.asks("AT+CSQ");
        table.says("+CSQ: 24,99\r\n\r\nOK");
        assert!(matches!(table.dialogue.news(), Some(News::Plan(_, Some(-65)))));
        table.is_silent();
        table.dialogue.answer(true);
        table.asks("AT+QIOTUPDATE=1");
        table.says_ok();
        table
    }

    /// The same while its first piece can be read.
    fn readable(size: u32) -> Self {
        let mut table = Self::accepted();
        table.says(FILE);
        assert!(matches!(table.dialogue.news(), Some(News::File(_))));
        table.says(&format!("+QIOTEVT: 7,10703,\"P\",4096,0,{size}"));
        table.is_silent();
        table.dialogue.begin_at(0);
        table
    }

    #[track_caller]
    fn asks(&mut self, wanted: &str) {
        let command = self.dialogue.next(true, self.now).map(|command| command.encode());
        assert_eq!(command.as_deref().map(str::trim_end), Some(wanted));
    }

    #[track_caller]
    fn is_silent(&mut self) {
        assert_eq!(self.dialogue.next(true, self.now), None);
    }

    fn says(&mut self, text: &str) {
        let (mut parser, mut heard) = (Parser::default(), Vec::new());
        parser.take(format!("\r\n{text}\r\n").as_bytes(), &mut heard);
        for heard in heard {
            let Heard::Said(said) = heard else { continue };
            self.dialogue.hear(said, self.now);
        }
    }

    fn says_ok(&mut self) {
        self.says("OK");
    }

    /// The module has answered `AT`, and nothing is left of what it was told before.
    fn settles(&mut self) {
        self.says_ok();
        self.is_silent();
        self.passes(Duration::from_millis(300));
    }

    fn passes(&mut self, time: Duration) {
        self.now += time;
        self.dialogue.tick(self.now);
    }

    fn gives(&mut self, start: u64, count: usize) {
        self.dialogue.data(start, vec![7; count]);
        self.says_ok();
        let news = self.dialogue.news();
        assert!(matches!(news, Some(News::Bytes { start: at, .. }) if at == start), "{news:?}");
    }

    /// Reads to the end of the file, which is one piece.
    fn whole() -> Self {
        let mut table = Self::readable(4096);
        for start in [0, 1024, 2048, 3072] {
            table.asks(&format!("AT+QIOTOTARD={start},1024"));
            table.gives(start, 1024);
        }
        table.is_silent();
        table
    }

    #[track_caller]
    fn is_broken(&mut self, why: &str) {
        let news = std::iter::from_fn(|| self.dialogue.news()).last();
        assert!(matches!(&news, Some(News::Broken(text)) if text.contains(why)), "{news:?}");
        assert!(!self.dialogue.runs());
    }

    fn runs(&mut self, version: &str) {
        let version = version.parse().unwrap();
        self.dialogue.set_truth(Some([("P".to_owned(), version)].into()));
    }
}

#[test]
fn qt_2_what_is_not_answered_within_three_seconds_is_asked_again_at_the_stored_offset() {
    let mut table = Table::readable(4096);
    table.asks("AT+QIOTOTARD=0,1024");
    table.gives(0, 1024);
    table.asks("AT+QIOTOTARD=1024,1024");
    // What the bytes themselves take on the line is not the module's.
    table.passes(PATIENCE);
    table.is_silent();
    table.passes(Duration::from_millis(200));
    table.asks("AT");
    table.passes(PATIENCE);
    table.asks("AT");
    table.says_ok();
    // The answer to what was asked before comes late, and is nobody's.
    table.dialogue.data(1024, vec![7; 1024]);
    table.says_ok();
    table.passes(Duration::from_millis(300));
    table.asks("ATE0");
    table.says_ok();
    table.asks("AT+QIOTOTARD=?");
    table.says_ok();
    table.asks("AT+QIOTSTATE?");
    table.says_ok();
    table.asks("AT+QIOTOTARD=1024,1024");
}

#[test]
fn qt_2_a_module_that_is_silent_for_long_is_asked_less_often() {
    let mut table = Table::closed();
    table.is_silent();
    table.dialogue.opened();
    for _ in 0..=EAGER_TRIES {
        table.asks("AT");
        table.passes(PATIENCE);
    }
    table.is_silent();
    assert_eq!(table.dialogue.deadline(table.now), Some(table.now + SLOW));
    table.passes(SLOW);
    table.asks("AT");
}

#[test]
fn qt_4_what_runs_is_announced_once_and_again_when_the_module_is_back() {
    let mut table = Table::new();
    table.is_silent();
    table.runs("V01.00.00.00");
    table.asks("AT+QIOTMCUVER=\"P\"");
    table.says_ok();
    table.asks("AT+QIOTMCUVER=\"P\",\"1_0_0_0\"");
    table.says_ok();
    table.asks("AT+QIOTOTAREQ=1");
    table.says_ok();
    table.is_silent();
    table.says("+QIOTEVT: 3,10200");
    table.asks("AT+QIOTMCUVER=\"P\"");
    // It means the same.
    table.says("+QIOTMCUVER: \"P\",\"1_0\"\r\n\r\nOK");
    table.is_silent();
    table.runs("V01.00.00.01");
    table.asks("AT+QIOTMCUVER=\"P\",\"1_0_0_1\"");
}

#[test]
fn qt_4_nothing_is_announced_while_a_plan_is_processed() {
    let mut table = Table::accepted();
    table.runs("V01.00.00.00");
    for said in [FILE, "+QIOTEVT: 3,10200", "+QIOTEVT: 7,10702"] {
        table.says(said);
        table.is_silent();
    }
    table.says("+QIOTEVT: 7,10706");
    table.asks("AT+QIOTMCUVER=\"P\"");
}

#[test]
fn qt_5_a_plan_is_asked_for_once_an_hour_and_without_sha_256_where_that_is_unknown() {
    let mut table = Table::new();
    table.runs("V01.00.00.00");
    table.asks("AT+QIOTMCUVER=\"P\"");
    table.says("+QIOTMCUVER: \"P\",\"1_0\"\r\n\r\nOK");
    table.asks("AT+QIOTOTAREQ=1");
    table.says("ERROR");
    table.asks("AT+QIOTOTAREQ");
    table.says("ERROR");
    table.passes(HOUR - Duration::from_secs(1));
    table.is_silent();
    table.passes(Duration::from_secs(1));
    table.asks("AT+QIOTOTAREQ");
}

#[test]
fn qt_7_what_another_component_or_the_module_itself_fetches_is_not_ours() {
    let mut table = Table::accepted();
    for other in [&FILE.replace("\"P\"", "\"Q\""), "+QIOTEVT: 7,10701", "+QIOTEVT: 7,10703"] {
        table.says(other);
        assert_eq!(table.dialogue.news(), None);
        assert_eq!(table.dialogue.file(), None);
    }
}

#[test]
fn qt_8_a_piece_that_leaves_bytes_out_or_is_of_another_file_ends_the_plan() {
    for (piece, why) in [("4096,2048,1024", "did not come"), ("8192,1024,1024", "and has 8192 now")]
    {
        let mut table = Table::readable(1024);
        table.asks("AT+QIOTOTARD=0,1024");
        table.gives(0, 1024);
        table.asks("AT+QIOTUPDATE=2");
        table.says_ok();
        table.says(&format!("+QIOTEVT: 7,10703,\"P\",{piece}"));
        table.is_broken(why);
    }
    let mut table = Table::accepted();
    table.says("+QIOTEVT: 7,10703,\"P\",4096,0,1024");
    table.is_broken("told nothing of the file");
}

#[test]
fn qt_8_a_piece_that_was_there_before_is_passed_over() {
    let mut table = Table::readable(1024);
    table.dialogue.begin_at(1500);
    table.asks("AT+QIOTUPDATE=2");
    table.says_ok();
    table.says("+QIOTEVT: 7,10703,\"P\",4096,1024,1024");
    table.asks("AT+QIOTOTARD=1500,548");
}

#[test]
fn qt_8_data_of_another_place_or_length_are_none() {
    for (start, count) in [(1, 1024), (0, 0), (0, 1025)] {
        let mut table = Table::readable(4096);
        table.asks("AT+QIOTOTARD=0,1024");
        table.dialogue.data(start, vec![7; count]);
        table.says_ok();
        assert_eq!(table.dialogue.news(), None);
        table.asks("AT+QIOTOTARD=0,1024");
    }
}

#[test]
fn qt_8_without_room_nothing_is_read() {
    let mut table = Table::readable(4096);
    assert_eq!(table.dialogue.next(false, table.now), None);
    table.asks("AT+QIOTOTARD=0,1024");
}

#[test]
fn qt_9_what_is_next_after_a_piece_is_asked_for_once() {
    let mut table = Table::readable(1024);
    table.asks("AT+QIOTOTARD=0,1024");
    table.gives(0, 1024);
    table.asks("AT+QIOTUPDATE=2");
    table.says_ok();
    table.is_silent();
    table.passes(Duration::from_secs(100));
    table.says("+QIOTEVT: 7,10702");
    table.passes(Duration::from_secs(100));
    table.is_silent();
    assert!(table.dialogue.runs());
    table.passes(SILENCE_OF_A_FILE);
    table.is_broken("says nothing");
}

/// As long as a module may say nothing of a file that it fetches.
const SILENCE_OF_A_FILE: Duration = Duration::from_secs(120);

#[test]
fn qt_10_the_file_is_not_installed_before_the_module_has_said_that_it_waits() {
    let mut table = Table::whole();
    table.dialogue.install();
    table.asks("AT+QIOTUPDATE=3");
    table.says_ok();
    assert_eq!((table.dialogue.news(), table.dialogue.is_updating()), (None, false));
    table.says("+QIOTEVT: 7,10704");
    assert_eq!(table.dialogue.news(), Some(News::MayInstall));
    assert!(table.dialogue.is_updating());
}

#[test]
fn qt_10_a_module_that_does_not_say_so_has_said_ok() {
    let mut table = Table::whole();
    table.dialogue.install();
    table.asks("AT+QIOTUPDATE=3");
    table.says_ok();
    table.passes(Duration::from_secs(10));
    assert_eq!(table.dialogue.news(), Some(News::MayInstall));
}

#[test]
fn qt_10_a_module_that_refuses_the_word_has_ended_the_plan() {
    let mut table = Table::whole();
    table.dialogue.install();
    for _ in 0..3 {
        table.asks("AT+QIOTUPDATE=3");
        table.says("ERROR");
    }
    table.is_broken("the module refuses AT+QIOTUPDATE=3");
}

#[test]
fn qt_15_a_word_that_came_too_early_is_the_answer_to_a_refusal() {
    let mut table = Table::readable(4096);
    table.says("+QIOTEVT: 7,10704");
    assert_eq!((table.dialogue.news(), table.dialogue.is_updating()), (None, false));
    table.asks("AT+QIOTOTARD=0,1024");
    table.gives(0, 1024);
    table.dialogue.begin_at(4096);
    table.is_silent();
    table.dialogue.install();
    table.asks("AT+QIOTUPDATE=3");
    table.says("ERROR");
    assert_eq!(table.dialogue.news(), Some(News::MayInstall));
}

#[test]
fn qt_11_the_last_word_is_the_plan_s_text_where_that_runs_and_the_stored_one_where_not() {
    for (version, stored, wanted) in [
        ("V02.00.00.00", "1_0", "2_0_0"),
        ("V01.00.00.00", "1_0", "1_0"),
        ("V01.00.00.00", "0_9", "1_0_0_0"),
    ] {
        let mut table = Table::new();
        table.dialogue.resume("P", "2_0_0", Resumed::Installing);
        table.is_silent();
        table.dialogue.announce("P", version.parse().unwrap(), Some("2_0_0"));
        table.asks("AT+QIOTMCUVER=\"P\"");
        table.says(&format!("+QIOTMCUVER: \"P\",\"{stored}\"\r\n\r\nOK"));
        table.asks(&format!("AT+QIOTMCUVER=\"P\",\"{wanted}\""));
        table.says_ok();
        assert_eq!(table.dialogue.news(), Some(News::Announced));
        assert!(!table.dialogue.runs());
    }
}

#[test]
fn qt_13_a_new_plan_shows_that_the_one_before_has_ended() {
    let mut table = Table::readable(4096);
    table.says(&PLAN.replace("2_0_0", "3_0_0"));
    assert_eq!(table.dialogue.news(), Some(News::Over(false)));
    table.asks("AT+CSQ");
}

#[test]
fn qt_14_another_process_reads_on_and_finds_the_piece_s_end_by_itself() {
    let mut table = Table::new();
    let Said::Event(Event::File(file)) = Said::parse(FILE.as_bytes()) else { unreachable!() };
    table.dialogue.resume("P", "2_0_0", Resumed::Reading(file, 1024));
    table.asks("AT+QIOTOTARD=1024,1024");
    table.gives(1024, 1024);
    table.asks("AT+QIOTOTARD=2048,1024");
    table.says("ERROR");
    table.asks("AT+QIOTUPDATE=2");
    table.says_ok();
    table.says("+QIOTEVT: 7,10703,\"P\",4096,2048,2048");
    table.asks("AT+QIOTOTARD=2048,1024");
}

#[test]
fn qt_14_what_a_module_has_forgotten_is_given_up() {
    let mut table = Table::new();
    table.dialogue.resume("P", "2_0_0", Resumed::Accepted);
    for _ in 0..3 {
        table.asks("AT+QIOTUPDATE=1");
        table.says("ERROR");
    }
    table.is_broken("the module refuses");
}

#[test]
fn qt_2_an_acceptance_whose_answer_was_lost_is_believed_when_the_file_comes() {
    let mut table = Table::new();
    table.says(PLAN);
    table.asks("AT+CSQ");
    table.says_ok();
    assert!(matches!(table.dialogue.news(), Some(News::Plan(_, None))));
    table.dialogue.answer(true);
    table.asks("AT+QIOTUPDATE=1");
    table.says(FILE);
    assert!(matches!(table.dialogue.news(), Some(News::File(_))));
    table.says("ERROR");
    assert_eq!(table.dialogue.news(), None);
    assert!(table.dialogue.runs());
}

#[test]
fn what_the_platform_does_not_let_in_is_an_alarm_until_it_does() {
    let mut table = Table::new();
    table.is_silent();
    assert_eq!(table.dialogue.standing(), Standing::Connected);
    for (event, standing) in [
        ("2,10450", Standing::NotConnected(2)),
        ("1,10422", Standing::Alarm(1, 10422)),
        ("2,10431", Standing::Alarm(2, 10431)),
        ("8,10428", Standing::Alarm(2, 10431)),
        ("3,10200", Standing::Connected),
        ("6,10200", Standing::NotConnected(11)),
    ] {
        table.says(&format!("+QIOTEVT: {event}"));
        assert_eq!(table.dialogue.standing(), standing, "{event}");
    }
}
