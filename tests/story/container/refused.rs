//! Containers that are wrong: each refused for what is wrong of it, and nothing changes.

use std::fs;
use std::path::Path;
use std::process::Command;

use uplift::config::Config;
use uplift::digest::{Beside, Hasher};
use uplift::model::{FailureKind, Outcome, ProgramDigest};
use uplift::package::check::{Doorkeeper, Rules};
use uplift::stage::Watch as _;

use super::shop::{Parts, packed};
use super::{built, new_signer, trusting};
use crate::world::payload::{NEW, Payload, Transfer};
use crate::world::watched::Watched as _;

/// Offers these bytes at the shell; what becomes of them.
#[track_caller]
pub(super) fn offer(
    payload: &Payload,
    firmware: &Path,
    bytes: &[u8],
    kind: FailureKind,
    words: &str,
) {
    let before = fs::read(payload.program()).unwrap();
    fs::write(firmware, bytes).unwrap();
    payload.install_file(firmware).wait_with_output().unwrap();
    let report = payload.last_report();
    let failure = report.failure.expect("it is refused");
    assert_eq!((report.outcome, failure.kind), (Outcome::Failed, kind), "{failure}");
    assert!(failure.to_string().contains(words), "{words}: {failure}");
    assert!(fs::read(payload.program()).unwrap() == before);
}

/// `bytes` as one frame of zstd with a window of so many bits, by Debian's own tool.
fn zstd(bytes: &[u8], window_log: u32) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let (plain, stream) = (directory.path().join("plain"), directory.path().join("stream"));
    fs::write(&plain, bytes).unwrap();
    let window = format!("--zstd=wlog={window_log}");
    let mut tool = Command::new("zstd");
    tool.args(["-q", "-1", &window, "-o"]).arg(&stream).arg(&plain);
    let status = tool.status();
    let status = status
        .unwrap_or_else(|error| panic!("zstd can't be run ({error}); `tests/run` installs it"));
    assert!(status.success());
    fs::read(stream).unwrap()
}

#[test]
fn what_the_front_says_must_be_right() {
    let payload = Payload::setup().start();
    let firmware = built(&payload, NEW);
    let honest = packed(&firmware);
    let parts = || Parts::of(&honest);
    for (bytes, kind, words) in [
        (
            parts().with(|one| one.product = "ANOTHER".into()),
            FailureKind::WrongProduct,
            "sealed for \"ANOTHER\"",
        ),
        (
            parts().with(|one| one.version = "V09.00.00.00".parse().unwrap()),
            FailureKind::WrongVersion,
            "V09.00.00.00",
        ),
        (
            parts().with(|one| one.replaces_from = "V01.99.00.00".parse().ok()),
            FailureKind::WrongVersion,
            "install one in between",
        ),
        (
            parts().with(|one| one.machine = "a toaster".into()),
            FailureKind::WrongMachine,
            "a toaster",
        ),
        // What `uplift pack` makes of a script, for one.
        (
            parts().with(|one| one.machine = "any".into()),
            FailureKind::WrongMachine,
            "no ELF program in the container",
        ),
        (parts().with(|one| one.size = 1 << 40), FailureKind::TooLarge, "the limit is"),
        (
            parts().with(|one| one.streams[0].codec = "brotli".into()),
            FailureKind::SealInvalid,
            "\"brotli\"",
        ),
    ] {
        offer(&payload, &firmware, &bytes.bytes(), kind, words);
    }
}

/// docs/wire/container.md: each piece is proved before it is decoded; what comes out is counted and
/// proved.
#[test]
fn what_follows_must_be_what_the_front_says() {
    let payload = Payload::setup().start();
    let firmware = built(&payload, NEW);
    let program = fs::read(&firmware).unwrap();
    let honest = packed(&firmware);
    let parts = || Parts::of(&honest);
    let mut wrong_piece = honest.clone();
    let last = wrong_piece.len() - 1;
    wrong_piece[last] ^= 1;
    offer(
        &payload,
        &firmware,
        &wrong_piece,
        FailureKind::DigestMismatch,
        "have another SHA-256 than it says of them",
    );
    let mut wrong_list = parts();
    wrong_list.list[0] ^= 1;
    offer(
        &payload,
        &firmware,
        &wrong_list.bytes(),
        FailureKind::DigestMismatch,
        "the list of its pieces",
    );
    for shorter in [40, honest.len() / 2, last] {
        offer(&payload, &firmware, &honest[..shorter], FailureKind::Truncated, "");
    }
    let longer = [&honest[..], b"x"].concat();
    offer(&payload, &firmware, &longer, FailureKind::Truncated, "instead of");
    // From here on every piece is right, and the stream itself is not.
    let size = program.len() as u64;
    let unpacked = "can't be unpacked";
    let less = parts().with(|one| one.size = size - 1);
    offer(
        &payload,
        &firmware,
        &less.bytes(),
        FailureKind::SealInvalid,
        &format!("more than {} bytes come of it", size - 1),
    );
    let more = parts().with(|one| one.size = size + 1);
    offer(&payload, &firmware, &more.bytes(), FailureKind::SealInvalid, "come of it instead of");
    let bomb = parts().with_stream(zstd(&vec![0; 256 << 20], 22));
    assert!(bomb.stream.len() < 64 << 10, "{}", bomb.stream.len());
    offer(&payload, &firmware, &bomb.bytes(), FailureKind::SealInvalid, "more than");
    let window = parts().with_stream(zstd(&program.repeat(3), 23)).with(|one| one.size = 3 * size);
    offer(&payload, &firmware, &window.bytes(), FailureKind::SealInvalid, unpacked);
    let stream = parts().stream;
    for stream in
        [stream[..stream.len() - 1].to_vec(), [&stream[..], &stream].concat(), vec![7; 100]]
    {
        offer(
            &payload,
            &firmware,
            &parts().with_stream(stream).bytes(),
            FailureKind::SealInvalid,
            unpacked,
        );
    }
    let mut other = program;
    other[last.min(100_000)] ^= 1;
    let other = parts().with_stream(zstd(&other, 22));
    offer(
        &payload,
        &firmware,
        &other.bytes(),
        FailureKind::DigestMismatch,
        "the program in the container has SHA-256",
    );
    // It is as good as ever.
    fs::write(&firmware, &honest).unwrap();
    let (code, text) = payload.uplift(&["check", firmware.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
}

/// Containers and seals don't nest: what is installed is no sealed file and no container.
#[test]
fn one_cover_is_all() {
    let payload = Payload::setup().start();
    let firmware = built(&payload, NEW);
    let honest = packed(&firmware);
    let signer = new_signer();
    signer.seal_file(&firmware).unwrap();
    let sealed = fs::read(&firmware).unwrap();
    for inner in [honest.clone(), sealed] {
        let mut hasher = Hasher::new(Beside::default());
        hasher.update(&inner);
        let digest = hasher.finish().file;
        let outer = Parts::of(&honest).with_stream(zstd(&inner, 22)).with(|one| {
            one.size = inner.len() as u64;
            one.sha256 = ProgramDigest(digest.0);
        });
        offer(&payload, &firmware, &outer.bytes(), FailureKind::SealInvalid, "one cover is all");
    }
}

#[test]
fn where_a_seal_is_asked_for_a_trusted_one_is_needed() {
    let signer = new_signer();
    let payload = Payload::setup().sections(&trusting(&signer)).start();
    let firmware = built(&payload, NEW);
    let program = fs::read(&firmware).unwrap();
    offer(&payload, &firmware, &packed(&firmware), FailureKind::SealMissing, "sealed files only");
    fs::write(&firmware, &program).unwrap();
    new_signer().compress(&firmware).unwrap();
    let others = fs::read(&firmware).unwrap();
    offer(&payload, &firmware, &others, FailureKind::SealInvalid, "this payload trusts only");
    fs::write(&firmware, &program).unwrap();
    signer.compress(&firmware).unwrap();
    // Another program under words that somebody signed of this one.
    let signed = fs::read(&firmware).unwrap();
    let mut other = program;
    other[5000] ^= 1;
    let mut swapped = Parts::of(&signed);
    (swapped.stream, swapped.list) = {
        let other = Parts::of(&signed).with_stream(zstd(&other, 22));
        (other.stream, other.list)
    };
    let bytes = swapped.bytes();
    fs::write(&firmware, bytes).unwrap();
    payload.install_file(&firmware).wait_with_output().unwrap();
    let kind = payload.last_report().failure.unwrap().kind;
    assert!([FailureKind::DigestMismatch, FailureKind::Truncated].contains(&kind), "{kind}");
}

/// A link of 80 kB/s would send for a minute what is refused after the first kilobytes.
#[test]
fn the_front_is_judged_before_the_rest_is_sent() {
    let signer = new_signer();
    let payload = Payload::setup().link("921600", None).sections(&trusting(&signer)).start();
    let firmware = built(&payload, NEW);
    new_signer().compress(&firmware).unwrap();
    payload.aircraft(Transfer::Dcftp, &firmware, &[]).hears("failure");
    // The host may begin again with another file.
    let upgrade = payload.status().unwrap().upgrade.expect("it waits for the host");
    assert_eq!(upgrade.failure.expect("it is told why").kind, FailureKind::SealInvalid);
    assert!(!payload.logs().contains("checking"), "it never was whole");
}

/// As many bytes as the front has, and the few that come with it, whatever is wrong of it.
#[test]
fn not_much_more_than_the_front_is_taken() {
    let signer = new_signer();
    let payload = Payload::setup().sections(&trusting(&signer)).stopped();
    let config = Config::load(&payload.root().join("uplift.toml")).unwrap();
    let rules = Rules::new(config.components.iter().next().unwrap(), &config.package);
    let firmware = built(&payload, NEW);
    let program = fs::read(&firmware).unwrap();
    signer.compress(&firmware).unwrap();
    let honest = fs::read(&firmware).unwrap();
    fs::write(&firmware, &program).unwrap();
    new_signer().compress(&firmware).unwrap();
    let others = fs::read(&firmware).unwrap();
    let name = |version: &str| Some(format!("PSDK_APPALIAS_{version}.bin"));
    let running = Some(NEW.parse().unwrap());
    for (file, name, rules, kind) in [
        (&honest, name(NEW), rules.clone(), None),
        (&others, name(NEW), rules.clone(), Some(FailureKind::SealInvalid)),
        (&honest, name("V09.00.00.00"), rules.clone(), Some(FailureKind::WrongVersion)),
        (&honest, name(NEW), rules.running(running), Some(FailureKind::SameVersion)),
    ] {
        let mut doorkeeper = Doorkeeper::new(rules, name);
        let mut taken = 0;
        let refused = file.chunks(1000).find_map(|piece| {
            taken += piece.len();
            doorkeeper.update(piece).err()
        });
        assert_eq!(refused.as_ref().map(|failure| failure.kind), kind, "{refused:?}");
        assert!(kind.is_none() || taken <= 4000, "{taken}");
    }
}
