//! Files in pieces, from a server that answers ranges as one of ThingsPanel does (TP-17).

use super::*;

/// Larger than two pieces.
const SIZE: usize = (2 << 20) + 4097;

/// Wrong sums, statuses of answers to ranges, and whether it knows ranges.
struct Panel {
    file: Vec<u8>,
    status: u16,
    wrong_sums: Cell<u32>,
    has_sums: bool,
    asked: RefCell<Vec<String>>,
}

impl Panel {
    fn new() -> Self {
        Self {
            file: (0..SIZE).map(|i| (i * 7 % 251) as u8).collect(),
            status: 200,
            wrong_sums: Cell::new(0),
            has_sums: true,
            asked: RefCell::default(),
        }
    }

    fn answer(&self, ask: &Ask) -> Result<Answer, Trouble> {
        let said = |name: &str| ask.headers.iter().find(|(known, _)| known == name);
        let range = said("range").map(|(_, value)| value.to_str().unwrap().to_owned());
        assert!(said("crc16-method").is_none() && said("if-range").is_none());
        self.asked.borrow_mut().push(range.clone().unwrap_or_default());
        let respond = |status: u16, headers: Vec<(&str, String)>, body: &[u8]| {
            let headers = headers
                .into_iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect();
            let body = Body::builder().reader(io::Cursor::new(body.to_vec()));
            Ok(Answer::scripted(status, headers, body))
        };
        let Some(range) = range else {
            return respond(200, vec![("content-length", self.file.len().to_string())], &self.file);
        };
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        if last >= self.file.len() {
            return respond(400, Vec::new(), b"");
        }
        let part = &self.file[first..=last];
        let mut sum = crc::Crc::<u16>::new(&crc::CRC_16_USB).checksum(part);
        if self.wrong_sums.get() > 0 {
            self.wrong_sums.set(self.wrong_sums.get() - 1);
            sum ^= 1;
        }
        let total = self.file.len();
        let mut headers = vec![
            ("content-range", format!("bytes {first}-{last}/{total}")),
            ("content-length", part.len().to_string()),
        ];
        if self.has_sums {
            headers.push(("x-crc16", format!("{sum:04x}")));
        }
        respond(self.status, headers, part)
    }
}

fn fetch(play: &mut Play, panel: &Panel) -> Result<u64, Trouble> {
    let client = Client::new(&play.config).unwrap();
    let wanted = Wanted {
        url: "http://h/file".parse().unwrap(),
        size: play.size,
        most: play.most,
        authorization: None,
        pieces: Pieces::Summed,
    };
    let have = play.have.take();
    let download = Download::new(&client, &wanted, have, &mut play.kept, &play.stop, &play.clock);
    download.run(|ask, _| panel.answer(ask))
}

#[test]
fn tp_17_a_file_comes_in_pieces_that_end_with_it() {
    let ends = ["bytes=0-1048575", "bytes=1048576-2097151", "bytes=2097152-2101248"];
    for (size, status, has_sums) in
        [(Some(SIZE as u64), 200, true), (Some(SIZE as u64), 206, false)]
    {
        let panel = Panel { status, has_sums, ..Panel::new() };
        let mut play = Play { size, ..Play::new() };
        assert_eq!(fetch(&mut play, &panel).unwrap(), SIZE as u64);
        assert_eq!((&play.kept.bytes, &play.kept.begun), (&panel.file, &vec![0]));
        assert_eq!(*panel.asked.borrow(), ends);
    }
}

/// A server of 1.x does not say how large a file is.
#[test]
fn tp_17_the_first_byte_tells_a_size_that_nobody_has_announced() {
    let (panel, mut play) = (Panel::new(), Play::new());
    assert_eq!(fetch(&mut play, &panel).unwrap(), SIZE as u64);
    assert_eq!(play.kept.bytes, panel.file);
    let asked = panel.asked.borrow();
    assert_eq!(
        *asked,
        ["bytes=0-0", "bytes=1-1048576", "bytes=1048577-2097152", "bytes=2097153-2101248"]
    );
}

#[test]
fn tp_17_a_piece_with_a_wrong_sum_is_asked_for_once_more() {
    let panel = Panel::new();
    let mut play = Play { size: Some(SIZE as u64), ..Play::new() };
    panel.wrong_sums.set(1);
    assert_eq!(fetch(&mut play, &panel).unwrap(), SIZE as u64);
    assert_eq!((&play.kept.bytes, play.kept.pauses), (&panel.file, 0));
    assert_eq!(panel.asked.borrow()[..2], ["bytes=0-1048575", "bytes=0-1048575"]);
    let (panel, mut play) = (Panel::new(), Play { size: Some(SIZE as u64), ..Play::new() });
    panel.wrong_sums.set(2);
    assert!(matches!(fetch(&mut play, &panel), Err(Trouble::Damaged)));
    assert!(play.kept.bytes.is_empty(), "nothing that is damaged was kept");
}

#[test]
fn tp_17_pieces_go_on_where_they_ended() {
    let (panel, mut first) = (Panel::new(), Play { size: Some(SIZE as u64), ..Play::new() });
    fetch(&mut first, &panel).unwrap();
    panel.asked.borrow_mut().clear();
    for (bytes, asked) in [(1 << 20, 2), (SIZE, 0)] {
        let have = Have { bytes: bytes as u64, validator: first.kept.validator.clone().unwrap() };
        let mut next = Play { have: Some(have), ..Play::new() };
        next.kept.bytes = panel.file[..bytes].to_vec();
        assert_eq!(fetch(&mut next, &panel).unwrap(), SIZE as u64);
        assert_eq!((&next.kept.bytes, &next.kept.begun), (&panel.file, &vec![bytes as u64]));
        assert_eq!(std::mem::take(&mut *panel.asked.borrow_mut()).len(), asked);
    }
}

#[test]
fn tp_17_a_file_that_has_become_smaller_comes_anew() {
    let (panel, mut first) = (Panel::new(), Play::new());
    fetch(&mut first, &panel).unwrap();
    let smaller = Panel { file: vec![7; 100], ..Panel::new() };
    let have = Have { bytes: 1 << 20, validator: first.kept.validator.clone().unwrap() };
    let mut next = Play { have: Some(have), ..Play::new() };
    next.kept.bytes = panel.file[..1 << 20].to_vec();
    assert_eq!(fetch(&mut next, &smaller).unwrap(), 100);
    assert_eq!((&next.kept.bytes, &next.kept.begun), (&smaller.file, &vec![0]));
    assert_eq!(*smaller.asked.borrow(), ["bytes=1048576-2097151", ""]);
}
