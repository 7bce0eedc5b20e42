//! What must hold of any answer and any record, for the fuzzer.

use std::time::Duration;

use super::ration::{Gate, LARGEST_RECORD, Now, Ration};
use super::words::{FIRST_BYTES, Head, Heard, LONGEST_ANSWER, Settings, heard, is_taken};
use crate::config::{
    Codes, Device, Identity, Luatos, LuatosServer, Password, RequestUrl, Unsealed, VersionForm,
};
use crate::model::ComponentName;

const URL: &str = "http://127.0.0.1/firmware";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Takes bytes as an answer: its status and headers, one a line, `-` where there is none, then an
/// empty line and its body. And as the channel's record. Panics where a promise is broken.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let (lines, body) = parted(bytes);
    let head = head(&lines);
    for settings in settings() {
        let limit = if settings.is_turnkey() { LONGEST_ANSWER } else { FIRST_BYTES };
        let first = body.get(..limit).unwrap_or(body);
        let is_answered = heard(&settings, URL, &head, first, first.len() < body.len());
        holds(is_answered);
    }
    is_taken(head.status, body);
    keeps(bytes);
}

/// What a channel may be set to.
fn settings() -> Vec<Settings> {
    let Some(url) = RequestUrl::parse(URL) else { return Vec::new() };
    let device = || Device {
        identity: Identity { key: "imei", value: "1".into() },
        project_key_file: "/key".into(),
        firmware_name: "payload".into(),
        core: 2012,
        version_digits: [2, 1, 1, 2],
    };
    let form = VersionForm::Core;
    let (model, core_id) = ("payload".to_owned(), "1".to_owned());
    let servers = [
        LuatosServer::Verbatim { url: url.clone() },
        LuatosServer::Query { prefix: url.clone(), device: device(), version_form: form },
        LuatosServer::Turnkey { url, device: device(), model, core_id },
    ];
    let key: Option<Password> = serde_json::from_str("\"key\"").ok();
    let settled = |server: LuatosServer| {
        let section = Luatos {
            server,
            poll: DAY,
            spread: DAY,
            codes: Codes::Library,
            component: ComponentName::PROGRAM,
            unsealed: Unsealed::Never,
        };
        Settings::new(&section, "PRODUCT", key.clone()).ok()
    };
    servers.into_iter().filter_map(settled).collect()
}

/// Lines up to an empty one, and what follows.
fn parted(bytes: &[u8]) -> (Vec<&str>, &[u8]) {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((bytes, &b""[..]), |end| (&bytes[..end], &bytes[end + 2..]));
    (std::str::from_utf8(head).unwrap_or_default().lines().collect(), body)
}

fn head<'a>(lines: &[&'a str]) -> Head<'a> {
    let line = |number: usize| lines.get(number).copied().filter(|line| *line != "-");
    Head {
        status: line(0).and_then(|status| status.parse().ok()).unwrap_or_default(),
        content_length: line(1),
        content_range: line(2),
        content_encoding: line(3),
        etag: line(4),
        last_modified: line(5),
    }
}

/// What goes into a log is a short line; what is fetched lies in the network.
fn holds(heard: Heard) {
    let sentence = match &heard {
        Heard::Nothing { why } | Heard::NotYet { why } | Heard::Retry { why } => why,
        Heard::Blocked { sentence } | Heard::WrongSetting { sentence, .. } => sentence,
        Heard::File { offer, target } => {
            assert!(offer.files.iter().all(|file| file.url.starts_with("http")));
            assert!(offer.files.iter().all(|file| file.size != Some(0)) && offer.files.len() == 1);
            assert_eq!(offer.action.as_str(), target.name(), "an ending finds its file");
            let mut ration = Ration::default();
            ration.served(target);
            assert_eq!(ration.may_fetch(target), Gate::Open);
            return reads_what_it_writes(&ration);
        }
    };
    assert!(!sentence.contains(char::is_control) && sentence.chars().count() < 400);
    let mut ration = Ration::default();
    ration.hear(heard);
    reads_what_it_writes(&ration);
}

/// Whatever a record says, the gate opens within a day and a new one takes the place of damage.
fn keeps(bytes: &[u8]) {
    let (mut ration, damage) = Ration::read(bytes);
    assert!(damage.is_none() || ration == Ration::default());
    ration.advance(Now { boot: "a boot of its own".into(), up: Duration::ZERO });
    if let Gate::Shut { left, .. } = ration.may_ask() {
        assert!(left <= DAY, "the gate opens");
    }
    ration.advance(Now { boot: "a boot of its own".into(), up: DAY });
    assert_eq!(ration.may_ask(), Gate::Open);
    reads_what_it_writes(&ration);
}

fn reads_what_it_writes(ration: &Ration) {
    let written = ration.write();
    assert!(written.len() <= LARGEST_RECORD);
    assert_eq!(Ration::read(&written), (ration.clone(), None));
}
