use ct_codecs::{Base64, Decoder as _, Encoder as _};
use proptest::prelude::*;

use super::signing::{NewKeys, SecretKey};
use super::*;
use crate::digest::{Beside, Hasher, program_digest};
use crate::model::{NotAKeyId, ProgramDigest};

const PROGRAM: &[u8] = b"any bytes will do for a program here";

fn secret_key() -> SecretKey {
    SecretKey::read(&NewKeys::generate(None).unwrap().secret_text, None).unwrap()
}

fn manifest(key: &SecretKey) -> Manifest {
    Manifest {
        product: "DEMO".into(),
        version: "V02.00.00.00".parse().unwrap(),
        machine: "x86-64, 64 bit, little endian".into(),
        size: PROGRAM.len() as u64,
        sha256: program_digest(PROGRAM).unwrap(),
        created: "1970-01-01T00:00:00Z".into(),
        replaces_from: None,
        key_id: Some(key.public().id()),
        place: Place::Behind,
        streams: Vec::new(),
    }
}

fn manifest_before(key: &SecretKey) -> Manifest {
    Manifest { place: Place::Before, ..manifest(key) }
}

/// The program with a seal before it.
fn sealed_before() -> Vec<u8> {
    let key = secret_key();
    [&seal_of(&manifest_before(&key).to_text().unwrap(), &key).unwrap(), PROGRAM].concat()
}

fn seal_of(manifest_text: &[u8], key: &SecretKey) -> Result<Vec<u8>, SealError> {
    Seal::to_bytes(manifest_text, &key.sign(manifest_text, "a test").unwrap())
}

fn sealed() -> Vec<u8> {
    let key = secret_key();
    [PROGRAM, &seal_of(&manifest(&key).to_text().unwrap(), &key).unwrap()].concat()
}

fn find(file: &[u8]) -> Result<Option<Seal>, SealError> {
    let tail = &file[file.len().saturating_sub(LARGEST_SEAL)..];
    Seal::find(&file[..file.len().min(HEAD_SIZE)], tail, file.len() as u64)
}

/// Writes the checksum anew, as whoever changes a seal on purpose would.
fn mend(file: &mut [u8]) {
    let footer_at = file.len() - frame::SIZE;
    let mut footer = [0; frame::SIZE];
    footer.copy_from_slice(&file[footer_at..]);
    let length = |at: usize| u32::from_le_bytes(footer[at..at + 4].try_into().unwrap()) as usize;
    let (manifest, signature) = (length(4), length(8));
    let start = footer_at - manifest - signature;
    let (manifest, signature) = file[start..footer_at].split_at(manifest);
    let checksum = Parts { manifest, signature }.checksum(&footer[..12]);
    file[footer_at + 12..footer_at + 16].copy_from_slice(&checksum.to_le_bytes());
}

fn changed(at_from_end: usize, value: &[u8]) -> SealError {
    let mut file = sealed();
    let at = file.len() - at_from_end;
    file[at..at + value.len()].copy_from_slice(value);
    mend(&mut file);
    find(&file).unwrap_err()
}

#[test]
fn what_was_sealed_is_found_again() {
    let key = secret_key();
    let manifest =
        Manifest { replaces_from: Some("V01.00.00.00".parse().unwrap()), ..manifest(&key) };
    let text = manifest.to_text().unwrap();
    let file = [PROGRAM, &seal_of(&text, &key).unwrap()].concat();
    let seal = find(&file).unwrap().unwrap();
    assert_eq!(
        (&seal.manifest, &seal.manifest_text, seal.payload),
        (&manifest, &text, 0..PROGRAM.len() as u64)
    );
    assert_eq!(
        (seal.signature.key_id(), seal.signature.trusted_comment()),
        (key.public().id(), "a test")
    );
    assert!(key.public().verifies(&seal.signature, &seal.manifest_text));
    assert!(!key.public().verifies(&seal.signature, b"other bytes"));
    assert!(!secret_key().public().verifies(&seal.signature, &seal.manifest_text));
}

#[test]
fn what_was_sealed_before_the_payload_is_found_again() {
    let key = secret_key();
    let text = manifest_before(&key).to_text().unwrap();
    let seal = seal_of(&text, &key).unwrap();
    for payload in [PROGRAM, b"", b"x", &[7; 3 * LARGEST_SEAL]] {
        let file = [&seal, payload].concat();
        let found = find(&file).unwrap().unwrap();
        assert_eq!(found, Seal::read(std::io::Cursor::new(&file)).unwrap().unwrap());
        assert_eq!(found.payload, seal.len() as u64..file.len() as u64);
        assert_eq!((&found.manifest_text, found.payload_size()), (&text, payload.len() as u64));
        assert!(key.public().verifies(&found.signature, &found.manifest_text));
    }
}

/// Who gets the bytes piece by piece need hold none of a file that is not sealed there.
#[test]
fn a_beginning_that_is_none_of_a_seal_is_known_by_its_first_wrong_byte() {
    for length in 0..=frame::HEADER_MAGIC.len() {
        let mut head = frame::HEADER_MAGIC[..length].to_vec();
        assert_eq!(beginning(&head), Beginning::Unknown, "{length}");
        if let Some(last) = head.last_mut() {
            *last ^= 1;
            assert_eq!(beginning(&head), Beginning::None, "{length}");
        }
    }
    assert_eq!(beginning(PROGRAM), Beginning::None);
}

/// They refuse a field that they don't know.
#[test]
fn a_seal_behind_its_program_is_one_that_earlier_versions_know() {
    let key = secret_key();
    let fields = |manifest: &Manifest| -> serde_json::Value {
        serde_json::from_slice(&manifest.to_text().unwrap()).unwrap()
    };
    assert_eq!(fields(&manifest(&key)).get("place"), None);
    assert_eq!(fields(&manifest_before(&key))["place"], "before");
}

/// Nothing signs the untrusted comment, and a shell would run what stands behind a script.
#[test]
fn a_seal_can_not_be_moved() {
    let key = secret_key();
    for (signed, file, found) in [
        (manifest_before(&key), "behind", Place::Behind),
        (manifest(&key), "before", Place::Before),
    ] {
        let text = signed.to_text().unwrap();
        let signature = key.sign(&text, "a test").unwrap();
        let parts = Parts { manifest: &text, signature: signature.as_bytes() };
        let moved = match found {
            Place::Behind => [PROGRAM, &parts.with_footer().unwrap()].concat(),
            Place::Before => [&parts.with_header(frame::SEAL).unwrap(), PROGRAM].concat(),
        };
        let error = find(&moved).unwrap_err();
        assert!(matches!(error, SealError::Moved { .. }), "{file}: {error}");
        assert!(error.to_string().contains(&format!("it stands {file} its payload")), "{error}");
        assert_eq!(program_digest(&moved[..]).unwrap(), ProgramDigest(plain_sha256(&moved)));
    }
}

#[test]
fn a_file_has_one_seal_at_most() {
    let (behind, before) = (sealed(), sealed_before());
    let header = &before[..before.len() - PROGRAM.len()];
    for file in [
        [header, &behind].concat(),
        [header, &before].concat(),
        [header, PROGRAM, &[0; 24], &frame::FOOTER_MAGIC].concat(),
    ] {
        assert!(matches!(find(&file), Err(SealError::Twice)));
        assert_eq!(program_digest(&file[..]).unwrap(), ProgramDigest(plain_sha256(&file)));
    }
}

#[test]
fn each_wrong_header_has_its_reason() {
    let right = sealed_before();
    let with = |at: usize, value: &[u8]| {
        let mut file = right.clone();
        file[at..at + value.len()].copy_from_slice(value);
        find(&file)
    };
    assert!(matches!(with(8, &[2]), Err(SealError::UnknownFormat(2))));
    for length in [u32::MAX, 16_353, 10_000] {
        for at in [12, 16] {
            assert!(matches!(with(at, &length.to_le_bytes()), Err(SealError::Lengths)), "{length}");
        }
    }
    // Lengths that fit, and lie.
    assert!(matches!(with(12, &7_u32.to_le_bytes()), Err(SealError::Checksum)));
    assert!(matches!(with(40, b"x"), Err(SealError::Checksum)));
    assert!(matches!(with(24, &[1]), Err(SealError::Reserved)));
    // Cut off inside.
    for length in [8, 31, 32, right.len() - PROGRAM.len() - 1] {
        assert!(matches!(find(&right[..length]), Err(SealError::Lengths)), "{length}");
        assert_eq!(
            program_digest(&right[..length]).unwrap(),
            ProgramDigest(plain_sha256(&right[..length]))
        );
    }
    // What text mode makes of it begins a file without a seal.
    let text = [&b"\x89UPL\r\r\n\x1a\r\n"[..], &right[8..]].concat();
    assert!(find(&text).unwrap().is_none());
}

/// Whoever holds no key could write there what a program finds that looks for data at its end.
#[test]
fn what_nothing_signs_is_plain_text() {
    let comment = |text: &str| {
        Signature::parse(KNOWN.replacen("signature from", text, 1).as_bytes()).unwrap_err()
    };
    for text in ["PK\x05\x06", "\0", "\x1b[2J", "\u{9b}"] {
        assert_eq!(comment(text), SignatureError::Control, "{text:?}");
    }
    assert!(Signature::parse(KNOWN.replacen("signature", "gr\u{fc}\u{df}e", 1).as_bytes()).is_ok());
}

#[test]
fn a_hasher_tells_the_program_from_its_seal_in_one_pass_however_the_bytes_come() {
    let seal = sealed().split_off(PROGRAM.len());
    let long = vec![7; 3 * LARGEST_SEAL + 5];
    for program in [PROGRAM, &long, b""] {
        let file = [program, &seal].concat();
        for piece in [1, 63, LARGEST_SEAL - 1, LARGEST_SEAL, LARGEST_SEAL + 1, 1 << 20] {
            let mut hasher = Hasher::new(Beside::default());
            file.chunks(piece).for_each(|bytes| hasher.update(bytes));
            let digests = hasher.finish();
            assert_eq!(
                digests.program,
                program_digest(program).unwrap(),
                "{} bytes by {piece}",
                file.len()
            );
            assert_eq!(digests.file.0, plain_sha256(&file));
        }
        assert_eq!(
            Seal::read(std::io::Cursor::new(&file)).unwrap().unwrap().payload_size(),
            program.len() as u64
        );
        assert_eq!(program_digest(&file[..]).unwrap(), program_digest(program).unwrap());
    }
}

#[test]
fn a_hasher_tells_the_payload_from_the_seal_before_it_in_one_pass_however_the_bytes_come() {
    let before = sealed_before();
    let seal = &before[..before.len() - PROGRAM.len()];
    let long = vec![7; 3 * LARGEST_SEAL + 5];
    let (key, product) = (secret_key(), "x".repeat(LARGEST_SEAL));
    let with = |length: usize| {
        let manifest = Manifest { product: product[..length].into(), ..manifest_before(&key) };
        seal_of(&manifest.to_text().unwrap(), &key)
    };
    let spare = LARGEST_SEAL - with(0).unwrap().len();
    assert!(matches!(with(spare + 1), Err(SealError::Lengths)));
    let largest = with(spare).unwrap();
    assert_eq!(largest.len(), LARGEST_SEAL);
    for seal in [seal, &largest] {
        for payload in [PROGRAM, &long, b"", b"1234567", b"12345678"] {
            let file = [seal, payload].concat();
            for piece in [1, 63, LARGEST_SEAL - 1, LARGEST_SEAL, LARGEST_SEAL + 9, 1 << 20] {
                let mut hasher = Hasher::new(Beside::default());
                file.chunks(piece).for_each(|bytes| hasher.update(bytes));
                let digests = hasher.finish();
                let what = format!("{} bytes by {piece}", file.len());
                assert_eq!(digests.program.0, plain_sha256(payload), "{what}");
                assert_eq!(digests.file.0, plain_sha256(&file), "{what}");
            }
        }
    }
}

fn plain_sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}

#[test]
fn a_seal_that_is_none_belongs_to_the_program() {
    let mut file = sealed();
    file[PROGRAM.len() + 1] ^= 1;
    assert!(find(&file).is_err());
    assert_eq!(program_digest(&file[..]).unwrap(), ProgramDigest(plain_sha256(&file)));
}

#[test]
fn any_other_file_has_no_seal() {
    let (file, before) = (sealed(), sealed_before());
    for file in [&before[1..], &frame::HEADER_MAGIC[..7], &[b"x", &before[..]].concat()] {
        assert!(find(file).unwrap().is_none());
    }
    for file in [
        b"".as_slice(),
        PROGRAM,
        &frame::FOOTER_MAGIC,
        &file[..file.len() - 1],
        &[&file[..], b"x"].concat(),
    ] {
        assert!(find(file).unwrap().is_none());
    }
}

#[test]
fn each_wrong_seal_has_its_reason() {
    assert!(matches!(changed(32, &[2, 0, 0, 0]), SealError::UnknownFormat(2)));
    assert!(matches!(changed(16, &[0, 0, 0, 0, 0, 0, 0, 1]), SealError::Reserved));
    let mut file = sealed();
    let length = file.len();
    file[length - 28..length - 24].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(find(&file), Err(SealError::Lengths)));
    let mut file = sealed();
    file[PROGRAM.len()] ^= 1;
    assert!(matches!(find(&file), Err(SealError::Checksum)));
    let footer_alone = Parts { manifest: b"", signature: b"" }.with_footer().unwrap();
    assert!(matches!(
        find(&footer_alone),
        Err(SealError::Manifest(ManifestError::Json(_) | ManifestError::NoObject))
    ));
    let key = secret_key();
    let other = Manifest { key_id: Some(secret_key().public().id()), ..manifest(&key) };
    assert!(matches!(seal_of(&other.to_text().unwrap(), &key), Err(SealError::KeyIds { .. })));
}

#[test]
fn a_seal_has_a_limit_that_holds_to_the_byte() {
    let key = secret_key();
    let with_product = |length: usize| {
        let text = Manifest { product: "x".repeat(length), ..manifest(&key) }.to_text().unwrap();
        seal_of(&text, &key)
    };
    let spare = LARGEST_SEAL - with_product(0).unwrap().len();
    assert_eq!(with_product(spare).unwrap().len(), LARGEST_SEAL);
    assert!(matches!(with_product(spare + 1), Err(SealError::Lengths)));
    let largest = [PROGRAM, &with_product(spare).unwrap()].concat();
    assert_eq!(find(&largest).unwrap().unwrap().payload_size(), PROGRAM.len() as u64);
}

#[test]
fn a_manifest_is_strict() {
    let key = secret_key();
    let right = String::from_utf8(manifest(&key).to_text().unwrap()).unwrap();
    for (from, to, reason) in [
        ("{", "{\"extra\": 1,", "unknown field `extra`"),
        ("{", "{\"product\": \"OTHER\",", "duplicate field `product`"),
        ("\"product\": \"DEMO\",", "", "missing field `product`"),
        ("}\n", "} x", "trailing characters"),
        ("V02.00.00.00", "V2", "is not a version"),
        ("{", "[", "not a JSON object"),
        ("{", " {", "not a JSON object"),
        (&key.public().id().to_string(), "12", "16 hexadecimal digits"),
    ] {
        let error = Manifest::parse(right.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    let list = format!(
        "[\"DEMO\",\"V02.00.00.00\",\"m\",1,\"{}\",\"\",null,\"{}\"]",
        "00".repeat(32),
        key.public().id()
    );
    assert!(matches!(Manifest::parse(list.as_bytes()), Err(ManifestError::NoObject)));
}

/// The signature that the documentation of minisign-verify verifies, and the same with the old
/// algorithm's letters.
const KNOWN: &str = "untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1633700835\tfile:test\tprehashed
wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==
";
const KNOWN_KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

#[test]
fn a_known_signature_verifies_and_is_strict() {
    let key: PublicKey = KNOWN_KEY.parse().unwrap();
    let signature = Signature::parse(KNOWN.as_bytes()).unwrap();
    assert_eq!((key.id().to_string().as_str(), signature.key_id()), ("E7620F1842B4E81F", key.id()));
    assert!(key.verifies(&signature, b"test"));
    assert!(!key.verifies(&signature, b"Test"));
    assert_eq!(signature.text(), KNOWN);
    let again = Signature::parse(KNOWN.as_bytes()).unwrap();
    let noted = KNOWN.replacen("untrusted comment: ", "untrusted comment: another ", 1);
    let other = Signature::parse(noted.as_bytes()).unwrap();
    assert!(signature == again && signature != other, "all that is stored counts");
    let refused = |text: &str| Signature::parse(text.as_bytes()).unwrap_err();
    assert_eq!(refused(&KNOWN.replace("RUQ", "RWQ")), SignatureError::Legacy);
    assert_eq!(refused(&format!("{KNOWN}more")), SignatureError::Malformed);
    assert_eq!(refused(&format!("{KNOWN}\n")), SignatureError::Malformed);
    assert_eq!(refused(&KNOWN.replace("untrusted comment", "comment")), SignatureError::Malformed);
    assert_eq!(refused(""), SignatureError::Malformed);
    assert_eq!(Signature::parse(b"\xff").unwrap_err(), SignatureError::NotText);
}

#[test]
fn what_is_no_key_is_refused_and_secrets_do_not_show() {
    for text in ["", "RW", "hello", &KNOWN_KEY[..55], &format!("{KNOWN_KEY}\n")] {
        assert_eq!(text.parse::<PublicKey>(), Err(KeyError::NotPublic), "{text:?}");
    }
    for text in ["", "+762F1842B4E81F0", "E7620F1842B4E81", "E7620F1842B4E81FF"] {
        assert_eq!(text.parse::<KeyId>(), Err(NotAKeyId), "{text:?}");
    }
    let keys = NewKeys::generate(None).unwrap();
    let key = SecretKey::read(&keys.secret_text, None).unwrap();
    let (shown, id) = (format!("{keys:?}, {key:?}"), keys.public.id());
    assert_eq!(shown, format!("NewKeys(PublicKey({id})), SecretKey(of PublicKey({id}))"));
    let signature = Signature::parse(key.sign(b"", "").unwrap().as_bytes()).unwrap();
    let shown = format!("{signature:?}");
    assert!(shown.contains(&id.to_string()) && shown.len() < 60, "{shown}");
}

/// minisign's own tool writes none into a key without a password; where there is one, a key that a
/// bad disk has changed signs nothing.
#[test]
fn a_key_without_a_password_is_held_against_its_checksum_if_it_has_one() {
    const KEY: usize = 62;
    const CHECKSUM: usize = 126;
    let keys = NewKeys::generate(None).unwrap();
    let (comment, line) = keys.secret_text.split_once('\n').unwrap();
    let bytes = Base64::decode_to_vec(line.trim_end(), None).unwrap();
    let read = |bytes: &[u8]| {
        let line = Base64::encode_to_string(bytes).unwrap();
        SecretKey::read(&format!("{comment}\n{line}\n"), None)
    };
    let without_checksum = [&bytes[..CHECKSUM], &[0; 32]].concat();
    assert_eq!(read(&without_checksum).unwrap().public(), &keys.public);
    let mut damaged = bytes;
    damaged[KEY] ^= 1;
    assert!(read(&damaged).is_err());
}

#[test]
fn an_encrypted_key_needs_its_password() {
    let keys = NewKeys::generate(Some("right".into())).unwrap();
    let read =
        |password: Option<&str>| SecretKey::read(&keys.secret_text, password.map(String::from));
    assert!(matches!(read(None), Err(signing::SigningError::PasswordNeeded)));
    assert!(matches!(read(Some("wrong")), Err(signing::SigningError::WrongPassword)));
    assert!(matches!(
        SecretKey::read(&keys.public_text, None),
        Err(signing::SigningError::PublicHalf)
    ));
    let mut lines = keys.secret_text.lines();
    let (comment, key) = (lines.next().unwrap(), lines.next().unwrap());
    for other in ["", &key[..100], &key.replace("RWRTY0Iy", "RWRTZEIy"), "not base64!"] {
        assert!(
            matches!(
                SecretKey::read(&format!("{comment}\n{other}\n"), None),
                Err(signing::SigningError::NotSecret)
            ),
            "{other}"
        );
    }
    assert_eq!(read(Some("right")).unwrap().public(), &keys.public);
}

proptest! {
    #[test]
    fn any_bytes_before_a_magic_are_read_to_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200), lengths in any::<[u8; 3]>()) {
        let mut file = [&bytes[..], &[1, 0, 0, 0, lengths[0], 0, 0, 0, lengths[1], lengths[2] & 1, 0, 0], &[0; 12], &frame::FOOTER_MAGIC].concat();
        let _ = find(&file);
        if usize::from(lengths[0]) + usize::from(lengths[1]) + 256 * usize::from(lengths[2] & 1) <= bytes.len() {
            mend(&mut file);
        }
        let _ = find(&file);
    }

    /// A hasher, which gets the bytes piece by piece, and who reads the file's ends are of one mind.
    #[test]
    fn a_hasher_agrees_with_who_reads_the_file(
        at in 0_usize..900, value in any::<u8>(), cut in 0_usize..900, piece in 1_usize..400,
        before in any::<bool>(), behind in any::<bool>(),
    ) {
        let whole = sealed_before();
        let header = if before { &whole[..whole.len() - PROGRAM.len()] } else { &[] };
        let rest = if behind { sealed() } else { PROGRAM.to_vec() };
        let mut file = [header, &rest].concat();
        let at = at % file.len();
        file[at] = value;
        file.truncate(file.len().saturating_sub(cut.saturating_sub(600)));
        let mut hasher = Hasher::new(Beside::default());
        file.chunks(piece).for_each(|bytes| hasher.update(bytes));
        let payload = find(&file).ok().flatten().map_or(0..file.len(), |seal| {
            seal.payload.start.try_into().unwrap()..seal.payload.end.try_into().unwrap()
        });
        let digests = hasher.finish();
        prop_assert_eq!(digests.program.0, plain_sha256(&file[payload]));
        prop_assert_eq!(digests.file.0, plain_sha256(&file));
    }
}

/// As docs/use/seal.md says, and as files that were sealed before count on.
#[test]
fn a_seal_has_at_most_16_kib() {
    assert_eq!(LARGEST_SEAL, 16_384);
}
