//! Section `[package]`: what a firmware file may be, and whose seals are trusted.

use std::fmt;

use serde::Deserialize;

use super::error::Mistake;
use super::values::largest;
use super::{Components, Size};
use crate::model::{Form, Scheme};
use crate::seal::PublicKey;

/// Section `[package]`: what a firmware file may be.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Package {
    /// Largest file, in bytes or with a unit ("512MiB"); not zero.
    #[serde(deserialize_with = "largest")]
    pub max_size: Size,
    /// Lets the version that runs be installed again.
    pub allow_same_version: bool,
    /// Accepts an ELF file whose completeness its own headers can't prove: no section table, or
    /// data behind the end.
    pub allow_unproven_end: bool,
    /// For which machine a program may be.
    pub machine: MachineRule,
    /// Whether a file without a seal is accepted; [`Package::seal_rule`] has what holds where it is
    /// not said.
    pub seal: Option<SealRule>,
    /// The keys whose seals are trusted. With none, a seal proves only that the file is as it was
    /// sealed, by whomever.
    pub keys: Vec<TrustedKey>,
}

impl Default for Package {
    fn default() -> Self {
        Self {
            max_size: Size(2 << 30),
            allow_same_version: false,
            allow_unproven_end: false,
            machine: MachineRule::Installed,
            seal: None,
            keys: Vec::new(),
        }
    }
}

/// For which machine a program may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineRule {
    /// That of the installed program.
    Installed,
    /// Any that this kernel can run, as from 32 to 64 bits; the program shows it by telling its
    /// version.
    AnyRunnable,
}

/// What a firmware file is for a component, without its seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A program: an ELF file for this machine.
    #[default]
    Elf,
    /// A script: its first line names an interpreter.
    Script,
    /// Anything, such as a package or a bundle; nothing in it is looked at.
    Any,
    /// A program for a microcontroller: the format of every component of that kind, and of no other.
    #[serde(skip)]
    Stm32(Stm32Format),
    /// A tree: the format of every component of that kind, and of no other.
    #[serde(skip)]
    Tree(TreeFormat),
}

/// What a tree may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TreeFormat {
    /// Files with the set-user-id or the set-group-id bit.
    pub set_id: bool,
}

/// What a program for a microcontroller must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stm32Format {
    /// What starts it.
    pub scheme: Scheme,
    /// Where in it its version stands, such as `V02.00.00.00`, in bytes from its beginning.
    pub version_at: Option<u32>,
}

/// Whether a file must be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SealRule {
    /// A file without a seal is refused.
    Required,
    /// A file without a seal is accepted; one with a seal must be right all the same.
    Optional,
}

/// A key whose seals are trusted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedKey {
    /// The key: the second line of a minisign `.pub` file.
    pub public: PublicKey,
    /// Whose it is, for people.
    pub note: Option<String>,
}

/// Its id, and whose it is.
impl fmt::Display for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.note {
            Some(note) => write!(f, "{} ({note})", self.public.id()),
            None => write!(f, "{}", self.public.id()),
        }
    }
}

impl Package {
    /// What can run shows itself when it is asked for its version.
    pub(super) fn check_machine(&self, components: &Components) -> Result<(), Mistake> {
        let untold = components.programs().filter(|component| component.form == Form::File);
        let untold =
            untold.into_iter().find(|component| component.common.version_command.is_none());
        let Some(untold) = untold.filter(|_| self.machine == MachineRule::AnyRunnable) else {
            return Ok(());
        };
        let explanation = format!(
            "`machine = \"any-runnable\"` needs `version_command` in [component.{}], such as [\"--version\"]: a program shows by \
             its answer that this machine runs it",
            untold.common.name
        );
        Err(Mistake::new(&["package.machine"], explanation))
    }

    /// Whether a file must be sealed: where it is not said, as soon as there is a key.
    pub fn seal_rule(&self) -> SealRule {
        self.seal.unwrap_or(if self.keys.is_empty() {
            SealRule::Optional
        } else {
            SealRule::Required
        })
    }

    pub(super) fn check_keys(&self) -> Result<(), Mistake> {
        if self.seal == Some(SealRule::Required) && self.keys.is_empty() {
            let explanation = "`seal = \"required\"` needs a key: add a section [[package.keys]] with `public`, the second line of the \
                               .pub file that `uplift keygen` or `minisign -G` made";
            return Err(Mistake::new(&["package.seal"], explanation));
        }
        for (index, TrustedKey { public, .. }) in self.keys.iter().enumerate() {
            if self.keys[..index].iter().any(|earlier| earlier.public.id() == public.id()) {
                let explanation = format!("the key {} is listed twice", public.id());
                return Err(Mistake::new(&[&format!("package.keys[{index}]")], explanation));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::*;

    #[test]
    fn trusted_keys_are_keys_and_listed_once() {
        const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let package = |text: &str| {
            Config::parse(
                &format!(
                    "[component.program]\npath = \"/opt/p\"\nproduct = \"P\"\n[package]\n{text}"
                ),
                Path::new("uplift.toml"),
            )
            .map(|config| config.package)
        };
        let key = |more: &str| format!("[[package.keys]]\npublic = \"{KEY}\"\n{more}\n");
        let right =
            package(&format!("seal = \"required\"\n{}", key("note = \"release\""))).unwrap();
        assert_eq!(
            (right.seal_rule(), right.keys[0].to_string().as_str()),
            (SealRule::Required, "E7620F1842B4E81F (release)")
        );
        for (text, rule) in [
            (String::new(), SealRule::Optional),
            (key(""), SealRule::Required),
            (format!("seal = \"optional\"\n{}", key("")), SealRule::Optional),
        ] {
            assert_eq!(package(&text).unwrap().seal_rule(), rule, "{text}");
        }
        for (text, place, reason) in [
            ("seal = \"required\"", "line 5, field package.seal", "needs a key"),
            ("max_size = 0", "line 5, field package.max_size", "such as \"512MiB\""),
            (
                "machine = \"any-runnable\"",
                "line 5, field package.machine",
                "needs `version_command` in [component.program]",
            ),
            ("machine = \"any\"", "line 5, field package.machine", "`any-runnable`"),
            ("seal = \"always\"", "line 5, field package.seal", "`optional`"),
            (
                &(key("") + &key("")),
                "line 8, field package.keys[1]",
                "E7620F1842B4E81F is listed twice",
            ),
            (&key("id = 1"), "line 7, field package.keys[0]", "`note`"),
            (
                "keys = [{ public = \"RW\" }]",
                "line 5, field package.keys[0].public",
                "begin with RW",
            ),
        ] {
            let error = package(text).unwrap_err().to_string();
            assert!(error.contains(place) && error.contains(reason), "{error}");
        }
    }
}
