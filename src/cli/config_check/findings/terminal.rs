//! Who else has the payload link's device: the kernel's console, a virtual terminal, a program for
//! braille displays.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

use super::Findings;
use super::units::Systemd;
use crate::config::Link;

/// The serial ports and terminals that the kernel writes its messages to.
const CONSOLES: &str = "/proc/consoles";
/// Where rules of udev lie; a file in an earlier one replaces those of its name in later ones.
const RULES: [&str; 4] =
    ["/etc/udev/rules.d", "/run/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d"];
/// Vendor and product of the adapters that `brltty` takes for braille displays: CH340 and CP210x.
const TAKEN: [(&str, &str); 2] = [("1a86", "7523"), ("10c4", "ea60")];

impl Findings {
    /// A serial port that is wired to somebody, and whoever else writes there.
    pub(super) fn terminal(&mut self, field: impl Into<String>, path: &Path) {
        let Ok(metadata) = fs::metadata(path) else { return };
        if !metadata.file_type().is_char_device() {
            return;
        }
        let (device, number) = (path.display(), (major(metadata.rdev()), minor(metadata.rdev())));
        if is_virtual(number) {
            let sentence = format!(
                "{device} is a terminal of this machine's screen or session, no serial port"
            );
            let hint = "name the serial port that the other end is wired to, such as /dev/ttyUSB0";
            return self.error(field, sentence, hint);
        }
        if is_console(&fs::read_to_string(CONSOLES).unwrap_or_default(), number) {
            let sentence = format!(
                "{device} is a console of the kernel, whose messages go out between what is said"
            );
            let hint = "take its `console=` out of the kernel's command line (`cat /proc/cmdline`), and disable the login on it (`systemctl disable serial-getty@…`)";
            self.warning(field, sentence, hint);
        }
    }

    /// An adapter that was taken has no device any more.
    pub(super) fn braille(&mut self, systemd: &Systemd, link: &Link) {
        let (identity, by) =
            (usb_identity(Path::new("/sys"), &link.device), rules_of_braille(&RULES));
        let is_endangered =
            if link.device.exists() { identity.is_some_and(is_taken) } else { true };
        if !is_endangered {
            return;
        }
        let (by, hint) = match by {
            Some(file) => {
                let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
                (
                    file.display().to_string(),
                    format!(
                        "remove the package `brltty`, or switch its rules off: `ln -s /dev/null /etc/udev/rules.d/{name}`; then plug the adapter in again"
                    ),
                )
            }
            None if systemd.unit("brltty.service").is_ok_and(|unit| unit.active_state == "active") => (
                "brltty.service".to_owned(),
                "remove the package `brltty`, or `systemctl disable --now brltty`; then plug the adapter in again".to_owned(),
            ),
            None => return,
        };
        let sentence = format!(
            "`brltty` takes adapters with CH340 and CP210x for braille displays, and their device away ({by})"
        );
        self.warning("channel.psdk.device", sentence, hint);
    }
}

/// `/dev/tty0` to `/dev/tty63`, `/dev/tty` and `/dev/console`, under whatever name.
fn is_virtual(number: (u64, u64)) -> bool {
    matches!(number, (4, 0..=63) | (5, 0 | 1))
}

/// Lines such as `ttyS0                -W- (EC  p a)    4:64`.
fn is_console(consoles: &str, (major, minor): (u64, u64)) -> bool {
    let number = format!("{major}:{minor}");
    consoles.lines().any(|line| line.split_whitespace().last() == Some(&number))
}

/// Vendor and product of the adapter on USB that a port is on.
fn usb_identity(sysfs: &Path, device: &Path) -> Option<(String, String)> {
    let node = device.canonicalize().ok()?;
    let port =
        sysfs.join("class/tty").join(node.file_name()?).join("device").canonicalize().ok()?;
    port.ancestors().find_map(|directory| {
        let read = |name: &str| {
            fs::read_to_string(directory.join(name))
                .ok()
                .map(|text| text.trim().to_ascii_lowercase())
        };
        Some((read("idVendor")?, read("idProduct")?))
    })
}

fn is_taken((vendor, product): (String, String)) -> bool {
    TAKEN.contains(&(vendor.as_str(), product.as_str()))
}

/// The file with rules of `brltty` that name one of these adapters, if one is in force.
fn rules_of_braille<P: AsRef<Path>>(directories: &[P]) -> Option<PathBuf> {
    let mut in_force: BTreeMap<_, PathBuf> = BTreeMap::new();
    for entry in directories.iter().flat_map(fs::read_dir).flatten().flatten() {
        let name = entry.file_name();
        let is_of_braille =
            name.to_str().is_some_and(|name| name.contains("brltty") && name.ends_with(".rules"));
        if is_of_braille {
            in_force.entry(name).or_insert_with(|| entry.path());
        }
    }
    in_force
        .into_values()
        .find(|file| fs::read_to_string(file).is_ok_and(|rules| names_adapter(&rules)))
}

fn names_adapter(rules: &str) -> bool {
    let active = rules
        .lines()
        .map(|line| line.trim().to_ascii_lowercase())
        .filter(|line| !line.starts_with('#'));
    active.into_iter().any(|line| {
        TAKEN.iter().any(|(vendor, product)| line.contains(vendor) && line.contains(product))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_and_a_virtual_terminal_are_known_by_their_numbers() {
        let consoles = "tty0                 -WU (E   p  )    4:7\nttyS0                -W- (EC  p a)    4:64\n";
        assert!(
            is_console(consoles, (4, 64))
                && !is_console(consoles, (4, 65))
                && !is_console(consoles, (188, 0))
        );
        assert!(
            is_virtual((4, 1))
                && is_virtual((5, 0))
                && is_virtual((5, 1))
                && !is_virtual((4, 64))
                && !is_virtual((188, 0))
        );
    }

    #[test]
    fn rules_that_are_switched_off_or_commented_out_take_nothing() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let write = |path: &Path, text: &str| {
            fs::File::create(path)
                .and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()))
        };
        use std::io;
        let rules = second.path().join("85-brltty.rules");
        let found = || rules_of_braille(&[first.path(), second.path()]);
        write(&rules, "# ENV{PRODUCT}==\"1a86/7523/*\"\nENV{PRODUCT}==\"403/de58/*\", GOTO=\"brltty_usb_run\"\n").unwrap();
        assert_eq!(found(), None);
        write(&rules, "ENV{PRODUCT}==\"10C4/EA60/*\", GOTO=\"brltty_usb_run\"\n").unwrap();
        assert_eq!(found(), Some(rules));
        std::os::unix::fs::symlink("/dev/null", first.path().join("85-brltty.rules")).unwrap();
        assert_eq!(found(), None);
    }

    #[test]
    fn an_adapter_is_known_by_what_it_hangs_on() {
        let sysfs = tempfile::tempdir().unwrap();
        let port = sysfs.path().join("devices/usb1/1-1/1-1:1.0/ttyUSB7");
        fs::create_dir_all(&port).unwrap();
        fs::create_dir_all(sysfs.path().join("class/tty/null")).unwrap();
        std::os::unix::fs::symlink(&port, sysfs.path().join("class/tty/null/device")).unwrap();
        for (name, text) in [("idVendor", "1A86\n"), ("idProduct", "7523\n")] {
            let file = fs::File::create(sysfs.path().join("devices/usb1/1-1").join(name));
            file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
                .unwrap();
        }
        let identity = usb_identity(sysfs.path(), Path::new("/dev/null"));
        assert_eq!(identity, Some(("1a86".into(), "7523".into())));
        assert!(identity.is_some_and(is_taken));
        assert_eq!(usb_identity(sysfs.path(), Path::new("/dev/zero")), None);
    }
}
