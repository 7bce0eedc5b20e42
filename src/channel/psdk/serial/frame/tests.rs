use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// The examples of docs/wire/payload-link.md section 1, with what they are.
fn examples() -> Vec<(Frame, Vec<u8>)> {
    let probe =
        Frame::request(Address(0xE5), Address(0x65), 0, CommandId::new(0x03, 0xFD), Bytes::new());
    let ongoing = Frame::push(
        Address(0x13),
        Address(0xED),
        0xC80D,
        CommandId::new(0x00, 0x42),
        vec![3, 42, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    vec![
        (probe.clone(), hex("55 0d 04 33 e5 65 00 00 40 03 fd 9b 85")),
        (probe.response(&[0x3C][..]), hex("55 0e 04 66 65 e5 00 00 80 03 fd 3c 4a 32")),
        (ongoing, hex("55 18 04 20 13 ed 0d c8 00 00 42 03 2a 00 00 00 00 00 00 00 00 00 40 77")),
    ]
}

fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn encode(frame: &Frame) -> Vec<u8> {
    let mut buffer = BytesMut::new();
    FrameCodec::new().encode(frame, &mut buffer).unwrap();
    buffer.to_vec()
}

/// All frames in `bytes` while the line is busy, and what is found when it falls silent.
fn decode(bytes: &[u8]) -> (Vec<Frame>, Vec<Frame>) {
    let mut codec = FrameCodec::new();
    let mut buffer = BytesMut::from(bytes);
    let busy = std::iter::from_fn(|| codec.decode(&mut buffer).unwrap()).collect();
    let idle = std::iter::from_fn(|| codec.decode_idle(&mut buffer)).collect();
    assert!(buffer.is_empty(), "nothing waits after silence");
    (busy, idle)
}

fn decode_all(bytes: &[u8]) -> Vec<Frame> {
    let (mut busy, idle) = decode(bytes);
    busy.extend(idle);
    busy
}

/// A header with a good CRC-8 that promises `length` bytes.
fn false_header(length: u16) -> Vec<u8> {
    let [low, high] = (length | VERSION << LENGTH_BITS).to_le_bytes();
    vec![START, low, high, CRC_8.checksum(&[START, low, high])]
}

fn any_frame() -> impl Strategy<Value = Frame> {
    (any::<[u8; 5]>(), any::<u16>(), vec(any::<u8>(), 0..=LONGEST_PAYLOAD)).prop_map(
        |([from, to, flags, set, id], sequence, payload)| Frame {
            sender: Address(from),
            receiver: Address(to),
            sequence,
            kind: Kind::from_flags(flags),
            command: CommandId { set, id },
            payload: payload.into(),
        },
    )
}

/// Noise in which start bytes and whole false headers are frequent.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        vec(any::<u8>(), 0..40),
        Just(vec![START]),
        (13_u16..=1023).prop_map(false_header)
    ];
    vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

#[test]
fn the_documented_examples_are_read_and_written() {
    for (frame, bytes) in examples() {
        assert_eq!(encode(&frame), bytes);
        assert_eq!(decode(&bytes), (vec![frame], vec![]));
    }
}

#[test]
fn a_response_swaps_addresses_and_echoes_the_rest() {
    let request =
        Frame::request(Address(0x2A), Address(0x13), 0xBEEF, CommandId::new(0, 0x83), &[1][..]);
    let response = request.response(&[0xC7][..]);
    assert_eq!((response.sender, response.receiver), (request.receiver, request.sender));
    assert_eq!(
        (response.sequence, response.command, response.kind),
        (request.sequence, request.command, Kind::Response)
    );
}

#[test]
fn every_flag_byte_has_one_kind() {
    for flags in 0..=u8::MAX {
        let is_answer = flags & 0x9F == 0x80;
        assert_eq!(Kind::from_flags(flags).flags(), if is_answer { 0x80 } else { flags });
        assert_eq!(Kind::from_flags(flags) == Kind::Response, is_answer, "{flags:02x}");
    }
    assert!(matches!(Kind::from_flags(0x43), Kind::Unusual(flags) if flags.is_encrypted()));
    assert!(matches!(Kind::from_flags(0x48), Kind::Unusual(flags) if !flags.is_encrypted()));
}

#[test]
fn every_flip_of_a_single_bit_is_rejected() {
    for (_, bytes) in examples() {
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_all(&flipped), vec![], "bit {bit} of {bytes:02x?}");
        }
    }
}

#[test]
fn a_payload_that_does_not_fit_is_refused_and_leaves_the_buffer_alone() {
    let mut buffer = BytesMut::from(&b"before"[..]);
    let command = CommandId::new(0, 0x2A);
    let fits = Frame::push(Address(1), Address(2), 3, command, vec![0; LONGEST_PAYLOAD]);
    let too_long = Frame::push(Address(1), Address(2), 3, command, vec![0; LONGEST_PAYLOAD + 1]);
    let error = FrameCodec::new().encode(&too_long, &mut buffer).unwrap_err();
    assert!(matches!(error, FrameError::PayloadTooLong(1011)), "{error}");
    assert_eq!(&buffer[..], b"before");
    assert_eq!(decode_all(&encode(&fits)), vec![fits]);
}

#[test]
fn a_false_header_that_promises_1023_bytes_holds_a_good_frame_back_only_until_silence() {
    let (frame, bytes) = examples().remove(2);
    let stream = [false_header(1023), bytes].concat();
    assert_eq!(decode(&stream), (vec![], vec![frame]));
}

#[test]
fn a_false_header_does_not_swallow_frames_while_the_line_is_busy() {
    let (frame, bytes) = examples().remove(2);
    let count = 60;
    let stream = [false_header(1023), bytes.repeat(count)].concat();
    assert_eq!(decode(&stream), (vec![frame; count], vec![]));
}

#[test]
fn several_false_headers_need_only_one_silence() {
    let (frame, bytes) = examples().remove(0);
    let mut buffer = BytesMut::from(&[false_header(1023), false_header(900), bytes].concat()[..]);
    let mut codec = FrameCodec::new();
    assert_eq!(codec.decode(&mut buffer).unwrap(), None);
    assert!(!buffer.is_empty());
    assert_eq!(codec.decode_idle(&mut buffer), Some(frame));
    assert!(buffer.is_empty());
    assert_eq!(codec.dropped(), 8);
}

#[test]
fn the_end_of_the_stream_counts_as_silence() {
    let (frame, bytes) = examples().remove(0);
    let mut buffer = BytesMut::from(&[false_header(100), bytes].concat()[..]);
    let mut codec = FrameCodec::new();
    assert_eq!(codec.decode_eof(&mut buffer).unwrap(), Some(frame));
    assert_eq!(codec.decode_eof(&mut buffer).unwrap(), None);
}

#[test]
fn a_length_or_version_out_of_range_is_noise() {
    for word in [12 | 1 << 10, 13, 13 | 2 << 10, 13 | 63 << 10] {
        let [low, high] = u16::to_le_bytes(word);
        let bytes = [START, low, high, CRC_8.checksum(&[START, low, high])];
        let mut buffer = BytesMut::from(&bytes[..]);
        assert_eq!(FrameCodec::new().decode(&mut buffer).unwrap(), None);
        assert!(buffer.is_empty(), "{word:#06x} does not wait for more");
    }
}

proptest! {
    #[test]
    fn round_trip(frames in vec(any_frame(), 1..6)) {
        let bytes: Vec<u8> = frames.iter().flat_map(encode).collect();
        prop_assert_eq!(decode(&bytes), (frames, vec![]));
    }

    #[test]
    fn any_split_of_the_stream_gives_the_same_frames(frames in vec(any_frame(), 1..4), sizes in vec(1_usize..200, 1..40)) {
        let bytes: Vec<u8> = frames.iter().flat_map(encode).collect();
        let mut codec = FrameCodec::new();
        let (mut buffer, mut found, mut rest) = (BytesMut::new(), vec![], &bytes[..]);
        for size in sizes.iter().cycle() {
            let (piece, behind) = rest.split_at((*size).min(rest.len()));
            buffer.put_slice(piece);
            while let Some(frame) = codec.decode(&mut buffer).unwrap() {
                found.push(frame);
            }
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(found, frames);
        prop_assert_eq!(codec.dropped(), 0);
    }

    #[test]
    fn a_good_frame_is_found_in_any_garbage(before in garbage(), frame in any_frame(), after in garbage()) {
        let found = decode_all(&[before, encode(&frame), after].concat());
        prop_assert!(found.contains(&frame));
    }

    #[test]
    fn a_flipped_bit_anywhere_loses_that_frame_and_no_other(frame in any_frame(), at in any::<prop::sample::Index>()) {
        let good = encode(&frame);
        let mut bad = good.clone();
        let bit = at.index(bad.len() * 8);
        bad[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(decode_all(&[bad, good].concat()), vec![frame]);
    }

    #[test]
    fn a_frame_inside_a_payload_does_not_count(inner in any_frame(), outer in any_frame(), padding in 0_usize..50) {
        let carried = [vec![START; padding], encode(&inner)].concat();
        prop_assume!(carried.len() <= LONGEST_PAYLOAD);
        let outer = Frame { payload: carried.into(), ..outer };
        prop_assert_eq!(decode_all(&encode(&outer)), vec![outer]);
    }

    #[test]
    fn noise_makes_no_frame_and_never_panics(bytes in vec(any::<u8>(), 0..4000)) {
        prop_assert_eq!(decode_all(&bytes), vec![]);
    }
}
