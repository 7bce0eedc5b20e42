//! The words of the link as a host says and reads them (docs/wire/payload-link.md sections 2 to 4).
//! Reading is bounds-checked: `None` is an answer that is too short or makes no sense.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::Version;
use crate::frame::{Command, Device, LONGEST_PAYLOAD};

/// The requester on the PC's side.
pub(super) const PC_SIDE: u8 = 0x2A;
/// Who else gets the payload's pushes.
pub(super) const AIRCRAFT_SIDE: Device = Device(0xED);

pub(super) const PROBE: Command = Command(0x03, 0xFD);
pub(super) const CONTROL: Command = Command(0x00, 0x41);
pub(super) const STATUS: Command = Command(0x00, 0x42);
pub(super) const VERSION: Command = Command(0x00, 0x4F);
pub(super) const PRESENCE: Command = Command(0x00, 0x82);
pub(super) const ENTER: Command = Command(0x00, 0x83);
pub(super) const DCFTP: Command = Command(0x00, 0x2A);
pub(super) const TRANSFERRED: Command = Command(0x00, 0x84);
pub(super) const START: Command = Command(0x00, 0x85);

/// Asks for the firmware version.
pub(super) const FIRMWARE_VERSION: [u8; 1] = [4];
/// Action of "enter upgrade mode"; a guess, the payload's answer does not depend on it.
pub(super) const ENTER_ACTION: [u8; 1] = [1];
/// "Stop reporting".
pub(super) const FINISH: [u8; 1] = [4];
const PRESENCE_MARK: &[u8] = b"psdk";

/// Return code of success.
const OK: u8 = 0x00;
const DCFTP_START: u8 = 1;
const DCFTP_DATA: u8 = 2;
const DCFTP_FINISH: u8 = 3;
/// Largest data of a DCFTP frame: what fits beside sub-command and sequence number.
pub(super) const LARGEST_CHUNK: u16 = (LONGEST_PAYLOAD - 5) as u16;
/// Taken when the payload's offer makes no sense.
const USUAL_CHUNK: u16 = 256;

impl Version {
    /// Reads the answer to "get firmware version".
    pub(super) fn read(answer: &[u8]) -> Option<Self> {
        let [OK, rest @ ..] = answer else { return None };
        let (length, rest) = rest.split_first_chunk()?;
        let (offset, content) = rest.split_first_chunk()?;
        let from = usize::try_from(u32::from_le_bytes(*offset)).ok()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let &[debug, modify, minor, major] = content.get(from..from.checked_add(length)?)? else {
            return None;
        };
        Some(Self([major, minor, modify, debug]))
    }

    /// The version in a file's name, `Product_Vaa.bb.cc.dd.bin`.
    pub(super) fn of_file(name: &str) -> Option<Self> {
        let (_, version) = name.strip_suffix(".bin")?.rsplit_once('_')?;
        version.parse().ok()
    }
}

/// Why an upgrade ended, as the payload says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason(pub u8);

impl Reason {
    const SUCCESS: Self = Self(1);
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.0 {
            1 => "success",
            2 => "failure",
            3 => "firmware error",
            4 => "same version",
            5 => "user cancel",
            6 => "time-out",
            7 => "motors running",
            8 => "firmware does not match",
            9 => "illegal downgrade",
            10 => "no remote controller",
            other => return write!(formatter, "reason {other}"),
        })
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.0)
    }
}

/// A status push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ongoing { percent: u8 },
    Rebooting { timeout: Duration },
    End(Reason),
}

impl Status {
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        match *payload {
            [3, percent, ..] => Some(Self::Ongoing { percent: percent.min(100) }),
            [4, reason, ..] => Some(Self::End(Reason(reason))),
            [6, timeout, ..] => {
                Some(Self::Rebooting { timeout: Duration::from_secs(timeout.into()) })
            }
            _ => None,
        }
    }
}

impl Reason {
    pub(super) fn is_success(self) -> bool {
        self == Self::SUCCESS
    }
}

/// Whether a push says that a payload is there.
pub(super) fn is_presence(payload: &[u8]) -> bool {
    payload.starts_with(PRESENCE_MARK)
}

/// The answer to "enter upgrade mode". A refusal does not say why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entered {
    Ftp { wait: Duration },
    Dcftp { wait: Duration },
    Refused,
}

impl Entered {
    pub(super) fn read(answer: &[u8]) -> Option<Self> {
        match *answer {
            [0xC7, transfer, _, low, high, ..] => {
                let wait = Duration::from_secs(u16::from_le_bytes([low, high]).into());
                match transfer {
                    1 => Some(Self::Ftp { wait }),
                    2 => Some(Self::Dcftp { wait }),
                    _ => None,
                }
            }
            [0xCD, ..] => Some(Self::Refused),
            _ => None,
        }
    }
}

/// An answer that begins with a return code.
pub(super) fn accepted(answer: &[u8]) -> std::result::Result<&[u8], Option<u8>> {
    match answer.split_first() {
        Some((&OK, rest)) => Ok(rest),
        Some((&code, _)) => Err(Some(code)),
        None => Err(None),
    }
}

/// The FTP port in the answer to "where to put it", without its return code.
pub(super) fn ftp_port(answer: &[u8]) -> Option<u16> {
    let (_, rest) = answer.split_first_chunk::<4>()?;
    let port = u16::from_le_bytes(*rest.first_chunk()?);
    Some(port).filter(|port| *port != 0)
}

/// DCFTP start; a longer name than its length byte can say is cut.
pub(super) fn dcftp_start(size: u32, name: &str) -> Vec<u8> {
    let name = name.as_bytes();
    let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
    [
        &[DCFTP_START][..],
        &size.to_le_bytes(),
        &[length],
        name.get(..length.into()).unwrap_or_default(),
    ]
    .concat()
}

/// The largest chunk in the answer to DCFTP start, without its return code.
pub(super) fn offered_chunk(answer: &[u8]) -> u16 {
    let offered = answer.first_chunk().map(|bytes| u16::from_le_bytes(*bytes));
    offered.filter(|chunk| (1..=LARGEST_CHUNK).contains(chunk)).unwrap_or(USUAL_CHUNK)
}

/// DCFTP data.
pub(super) fn dcftp_data(sequence: u32, data: &[u8]) -> Vec<u8> {
    [&[DCFTP_DATA][..], &sequence.to_le_bytes(), data].concat()
}

/// The next expected sequence number in the answer to DCFTP data, without its return code.
pub(super) fn next_expected(answer: &[u8]) -> Option<u32> {
    let (_, rest) = answer.split_first_chunk::<4>()?;
    rest.first_chunk().map(|next| u32::from_le_bytes(*next))
}

/// DCFTP finish.
pub(super) fn dcftp_finish(md5: [u8; 16]) -> Vec<u8> {
    [&[DCFTP_FINISH][..], &md5].concat()
}

/// The answer to "check and start".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Started {
    Yes,
    CheckFailed,
    StartFailed,
}

impl Started {
    pub(super) fn read(answer: &[u8]) -> Option<Self> {
        match answer.first()? {
            0x06 => Some(Self::Yes),
            0xF2 => Some(Self::CheckFailed),
            0xFF => Some(Self::StartFailed),
            _ => None,
        }
    }
}
