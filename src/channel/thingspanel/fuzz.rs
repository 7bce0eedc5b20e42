//! What must hold of any message, for the fuzzer.

use super::record::{Came, Push, Record};
use super::words::{Heard, LONGEST_MODULE, Progress, heard, url_of};
use crate::channel::offer::Action;

/// Takes bytes as messages of the platform, one after the other, parted by empty lines. Panics where
/// a promise is broken.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let mut record = Record::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = rest.windows(2).position(|pair| pair == b"\n\n");
        let (message, behind) =
            end.map_or((rest, &b""[..]), |end| (&rest[..end], &rest[end + 2..]));
        arrives(&mut record, message);
        rest = behind;
    }
}

fn arrives(record: &mut Record, message: &[u8]) {
    let came = Came { is_retained: message.len() % 2 == 1, hears_ends_again: true };
    match heard(message) {
        Heard::Nothing(why) => assert!(why.len() < 100 && !why.contains(char::is_control)),
        Heard::InVain { id, module, code, why } => {
            assert!(Action::try_from(id.clone()).is_ok());
            if record.known(&id, None, came) == Push::New {
                let word = Progress::failed(code, &why, module.as_deref());
                told(&word, module.as_deref());
                record.owe(&id, None, word);
            }
        }
        Heard::Task(task) => {
            assert!(Action::try_from(task.id.clone()).is_ok());
            assert!(task.size != Some(0) && !task.version.is_empty());
            if let Ok(url) = url_of(&task.url, None) {
                assert!(url.text().starts_with("http"));
            }
            if record.known(&task.id, Some(&task), came) == Push::New {
                record.begin(task.clone());
                let again = record.known(&task.id, Some(&task), came);
                assert!(matches!(again, Push::Again | Push::Ended), "{again:?}");
            }
        }
    }
    let written = serde_json::to_vec(record).unwrap_or_default();
    assert!(written.len() < 1 << 20, "it can be kept");
    assert!(serde_json::from_slice::<Record>(&written).is_ok_and(|read| read == *record));
}

/// The platform's module comes back byte for byte, and the text is short.
fn told(word: &Progress, module: Option<&str>) {
    let value: serde_json::Value = serde_json::from_slice(&word.to_bytes()).unwrap_or_default();
    assert_eq!(value.get("module").and_then(|module| module.as_str()), module);
    assert!(module.is_none_or(|module| module.len() <= LONGEST_MODULE));
    let desc = value.get("desc").and_then(|desc| desc.as_str()).unwrap_or_default();
    assert!(desc.chars().count() < 128);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    #[test]
    fn the_corpus_keeps_its_promises() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/thingspanel");
        let files: Vec<_> = std::fs::read_dir(corpus).unwrap().flatten().collect();
        assert!(files.len() > 4);
        files.iter().for_each(|file| super::fuzz(&std::fs::read(file.path()).unwrap()));
    }

    proptest! {
        #[test]
        fn any_messages_keep_them(
            ids in prop::collection::vec(0_u8..4, 0..12), field in "(id|version|url|size|sign|module)", value in "(null|7|\"x\"|\"\"|\\{\\}|\"http://h/[a-c]\")"
        ) {
            let message = |id: &u8| {
                format!(
                    r#"{{"id":"{id}","code":200,"params":{{"version":"v{id}","url":"http://h/{id}","{field}":{value}}}}}"#
                )
            };
            let messages: Vec<String> = ids.iter().map(message).collect();
            super::fuzz(messages.join("\n\n").as_bytes());
        }
    }
}
