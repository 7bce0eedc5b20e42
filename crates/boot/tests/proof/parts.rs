//! The parts that the host shares with the chip: CRC, image, record.

use uplift_boot::{Crc, FileInfo, Image, Map, Order, Record, Unfit, Vectors};

const ENTRY: u32 = 0x0801_0009;

fn image(stack: u32, entry: u32, size: usize) -> Vec<u8> {
    let mut bytes = [stack.to_le_bytes(), entry.to_le_bytes()].concat();
    bytes.resize(size, 0xA5);
    bytes
}

fn check(bytes: &[u8]) -> Result<u32, Unfit> {
    Image::check(bytes, &Map::SEED).map(|image| image.size())
}

#[test]
fn the_crc_is_that_of_zip() {
    let mut crc = Crc::new();
    crc.update(b"12345");
    crc.update(b"6789");
    assert_eq!(crc.finish(), 0xCBF4_3926);
    assert_eq!(Crc::new().finish(), 0);
}

#[test]
fn st_6_a_stack_lies_in_memory_and_on_a_word() {
    for good in [0x2000_0004, 0x2001_FFFC, 0x2002_0000, 0x1000_0004, 0x1001_0000] {
        assert_eq!(check(&image(good, ENTRY, 64)), Ok(64), "{good:#x}");
    }
    for bad in [0, 0x2000_0000, 0x2002_0004, 0x2001_FFFE, 0x1000_0000, 0x1001_0004, u32::MAX] {
        assert_eq!(check(&image(bad, ENTRY, 64)), Err(Unfit::Stack(bad)), "{bad:#x}");
    }
}

#[test]
fn st_6_an_entry_is_thumb_and_within_the_image() {
    assert_eq!(check(&image(0x2000_1000, 0x0801_003F, 64)), Ok(64));
    for bad in [0, 0x0801_0008, 0x0801_0041, 0x0800_0009, 0x0808_0009, u32::MAX] {
        assert_eq!(check(&image(0x2000_1000, bad, 64)), Err(Unfit::Entry(bad)), "{bad:#x}");
    }
}

#[test]
fn st_6_a_size_is_that_of_the_area_and_is_padded() {
    assert_eq!(check(&[]), Err(Unfit::Small));
    assert_eq!(check(&image(0x2000_1000, 0x0801_0005, 8)[..7]), Err(Unfit::Small));
    assert_eq!(check(&image(0x2000_1000, 0x0801_0005, 8)), Ok(8));
    assert_eq!(check(&image(0x2000_1000, ENTRY, 448 * 1024)), Ok(448 * 1024));
    assert_eq!(check(&image(0x2000_1000, ENTRY, 448 * 1024 + 1)), Err(Unfit::Large));
    for (size, padding) in [(16, 0), (17, 3), (18, 2), (19, 1)] {
        let bytes = image(0x2000_1000, ENTRY, size);
        let image = Image::check(&bytes, &Map::SEED).unwrap();
        assert_eq!(image.padding(), vec![0xFF; padding]);
        let padded = [bytes.as_slice(), image.padding()].concat();
        let mut crc = Crc::new();
        crc.update(&padded);
        assert_eq!(image.record(), Record { size: padded.len() as u32, crc: crc.finish() });
    }
}

#[test]
fn st_6_erased_flash_is_no_program() {
    assert_eq!(check(&[0xFF; 1024]), Err(Unfit::Stack(u32::MAX)));
}

/// V3: what CubeMX writes, and CCM, the vendor's bootloader would copy and never start.
#[test]
fn st_6_the_vendors_mask_is_narrower() {
    let starts = |stack| {
        let vectors = Vectors::check(stack, ENTRY, 64, &Map::SEED);
        vectors.map(|vectors| vectors.starts_in_vendors())
    };
    assert_eq!(starts(0x2001_FFFC), Ok(true));
    assert_eq!(starts(0x2002_0000), Ok(false));
    assert_eq!(starts(0x1001_0000), Ok(false));
}

#[test]
fn st_16_a_record_byte_by_byte() {
    let record = Record { size: 0x0000_0400, crc: 0xFFFF_FFF0 };
    // 31 zeros in the size, 4 in the CRC.
    let body = [1, 0, 0, 0, 0, 4, 0, 0, 0xF0, 0xFF, 0xFF, 0xFF, 35, 0x4C, 0x50, 0x55];
    assert_eq!(record.body(), body);
    assert_eq!(Record::key(), [0x44, 0x33, 0x22, 0x11]);
    let with = |copied: [u8; 4]| {
        let bytes = [&Record::key()[..], &body, &copied].concat();
        Order::parse_bytes(bytes.first_chunk().unwrap(), &Map::SEED)
    };
    assert_eq!(with([0xFF; 4]), Order::Pending(record));
    assert_eq!(with([0; 4]), Order::Copied(record));
    assert_eq!(with([0, 0, 1, 0]), Order::Pending(record));
    assert_eq!(Order::parse_bytes(&[0xFF; 24], &Map::SEED), Order::None);
}

#[test]
fn file_info_is_a_size_and_a_name_that_ends() {
    let bytes = FileInfo { size: 0x0102_0304 }.bytes(b"a.bin");
    assert_eq!(bytes[..10], *b"\x04\x03\x02\x01a.bin\0");
    assert_eq!(bytes.len(), 260);
    let long = FileInfo { size: 4 }.bytes(&[b'x'; 300]);
    assert_eq!(long[258..], *b"x\0");
}
