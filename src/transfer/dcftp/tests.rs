use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::digest::{Beside, Hasher};
use crate::stage::{Announced, Stage};

const SIZE: u64 = 300_000;

fn receiving(directory: &Path, size: u64) -> Receiving {
    let announced =
        Announced { with_md5: true, ..Announced::named("P_V01.00.00.01.bin", Some(size)) };
    Stage::beside(&directory.join("program"), 1 << 30).receive(announced, Box::new(|_| {})).unwrap()
}

fn content() -> Vec<u8> {
    (0..SIZE).map(|i| (i * 7 % 251) as u8).collect()
}

fn md5(content: &[u8]) -> Md5Digest {
    let mut hasher = Hasher::new(Beside { md5: true, ..Beside::default() });
    hasher.update(content);
    hasher.finish().md5.unwrap()
}

async fn send(reception: &mut Reception, content: &[u8]) {
    for chunk in content.chunks(1005) {
        reception.take(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
}

fn leftovers(directory: &Path) -> usize {
    std::fs::read_dir(directory.join(".uplift")).map_or(0, |entries| {
        entries
            .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name() != "lock"))
            .count()
    })
}

/// The thread removes its file after the channel has closed; there is nothing to wait on but the
/// file itself.
async fn emptied(directory: &Path) {
    let gone = async {
        while leftovers(directory) > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the staging area is emptied");
}

#[tokio::test]
async fn a_file_arrives_whole() {
    let directory = tempfile::tempdir().unwrap();
    let mut reception = Reception::start(receiving(directory.path(), SIZE)).unwrap();
    send(&mut reception, &content()).await;
    let staged = reception.finish(md5(&content())).await.unwrap();
    assert_eq!(std::fs::read(staged.path()).unwrap(), content());
}

#[tokio::test]
async fn a_wrong_md5_is_a_digest_mismatch_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut reception = Reception::start(receiving(directory.path(), SIZE)).unwrap();
    send(&mut reception, &content()).await;
    let failure = reception.finish(Md5Digest([0; 16])).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::DigestMismatch);
    emptied(directory.path()).await;
}

#[tokio::test]
async fn one_byte_less_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut reception = Reception::start(receiving(directory.path(), SIZE)).unwrap();
    let short = &content()[1..];
    send(&mut reception, short).await;
    assert!(reception.finish(md5(short)).await.is_err());
    emptied(directory.path()).await;
}

#[tokio::test]
async fn dropped_it_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let mut reception = Reception::start(receiving(directory.path(), SIZE)).unwrap();
    reception.take(Bytes::from_static(b"some")).await.unwrap();
    drop(reception);
    emptied(directory.path()).await;
}

/// A disk that stands still: the chunk that no longer fits comes back at once, and is taken when
/// the disk goes on.
#[tokio::test]
async fn a_disk_that_stands_still_holds_up_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let (go_on, gone_on) = std::sync::mpsc::channel::<()>();
    let announced =
        Announced { with_md5: true, ..Announced::named("P_V01.00.00.01.bin", Some(SIZE)) };
    // Blocks at the first chunk until the sender is dropped.
    let stalled = Box::new(move |_| {
        let _ = gone_on.recv();
    });
    let receiving = Stage::beside(&directory.path().join("program"), 1 << 30)
        .receive(announced, stalled)
        .unwrap();
    let mut reception = Reception::start(receiving).unwrap();
    let content = content();
    let mut chunks = content.chunks(1005).map(Bytes::copy_from_slice);
    let full = loop {
        match reception.try_take(chunks.next().expect("memory is bounded")) {
            Handover::Taken => {}
            Handover::Full(chunk) => break chunk,
            Handover::Failed(failure) => panic!("{failure}"),
        }
    };
    drop(go_on);
    reception.take(full).await.unwrap();
    for chunk in chunks {
        reception.take(chunk).await.unwrap();
    }
    assert_eq!(
        std::fs::read(reception.finish(md5(&content)).await.unwrap().path()).unwrap(),
        content
    );
}

/// A write that fails is told as soon as it is known, and with its own reason: here the file is too
/// short for what comes.
#[tokio::test]
async fn a_failed_write_is_told_with_a_later_chunk() {
    let directory = tempfile::tempdir().unwrap();
    let mut reception = Reception::start(receiving(directory.path(), 4)).unwrap();
    let refused = loop {
        if let Err(failure) = reception.take(Bytes::from_static(b"12345")).await {
            break failure;
        }
    };
    assert_ne!(refused.kind, FailureKind::Internal, "{refused}");
    emptied(directory.path()).await;
}

proptest! {
    /// A host that does what it is told gets its file across, whatever is lost or repeated; no byte
    /// twice, none too many.
    #[test]
    fn going_back_to_the_expected_chunk_always_ends(lost in proptest::collection::vec(any::<bool>(), 1..40), size in 1..5000u64, chunk in 1..1005usize) {
        let mut sequence = Sequence::new(size, 0);
        let mut lost = lost.into_iter().cycle().take(400);
        while !sequence.is_complete() {
            let number = if lost.next() == Some(true) { sequence.next() + 1 } else { sequence.next() };
            let length = chunk.min((size - u64::from(sequence.next()) * chunk as u64) as usize);
            match sequence.offer(Place::Number(number), length) {
                Offer::Next => sequence.advance(length),
                Offer::OutOfTurn => prop_assert_ne!(number, sequence.next()),
                Offer::TooMuch => prop_assert!(false, "never more than announced"),
            }
        }
        prop_assert_eq!(sequence.offer(Place::Number(sequence.next()), 1), Offer::TooMuch);
        prop_assert!(sequence.is_last(sequence.next() - 1));
    }
}
