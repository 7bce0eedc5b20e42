//! Which aircraft is played: the port that the payload is at, as docs/wire/payload-link.md section
//! 2 has it. Knows no line.

use std::fmt;

use serde::Serialize;

use crate::frame::Device;

/// An aircraft of the table, with the port at which the payload is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// M300, payload port: the payload is device 13.
    #[default]
    M300,
    /// M350, payload port: the payload is device 13.
    M350,
    /// M350, E-Port: the payload is device CA.
    M350Eport,
    /// M400, payload port: the payload is device 13.
    M400,
    /// M30, E-Port: the payload is device 73.
    M30,
    /// Mavic 3, E-Port: the payload is device 73.
    Mavic3,
    /// M3D, E-Port: the payload is device 73.
    M3d,
    /// M4, E-Port: the payload is device 73.
    M4,
    /// M4D, E-Port: the payload is device 73.
    M4d,
    /// FlyCart 30, E-Port Lite: the payload is device EA.
    Flycart30,
}

/// A route of the probe: from the payload, to the aircraft.
type Route = (u8, u8);

const FROM_E5: Route = (0xE5, 0x65);
const FROM_CA: Route = (0xCA, 0x03);
const FROM_EA: Route = (0xEA, 0x03);

impl Model {
    /// The type code in the answer to a probe.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::M300 => 60,
            Self::M350 | Self::M350Eport => 89,
            Self::M400 => 103,
            Self::M30 => 67,
            Self::Mavic3 => 77,
            Self::M3d => 91,
            Self::M4 => 99,
            Self::M4d => 100,
            Self::Flycart30 => 78,
        }
    }

    /// Whether it answers a probe on this route. It is silent on all others: a payload takes the
    /// first answer for its port.
    pub(super) fn answers(self, from: Device, to: Device) -> bool {
        let routes: &[Route] = match self {
            Self::M300 | Self::M350 | Self::M400 => &[FROM_E5],
            Self::M350Eport | Self::M3d | Self::M4 | Self::M4d => &[FROM_CA],
            Self::M30 | Self::Mavic3 => &[FROM_CA, FROM_E5],
            Self::Flycart30 => &[FROM_EA],
        };
        routes.contains(&(from.0, to.0))
    }
}

impl fmt::Display for Model {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::M300 => "M300",
            Self::M350 => "M350",
            Self::M350Eport => "M350 (E-Port)",
            Self::M400 => "M400",
            Self::M30 => "M30",
            Self::Mavic3 => "Mavic 3",
            Self::M3d => "M3D",
            Self::M4 => "M4",
            Self::M4d => "M4D",
            Self::Flycart30 => "FlyCart 30",
        })
    }
}
