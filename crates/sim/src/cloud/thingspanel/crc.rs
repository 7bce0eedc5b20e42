//! The sums of parts of a file, by what the header `Crc16-Method` asks for.

/// A way of the sum of 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// CRC-16/USB.
    Usb,
    ///
    Ccitt,
    /// What the platform calls so, and nobody else.
    Modbus,
}

/// A sum that goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum {
    method: Method,
    register: u16,
}

impl Method {
    pub(super) fn of(header: Option<&str>) -> Self {
        match header {
            Some("CCITT") => Self::Ccitt,
            Some("MODBUS") => Self::Modbus,
            _ => Self::Usb,
        }
    }
}

impl Sum {
    pub(super) const fn new(method: Method) -> Self {
        let register = match method {
            Method::Usb | Method::Ccitt => 0xffff,
            Method::Modbus => 0,
        };
        Self { method, register }
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match self.method {
                Method::Usb => self.reflected(*byte, 0xa001),
                Method::Ccitt => self.reflected(*byte, 0x8408),
                Method::Modbus => self.normal(*byte, 0x3d65),
            }
        }
    }

    /// Four digits.
    pub(super) fn digits(self) -> String {
        let sum = match self.method {
            Method::Usb | Method::Ccitt => !self.register,
            Method::Modbus => self.register,
        };
        format!("{sum:04x}")
    }

    fn reflected(&mut self, byte: u8, polynomial: u16) {
        self.register ^= u16::from(byte);
        for _ in 0..8 {
            let odd = self.register & 1 == 1;
            self.register = (self.register >> 1) ^ if odd { polynomial } else { 0 };
        }
    }

    fn normal(&mut self, byte: u8, polynomial: u16) {
        self.register ^= u16::from(byte) << 8;
        for _ in 0..8 {
            let high = self.register & 0x8000 != 0;
            self.register = (self.register << 1) ^ if high { polynomial } else { 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of docs/use/thingspanel.md, which the platform's own library gives.
    #[test]
    fn each_method_has_its_check_value() {
        let example: Vec<u8> = (0..1024).map(|number| (number % 256) as u8).collect();
        for (header, of_digits, of_example) in [
            (None, "b4c8", "1301"),
            (Some("else"), "b4c8", "1301"),
            (Some("CCITT"), "906e", "0921"),
            (Some("MODBUS"), "3d48", "6cc9"),
        ] {
            let sum = |bytes: &[u8]| {
                let mut sum = Sum::new(Method::of(header));
                sum.add(bytes);
                sum.digits()
            };
            assert_eq!((sum(b"123456789"), sum(&example)), (of_digits.into(), of_example.into()));
        }
    }
}
