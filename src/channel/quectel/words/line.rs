//! One line of a module, understood.

use serde::de::DeserializeOwned;
use serde::de::value::StrDeserializer;
use serde::{Deserialize, Serialize};

use crate::config::LONGEST_VERSION;
use crate::model::{FileDigest, Md5Digest};

/// A line of a module, as far as it concerns us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// The command is done.
    Ok,
    /// It is not.
    Error,
    /// The module has started anew, and forgot that it was not to repeat commands.
    Reset,
    /// How it stands with the platform: 8 is ready.
    State(u8),
    /// The signal in dBm; nothing where it does not know.
    Signal(Option<i32>),
    /// The most bytes that may be read at a time.
    ReadLimit(u32),
    /// The version of a component that it announces.
    Version(String, String),
    /// Something happened.
    Event(Event),
    /// Something that does not concern us, or a command that it repeats.
    Other,
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Of the connection: its type and code.
    Connection(u32, u32),
    /// 10700: the platform plans an upgrade.
    Plan(PlanInfo),
    /// 10701: the module begins to fetch a file.
    File(FileInfo),
    /// 10702: it goes on with that.
    Downloading,
    /// 10703: bytes can be read.
    Piece(Piece),
    /// 10704: the module waits for the new version.
    Updating,
    /// 10705: the platform's plan has succeeded.
    Success,
    /// 10706: it has failed.
    Failure,
    /// Of another upgrade, such as the module's own; or without a meaning for us.
    Foreign(u32),
}

/// A plan of the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlanInfo {
    /// The component, as the platform calls it.
    pub(crate) component: String,
    /// The version that it thinks runs; empty where it does not care.
    pub(crate) from: String,
    /// The version that is to run.
    pub(crate) to: String,
    /// The least charge of the battery in percent.
    pub(crate) battery: u32,
    /// The weakest signal in dBm.
    pub(crate) signal: i32,
    /// Bytes that must be free.
    pub(crate) space: u64,
}

/// A file that a module fetches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileInfo {
    /// For which component.
    pub(crate) component: String,
    /// Bytes.
    pub(crate) length: u64,
    /// Its MD5.
    pub(crate) md5: Md5Digest,
    /// Its checksum, made in a way that the documents do not say.
    pub(crate) crc: Option<u32>,
    /// Its SHA-256, where it was asked for and the platform has it.
    pub(crate) sha256: Option<FileDigest>,
}

/// Bytes that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Of whose file.
    pub(crate) component: String,
    /// Bytes of the file.
    pub(crate) length: u64,
    /// The first that can be read.
    pub(crate) start: u64,
    /// How many.
    pub(crate) size: u64,
}

impl Said {
    /// Understands a line without its end.
    pub(crate) fn parse(line: &[u8]) -> Self {
        // What is no text may stand where nobody looks.
        let line = String::from_utf8_lossy(line);
        let line = line.trim();
        match line {
            "OK" => return Self::Ok,
            "ERROR" => return Self::Error,
            "RDY" => return Self::Reset,
            _ => {}
        }
        let Some((head, rest)) = line.split_once(": ").or_else(|| line.split_once(':')) else {
            return Self::Other;
        };
        let rest = rest.trim();
        let said = match head {
            "+CME ERROR" | "+CMS ERROR" => Some(Self::Error),
            "+QIOTSTATE" => rest.parse().ok().map(Self::State),
            "+CSQ" => signal(rest),
            "+QIOTOTARD" => read_limit(rest),
            "+QIOTMCUVER" => version(rest),
            "+QIOTEVT" => event(rest).map(Self::Event),
            _ => None,
        };
        said.unwrap_or(Self::Other)
    }
}

/// The received signal strength of 3GPP TS 27.007: 0 is -113 dBm, 31 is -51 dBm, 99 is unknown.
fn signal(text: &str) -> Option<Said> {
    let (strength, _) = text.split_once(',')?;
    let strength: i32 = strength.parse().ok()?;
    Some(Said::Signal((0..=31).contains(&strength).then(|| 2 * strength - 113)))
}

/// `<start>,(<min>-<max>)`.
fn read_limit(text: &str) -> Option<Said> {
    let (_, range) = text.split_once('(')?;
    let (_, most) = range.split_once(')')?.0.split_once('-')?;
    most.trim().parse().ok().map(Said::ReadLimit)
}

fn version(text: &str) -> Option<Said> {
    let [component, version] = <[String; 2]>::try_from(fields(text)).ok()?;
    Some(Said::Version(component, version))
}

fn event(text: &str) -> Option<Event> {
    let fields = fields(text);
    let (kind, code) = (fields.first()?.parse().ok()?, fields.get(1)?.parse().ok()?);
    let data = fields.get(2..).unwrap_or_default();
    if kind != 7 {
        return Some(Event::Connection(kind, code));
    }
    Some(match code {
        10700 => plan(data).map_or(Event::Foreign(code), Event::Plan),
        10701 => file(data).map_or(Event::Foreign(code), Event::File),
        10702 => Event::Downloading,
        10703 => piece(data).map_or(Event::Foreign(code), Event::Piece),
        10704 => Event::Updating,
        10705 => Event::Success,
        10706 => Event::Failure,
        _ => Event::Foreign(code),
    })
}

fn plan(data: &[String]) -> Option<PlanInfo> {
    let [component, from, to, battery, signal, space, ..] = data else { return None };
    if to.is_empty() || to.len() > LONGEST_VERSION || from.len() > LONGEST_VERSION {
        return None;
    }
    Some(PlanInfo {
        component: component.clone(),
        from: from.clone(),
        to: to.clone(),
        battery: battery.parse().ok()?,
        signal: signal.parse().ok()?,
        space: space.parse().ok()?,
    })
}

fn file(data: &[String]) -> Option<FileInfo> {
    let [component, length, md5, rest @ ..] = data else { return None };
    Some(FileInfo {
        component: component.clone(),
        length: length.parse().ok().filter(|length| *length > 0)?,
        md5: digest(md5)?,
        crc: rest.first().and_then(|crc| crc.parse().ok()),
        sha256: rest.get(1).and_then(|text| digest(text)),
    })
}

fn digest<T: DeserializeOwned>(text: &str) -> Option<T> {
    T::deserialize(StrDeserializer::<serde::de::value::Error>::new(text)).ok()
}

fn piece(data: &[String]) -> Option<Piece> {
    let [component, length, start, size, ..] = data else { return None };
    let (length, start, size) =
        (length.parse().ok()?, start.parse::<u64>().ok()?, size.parse::<u64>().ok()?);
    let fits = size > 0 && start.checked_add(size)? <= length;
    fits.then(|| Piece { component: component.clone(), length, start, size })
}

/// Fields between commas, without their quotation marks.
fn fields(text: &str) -> Vec<String> {
    let (mut fields, mut field, mut is_quoted) = (Vec::new(), String::new(), false);
    for c in text.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(std::mem::take(&mut field).trim().to_owned()),
            c => field.push(c),
        }
    }
    fields.push(field.trim().to_owned());
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "2bcd3c4de20c918e19fab5c36249c70d";
    const SHA256: &str = "c8f5d0341d54d951a71b136e6e2afcb14d11ed8489a7ae126a8fee0df6ecf193";

    fn said(line: &str) -> Said {
        Said::parse(line.as_bytes())
    }

    #[test]
    fn the_lines_of_a_dialogue() {
        assert_eq!(said("OK"), Said::Ok);
        assert_eq!(said("+CME ERROR: 50"), Said::Error);
        assert_eq!(said("+QIOTSTATE: 8"), Said::State(8));
        assert_eq!(said("+CSQ: 24,99"), Said::Signal(Some(-65)));
        for unknown in ["99", "32", "-1", "2147483647"] {
            assert_eq!(said(&format!("+CSQ: {unknown},99")), Said::Signal(None), "{unknown}");
        }
        assert_eq!(said("+QIOTOTARD: 0,(1-1024)"), Said::ReadLimit(1024));
        let version = Said::Version("PAYLOAD".into(), "1_0_0".into());
        assert_eq!(said("+QIOTMCUVER: \"PAYLOAD\",\"1_0_0\""), version);
        assert_eq!(said("+QIOTEVT: 3,10200"), Said::Event(Event::Connection(3, 10200)));
        for other in
            ["AT+QIOTSTATE?", "+QIOTSTATE: x", "+QIND: \"FOTA\",\"END\",0", "\u{fffd}", ":"]
        {
            assert_eq!(said(other), Said::Other, "{other}");
        }
    }

    #[test]
    fn qt_6_a_plan() {
        let plan = said("+QIOTEVT: 7,10700,\"PAYLOAD\",\"\",\"2_0_0\",30,-113,4096");
        let Said::Event(Event::Plan(plan)) = plan else { panic!("{plan:?}") };
        assert_eq!((plan.component.as_str(), plan.from.as_str()), ("PAYLOAD", ""));
        assert_eq!((plan.battery, plan.signal, plan.space), (30, -113, 4096));
        for wrong in ["", ",\"P\"", ",\"P\",\"\",\"\",30,-113,1", ",\"P\",\"\",\"2\",x,-113,1"] {
            let line = format!("+QIOTEVT: 7,10700{wrong}");
            assert_eq!(said(&line), Said::Event(Event::Foreign(10700)), "{line}");
        }
    }

    #[test]
    fn qt_7_a_file_with_and_without_its_sha_256_and_none_for_the_module_itself() {
        let file = said(&format!("+QIOTEVT: 7,10701,\"P\",4096,\"{MD5}\",2727420034,\"{SHA256}\""));
        let Said::Event(Event::File(file)) = file else { panic!("{file:?}") };
        assert_eq!((file.length, file.crc), (4096, Some(2_727_420_034)));
        assert_eq!(file.sha256.unwrap().to_string(), SHA256);
        let file = said(&format!("+QIOTEVT: 7,10701,\"P\",4096,\"{}\",1", MD5.to_uppercase()));
        assert!(matches!(file, Said::Event(Event::File(FileInfo { sha256: None, .. }))));
        for module in ["+QIOTEVT: 7,10701", "+QIOTEVT: 7,10701,\"P\",0,\"\",1"] {
            assert_eq!(said(module), Said::Event(Event::Foreign(10701)));
        }
    }

    #[test]
    fn qt_8_a_piece_lies_in_its_file() {
        let piece = Piece { component: "P".into(), length: 4096, start: 3072, size: 1024 };
        assert_eq!(
            said("+QIOTEVT: 7,10703,\"P\",4096,3072,1024"),
            Said::Event(Event::Piece(piece))
        );
        for wrong in
            ["4096,3072,1025", "4096,0,0", "4096,18446744073709551615,1", "4096,-1,2", "4096"]
        {
            let line = format!("+QIOTEVT: 7,10703,\"P\",{wrong}");
            assert_eq!(said(&line), Said::Event(Event::Foreign(10703)), "{line}");
        }
    }
}
