//! The words of the payload link as bytes of the serial line (docs/wire/payload-link.md sections 2
//! to 4).
//!
//! Bytes in, types out, and back; bounds-checked. The module must not know the order of things
//! (that is [`super::super::session`]) nor frames.

use bytes::Bytes;

use super::super::guess;
use super::super::words::{
    Acknowledgement, Answer, CheckAnswer, Command, DataResult, FileOffer, Malformed, Offered,
    StatusPush,
};
use super::frame::{Address, CommandId};
use crate::model::Md5Digest;
use crate::model::version::Version;
use crate::transfer::dcftp::Place;

/// Who is told the status and the presence.
pub const HOST: Address = Address(0xED);
/// Who is told the status too: the PC side.
pub const PC: Address = Address(0x2A);

/// Command set and id, as the frame carries them.
pub mod id {
    use super::CommandId;

    /// Get firmware version.
    pub const VERSION: CommandId = CommandId::new(0x00, 0x4F);
    /// Enter upgrade mode.
    pub const ENTER: CommandId = CommandId::new(0x00, 0x83);
    /// DCFTP; the payload's first byte says which step.
    pub const DCFTP: CommandId = CommandId::new(0x00, 0x2A);
    /// Transfer finished, or where to put the file.
    pub const TRANSFER: CommandId = CommandId::new(0x00, 0x84);
    /// Check and start.
    pub const CHECK: CommandId = CommandId::new(0x00, 0x85);
    /// Upgrade control.
    pub const CONTROL: CommandId = CommandId::new(0x00, 0x41);
    /// Upgrade status, pushed.
    pub const STATUS: CommandId = CommandId::new(0x00, 0x42);
    /// Presence, pushed.
    pub const PRESENCE: CommandId = CommandId::new(0x00, 0x82);
    /// Upgrade service info.
    pub const SERVICE_INFO: CommandId = CommandId::new(0x3C, 0x45);
    /// Link probe.
    pub const PROBE: CommandId = CommandId::new(0x03, 0xFD);
}

/// The type byte of "get firmware version" that asks for the version; other types get no answer.
const FIRMWARE_VERSION: u8 = 4;
/// The action of "upgrade control" that ends the reporting; others are not supported.
const FINISH: u8 = 4;

/// Why bytes are no [`Command`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not a command of this exchange, or a variant of one that gets no answer.
    #[error("unknown command")]
    Unknown,
    /// A known command whose fields do not fit its payload: answered with the failure code.
    #[error("malformed {0:?}")]
    Malformed(Malformed),
}

impl Command {
    /// Reads a command's payload. Bytes behind the fields of a command are ignored, as by the
    /// vendor's implementation.
    pub fn parse(command: CommandId, payload: &Bytes) -> Result<Self, ParseError> {
        match command {
            id::VERSION if payload.first() == Some(&FIRMWARE_VERSION) => Ok(Self::Version),
            id::ENTER if payload.is_empty() => Err(ParseError::Malformed(Malformed::Enter)),
            id::ENTER => Ok(Self::Enter),
            id::DCFTP => parse_dcftp(payload),
            id::TRANSFER => Ok(Self::Transfer),
            id::CHECK => Ok(Self::Check),
            id::CONTROL if payload.first() == Some(&FINISH) => Ok(Self::Finish),
            id::SERVICE_INFO => Ok(Self::ServiceInfo),
            _ => Err(ParseError::Unknown),
        }
    }
}

fn parse_dcftp(payload: &Bytes) -> Result<Command, ParseError> {
    let (&step, fields) = payload.split_first().ok_or(ParseError::Unknown)?;
    let (command, malformed) = match step {
        0x01 => (parse_start(fields), Malformed::DcftpStart),
        0x02 => (parse_data(payload, fields), Malformed::DcftpData),
        0x03 => (parse_finish(fields), Malformed::DcftpFinish),
        _ => return Err(ParseError::Unknown),
    };
    command.ok_or(ParseError::Malformed(malformed))
}

fn parse_start(fields: &[u8]) -> Option<Command> {
    let (size, fields) = fields.split_first_chunk()?;
    let (&length, fields) = fields.split_first()?;
    // Some hosts count the NULs at the end of a C string.
    let name = fields.get(..usize::from(length))?;
    let name = name.iter().rposition(|byte| *byte != 0).map_or(&[][..], |last| &name[..=last]);
    Some(Command::DcftpStart(FileOffer {
        size: u32::from_le_bytes(*size),
        from: 0,
        name: String::from_utf8_lossy(name).into_owned(),
    }))
}

/// A chunk without a byte moves nothing forward and is as good as cut off.
fn parse_data(payload: &Bytes, fields: &[u8]) -> Option<Command> {
    let (sequence, data) = fields.split_first_chunk()?;
    (!data.is_empty()).then(|| Command::DcftpData {
        place: Place::Number(u32::from_le_bytes(*sequence)),
        data: payload.slice_ref(data),
    })
}

fn parse_finish(fields: &[u8]) -> Option<Command> {
    fields.first_chunk().map(|md5| Command::DcftpFinish(Md5Digest(*md5)))
}

const SUCCESS: u8 = 0x00;
const FAILURE: u8 = 0x01;

impl Answer {
    /// The answer's payload.
    pub fn encode(self) -> Bytes {
        match self {
            Self::Version(version) => encode_version(version),
            Self::Entered(offered) => {
                encode_enter(guess::ENTER_ACCEPTED, offered.code(), guess::ENTER_WAIT_SECONDS)
            }
            Self::EnterRefused => encode_enter(guess::ENTER_REFUSED, 0, 0),
            Self::DcftpStarted(_) => {
                let [low, high] = guess::CHUNK_SIZE_OFFERED.to_le_bytes();
                Bytes::copy_from_slice(&[SUCCESS, low, high, 0x01, 0x00, 0x01, 0x00])
            }
            Self::DcftpData(acknowledgement) => acknowledgement.encode(),
            Self::NothingReceived => Bytes::from_static(&[FAILURE, 0, 0, 0, 0, 0, 0, 0, 0]),
            Self::Done => Bytes::from_static(&[SUCCESS]),
            Self::Refused => Bytes::from_static(&[FAILURE]),
            Self::FtpPort(port) => encode_port(port),
            Self::Check(CheckAnswer::Started) => {
                Bytes::from_static(&[guess::CHECK_PASSED_AND_STARTED])
            }
            Self::Check(CheckAnswer::CheckFailed) => Bytes::from_static(&[0xF2]),
            Self::Check(CheckAnswer::StartFailed) => Bytes::from_static(&[0xFF]),
            Self::ServiceInfo => Bytes::from_static(&[0x00, 0x00]),
        }
    }
}

impl Offered {
    const fn code(self) -> u8 {
        match self {
            Self::Ftp => 0x01,
            Self::Dcftp => 0x02,
        }
    }
}

impl Acknowledgement {
    fn encode(self) -> Bytes {
        let mut bytes = [0; 9];
        bytes[0] = match self.result {
            DataResult::Taken => SUCCESS,
            DataResult::NotTaken => guess::DATA_NOT_TAKEN,
            DataResult::Failed => FAILURE,
        };
        // Before the first chunk the last good one is 0 - 1, and the document's FFFFFFFF is just
        // that.
        bytes[1..5].copy_from_slice(&self.next.wrapping_sub(1).to_le_bytes());
        bytes[5..9].copy_from_slice(&self.next.to_le_bytes());
        Bytes::copy_from_slice(&bytes)
    }
}

fn encode_version(version: Option<Version>) -> Bytes {
    let mut bytes = [0; 13];
    bytes[0] = SUCCESS;
    bytes[1..5].copy_from_slice(&guess::VERSION_LENGTH.to_le_bytes());
    bytes[5..9].copy_from_slice(&guess::VERSION_OFFSET.to_le_bytes());
    let [a, b, c, d] = version.map_or([0; 4], Version::numbers);
    bytes[9..13].copy_from_slice(&[d, c, b, a]);
    Bytes::copy_from_slice(&bytes)
}

fn encode_enter(code: u8, transfer: u8, wait: u16) -> Bytes {
    let mut bytes = [0; 11];
    bytes[0] = code;
    bytes[1] = transfer;
    bytes[3..5].copy_from_slice(&wait.to_le_bytes());
    Bytes::copy_from_slice(&bytes)
}

fn encode_port(port: u16) -> Bytes {
    let mut bytes = [0; 71];
    bytes[0] = SUCCESS;
    bytes[5..7].copy_from_slice(&port.to_le_bytes());
    Bytes::copy_from_slice(&bytes)
}

impl StatusPush {
    /// The push's payload.
    pub fn encode(self) -> Bytes {
        let mut bytes = [0; 11];
        match self {
            Self::Ongoing(1) => return short(3),
            Self::Rebooting(1) => return short(6),
            Self::Ongoing(percent) => bytes[..2].copy_from_slice(&[3, percent]),
            Self::Rebooting(seconds) => bytes[..2].copy_from_slice(&[6, seconds]),
            Self::Succeeded => return short(4),
            Self::Failed(reason) => {
                bytes[..4].copy_from_slice(&[
                    4,
                    reason as u8,
                    guess::END_DEVICE_COUNT,
                    guess::END_DEVICE,
                ]);
            }
        }
        Bytes::copy_from_slice(&bytes)
    }
}

/// A status whose value is 1 has three bytes, whatever its stage.
fn short(stage: u8) -> Bytes {
    Bytes::copy_from_slice(&[stage, 1, 0])
}

/// The presence push: "psdk" and zeros.
pub static PRESENCE: [u8; 64] = {
    let mut bytes = [0; 64];
    let word = b"psdk";
    let mut i = 0;
    while i < word.len() {
        bytes[i] = word[i];
        i += 1;
    }
    bytes
};

/// The aircraft type of an answer to the link probe (section 2): one byte, and not 0.
pub fn aircraft_type(probe_answer: &[u8]) -> Option<u8> {
    match probe_answer {
        [0, ..] => None,
        [aircraft] => Some(*aircraft),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
