//! How a server's file comes by product and version, and which of its modules concern this device.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Components, Hawkbit, HawkbitLink, HawkbitNames};
use crate::model::file_name::{FileName, NameError};
use crate::model::version::Version;
use crate::model::{Failure, FailureKind};

/// What is agreed of names with whoever fills the server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Naming {
    /// Where product and version are read.
    pub(crate) names: Names,
    /// Types of the modules that concern this device; all where it is empty.
    pub(crate) parts: BTreeSet<String>,
    /// Which link of a file is preferred (HB-3).
    pub(crate) link: HawkbitLink,
    /// The place of each product in the configured order of components.
    pub(crate) places: BTreeMap<String, usize>,
}

/// Where product and version of a file are read.
#[derive(Debug, Clone, Default)]
pub(crate) enum Names {
    /// In its own name, `Product_Vaa.bb.cc.dd.bin`.
    #[default]
    File,
    /// In name and version of its module.
    Chunk {
        /// The product that a module's name stands for, or else its type; without an entry it is
        /// the name. gooseBit calls each module after its file, and all are of one type.
        products: BTreeMap<String, String>,
    },
}

impl Naming {
    /// The configured one.
    pub(crate) fn new(config: &Hawkbit, components: &Components) -> Self {
        let names = match config.names {
            HawkbitNames::File => Names::File,
            HawkbitNames::Chunk => Names::Chunk { products: config.products.clone() },
        };
        let chosen = config.components.iter().filter_map(|name| components.get(*name));
        let places = chosen.enumerate().flat_map(|(place, component)| {
            component.products().into_iter().map(move |product| (product.to_owned(), place))
        });
        let places = places.collect();
        Self { names, parts: config.parts.clone(), link: config.link, places }
    }

    /// What a file with this product comes after: by the configured order, and what no component
    /// takes before all others, so that nothing is replaced when it is refused.
    pub(super) fn rank(&self, product: &str) -> Option<usize> {
        self.places.get(product).copied()
    }

    /// Whether a module of this type concerns this device. One without a type does so where all do.
    pub(super) fn concerns(&self, part: Option<&str>) -> bool {
        self.parts.is_empty() || part.is_some_and(|part| self.parts.contains(part))
    }
}

/// The name that the checks ask for, of a file whose module has this name and version.
pub(super) fn of_module(
    products: &BTreeMap<String, String>,
    module: &str,
    part: Option<&str>,
    version: &str,
) -> Result<FileName, Failure> {
    let product = products.get(module).or_else(|| products.get(part?));
    let product = product.map_or(module, String::as_str);
    let version = Version::of_numbers(version).ok_or_else(|| {
        Failure::new(
            FailureKind::WrongVersion,
            format!("the software module's version {} is none that a payload can have", shown(version)),
        )
        .with_hint(
            "give the module a version of one to four numbers up to 99 with dots between them, such as 1.0.2",
        )
    })?;
    let name = format!("{product}_{version}.bin");
    name.parse().map_err(|error: NameError| error.into_failure(&name))
}

/// A text of the server for a person, not longer than one reads.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    let short: String = text.chars().take(LONGEST).collect();
    let rest = if short.len() < text.len() { "..." } else { "" };
    format!("{short:?}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_s_version_is_one_to_four_numbers() {
        for (text, version) in [
            ("1", "V01.00.00.00"),
            ("1.0.3", "V01.00.03.00"),
            ("V1.2", "V01.02.00.00"),
            ("v01.02.03.04", "V01.02.03.04"),
            ("99.99.99.99", "V99.99.99.99"),
            ("0", "V00.00.00.00"),
        ] {
            assert_eq!(
                Version::of_numbers(text).map(|version| version.to_string()).as_deref(),
                Some(version)
            );
        }
        for text in [
            "",
            "V",
            "1.",
            ".1",
            "1..2",
            "1.2.3.4.5",
            "100",
            "1.0.100",
            "007",
            "1.0.3-rc1",
            "1.0.3+5",
            "+1",
            "-1",
            " 1",
            "1.x",
            "VV1",
            "٣",
            "latest",
        ] {
            assert_eq!(Version::of_numbers(text), None, "{text}");
            let failure = of_module(&BTreeMap::new(), "P", Some("os"), text).unwrap_err();
            assert_eq!(failure.kind, FailureKind::WrongVersion);
        }
    }

    #[test]
    fn a_module_s_name_is_the_product_or_stands_for_one() {
        let products = BTreeMap::from([("payload-fw".to_owned(), "PSDK_APPALIAS".to_owned())]);
        for (module, name) in [
            ("payload-fw", "PSDK_APPALIAS_V01.00.03.00.bin"),
            ("GIMBAL", "GIMBAL_V01.00.03.00.bin"),
        ] {
            let found = of_module(&products, module, Some("os"), "1.0.3").unwrap();
            assert_eq!(found.to_string(), name);
        }
        for wrong in ["", "../P", "a\nb", &"x".repeat(300)] {
            let failure = of_module(&products, wrong, None, "1.0.3").unwrap_err();
            assert_eq!(failure.kind, FailureKind::NameInvalid, "{wrong}");
        }
    }

    #[test]
    fn a_module_s_type_stands_for_a_product_where_its_name_does_not() {
        let entries = [("os", "PSDK_APPALIAS"), ("gimbal.swu", "GIMBAL")];
        let products = entries.map(|(of, product)| (of.to_owned(), product.to_owned())).into();
        for (module, part, product) in [
            ("payload-1.0.3.swu", Some("os"), "PSDK_APPALIAS"),
            ("gimbal.swu", Some("os"), "GIMBAL"),
            ("MODEM", Some("bApp"), "MODEM"),
            ("MODEM", None, "MODEM"),
        ] {
            assert_eq!(of_module(&products, module, part, "1").unwrap().product(), product);
        }
    }

    #[test]
    fn a_module_concerns_this_device_by_its_type() {
        let naming = Naming { parts: BTreeSet::from(["os".to_owned()]), ..Naming::default() };
        assert!(naming.concerns(Some("os")));
        assert!(!naming.concerns(Some("bApp")) && !naming.concerns(None));
        assert!(Naming::default().concerns(Some("bApp")) && Naming::default().concerns(None));
    }

    #[test]
    fn a_text_of_the_server_is_shown_in_part() {
        assert_eq!(shown("a\u{1b}[2J"), "\"a\\u{1b}[2J\"");
        assert!(shown(&"x".repeat(1 << 20)).len() < 100);
    }
}
