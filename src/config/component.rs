//! Sections `[component.NAME]`: what is upgraded, by name.

use std::collections::{BTreeMap, btree_map};
use std::path::Path;

use super::command::Command;
use super::common::Common;
use super::error::Mistake;
use super::fields::{Fields, Kind};
use super::package::{Format, Stm32Format, TreeFormat};
use super::program::Program;
use super::trial::{Trial, TrialFields};
use crate::model::{Board, ComponentName, Form};

/// What is upgraded.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "there are a few, for the life of the daemon")]
pub enum Component {
    /// A file at a path, or a directory, which uplift itself swaps.
    Program(Program),
    /// What another updater installs, or uplift itself in the place of one.
    Command(Command),
}

/// The components of a configuration: one at least, and no product is that of two.
#[derive(Debug, Clone)]
pub struct Components(BTreeMap<ComponentName, Component>);

impl Components {
    /// Every updater that is cut off is begun again.
    #[cfg(test)]
    pub(crate) fn begin_again(&mut self) {
        for component in self.0.values_mut() {
            if let Component::Command(command) = component {
                command.begins_again = true;
            }
        }
    }

    /// The components of these sections; `trial` is what holds for all of them, and `state` the
    /// directory of the state.
    pub(super) fn of(
        sections: BTreeMap<ComponentName, Fields>,
        trial: &TrialFields,
        state: &Path,
    ) -> Result<Self, Mistake> {
        if sections.is_empty() {
            let explanation = "there is nothing to upgrade: add a section [component.program]";
            return Err(Mistake::new(&["component"], explanation));
        }
        let mut components = BTreeMap::new();
        for (name, fields) in sections {
            let own = Trial::of(trial, &fields.trial);
            if fields.set_id.is_some() && fields.kind != Kind::Tree {
                let field = format!("component.{name}.set_id");
                return Err(Mistake::new(
                    &[field],
                    "this belongs to a component of the kind \"tree\"",
                ));
            }
            let component = match fields.kind {
                Kind::Program => {
                    let window = own.window(trial, &fields.trial, name)?;
                    let common = Common::of(&fields, name, Format::default(), own);
                    Component::Program(Program::of(fields, common, window)?)
                }
                Kind::Tree => {
                    let window = own.window(trial, &fields.trial, name)?;
                    let set_id = fields.set_id.unwrap_or_default();
                    let common =
                        Common::of(&fields, name, Format::Tree(TreeFormat { set_id }), own);
                    Component::Program(Program::of_tree(fields, common, window)?)
                }
                Kind::Stm32 => {
                    let (scheme, version_at) = (fields.scheme(name)?, fields.version_at);
                    let format = Format::Stm32(Stm32Format { scheme, version_at });
                    let common = Common::of(&fields, name, format, own);
                    Component::Command(Command::of_board(fields, common, state)?)
                }
                Kind::Command => {
                    let common = Common::of(&fields, name, Format::Any, own);
                    Component::Command(Command::of(fields, common)?)
                }
            };
            components.insert(name, component);
        }
        let components = Self(components);
        components.check_products()?;
        components.check_trees(state)?;
        Ok(components)
    }

    /// The product name chooses the component, so that of two must differ; and so must the paths.
    fn check_products(&self) -> Result<(), Mistake> {
        let pairs = self
            .iter()
            .enumerate()
            .flat_map(|(at, one)| self.iter().take(at).map(move |other| (one, other)));
        for (one, other) in pairs {
            let (name, of_other) = (one.name(), other.name());
            if let Some(product) = one.products().into_iter().find(|one| other.accepts_product(one))
            {
                let explanation = format!(
                    "the product {product} is that of [component.{of_other}] too: it must choose one of them"
                );
                let fields = [one.field("product"), one.field("aliases")];
                return Err(Mistake::new(&fields, explanation));
            }
            let (Component::Program(one), Component::Program(other)) = (one, other) else {
                continue;
            };
            if one.path == other.path {
                let path = one.path.display();
                let explanation = format!("the path {path} is that of [component.{of_other}] too");
                let fields = [format!("component.{name}.path"), format!("component.{name}.name")];
                return Err(Mistake::new(&fields, explanation));
            }
        }
        Ok(())
    }

    /// What lies in a tree goes with it: neither the state may, nor another component.
    fn check_trees(&self, state: &Path) -> Result<(), Mistake> {
        for tree in self.programs().filter(|program| program.form == Form::Tree) {
            let (field, path) = (tree.common.field("path"), tree.path.display());
            if state.starts_with(&tree.path) {
                let explanation = format!(
                    "{path} is replaced as a whole, and `state` of [paths] lies in it: {}",
                    state.display()
                );
                return Err(Mistake::new(&[field], explanation));
            }
            let lies_in_it = |other: &&Program| {
                other.common.name != tree.common.name && other.path.starts_with(&tree.path)
            };
            if let Some(other) = self.programs().find(lies_in_it) {
                let explanation = format!(
                    "{path} is replaced as a whole, and [component.{}] lies in it: {}",
                    other.common.name,
                    other.path.display()
                );
                return Err(Mistake::new(&[field], explanation));
            }
        }
        Ok(())
    }

    /// All of them, by their names.
    pub fn iter(&self) -> btree_map::Values<'_, ComponentName, Component> {
        self.0.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Component> {
        self.0.values_mut()
    }

    /// Those that uplift itself swaps.
    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        self.iter().filter_map(Component::program)
    }

    /// The one of this name.
    pub fn get(&self, name: ComponentName) -> Option<&Component> {
        self.0.get(&name)
    }

    /// Whether there is only one, so that nobody need say which one is meant.
    pub fn is_single(&self) -> bool {
        self.0.len() == 1
    }

    /// The one for files with this product name.
    pub fn of_product(&self, product: &str) -> Option<&Component> {
        self.iter().find(|component| component.accepts_product(product))
    }
}

impl<'a> IntoIterator for &'a Components {
    type Item = &'a Component;
    type IntoIter = btree_map::Values<'a, ComponentName, Component>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Component {
    /// What it has, whatever its kind.
    pub fn common(&self) -> &Common {
        match self {
            Self::Program(program) => &program.common,
            Self::Command(command) => &command.common,
        }
    }

    /// Its name.
    pub fn name(&self) -> ComponentName {
        self.common().name
    }

    /// Product name that a file must carry.
    pub fn product(&self) -> &str {
        &self.common().product
    }

    /// Where it is one that uplift itself swaps.
    pub fn program(&self) -> Option<&Program> {
        match self {
            Self::Program(program) => Some(program),
            Self::Command(_) => None,
        }
    }

    /// Where it is a microcontroller.
    pub fn board(&self) -> Option<&Board> {
        match self {
            Self::Program(_) => None,
            Self::Command(command) => command.board.as_ref(),
        }
    }

    /// Whether a file with this product name is for this component.
    pub fn accepts_product(&self, product: &str) -> bool {
        self.common().accepts_product(product)
    }

    /// The name of one of its fields, for a person.
    pub(crate) fn field(&self, field: &str) -> String {
        self.common().field(field)
    }

    /// Its product names, the first one before the others.
    pub(crate) fn products(&self) -> Vec<&str> {
        std::iter::once(self.product())
            .chain(self.common().aliases.iter().map(String::as_str))
            .collect()
    }
}
