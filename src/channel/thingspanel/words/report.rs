//! The version of a module, as the platform is told it.

use serde_json::json;

use crate::config::Generation;

/// The bytes of a version report: a message of its own before 1.0 (3.6), an attribute since (TP-16).
pub(in crate::channel::thingspanel) fn report(
    generation: Generation,
    attribute: &str,
    message: &str,
    module: &str,
    version: &str,
) -> Vec<u8> {
    let value = match generation {
        Generation::LegacyInfrom | Generation::V05 => {
            json!({ "id": message, "params": { "version": version, "module": module } })
        }
        Generation::V1 => json!({ attribute: version, "module": module }),
    };
    value.to_string().into_bytes()
}
