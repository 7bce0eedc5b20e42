//! The platform's texts for our versions.

use crate::config::PlatformVersion;
use crate::model::version::Version;

/// Our version as the platform is told it.
pub(in crate::channel::thingspanel) fn print(version: Version, form: PlatformVersion) -> String {
    let [a, b, c, d] = version.numbers();
    match form {
        PlatformVersion::Full => version.to_string(),
        PlatformVersion::Numbers => format!("{a}.{b}.{c}.{d}"),
        PlatformVersion::Short if d > 0 => format!("v{a}.{b}.{c}.{d}"),
        PlatformVersion::Short if c > 0 => format!("v{a}.{b}.{c}"),
        PlatformVersion::Short => format!("v{a}.{b}"),
    }
}
