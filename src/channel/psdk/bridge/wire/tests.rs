use proptest::prelude::*;

use super::super::super::words::Reason;
use super::*;

fn read(bytes: &[u8]) -> Result<Option<Said>, Broken> {
    next(&mut BytesMut::from(bytes))
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_le_bytes();
    [&[kind, 9, length[0], length[1]], body].concat()
}

fn said(kind: u8, body: &[u8]) -> Option<Word> {
    read(&message(kind, body)).unwrap().map(|said| {
        assert_eq!(said.number, 9);
        said.word
    })
}

#[test]
fn every_message_of_section_2_1_is_read() {
    let hello = b"UPBR\x01\x00\x03\x00\x03abc";
    let name = "abc".to_owned();
    assert_eq!(said(1, hello), Some(Word::Hello { lowest: 1, highest: 3, name }));
    for (facts, core_up, aircraft_seen) in
        [(0, false, false), (1, true, false), (2, false, true), (0xFF, true, true)]
    {
        assert_eq!(said(2, &[facts]), Some(Word::State { core_up, aircraft_seen }));
    }
    assert_eq!(said(0x10, &[1]), Some(Word::Enter(Offered::Ftp)));
    assert_eq!(said(0x10, &[2]), Some(Word::Enter(Offered::Dcftp)));
    let offer = FileOffer { size: 0x0403_0201, from: 7, name: "a_b".into() };
    assert_eq!(said(0x11, b"\x01\x02\x03\x04\x07\0\0\0\x03\0a_b"), Some(Word::Start(offer)));
    let data = Word::Data { offset: 1, data: Bytes::from_static(&[9, 8]) };
    assert_eq!(said(0x12, &[1, 0, 0, 0, 9, 8]), Some(data));
    assert_eq!(said(0x13, &[7; 16]), Some(Word::Finish(Md5Digest([7; 16]))));
    assert_eq!(said(0x14, &[]), Some(Word::Check));
    assert_eq!(said(0x15, &[]), Some(Word::End));
    assert_eq!(said(0x16, &[]), Some(Word::Ready));
}

#[test]
fn a_later_protocol_may_say_more() {
    assert_eq!(said(0x14, b"more"), Some(Word::Check));
    let both = [message(0x77, b"unknown"), message(0x14, b"")].concat();
    assert_eq!(read(&both).unwrap().map(|said| said.word), Some(Word::Check));
    assert_eq!(read(&message(0x77, b"unknown")), Ok(None));
}

#[test]
fn what_does_not_hold_its_fields_is_broken() {
    for (kind, body) in [
        (0x01, &b"UPBX\x01\0\x01\0\0"[..]),
        (0x01, b"UPBR\x01\0\x01\0"),
        (0x01, b"UPBR\x01\0\x01\0\x02a"),
        (0x02, b""),
        (0x10, b""),
        (0x10, &[0]),
        (0x10, &[3]),
        (0x11, &[0; 9]),
        (0x11, b"\0\0\0\0\0\0\0\0\x02\0a"),
        (0x12, &[0; 4]),
        (0x13, &[0; 15]),
    ] {
        assert_eq!(read(&message(kind, body)), Err(Broken::Fields(kind)), "{body:?}");
    }
    let long = [b"UPBR\x01\0\x01\0\x41".as_slice(), &[b'a'; 65]].concat();
    assert_eq!(read(&message(0x01, &long)), Err(Broken::Fields(0x01)));
    assert_eq!(read(&[0x12, 0, 0x05, 0x10]), Err(Broken::TooLong(4101)), "before its body comes");
}

#[test]
fn every_message_of_section_2_2_is_told() {
    let version = Version::new([1, 2, 3, 4]);
    let (stage, transfer, ftp_port) = (Stage::Waits, Offered::Dcftp, 2121);
    let text = || "why".to_owned();
    let (before, wanted) = (version, None);
    for (told, body) in [
        (
            Told::Welcome { stage, version, transfer, ftp_port },
            &[0x81, 1, 0, 1, 1, 1, 2, 3, 4, 2, 0x49, 8][..],
        ),
        (Told::Version(version.unwrap()), &[0x82, 1, 2, 3, 4]),
        (Told::Gone(text()), b"\x83why"),
        (Told::Entered(Some(258)), &[0x90, 0, 2, 1]),
        (Told::Entered(None), &[0x90, 1, 0, 0]),
        (Told::Started(Some(258)), &[0x91, 0, 2, 1, 0, 0]),
        (Told::Started(None), &[0x91, 1, 0, 0, 0, 0]),
        (Told::Written(258), &[0x92, 2, 1, 0, 0]),
        (Told::Failed(text()), b"\x93why"),
        (Told::Finished(true), &[0x94, 0]),
        (Told::Finished(false), &[0x94, 1]),
        (Told::Checked(CheckAnswer::Started), &[0x95, 0]),
        (Told::Checked(CheckAnswer::CheckFailed), &[0x95, 1]),
        (Told::Checked(CheckAnswer::StartFailed), &[0x95, 2]),
        (Told::Push(StatusPush::Ongoing(7)), &[0xA0, 3, 7]),
        (Told::Push(StatusPush::Rebooting(8)), &[0xA0, 6, 8]),
        (Told::Push(StatusPush::Succeeded), &[0xA0, 4, 1]),
        (Told::Push(StatusPush::Failed(Reason::Downgrade)), &[0xA0, 4, 2]),
        (Told::Restarting(3000), &[0xA1, 0xB8, 0x0B]),
        (
            Told::Report { outcome: Outcome::RolledBack, before, wanted, text: text() },
            b"\xA2\x03\x01\x02\x03\x04\0\0\0\0why",
        ),
    ] {
        let length = u8::try_from(body.len() - 1).unwrap();
        let expected = [&[body[0], 5, length, 0], &body[1..]].concat();
        assert_eq!(told.encode(5)[..], expected[..], "{told:?}");
    }
    let long = Told::Gone("ä".repeat(1000)).encode(0);
    assert!(long.len() <= HEAD + LONGEST_TEXT && std::str::from_utf8(&long[HEAD..]).is_ok());
}

proptest! {
    #[test]
    fn pieces_and_damage_are_read_alike(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0..300usize) {
        let (mut at_once, mut in_pieces) = (BytesMut::from(&bytes[..]), BytesMut::new());
        let cut = cut.min(bytes.len());
        let mut one = Vec::new();
        while let Ok(Some(said)) = next(&mut at_once) { one.push(said); }
        let mut other = Vec::new();
        for piece in [&bytes[..cut], &bytes[cut..]] {
            in_pieces.extend_from_slice(piece);
            loop {
                match next(&mut in_pieces) {
                    Ok(Some(said)) => other.push(said),
                    Ok(None) => break,
                    Err(_) => { in_pieces.clear(); break }
                }
            }
            if other.len() > one.len() { break }
        }
        prop_assert!(other.starts_with(&one[..one.len().min(other.len())]));
    }
}
