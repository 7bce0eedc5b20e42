//! What a server is told of the device: its attributes.

use std::collections::BTreeMap;

use serde_json::json;

use super::feedback::bytes;
use super::naming::shown;
use crate::config::{LONGEST_ATTRIBUTE, MOST_ATTRIBUTES, units};
use crate::handover::channels::OwnComponent;
use crate::model::version::Version;

/// A device's attributes as a server takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigData {
    /// What is sent.
    pub(crate) body: Vec<u8>,
    /// What of it the server would not take, a sentence each: for the log.
    pub(crate) cut: Vec<String>,
}

impl ConfigData {
    /// The attributes of a device with these components; the first one's version is that of the
    /// device. What is configured comes before what is known.
    pub(crate) fn of(configured: &BTreeMap<String, String>, installed: &[OwnComponent]) -> Self {
        let mut data = Data::default();
        for (key, value) in configured {
            data.add(key, value);
        }
        if let Some(version) = installed.first().and_then(|first| first.version)
            && !configured.contains_key(DEVICE_VERSION)
        {
            data.add(DEVICE_VERSION, &short(version));
        }
        for OwnComponent { component, product, version, .. } in installed {
            data.add(&format!("{component}_product"), product);
            if let Some(version) = version {
                data.add(&format!("{component}_version"), &version.to_string());
            }
        }
        let Data { entries, cut } = data;
        Self { body: bytes(&json!({"mode": "merge", "data": entries})), cut }
    }
}

/// The key of the device's version, which gooseBit reads: it offers what differs from it, and again
/// after each message without it.
const DEVICE_VERSION: &str = "sw_version";

/// A version as servers write it, whose versions have three numbers: `1.0.3`, or `1.0.3.4`.
fn short(version: Version) -> String {
    match version.numbers() {
        [a, b, c, 0] => format!("{a}.{b}.{c}"),
        [a, b, c, d] => format!("{a}.{b}.{c}.{d}"),
    }
}

#[derive(Default)]
struct Data {
    entries: BTreeMap<String, String>,
    cut: Vec<String>,
}

impl Data {
    fn add(&mut self, key: &str, value: &str) {
        let why = if units(key) > LONGEST_ATTRIBUTE {
            "its name is too long"
        } else if self.entries.contains_key(key) {
            "there is one of this name already"
        } else if self.entries.len() == MOST_ATTRIBUTES {
            "there are too many"
        } else {
            let kept = cut(value);
            if kept.len() < value.len() {
                self.cut.push(format!("the attribute {} was cut off", shown(key)));
            }
            self.entries.insert(key.to_owned(), kept.to_owned());
            return;
        };
        self.cut.push(format!("the attribute {} was left out: {why}", shown(key)));
    }
}

/// The part of a value that the server takes.
fn cut(value: &str) -> &str {
    let mut left = LONGEST_ATTRIBUTE;
    let end = value.char_indices().find_map(|(at, c)| match left.checked_sub(c.len_utf16()) {
        Some(rest) => {
            left = rest;
            None
        }
        None => Some(at),
    });
    &value[..end.unwrap_or(value.len())]
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn installed(component: &str, product: &str, version: Option<&str>) -> OwnComponent {
        OwnComponent {
            component: component.parse().unwrap(),
            product: product.to_owned(),
            version: version.map(|version| version.parse().unwrap()),
            brought_by: None,
        }
    }

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn body(data: &ConfigData) -> Value {
        serde_json::from_slice(&data.body).unwrap()
    }

    #[test]
    fn a_device_s_attributes_are_those_configured_and_its_components() {
        let configured = map(&[("hw_boardname", "payload"), ("hw_revision", "1.0")]);
        let components = [
            installed("program", "PSDK_APPALIAS", Some("V01.00.03.00")),
            installed("modem", "MODEM", None),
        ];
        let data = ConfigData::of(&configured, &components);
        assert_eq!(
            body(&data),
            json!({"mode": "merge", "data": {
                "hw_boardname": "payload", "hw_revision": "1.0", "sw_version": "1.0.3",
                "program_product": "PSDK_APPALIAS", "program_version": "V01.00.03.00",
                "modem_product": "MODEM",
            }})
        );
        assert_eq!(data.cut, Vec::<String>::new());
    }

    #[test]
    fn the_device_s_version_is_written_as_the_server_s() {
        for (version, short) in
            [("V01.00.03.00", "1.0.3"), ("V01.02.03.04", "1.2.3.4"), ("V00.00.00.00", "0.0.0")]
        {
            let components = [installed("program", "P", Some(version))];
            assert_eq!(body(&ConfigData::of(&map(&[]), &components))["data"]["sw_version"], short);
        }
        let components = [installed("program", "P", Some("V01.00.00.00"))];
        let data = ConfigData::of(&map(&[("sw_version", "2026-11")]), &components);
        assert_eq!(body(&data)["data"]["sw_version"], "2026-11");
        assert!(data.cut.is_empty(), "what is configured comes first, and that is no loss");
    }

    #[test]
    fn what_the_server_would_not_take_is_cut_and_said() {
        let long = "x".repeat(200);
        let data =
            ConfigData::of(&map(&[("a", &long), (&long, "b"), ("c", &"😀".repeat(65))]), &[]);
        let sent = body(&data);
        assert_eq!(sent["data"]["a"], "x".repeat(128));
        assert_eq!(sent["data"]["c"], "😀".repeat(64));
        assert_eq!(sent["data"].as_object().unwrap().len(), 2);
        assert_eq!(data.cut.len(), 3);
        assert!(data.cut[0].contains("\"a\" was cut off"), "{:?}", data.cut);
        let whole = ConfigData::of(&map(&[("a", &"x".repeat(128)), ("b", &"😀".repeat(64))]), &[]);
        assert!(whole.cut.is_empty());
    }

    #[test]
    fn a_hundred_attributes_and_no_more() {
        let many: BTreeMap<String, String> =
            (0..100).map(|n| (format!("key{n}"), "x".to_owned())).collect();
        let data = ConfigData::of(&many, &[installed("program", "P", Some("V01.00.00.00"))]);
        assert_eq!(body(&data)["data"].as_object().unwrap().len(), 100);
        assert_eq!(data.cut.len(), 3, "version of the device, product and version: {:?}", data.cut);
        assert!(data.cut[0].contains("there are too many"));
    }

    #[test]
    fn two_attributes_of_one_name_are_said() {
        let components = [installed("sw", "P", Some("V01.00.03.00"))];
        let data = ConfigData::of(&map(&[]), &components);
        assert_eq!(body(&data)["data"]["sw_version"], "1.0.3");
        assert!(data.cut[0].contains("there is one of this name already"), "{:?}", data.cut);
    }
}
