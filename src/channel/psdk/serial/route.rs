//! The routes on which the payload looks for the aircraft, and the address that an answer gives it
//! (docs/wire/payload-link.md section 2).
//!
//! The route that is answered tells the aircraft's port, and the port gives the payload its
//! address. This is the one place that knows which; it knows no time and no line.

use bytes::Bytes;

use super::super::guess;
use super::frame::{Address, Frame, Kind};
use super::wire::id;

/// The payload's address on a payload port. The failure report names it on every port.
pub const PAYLOAD_PORT: Address = Address(0x13);
/// On the E-Port of an M350.
pub const E_PORT: Address = Address(0xCA);
/// On the E-Port of an M30, a Mavic 3 and the M3D and M4 series.
pub const E_PORT_OF_SMALL: Address = Address(0x73);
/// On an E-Port Lite.
pub const E_PORT_LITE: Address = Address(0xEA);
/// Every address that a payload can have.
pub const ADDRESSES: [Address; 4] = [PAYLOAD_PORT, E_PORT, E_PORT_OF_SMALL, E_PORT_LITE];

/// From whom to whom a probe goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `E5` to `65`.
    FromE5,
    /// `CA` to `03`.
    FromCa,
    /// `EA` to `03`.
    FromEa,
}

impl Route {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::FromE5, Self::FromCa, Self::FromEa];

    const fn ends(self) -> (Address, Address) {
        match self {
            Self::FromE5 => (Address(0xE5), Address(0x65)),
            Self::FromCa => (Address(0xCA), Address(0x03)),
            Self::FromEa => (Address(0xEA), Address(0x03)),
        }
    }

    /// The probe.
    pub fn request(self, sequence: u16) -> Frame {
        let (from, to) = self.ends();
        Frame::request(from, to, sequence, id::PROBE, Bytes::new())
    }

    /// The route on which this frame answers a probe.
    pub fn answered_by(frame: &Frame) -> Option<Self> {
        let is_answer = frame.kind == Kind::Response && frame.command == id::PROBE;
        Self::ALL
            .into_iter()
            .find(|route| is_answer && route.ends() == (frame.receiver, frame.sender))
    }

    /// Whether this frame is a probe: a line that echoes brings our own back.
    pub fn is_probe(frame: &Frame) -> bool {
        let is_request = matches!(frame.kind, Kind::Request(_)) && frame.command == id::PROBE;
        is_request && Self::ALL.iter().any(|route| route.ends() == (frame.sender, frame.receiver))
    }

    /// The payload's address where an aircraft of this type answers on this route. None where the
    /// vendor's library would not work there: such an answer is not taken, and another route may
    /// bring a better one.
    pub const fn address(self, aircraft: u8) -> Option<Address> {
        match (self, aircraft) {
            // Never taken.
            (_, 44..=46 | 93) => None,
            // M30, Mavic 3.
            (Self::FromE5 | Self::FromCa, 67 | 68 | 77 | 79 | 80) => Some(E_PORT_OF_SMALL),
            // FlyCart 30, M3D, M4, M4D: the library takes it for a payload port and refuses a
            // serial port alone there.
            (Self::FromE5, 78 | 91 | 99 | 100) => None,
            // M300, FlyCart 30, M400: a mount position that the library does not know.
            (Self::FromCa, 60 | 78 | 103) => None,
            // M350.
            (Self::FromCa, 89) => Some(E_PORT),
            // M3D, M4, M4D.
            (Self::FromCa, 91 | 99 | 100) => Some(E_PORT_OF_SMALL),
            // M3D: not supported.
            (Self::FromEa, 91) => None,
            // M300, M350, M400, and types that nobody has tried.
            (Self::FromE5, _) => Some(PAYLOAD_PORT),
            (Self::FromCa, _) => Some(guess::ADDRESS_ON_UNKNOWN_E_PORT),
            // FlyCart 30, and types that nobody has tried.
            (Self::FromEa, _) => Some(E_PORT_LITE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of docs/wire/payload-link.md section 2, and the rows below it.
    #[test]
    fn the_route_and_the_aircraft_give_the_address() {
        use Route::{FromCa, FromE5, FromEa};
        let table: [(Route, &[u8], Option<u8>); 9] = [
            (FromE5, &[60, 89, 103, 200], Some(0x13)),
            (FromCa, &[89], Some(0xCA)),
            (FromE5, &[67, 68, 77, 79, 80], Some(0x73)),
            (FromCa, &[67, 68, 77, 79, 80, 91, 99, 100, 200], Some(0x73)),
            (FromEa, &[78, 200], Some(0xEA)),
            (FromCa, &[60, 78, 103], None),
            (FromE5, &[78, 91, 99, 100], None),
            (FromEa, &[91], None),
            (FromE5, &[44, 45, 46, 93], None),
        ];
        for (route, aircraft, address) in table {
            for aircraft in aircraft {
                assert_eq!(
                    route.address(*aircraft),
                    address.map(Address),
                    "{route:?}, type {aircraft}"
                );
            }
        }
    }

    #[test]
    fn an_answer_tells_its_route_and_nothing_else_does() {
        for route in Route::ALL {
            let probe = route.request(7);
            assert_eq!((Route::is_probe(&probe), Route::answered_by(&probe)), (true, None));
            let answer = probe.response(&[60][..]);
            assert_eq!(
                (Route::is_probe(&answer), Route::answered_by(&answer)),
                (false, Some(route))
            );
        }
        let stranger = Frame::request(Address(0x2A), Address(0x03), 1, id::PROBE, Bytes::new());
        assert_eq!(
            (Route::is_probe(&stranger), Route::answered_by(&stranger.response(&[60][..]))),
            (false, None)
        );
    }
}
