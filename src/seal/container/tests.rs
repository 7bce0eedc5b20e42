use super::*;
use crate::model::ProgramDigest;

const STREAM: usize = 2 * PIECE_SIZE + 77;

fn stream() -> Vec<u8> {
    (0..STREAM).map(|at| (at * 7 % 251) as u8).collect()
}

fn described(bytes: &[u8]) -> (Stream, Vec<u8>) {
    let mut pieces = PieceList::default();
    bytes.chunks(1000).for_each(|chunk| pieces.update(chunk));
    let (size, pieces, list) = pieces.finish();
    (Stream { codec: "zstd".into(), window: 1 << 22, size, pieces, base: None }, list)
}

fn manifest(streams: Vec<Stream>) -> Manifest {
    Manifest {
        product: "DEMO".into(),
        version: "V02.00.00.00".parse().unwrap(),
        machine: "any".into(),
        size: 1,
        sha256: ProgramDigest([7; 32]),
        created: "1970-01-01T00:00:00Z".into(),
        replaces_from: None,
        key_id: None,
        place: Place::Before,
        streams,
    }
}

fn front_bytes(manifest: &Manifest) -> Result<Vec<u8>, ContainerError> {
    Front::to_bytes(&manifest.to_text().unwrap(), "")
}

fn container() -> Vec<u8> {
    let (described, list) = described(&stream());
    [front_bytes(&manifest(vec![described])).unwrap(), list, stream()].concat()
}

fn front(file: &[u8]) -> Front {
    match Front::find(file).unwrap() {
        Found::Front(front) => *front,
        other => panic!("{other:?}"),
    }
}

/// What is said of a file that arrives in pieces of this size, and how many fronts were judged.
fn arrives(file: &[u8], piece: usize) -> (Result<bool, String>, usize) {
    let (mut arriving, mut judged, mut goes_on) = (Arriving::default(), 0, true);
    for bytes in file.chunks(piece) {
        let mut judge = |_: &Front| {
            judged += 1;
            Ok::<(), ContainerError>(())
        };
        match arriving.update(bytes, &mut judge) {
            Ok(more) => goes_on = more,
            Err(error) => return (Err(error.to_string()), judged),
        }
    }
    (Ok(goes_on), judged)
}

#[test]
fn what_was_written_is_found_and_proved() {
    let file = container();
    let front = front(&file);
    assert_eq!(front.file_size().unwrap(), file.len() as u64);
    assert_eq!((front.list_size(), front.seal(1)), (96, None));
    let start = usize::try_from(front.size).unwrap();
    let streams = front.pieces(&file[start..start + 96]).unwrap();
    assert_eq!(front.manifest.streams[0].size, STREAM as u64);
    let mut found = Vec::new();
    for piece in &streams[0] {
        let at = usize::try_from(piece.start).unwrap();
        let bytes = &file[at..at + piece.size];
        piece.prove(bytes).unwrap();
        assert!(piece.prove(&bytes[1..]).is_err());
        found.extend_from_slice(bytes);
    }
    assert!(found == stream());
}

#[test]
fn it_is_recognised_by_its_first_bytes_and_judged_once() {
    let file = container();
    let size = usize::try_from(front(&file).size).unwrap();
    for length in 0..size {
        assert_eq!(Front::find(&file[..length]).unwrap(), Found::Unknown, "{length}");
    }
    for piece in [1, 7, size, 4096, file.len()] {
        assert_eq!(arrives(&file, piece), (Ok(true), 1), "{piece}");
        // Nothing belongs behind it; who counts bytes says so.
        assert_eq!(arrives(&[&file[..], b"x"].concat(), piece).1, 1);
    }
    for other in
        [&b"\x7fELF and so on"[..], b"", b"\x89UPL\r\n\x1a", b"\x89UPL\r\n\x1a\n\x01\0\0\0"]
    {
        let found = Front::find(other).unwrap();
        assert!(!matches!(found, Found::Front(_)), "{found:?}");
        assert_eq!(arrives(other, 3).1, 0);
    }
}

#[test]
fn a_changed_byte_is_noticed_in_the_piece_in_which_it_is() {
    let file = container();
    let size = usize::try_from(front(&file).size).unwrap();
    let places =
        (8..size + 96).chain((size + 96..file.len()).step_by(9973)).chain([file.len() - 1]);
    for at in places {
        let mut changed = file.clone();
        changed[at] ^= 1 << (at % 8);
        let end = match at {
            at if at < size + 96 => size + 96,
            at => size + 96 + ((at - size - 96) / PIECE_SIZE + 1) * PIECE_SIZE,
        };
        // Of a changed length nothing is known before as much is there.
        let end = if (12..20).contains(&at) { file.len() } else { end.min(file.len()) };
        let (result, judged) = arrives(&changed[..end], 5000);
        // Of another format it is no container.
        let is_another = (8..12).contains(&at) && (&result, judged) == (&Ok(false), 0);
        assert!(result.is_err() || is_another, "{at}: {result:?}");
    }
}

#[test]
fn what_no_writer_makes_is_refused() {
    let (one, _) = described(&stream());
    let refused = |manifest: &Manifest| front_bytes(manifest).unwrap_err().to_string();
    assert!(refused(&manifest(vec![])).contains("0 streams"));
    assert!(refused(&manifest(vec![one.clone(); 17])).contains("17 streams"));
    for window in [0, 512, 3 << 20, 8 << 20, u64::MAX] {
        let stream = Stream { window, ..one.clone() };
        assert!(refused(&manifest(vec![stream])).contains("a window of"), "{window}");
    }
    for size in [0, u64::MAX] {
        let stream = Stream { size, ..one.clone() };
        assert!(refused(&manifest(vec![stream])).contains("no bytes, or too many"), "{size}");
    }
    let behind = Manifest { place: Place::Behind, ..manifest(vec![one.clone()]) };
    assert!(refused(&behind).contains("behind the program"));
    let unsigned =
        Manifest { key_id: "0123456789ABCDEF".parse().ok(), ..manifest(vec![one.clone()]) };
    assert!(refused(&unsigned).contains("a key without a signature"));
    // A seal is no container, and a container none.
    let text = manifest(vec![one]).to_text().unwrap();
    assert!(Seal::to_bytes(&text, "").is_err());
}

#[test]
fn a_list_must_be_the_one_that_is_spoken_of() {
    let file = container();
    let front = front(&file);
    let start = usize::try_from(front.size).unwrap();
    let list = &file[start..start + 96];
    for wrong in [&list[1..], &[list, b"x"].concat(), &[&list[1..], b"x"].concat()] {
        assert!(matches!(front.pieces(wrong), Err(ContainerError::List)));
    }
}

/// What changes another program may stand before the whole one.
#[test]
fn pieces_of_several_streams_follow_each_other() {
    let bytes = stream();
    let (whole, list) = described(&bytes);
    let (small, small_list) = described(b"what changed");
    let base = crate::seal::Base {
        version: "V01.00.00.00".parse().unwrap(),
        size: 3,
        sha256: ProgramDigest([1; 32]),
    };
    let change = Stream { codec: "another".into(), base: Some(base), ..small };
    let text = manifest(vec![change, whole]).to_text().unwrap();
    let head = Front::to_bytes(&text, "").unwrap();
    let file = [&head[..], &small_list, &list, b"what changed", &bytes].concat();
    let front = front(&file);
    assert_eq!(arrives(&file, 999), (Ok(true), 1));
    let lists = [small_list, list].concat();
    let pieces = front.pieces(&lists).unwrap();
    assert_eq!(pieces[1][0].start, (head.len() + lists.len() + 12) as u64);
}
