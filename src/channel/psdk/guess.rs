//! Every guess of docs/wire/payload-link.md, in one place: what nobody has seen on an aircraft yet
//! (its rows marked G).
//!
//! When a capture of an aircraft decides one of them, this file is the only one that changes.

use std::time::Duration;

use super::serial::frame::Address;

/// The payload's address where an aircraft of a type that nobody has tried answers from `CA` to
/// `03` (section 2): that of the newer ones.
pub const ADDRESS_ON_UNKNOWN_E_PORT: Address = Address(0x73);

/// First byte of the answer to "enter": accepted (section 3, `83`; the meaning is a guess).
pub const ENTER_ACCEPTED: u8 = 0xC7;
/// First byte of the answer to "enter": refused, for whatever reason (section 3, `83`; the meaning
/// is a guess).
pub const ENTER_REFUSED: u8 = 0xCD;
/// Seconds that the host is asked to wait after "enter". None: the store is empty before the answer
/// goes out.
pub const ENTER_WAIT_SECONDS: u16 = 0;

/// An "enter" that comes again within this time, with nothing done in between, repeats one whose
/// answer was lost: it is answered alike, and the store, which is still empty, is not cleared a
/// second time under a host that goes on already.
pub const REPEATED_ENTER: Duration = Duration::from_secs(2);

/// Whether `2A`, `84` and `85` of a sender that did not enter are refused while another's upgrade
/// is under way (section 5b). No aircraft has shown that one host never uses both addresses: where
/// the journal says that a host's own requests were refused for this, set it to `false`, and
/// everybody's requests count.
pub const ONLY_WHO_ENTERED: bool = true;

/// Answer to "check and start": the check passed and the upgrade started (section 3, `85`; the
/// meaning is a guess).
pub const CHECK_PASSED_AND_STARTED: u8 = 0x06;

/// Length field of the answer to "get firmware version" (section 3, `4F`).
pub const VERSION_LENGTH: u32 = 4;
/// Offset field of the answer to "get firmware version" (section 3, `4F`).
pub const VERSION_OFFSET: u32 = 0;

/// Largest chunk that the answer to "DCFTP start" offers, as its bytes 1 and 2 say (section 3, `2A
/// 01`).
pub const CHUNK_SIZE_OFFERED: u16 = 256;
/// Return code of a data frame that repeats or skips: its data is not taken, and the numbers tell
/// where to go on (section 3 has the numbers; that the code is "no error" is a guess, because a
/// host may give up on any other).
pub const DATA_NOT_TAKEN: u8 = 0x00;

/// Bytes 2 and 3 of a failure `end`: how many devices failed, and which (section 4).
pub const END_DEVICE_COUNT: u8 = 1;
/// See [`END_DEVICE_COUNT`]: a payload, whatever its address on its port is.
pub const END_DEVICE: u8 = 0x13;

/// How long a host waits for the answer to "check and start" (section 5b). When it passes, the
/// answer is "passed and started", and a check that fails later is told by `end`.
pub const HOST_WAIT_FOR_CHECK: Duration = Duration::from_secs(5);

/// How long the link may be silent once FTP is offered: the host uploads elsewhere meanwhile, asked
/// for the port or not, and nothing on this link tells how far it is (section 5b speaks of silence;
/// that an upload is none is our reading).
pub const UPLOAD_LIMIT: Duration = Duration::from_secs(15 * 60);

/// A linked aircraft that says nothing for this long is probed again at the rate that works
/// (section 2 is silent on it).
pub const PROBE_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// A linked aircraft that says nothing for this long may be another one, at another rate: the rates
/// are cycled again.
pub const LINK_LOST_AFTER: Duration = Duration::from_secs(60);
