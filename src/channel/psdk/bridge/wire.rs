//! The bridge's messages as bytes (docs/wire/bridge.md section 2): bounds-checked, and passed over
//! where they are of a later protocol. It knows neither sockets nor the order of things.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::super::words::{CheckAnswer, FileOffer, Offered, Stage, StatusPush};
use crate::model::version::Version;
use crate::model::{Md5Digest, Outcome};

/// The version of the protocol that is spoken here.
pub(super) const PROTOCOL: u16 = 1;
/// Bytes of a message before its body.
const HEAD: usize = 4;
/// Longest body that an application may send.
const LONGEST_FROM_APPLICATION: usize = 4100;
/// Longest text that an application is told.
const LONGEST_TEXT: usize = 900;
/// What HELLO begins with.
const MAGIC: [u8; 4] = *b"UPBR";
/// Longest name of an application, in bytes.
const LONGEST_NAME: usize = 64;

/// What an application says, and under which number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its number.
    pub number: u8,
    /// What.
    pub word: Word,
}

/// What an application says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "docs/wire/bridge.md section 2.1")]
pub enum Word {
    Hello { lowest: u16, highest: u16, name: String },
    State { core_up: bool, aircraft_seen: bool },
    Enter(Offered),
    Start(FileOffer),
    Data { offset: u32, data: Bytes },
    Finish(Md5Digest),
    Check,
    End,
    Ready,
}

/// What ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Broken {
    /// Its head says so.
    #[error("a message of {0} bytes is too long")]
    TooLong(usize),
    /// Or its fields say what can't be.
    #[error("a message of kind {0:02X} does not hold its fields")]
    Fields(u8),
}

/// Takes the next message out of what has come. Nothing, where that is not yet whole.
pub fn next(buffer: &mut BytesMut) -> Result<Option<Said>, Broken> {
    loop {
        let Some(&[kind, number, low, high]) = buffer.first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_le_bytes([low, high]));
        if length > LONGEST_FROM_APPLICATION {
            return Err(Broken::TooLong(length));
        }
        if buffer.len() < HEAD + length {
            return Ok(None);
        }
        let body = buffer.split_to(HEAD + length).freeze().slice(HEAD..);
        match word(kind, body) {
            Some(Some(word)) => return Ok(Some(Said { number, word })),
            Some(None) => return Err(Broken::Fields(kind)),
            None => {} // of a later protocol
        }
    }
}

/// Nothing, for a kind that is not known; nothing in it, for fields that are not there.
fn word(kind: u8, body: Bytes) -> Option<Option<Word>> {
    Some(match kind {
        0x01 => hello(body),
        0x02 => body
            .first()
            .map(|facts| Word::State { core_up: facts & 1 != 0, aircraft_seen: facts & 2 != 0 }),
        0x10 => match body.first() {
            Some(1) => Some(Word::Enter(Offered::Ftp)),
            Some(2) => Some(Word::Enter(Offered::Dcftp)),
            _ => None,
        },
        0x11 => start(body),
        0x12 => data(body),
        0x13 => body.first_chunk().map(|md5| Word::Finish(Md5Digest(*md5))),
        0x14 => Some(Word::Check),
        0x15 => Some(Word::End),
        0x16 => Some(Word::Ready),
        _ => return None,
    })
}

fn hello(mut body: Bytes) -> Option<Word> {
    if body.len() < 9 || body.split_to(4) != MAGIC[..] {
        return None;
    }
    let (lowest, highest, length) = (body.get_u16_le(), body.get_u16_le(), body.get_u8().into());
    let name = body.get(..length).filter(|_| length <= LONGEST_NAME)?;
    Some(Word::Hello { lowest, highest, name: String::from_utf8_lossy(name).into_owned() })
}

fn start(mut body: Bytes) -> Option<Word> {
    if body.len() < 10 {
        return None;
    }
    let (size, from, length) = (body.get_u32_le(), body.get_u32_le(), body.get_u16_le().into());
    let name = body.get(..length).filter(|_| length <= usize::from(u8::MAX))?;
    let name = String::from_utf8_lossy(name).into_owned();
    Some(Word::Start(FileOffer { size, from, name }))
}

fn data(mut body: Bytes) -> Option<Word> {
    (body.len() > 4).then(|| Word::Data { offset: body.get_u32_le(), data: body })
}

/// What an application is told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "docs/wire/bridge.md section 2.2")]
pub enum Told {
    Welcome { stage: Stage, version: Option<Version>, transfer: Offered, ftp_port: u16 },
    Version(Version),
    Gone(String),
    Entered(Option<u16>),
    Started(Option<u32>),
    Written(u32),
    Failed(String),
    Finished(bool),
    Checked(CheckAnswer),
    Push(StatusPush),
    Restarting(u16),
    Report { outcome: Outcome, before: Option<Version>, wanted: Option<Version>, text: String },
}

impl Told {
    /// The message, as the answer of this number; 0 in what is no answer.
    pub fn encode(&self, number: u8) -> Bytes {
        let mut bytes = BytesMut::with_capacity(64);
        bytes.put_slice(&[self.kind(), number, 0, 0]);
        self.put_body(&mut bytes);
        let length = u16::try_from(bytes.len() - HEAD).unwrap_or(u16::MAX).to_le_bytes();
        bytes[2..HEAD].copy_from_slice(&length);
        bytes.freeze()
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Welcome { .. } => 0x81,
            Self::Version(_) => 0x82,
            Self::Gone(_) => 0x83,
            Self::Entered(_) => 0x90,
            Self::Started(_) => 0x91,
            Self::Written(_) => 0x92,
            Self::Failed(_) => 0x93,
            Self::Finished(_) => 0x94,
            Self::Checked(_) => 0x95,
            Self::Push(_) => 0xA0,
            Self::Restarting(_) => 0xA1,
            Self::Report { .. } => 0xA2,
        }
    }

    fn put_body(&self, body: &mut BytesMut) {
        match self {
            Self::Welcome { stage, version, transfer, ftp_port } => {
                body.put_u16_le(PROTOCOL);
                body.put_u8(stage_code(*stage));
                body.put_u8(version.is_some().into());
                put_version(body, *version);
                body.put_u8(transfer_code(*transfer));
                body.put_u16_le(*ftp_port);
            }
            Self::Version(version) => put_version(body, Some(*version)),
            Self::Gone(text) | Self::Failed(text) => put_text(body, text),
            Self::Entered(wait) => {
                body.put_u8(wait.is_none().into());
                body.put_u16_le(wait.unwrap_or_default());
            }
            Self::Started(offset) => {
                body.put_u8(offset.is_none().into());
                body.put_u32_le(offset.unwrap_or_default());
            }
            Self::Written(offset) => body.put_u32_le(*offset),
            Self::Finished(good) => body.put_u8((!good).into()),
            Self::Checked(answer) => body.put_u8(match answer {
                CheckAnswer::Started => 0,
                CheckAnswer::CheckFailed => 1,
                CheckAnswer::StartFailed => 2,
            }),
            Self::Push(push) => body.put_slice(&match push {
                StatusPush::Ongoing(percent) => [3, *percent],
                StatusPush::Rebooting(seconds) => [6, *seconds],
                StatusPush::Succeeded => [4, 1],
                StatusPush::Failed(_) => [4, 2],
            }),
            Self::Restarting(wait) => body.put_u16_le(*wait),
            Self::Report { outcome, before, wanted, text } => {
                body.put_u8(match outcome {
                    Outcome::Succeeded => 1,
                    Outcome::Failed => 2,
                    Outcome::RolledBack => 3,
                });
                put_version(body, *before);
                put_version(body, *wanted);
                put_text(body, text);
            }
        }
    }
}

const fn stage_code(stage: Stage) -> u8 {
    match stage {
        Stage::Nothing => 0,
        Stage::Waits => 1,
        Stage::Started => 2,
        Stage::Reported => 3,
    }
}

const fn transfer_code(transfer: Offered) -> u8 {
    match transfer {
        Offered::Ftp => 1,
        Offered::Dcftp => 2,
    }
}

fn put_version(body: &mut BytesMut, version: Option<Version>) {
    body.put_slice(&version.map_or([0; 4], Version::numbers));
}

/// As much of it as is whole characters.
fn put_text(body: &mut BytesMut, text: &str) {
    let mut end = text.len().min(LONGEST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    body.put_slice(&text.as_bytes()[..end]);
}

#[cfg(test)]
mod tests;
