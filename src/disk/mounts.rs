//! What lies where, by the kernel's list of mounts: which mount a path is on, and whether anything
//! of it outlives a restart of the machine.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

const MOUNTS: &str = "/proc/self/mountinfo";
/// Overlays of overlays, and files that are disks, that are followed; a list of mounts is no place
/// for surprises.
const DEEPEST: usize = 4;

/// The mounts that this process sees.
#[derive(Debug, Clone)]
pub(crate) struct Mounts(Vec<Mount>);

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    id: u64,
    /// Major and minor number of the device.
    device: String,
    /// Where it is mounted.
    pub(crate) point: PathBuf,
    /// As `mount -t` has it.
    pub(crate) kind: String,
    source: String,
    /// Options of the mount and of the file system.
    options: Vec<String>,
}

/// Whether what lies at a place outlives a restart of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lasting {
    Yes,
    /// Why not.
    No(String),
    /// Why nobody can tell.
    Unclear(String),
}

impl Mounts {
    /// Those of this process.
    pub(crate) fn read() -> io::Result<Self> {
        fs::read_to_string(MOUNTS).map(|text| Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(Mount::parse).collect())
    }

    /// Whether something is mounted on this very path.
    pub(crate) fn is_mount(&self, path: &Path) -> bool {
        self.0.iter().any(|mount| mount.point == path)
    }

    /// The mount that an existing path is on.
    pub(crate) fn of(&self, path: &Path) -> io::Result<&Mount> {
        let id = mount_id(path)?;
        let missing = || io::Error::other(format!("{MOUNTS} does not list its mount"));
        self.0.iter().find(|mount| mount.id == id).ok_or_else(missing)
    }

    /// Whether what lies at an existing path outlives a restart of the machine.
    pub(crate) fn lasting(&self, path: &Path) -> Lasting {
        self.lasting_within(path, DEEPEST)
    }

    fn lasting_within(&self, path: &Path, deepest: usize) -> Lasting {
        let mount = match self.of(path) {
            Ok(mount) if deepest > 0 => mount,
            Ok(mount) => {
                return Lasting::Unclear(format!(
                    "there is one file system below another at {}, and so on",
                    mount.point.display()
                ));
            }
            Err(error) => return Lasting::Unclear(format!("its mount is not known: {error}")),
        };
        let point = mount.point.display();
        if let Some(reason) = mount.in_memory() {
            return Lasting::No(reason);
        }
        let upper = mount.upper().map(|upper| ("the upper layer of the overlay", upper));
        let Some((what, below)) = upper.or_else(|| mount.disk_file()) else { return Lasting::Yes };
        if !below.exists() {
            return Lasting::Unclear(format!(
                "{what} at {point} is {}, which can't be seen from here",
                below.display()
            ));
        }
        match self.lasting_within(&below, deepest - 1) {
            Lasting::No(reason) => {
                Lasting::No(format!("{what} at {point} is {}, and {reason}", below.display()))
            }
            other => other,
        }
    }
}

impl Mount {
    /// `36 35 98:0 /root /point rw,noatime shared:1 - ext4 /dev/root rw,errors=continue`; before
    /// the dash any number of words.
    fn parse(line: &str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ');
        let (id, device, point, options) =
            (mount.next()?, mount.nth(1)?, mount.nth(1)?, mount.next()?);
        let mut file_system = file_system.split(' ');
        let (kind, source, more) =
            (file_system.next()?, file_system.next()?, file_system.next().unwrap_or_default());
        Some(Self {
            id: id.parse().ok()?,
            device: device.to_owned(),
            point: unescaped(point).into(),
            kind: kind.to_owned(),
            source: unescaped(source),
            options: options.split(',').chain(more.split(',')).map(unescaped).collect(),
        })
    }

    fn in_memory(&self) -> Option<String> {
        let point = self.point.display();
        if matches!(self.kind.as_str(), "tmpfs" | "ramfs" | "rootfs") {
            return Some(format!("{point} is in memory ({})", self.kind));
        }
        // A disk in memory, compressed or not.
        let is_disk_in_memory =
            ["/dev/zram", "/dev/ram"].iter().any(|disk| self.source.starts_with(disk));
        is_disk_in_memory.then(|| format!("{point} is on {}, a disk in memory", self.source))
    }

    /// Where an overlay keeps what is written; a read-only one keeps nothing.
    fn upper(&self) -> Option<PathBuf> {
        self.value("upperdir").filter(|_| self.kind == "overlay").map(PathBuf::from)
    }

    /// The file that a loop device makes a disk of.
    fn disk_file(&self) -> Option<(&'static str, PathBuf)> {
        let file =
            fs::read_to_string(format!("/sys/dev/block/{}/loop/backing_file", self.device)).ok()?;
        Some(("the file of the disk", file.trim_end_matches('\n').into()))
    }

    /// The value of an option.
    fn value(&self, option: &str) -> Option<&str> {
        self.options.iter().find_map(|found| found.strip_prefix(option)?.strip_prefix('='))
    }

    /// An option by which this file system does not do what a sync promises.
    pub(crate) fn careless_option(&self) -> Option<&str> {
        let careless =
            ["nobarrier", "barrier=0", "volatile", "fsync=volatile", "fsync_mode=nobarrier"];
        self.options.iter().map(String::as_str).find(|option| careless.contains(option))
    }
}

/// The number of the mount that a path is on; of older kernels too, which tell it of open files
/// alone.
fn mount_id(path: &Path) -> io::Result<u64> {
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_PATH.bits()).open(path)?;
    let known = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let number = known.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    number.ok_or_else(|| io::Error::other("the kernel does not tell the mount of a file"))
}

/// White space and backslashes are octal in the list.
fn unescaped(word: &str) -> String {
    word.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// The directory itself, or the one above it that is there.
pub(crate) fn existing(directory: &Path) -> &Path {
    directory.ancestors().find(|directory| directory.exists()).unwrap_or(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_with_any_number_of_words_in_the_middle() {
        let mount = Mount::parse(r"36 35 98:0 /mnt1 /a\040b\134 rw,noatime master:1 shared:2 - ext4 /dev/root rw,nobarrier").unwrap();
        assert_eq!(
            (mount.id, mount.point.to_str().unwrap(), mount.kind.as_str()),
            (36, r"/a b\", "ext4")
        );
        assert_eq!(
            (mount.careless_option(), mount.in_memory(), mount.upper()),
            (Some("nobarrier"), None, None)
        );
        let mount = Mount::parse("36 35 0:30 / / rw - overlay overlay rw,lowerdir=/l,upperdir=/upper/data,workdir=/upper/work").unwrap();
        assert_eq!((mount.upper(), mount.careless_option()), (Some("/upper/data".into()), None));
        let mount = Mount::parse("36 35 253:0 / /data rw - ext4 /dev/zram1 rw").unwrap();
        assert!(mount.in_memory().unwrap().contains("/dev/zram1"));
        assert_eq!(Mount::parse("garbage"), None);
    }

    #[test]
    fn memory_is_known_by_its_mount() {
        let mounts = Mounts::read().unwrap();
        assert!(
            matches!(mounts.lasting(Path::new("/dev/shm")), Lasting::No(reason) if reason.contains("/dev/shm is in memory (tmpfs)"))
        );
        assert!(mounts.is_mount(Path::new("/proc")) && !mounts.is_mount(Path::new("/proc/self")));
    }

    #[test]
    fn an_upper_layer_that_can_not_be_seen_is_unclear() {
        let id = mount_id(Path::new("/")).unwrap();
        let mounts = Mounts::parse(&format!(
            "{id} 1 0:30 / / rw - overlay overlay rw,lowerdir=/lower,upperdir=/no/such/upper,workdir=/w"
        ));
        assert!(
            matches!(mounts.lasting(Path::new("/")), Lasting::Unclear(reason) if reason.contains("/no/such/upper"))
        );
    }
}
