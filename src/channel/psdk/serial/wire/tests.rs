use proptest::prelude::*;

use super::*;
use crate::channel::psdk::words::Reason;
use crate::model::FailureKind;

impl From<(u8, u8)> for CommandId {
    fn from((set, id): (u8, u8)) -> Self {
        Self { set, id }
    }
}

fn parse(command: impl Into<CommandId>, payload: &[u8]) -> Result<Command, ParseError> {
    Command::parse(command.into(), &Bytes::copy_from_slice(payload))
}

fn dcftp(payload: &[u8]) -> Result<Command, ParseError> {
    parse(id::DCFTP, payload)
}

#[test]
fn every_command_of_section_3_is_read() {
    assert_eq!(parse((0, 0x4F), &[4]), Ok(Command::Version));
    assert_eq!(parse((0, 0x83), &[0]), Ok(Command::Enter));
    assert_eq!(parse((0, 0x83), &[1, 2, 3]), Ok(Command::Enter));
    let offer = FileOffer { size: 0x0403_0201, from: 0, name: "a_b".into() };
    assert_eq!(dcftp(&[1, 1, 2, 3, 4, 3, b'a', b'_', b'b']), Ok(Command::DcftpStart(offer)));
    let data = Command::DcftpData { place: Place::Number(1), data: Bytes::from_static(&[9, 8]) };
    assert_eq!(dcftp(&[2, 1, 0, 0, 0, 9, 8]), Ok(data));
    let mut finish = vec![3];
    finish.extend(1..=16);
    assert_eq!(
        dcftp(&finish),
        Ok(Command::DcftpFinish(Md5Digest(std::array::from_fn(|i| i as u8 + 1))))
    );
    assert_eq!(parse((0, 0x84), &[]), Ok(Command::Transfer));
    assert_eq!(parse((0, 0x85), &[7]), Ok(Command::Check));
    assert_eq!(parse((0, 0x41), &[4]), Ok(Command::Finish));
    assert_eq!(parse((0x3C, 0x45), &[]), Ok(Command::ServiceInfo));
}

#[test]
fn what_gets_no_answer_is_unknown() {
    for (command, payload) in [
        ((0, 0x4F), &[][..]),
        ((0, 0x4F), &[3]),
        ((0, 0x41), &[]),
        ((0, 0x41), &[3]),
        ((0, 0x2A), &[]),
        ((0, 0x2A), &[0]),
        ((0, 0x2A), &[4, 0, 0, 0, 0]),
        ((0, 0x42), &[4]),
        ((1, 0x83), &[0]),
        ((0x3C, 0x46), &[]),
    ] {
        assert_eq!(
            parse(command, payload),
            Err(ParseError::Unknown),
            "{command:02x?} {payload:02x?}"
        );
    }
}

#[test]
fn every_cut_of_a_known_command_is_malformed() {
    let whole: [(&[u8], Malformed); 3] = [
        (&[1, 1, 2, 3, 4, 3, b'a', b'_', b'b'], Malformed::DcftpStart),
        (&[2, 1, 0, 0, 0, 9], Malformed::DcftpData),
        (&[3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], Malformed::DcftpFinish),
    ];
    for (payload, malformed) in whole {
        assert!(dcftp(payload).is_ok());
        for end in 1..payload.len() {
            assert_eq!(
                dcftp(&payload[..end]),
                Err(ParseError::Malformed(malformed)),
                "{:02x?}",
                &payload[..end]
            );
        }
    }
    assert_eq!(parse(id::ENTER, &[]), Err(ParseError::Malformed(Malformed::Enter)));
}

#[test]
fn a_name_whose_length_counts_its_nuls_is_taken_without_them() {
    for (payload, name) in [
        (&b"\x01\x00\x00\x00\x00\x04ab\x00\x00"[..], "ab"),
        (b"\x01\x00\x00\x00\x00\x03a\x00b", "a\0b"),
        (b"\x01\x00\x00\x00\x00\x02\x00\x00", ""),
    ] {
        let Ok(Command::DcftpStart(offer)) = dcftp(payload) else { panic!("not read") };
        assert_eq!(offer.name, name);
    }
}

#[test]
fn a_name_is_data_whatever_it_says() {
    let Ok(Command::DcftpStart(offer)) = dcftp(b"\x01\x00\x00\x00\x00\x09../../x\xff\xfe") else {
        panic!("not read")
    };
    assert_eq!(offer.name, "../../x\u{fffd}\u{fffd}");
}

#[test]
fn answers_are_those_of_section_3() {
    let hex = |answer: Answer| {
        answer.encode().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let version = Version::new([1, 2, 3, 4]);
    assert_eq!(hex(Answer::Version(version)), "00040000000000000004030201");
    assert_eq!(hex(Answer::Version(None)), "00040000000000000000000000");
    assert_eq!(hex(Answer::Entered(Offered::Ftp)), "c701000000000000000000");
    assert_eq!(hex(Answer::Entered(Offered::Dcftp)), "c702000000000000000000");
    assert_eq!(hex(Answer::EnterRefused), "cd00000000000000000000");
    assert_eq!(hex(Answer::DcftpStarted(0)), "00000101000100");
    assert_eq!(hex(Answer::Refused), "01");
    assert_eq!(hex(Answer::Done), "00");
    let acknowledge = |result, next| Answer::DcftpData(Acknowledgement { result, next });
    assert_eq!(hex(acknowledge(DataResult::Taken, 1)), "000000000001000000");
    assert_eq!(hex(acknowledge(DataResult::NotTaken, 0)), "00ffffffff00000000");
    assert_eq!(hex(acknowledge(DataResult::Failed, 2)), "010100000002000000");
    assert_eq!(hex(Answer::NothingReceived), "010000000000000000");
    assert_eq!(
        hex(Answer::FtpPort(21)),
        format!("0000000000{}", "15000000".to_owned() + &"00".repeat(62))
    );
    assert_eq!(hex(Answer::Check(CheckAnswer::Started)), "06");
    assert_eq!(hex(Answer::Check(CheckAnswer::CheckFailed)), "f2");
    assert_eq!(hex(Answer::Check(CheckAnswer::StartFailed)), "ff");
    assert_eq!(hex(Answer::ServiceInfo), "0000");
}

#[test]
fn pushes_are_those_of_section_4() {
    assert_eq!(StatusPush::Ongoing(42).encode()[..], [3, 42, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(StatusPush::Rebooting(60).encode()[..], [6, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(StatusPush::Succeeded.encode()[..], [4, 1, 0]);
    assert_eq!(
        (&StatusPush::Ongoing(1).encode()[..], &StatusPush::Rebooting(1).encode()[..]),
        (&[3, 1, 0][..], &[6, 1, 0][..])
    );
    assert_eq!(
        StatusPush::Failed(Reason::Failure).encode()[..],
        [4, 2, 1, 0x13, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(PRESENCE[..5], [0x70, 0x73, 0x64, 0x6B, 0]);
}

#[test]
fn every_failure_kind_has_its_reason() {
    use FailureKind as Kind;
    let named = [
        (Kind::Cancelled, 5),
        (Kind::Timeout, 6),
        (Kind::SameVersion, 4),
        (Kind::Downgrade, 9),
        (Kind::NameInvalid, 8),
        (Kind::WrongProduct, 8),
        (Kind::WrongMachine, 8),
        (Kind::WrongBase, 8),
        (Kind::DigestMismatch, 3),
        (Kind::Truncated, 3),
        (Kind::TooLarge, 3),
        (Kind::NoSpace, 2),
        (Kind::InstallFailed, 2),
        (Kind::NotNow, 2),
    ];
    for (kind, reason) in named {
        assert_eq!(Reason::from(kind) as u8, reason, "{kind}");
    }
    // None may read as success, as a motor that turns, or as a missing remote controller.
    assert!(Kind::ALL.iter().all(|&kind| ![1, 7, 10].contains(&(Reason::from(kind) as u8))));
}

#[test]
fn an_aircraft_type_is_one_byte_and_not_zero() {
    assert_eq!(aircraft_type(&[60]), Some(60));
    for other in [&[][..], &[0], &[0, 60], &[60, 0]] {
        assert_eq!(aircraft_type(other), None, "{other:02x?}");
    }
}

proptest! {
    #[test]
    fn no_payload_panics(set in any::<u8>(), id in any::<u8>(), payload in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse((set, id), &payload);
        let _ = parse((0, id), &payload);
        let _ = dcftp(&payload);
    }
}
