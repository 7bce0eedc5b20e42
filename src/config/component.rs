//! Sections `[component.NAME]`: what is upgraded, by name.

use std::collections::{BTreeMap, btree_map};

use super::error::Mistake;
use super::fields::{Fields, Kind};
use super::program::Program;
use super::trial::{Trial, TrialFields};
use crate::model::ComponentName;

/// The components of a configuration: one at least, and no product is that of two.
#[derive(Debug, Clone)]
pub struct Components(BTreeMap<ComponentName, Program>);

impl Components {
    /// The components of these sections; `trial` is what holds for all of them.
    pub(super) fn of(
        sections: BTreeMap<ComponentName, Fields>,
        trial: &TrialFields,
    ) -> Result<Self, Mistake> {
        if sections.is_empty() {
            let explanation = "there is nothing to upgrade: add a section [component.program]";
            return Err(Mistake::new(&["component"], explanation));
        }
        let mut components = BTreeMap::new();
        for (name, mut fields) in sections {
            let trial = Trial::of(trial, std::mem::take(&mut fields.trial), name)?;
            let component = match fields.kind {
                Kind::Program => Program::of(fields, name, trial)?,
            };
            components.insert(name, component);
        }
        let components = Self(components);
        components.check_products()?;
        Ok(components)
    }

    /// The product name chooses the component, so that of two must differ; and so must the paths.
    fn check_products(&self) -> Result<(), Mistake> {
        for (at, component) in self.iter().enumerate() {
            for other in self.iter().take(at) {
                let name = component.name;
                let products = component.products();
                if let Some(product) = products.into_iter().find(|one| other.accepts_product(one)) {
                    let explanation = format!(
                        "the product {product} is that of [component.{}] too: it must choose one of them",
                        other.name
                    );
                    let fields =
                        [format!("component.{name}.product"), format!("component.{name}.aliases")];
                    return Err(Mistake::new(&fields, explanation));
                }
                if component.path == other.path {
                    let explanation = format!(
                        "the path {} is that of [component.{}] too",
                        component.path.display(),
                        other.name
                    );
                    let fields =
                        [format!("component.{name}.path"), format!("component.{name}.name")];
                    return Err(Mistake::new(&fields, explanation));
                }
            }
        }
        Ok(())
    }

    /// All of them, by their names.
    pub fn iter(&self) -> btree_map::Values<'_, ComponentName, Program> {
        self.0.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Program> {
        self.0.values_mut()
    }

    /// The one of this name.
    pub fn get(&self, name: ComponentName) -> Option<&Program> {
        self.0.get(&name)
    }

    /// Whether there is only one, so that nobody need say which one is meant.
    pub fn is_single(&self) -> bool {
        self.0.len() == 1
    }

    /// The one for files with this product name.
    pub fn of_product(&self, product: &str) -> Option<&Program> {
        self.iter().find(|component| component.accepts_product(product))
    }
}

impl<'a> IntoIterator for &'a Components {
    type Item = &'a Program;
    type IntoIter = btree_map::Values<'a, ComponentName, Program>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
