//! What the sections of components of all kinds have.

use std::collections::BTreeSet;
use std::time::Duration;

use super::fields::Fields;
use super::package::Format;
use super::trial::Trial;
use crate::host::command::Isolation;
use crate::model::ComponentName;
use crate::model::version::Version;

/// What components of all kinds have.
#[derive(Debug, Clone)]
pub struct Common {
    /// Its name among the components.
    pub name: ComponentName,
    /// Product name that a file must carry: the part before `_Vaa.bb.cc.dd.bin`.
    pub product: String,
    /// Other product names that are accepted.
    pub aliases: BTreeSet<String>,
    /// What its firmware files are, without their seals.
    pub format: Format,
    /// Version of what was installed by other means; a version that `uplift` installed itself is
    /// remembered.
    pub version: Option<Version>,
    /// What prints the version: arguments of a program, such as `["--version"]`, or of another
    /// updater a command.
    pub version_command: Option<Vec<String>>,
    /// How the commands that are run for a check (version, health) are kept from the machine.
    pub isolate_commands: Isolation,
    /// How long one answer about the version may take.
    pub preflight_deadline: Duration,
    /// What it must show after an upgrade.
    pub trial: Trial,
}

impl Common {
    pub(super) fn of(fields: &Fields, name: ComponentName, usual: Format, trial: Trial) -> Self {
        Self {
            name,
            product: fields.product.0.clone(),
            aliases: fields.aliases.iter().map(|alias| alias.0.clone()).collect(),
            format: fields.format.unwrap_or(usual),
            version: fields.version,
            version_command: fields.version_command.clone(),
            isolate_commands: fields.isolate_commands,
            preflight_deadline: fields.preflight_deadline,
            trial,
        }
    }

    /// Whether a file with this product name is for this component.
    pub(crate) fn accepts_product(&self, product: &str) -> bool {
        self.product == product || self.aliases.contains(product)
    }

    /// The name of one of its fields, for a person.
    pub(crate) fn field(&self, field: &str) -> String {
        format!("component.{}.{field}", self.name)
    }
}
