//! What a configuration needs beyond the packaged units, as systemd's directives. Looks at nothing
//! but what a device is.
//!
//! Knows what the units in `systemd/` let in; a test holds the two together.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use nix::sys::stat::major;
use nix::unistd::{Gid, Group};

use crate::config::{CREDENTIALS, Config, Door, FtpServer, Link, Paths, Program, TransferChoice};
use crate::host::unit;

/// The daemon's unit.
pub(in crate::cli) const DAEMON: &str = "uplift.service";
/// The units of the second deadline, and what each of them calls.
const RESCUES: [(&str, &str); 2] =
    [("uplift-rescue.service", "boot"), ("uplift-rescue-deadline.service", "deadline")];
/// The upload server.
pub(in crate::cli) const FTP_SERVER: &str = "uplift-ftp.service";
/// Its port.
pub(in crate::cli) const FTP_SOCKET: &str = "uplift-ftp.socket";
/// The network channels' unit.
const CHANNELS: &str = "uplift-channels.service";

/// Directory of programs that the units let uplift write to.
const PROGRAMS: &str = "/usr/local/bin";
/// Directories that `ProtectSystem=full` makes read-only.
const SYSTEM: [&str; 4] = ["/usr", "/boot", "/efi", "/etc"];
/// Directories that `ProtectHome=yes` hides.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
/// Directories that `PrivateTmp=yes` replaces.
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];
/// Major numbers of serial adapters on USB (`ttyUSB`, `ttyACM`), which the daemon's unit lets in.
const USB_SERIAL: [u64; 2] = [188, 166];
/// The same by their names, where none is plugged in.
const USB_SERIAL_NAMES: [&str; 4] =
    ["/dev/ttyUSB", "/dev/ttyACM", "/dev/uplift-link", "/dev/serial/"];
/// Where the files lie that become credentials.
const SECRETS: &str = "/etc/uplift";
/// Major numbers of pseudo-terminals.
const PSEUDO_TERMINALS: std::ops::RangeInclusive<u64> = 136..=143;

/// One directive, and the field of the configuration that asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Directive {
    pub(in crate::cli) field: String,
    pub(in crate::cli) name: &'static str,
    /// As systemd reads it; empty takes back what the unit says.
    pub(in crate::cli) value: String,
    /// What systemd makes of it, and shows.
    pub(in crate::cli) meaning: String,
}

/// A drop-in for one unit: a file that adds to it.
#[derive(Debug)]
pub(in crate::cli) struct DropIn {
    pub(in crate::cli) unit: &'static str,
    section: &'static str,
    pub(in crate::cli) directives: Vec<Directive>,
}

impl DropIn {
    const fn of(unit: &'static str) -> Self {
        Self { unit, section: "Service", directives: Vec::new() }
    }

    pub(in crate::cli) const fn is_empty(&self) -> bool {
        self.directives.is_empty()
    }

    fn add(&mut self, field: &str, name: &'static str, value: impl Into<String>) {
        let value = value.into();
        self.add_meaning(field, name, value.clone(), value);
    }

    fn add_meaning(&mut self, field: &str, name: &'static str, value: String, meaning: String) {
        let directive = Directive { field: field.to_owned(), name, value, meaning };
        if !self.directives.iter().any(|given| {
            given.name == name && given.value == directive.value && !directive.value.is_empty()
        }) {
            self.directives.push(directive);
        }
    }

    /// Lets the service write to a directory.
    fn writable(&mut self, field: &str, directory: &Path) {
        self.visible(field, directory);
        self.add_meaning(
            field,
            "ReadWritePaths",
            quoted(directory),
            directory.to_string_lossy().into_owned(),
        );
    }

    /// Lays a file of root's, whose name is that of the credential, where the configuration looks
    /// for it.
    fn credential(&mut self, field: &str, file: Option<&Path>) {
        let Some(name) =
            file.and_then(|file| file.strip_prefix(CREDENTIALS).ok()?.strip_prefix(self.unit).ok())
        else {
            return;
        };
        let name = name.to_string_lossy();
        // Before the colon a backslash escapes, behind it a path stands as it is.
        let (before, behind) = (specified(&name).replace('\\', "\\\\"), specified(&name));
        self.add_meaning(
            field,
            "LoadCredential",
            format!("{before}:{SECRETS}/{behind}"),
            format!("{name}:{SECRETS}/{name}"),
        );
    }

    /// Shows the service a directory that the unit hides.
    fn visible(&mut self, field: &str, path: &Path) {
        if is_below_any(path, &HOMES) {
            self.add(field, "ProtectHome", "read-only");
        }
        if is_below_any(path, &TEMPORARY) {
            self.add(field, "PrivateTmp", "no");
        }
    }
}

/// The file's text.
impl fmt::Display for DropIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Made by `uplift config sandbox`.\n[{}]", self.section)?;
        let mut last = "";
        for Directive { field, name, value, .. } in &self.directives {
            if field != last {
                writeln!(f, "# {field}")?;
            }
            last = field;
            writeln!(f, "{name}={value}")?;
        }
        Ok(())
    }
}

/// A drop-in for each unit, empty where it suffices as it is.
pub(in crate::cli) fn all(config: &Config) -> Vec<DropIn> {
    let programs: Vec<(String, &Path)> = config.components.programs().map(place).collect();
    let mut drop_ins = vec![daemon(config, &programs)];
    drop_ins.extend(RESCUES.map(|(unit, call)| rescue(unit, call, &config.paths, &programs)));
    drop_ins.push(ftp_server(&config.ftp_server));
    drop_ins.push(ftp_socket(config.ftp_server.listen));
    drop_ins.push(channels(config));
    drop_ins
}

/// The directory of a program, and the field that names it.
fn place(program: &Program) -> (String, &Path) {
    (program.common.field("path"), program.path.parent().unwrap_or(Path::new("/")))
}

fn daemon(config: &Config, programs: &[(String, &Path)]) -> DropIn {
    let mut drop_in = DropIn::of(DAEMON);
    let elsewhere = programs.iter().find(|(_, directory)| *directory != Path::new(PROGRAMS));
    if let Some((field, _)) = elsewhere {
        drop_in.add(field, "ReadWritePaths", "");
        for (field, directory) in programs {
            drop_in.writable(field, directory);
        }
    }
    let (paths, default) = (&config.paths, Paths::default());
    if paths.state != default.state {
        drop_in.writable("paths.state", &paths.state);
    }
    for (field, socket) in [
        ("paths.control", Some(&paths.control)),
        ("metrics.socket", config.metrics.socket.as_ref()),
    ] {
        let directory = socket.and_then(|socket| socket.parent());
        if let Some(directory) =
            directory.filter(|directory| Some(*directory) != default.control.parent())
        {
            drop_in.writable(field, directory);
        }
    }
    drop_in.credential("transfer.ftp.password_file", config.ftp.password_file.as_deref());
    if let Some(link) = &config.link {
        if link.door == Door::Serial {
            device(&mut drop_in, link);
        }
        let server = config.ftp.address.ip();
        if link.transfer != TransferChoice::Dcftp && !server.is_loopback() {
            drop_in.add("transfer.ftp.address", "IPAddressAllow", server.to_string());
        }
    }
    drop_in
}

fn device(drop_in: &mut DropIn, link: &Link) {
    drop_in.visible("channel.psdk.device", &link.device);
    let number = link
        .device
        .metadata()
        .ok()
        .filter(|metadata| metadata.file_type().is_char_device())
        .map(|found| major(found.rdev()));
    let device = link.device.to_string_lossy();
    match number {
        Some(number) if USB_SERIAL.contains(&number) => {}
        // Their nodes come and go, whoever the link at the path points to.
        Some(number) if PSEUDO_TERMINALS.contains(&number) => {
            drop_in.add("channel.psdk.device", "DeviceAllow", "char-pts rw");
        }
        None if USB_SERIAL_NAMES.iter().any(|name| device.starts_with(name)) => {}
        None if !link.device.starts_with("/dev") => {
            drop_in.add("channel.psdk.device", "DeviceAllow", "char-pts rw");
        }
        _ => drop_in.add_meaning(
            "channel.psdk.device",
            "DeviceAllow",
            format!("{} rw", quoted(&link.device)),
            format!("{device} rw"),
        ),
    }
}

fn rescue(unit: &'static str, call: &str, paths: &Paths, programs: &[(String, &Path)]) -> DropIn {
    let mut drop_in = DropIn::of(unit);
    for (field, directory) in programs {
        // It may write everywhere but in the system's own directories and people's homes.
        if *directory != Path::new(PROGRAMS)
            && (is_below_any(directory, &SYSTEM) || is_below_any(directory, &HOMES))
        {
            drop_in.writable(field, directory);
        }
    }
    if paths.state != Paths::default().state {
        drop_in.visible("paths.state", &paths.state);
        drop_in.add("paths.state", "ExecStart", "");
        let call = |state: &str| format!("/usr/bin/uplift-rescue {call} --state {state}");
        let (state, shown) =
            (unit::literal(&quoted(&paths.state)), unit::literal(&paths.state.to_string_lossy()));
        drop_in.add_meaning("paths.state", "ExecStart", call(&state), call(&shown));
    }
    drop_in
}

fn ftp_server(config: &FtpServer) -> DropIn {
    let (mut drop_in, home) = (DropIn::of(FTP_SERVER), &config.home);
    drop_in.credential("ftp_server.password_file", config.password_file.as_deref());
    if home != Path::new("/upgrade") {
        drop_in.add("ftp_server.home", "ReadWritePaths", "");
        drop_in.writable("ftp_server.home", home);
    }
    drop_in
}

fn channels(config: &Config) -> DropIn {
    let (mut drop_in, paths) = (DropIn::of(CHANNELS), &config.paths);
    for (field, file) in config.network_secrets() {
        drop_in.credential(&field, file);
    }
    if let Some(quectel) = &config.quectel {
        modem(&mut drop_in, &quectel.device);
    }
    if config.networks().next().is_some() && paths.state != Paths::default().state {
        drop_in.writable("paths.state", &paths.of_channels());
    }
    drop_in
}

/// The unit has no devices and no group that may use one.
fn modem(drop_in: &mut DropIn, device: &Path) {
    const FIELD: &str = "channel.quectel.device";
    /// Who may use serial ports on Debian.
    const GROUP: &str = "dialout";
    drop_in.visible(FIELD, device);
    let found = device.metadata().ok().filter(|found| found.file_type().is_char_device());
    let is_pseudo_terminal = match &found {
        Some(found) => PSEUDO_TERMINALS.contains(&major(found.rdev())),
        None => !device.starts_with("/dev"),
    };
    // A closed policy lets in what is named, and nodes of private devices are others than those.
    drop_in.add(FIELD, "PrivateDevices", "no");
    drop_in.add(FIELD, "DevicePolicy", "closed");
    if is_pseudo_terminal {
        drop_in.add(FIELD, "DeviceAllow", "char-pts rw");
        return;
    }
    let name = device.to_string_lossy();
    match found.as_ref().map(|found| major(found.rdev())) {
        // The number of an adapter on USB changes when it is plugged in again.
        Some(number) if USB_SERIAL.contains(&number) => {
            drop_in.add(FIELD, "DeviceAllow", format!("char-{number} rw"));
        }
        None if USB_SERIAL_NAMES.iter().any(|usb| name.starts_with(usb)) => {
            USB_SERIAL.iter().for_each(|number| {
                drop_in.add(FIELD, "DeviceAllow", format!("char-{number} rw"));
            });
        }
        _ => drop_in.add_meaning(
            FIELD,
            "DeviceAllow",
            format!("{} rw", quoted(device)),
            format!("{name} rw"),
        ),
    }
    let group = found.and_then(|found| Group::from_gid(Gid::from_raw(found.gid())).ok().flatten());
    let group = group.map_or(GROUP.to_owned(), |group| group.name);
    if group != "root" {
        drop_in.add(FIELD, "SupplementaryGroups", group);
    }
}

fn ftp_socket(listen: SocketAddr) -> DropIn {
    let mut drop_in = DropIn { section: "Socket", ..DropIn::of(FTP_SOCKET) };
    if listen != SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 21) {
        drop_in.add("ftp_server.listen", "ListenStream", "");
        drop_in.add("ftp_server.listen", "ListenStream", listen.to_string());
    }
    drop_in
}

fn is_below_any(path: &Path, directories: &[&str]) -> bool {
    directories.iter().any(|directory| path.starts_with(directory))
}

/// A percent sign begins a specifier in each value.
fn specified(text: &str) -> String {
    text.replace('%', "%%")
}

/// A path as systemd reads it as a word: white space ends one outside quotation marks.
fn quoted(path: &Path) -> String {
    let text = specified(&path.to_string_lossy());
    if text.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\')) {
        return unit::quoted(&text);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn drop_ins(program: &str, sections: &str) -> String {
        by_unit(program, sections).concat()
    }

    fn by_unit(program: &str, sections: &str) -> Vec<String> {
        let text = format!("[component.program]\nproduct = \"P\"\n{program}\n{sections}\n");
        let config = Config::parse(&text, Path::new("uplift.toml")).unwrap();
        all(&config)
            .iter()
            .filter(|drop_in| !drop_in.is_empty())
            .map(|drop_in| format!("{}: {drop_in}", drop_in.unit))
            .collect()
    }

    #[test]
    fn what_the_network_channels_show_their_servers_are_credentials_of_their_unit() {
        let secret = |name: &str| format!("/run/credentials/uplift-channels.service/{name}");
        let sections = format!(
            "[paths]\nstate = \"/data/uplift\"\n[channel.hawkbit]\nserver = \"https://h\"\ncontroller_id = \"P\"\nunsealed = \"lab\"\n\
             target_token_file = \"{}\"\n[channel.luatos]\nunsealed = \"lab\"\nproject_key_file = \"{}\"\nfirmware_name = \"f\"\n\
             identity = {{ imei = \"P\" }}\ncore = 1\n[broker.b]\nurl = \"mqtt://b\"\nclient_id = \"P\"\nuser_file = \"{}\"\n\
             [channel.thingspanel]\nunsealed = \"lab\"\nbroker = \"b\"\ntoken_file = \"{}\"\n",
            secret("token"),
            secret("key"),
            secret("user"),
            secret("panel")
        );
        let all = by_unit("name = \"p\"", &sections);
        let channels: String = all.into_iter().filter(|text| text.starts_with(CHANNELS)).collect();
        for line in [
            "LoadCredential=token:/etc/uplift/token\n",
            "LoadCredential=key:/etc/uplift/key\n",
            "LoadCredential=user:/etc/uplift/user\n",
            "LoadCredential=panel:/etc/uplift/panel\n",
            "ReadWritePaths=/data/uplift-channels\n",
        ] {
            assert!(channels.contains(line), "{line:?} in {channels}");
        }
    }

    #[test]
    fn the_defaults_need_nothing() {
        assert_eq!(drop_ins("name = \"p\"", "[channel.psdk]"), "");
        assert_eq!(drop_ins("name = \"p\"", "[channel.psdk]\ndevice = \"/dev/uplift-link\""), "");
        assert_eq!(
            drop_ins("name = \"p\"", "[transfer.ftp]\naddress = \"192.0.2.7:21\""),
            "",
            "without a link nothing is pulled"
        );
    }

    /// What works on it runs in a unit of its own, without a sandbox: nobody else is let in.
    #[test]
    fn a_microcontroller_opens_no_unit_for_its_port_and_its_pins() {
        for entry in [
            "{ gpio = { chip = \"/dev/gpiochip0\", boot0 = \"17\", reset = \"!27\" } }",
            "{ modem = { boot0 = \"dtr\", reset = \"rts\" } }",
        ] {
            let board = format!(
                "[component.motor]\nkind = \"stm32\"\nproduct = \"M\"\nport = \"/dev/ttyS1\"\nentry = {entry}"
            );
            assert_eq!(drop_ins("name = \"p\"", &board), "");
        }
    }

    /// The rescue may write there by itself.
    #[test]
    fn a_program_elsewhere_takes_the_place_of_the_default_directory() {
        let all = drop_ins("path = \"/opt/pay load/p\"", "");
        assert_eq!(
            all,
            "uplift.service: # Made by `uplift config sandbox`.\n[Service]\n# component.program.path\nReadWritePaths=\nReadWritePaths=\"/opt/pay load\"\n"
        );
    }

    /// What changes is a name in the directory above the tree.
    #[test]
    fn of_a_tree_the_directory_above_it_is_written() {
        let all = drop_ins("kind = \"tree\"\npath = \"/opt/sensor\"", "");
        assert!(all.ends_with("ReadWritePaths=\nReadWritePaths=/opt\n"), "{all}");
    }

    #[test]
    fn what_is_hidden_is_shown_to_all_who_need_it() {
        let all = drop_ins("path = \"/home/a/100%/p\"", "");
        assert_eq!(
            all.matches("ProtectHome=read-only\nReadWritePaths=/home/a/100%%\n").count(),
            3,
            "{all}"
        );
    }

    #[test]
    fn each_place_that_is_configured_elsewhere() {
        let sections = "[channel.psdk]\ndevice = \"/dev/null\"\n[transfer.ftp]\naddress = \"192.0.2.7:21\"\n[ftp_server]\nlisten = \"0.0.0.0:2121\"\n\
                        home = \"/srv/upgrade\"\n[paths]\nstate = \"/data/uplift\"\ncontrol = \"/run/other/control.sock\"\n\
                        [metrics]\nsocket = \"/srv/metrics/uplift.sock\"";
        let all = by_unit("path = \"/usr/bin/p\"", sections);
        for (unit, lines) in [
            (DAEMON, "ReadWritePaths=/usr/bin\n"),
            (DAEMON, "ReadWritePaths=/data/uplift\n"),
            (DAEMON, "ReadWritePaths=/run/other\n"),
            (DAEMON, "ReadWritePaths=/srv/metrics\n"),
            (DAEMON, "DeviceAllow=/dev/null rw\n"),
            (DAEMON, "IPAddressAllow=192.0.2.7\n"),
            (RESCUES[0].0, "ReadWritePaths=/usr/bin\n"),
            (
                RESCUES[1].0,
                "ExecStart=\nExecStart=/usr/bin/uplift-rescue deadline --state /data/uplift\n",
            ),
            (FTP_SERVER, "ReadWritePaths=\nReadWritePaths=/srv/upgrade\n"),
            (
                FTP_SOCKET,
                "[Socket]\n# ftp_server.listen\nListenStream=\nListenStream=0.0.0.0:2121\n",
            ),
        ] {
            let of_unit =
                all.iter().find_map(|text| text.strip_prefix(&format!("{unit}: "))).unwrap();
            assert!(of_unit.contains(lines), "{unit} lacks {lines}:\n{of_unit}");
        }
    }

    #[test]
    fn a_credential_is_loaded_into_the_unit_that_it_is_for() {
        let sections = "[transfer.ftp]\npassword_file = \"/run/credentials/uplift.service/secret\"\n\
                        [ftp_server]\npassword_file = \"/run/credentials/uplift.service/secret\"";
        let all = drop_ins("name = \"p\"", sections);
        assert_eq!(all.matches("LoadCredential=secret:/etc/uplift/secret\n").count(), 1, "{all}");
        assert!(all.starts_with("uplift.service: "), "{all}");
    }

    #[test]
    fn what_systemd_would_read_in_its_own_way_is_escaped() {
        let sections = "[paths]\nstate = '/data/100% $x\\\"'\n[transfer.ftp]\npassword_file = '/run/credentials/uplift.service/5% $x\\y'";
        let all = drop_ins("path = '/opt/a$b\\c%/p'", sections);
        for line in [
            r#"ReadWritePaths="/opt/a$b\\c%%""#,
            r#"ReadWritePaths="/data/100%% $x\\\"""#,
            r"LoadCredential=5%% $x\\y:/etc/uplift/5%% $x\y",
            r#"ExecStart=/usr/bin/uplift-rescue boot --state "/data/100%% $$x\\\"""#,
        ] {
            assert!(all.lines().any(|found| found == line), "{line}:\n{all}");
        }
    }

    #[test]
    fn a_pseudo_terminal_is_let_in_whatever_its_number() {
        let all = drop_ins("name = \"p\"", "[channel.psdk]\ndevice = \"/tmp/ttyPayload\"");
        assert!(all.contains("PrivateTmp=no\nDeviceAllow=char-pts rw\n"), "{all}");
    }

    #[test]
    fn the_network_channels_are_let_in_to_their_modem_and_no_other_device() {
        let modem = |device: &str| {
            let section = format!(
                "[channel.quectel]\nunsealed = \"lab\"\ncomponents = {{ PAYLOAD = \"program\" }}\ndevice = \"{device}\""
            );
            let all = by_unit("name = \"p\"", &section);
            all.into_iter().filter(|text| text.starts_with(CHANNELS)).collect::<String>()
        };
        for (device, lines) in [
            (
                "/dev/ttyUSB77",
                "PrivateDevices=no\nDevicePolicy=closed\nDeviceAllow=char-188 rw\nDeviceAllow=char-166 rw\nSupplementaryGroups=dialout\n",
            ),
            (
                "/dev/ttyAMA77",
                "DevicePolicy=closed\nDeviceAllow=/dev/ttyAMA77 rw\nSupplementaryGroups=dialout\n",
            ),
            (
                "/tmp/ttyQuectel",
                "PrivateTmp=no\nPrivateDevices=no\nDevicePolicy=closed\nDeviceAllow=char-pts rw\n",
            ),
        ] {
            let text = modem(device);
            assert!(text.contains(lines), "{device}: {text}");
        }
    }

    /// What is taken for the units' defaults is what they say.
    #[test]
    fn the_units_say_what_is_assumed_of_them() {
        let unit = |name: &str| {
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name))
                .unwrap()
        };
        let daemon = unit(DAEMON);
        for line in [
            "ReadWritePaths=-/usr/local/bin",
            "ProtectHome=yes",
            "PrivateTmp=yes",
            "DevicePolicy=closed",
            "IPAddressAllow=localhost",
        ] {
            assert!(daemon.lines().any(|found| found == line), "{line}");
        }
        assert!(
            USB_SERIAL
                .iter()
                .all(|number| daemon.contains(&format!("DeviceAllow=char-{number} rw\n")))
        );
        for (name, call) in RESCUES {
            let text = unit(name);
            assert!(
                text.contains("ProtectSystem=full\n")
                    && text.contains(&format!("ExecStart=/usr/bin/uplift-rescue {call}\n")),
                "{name}"
            );
        }
        assert!(
            unit(FTP_SERVER).contains("ReadWritePaths=-/upgrade\n")
                && unit(FTP_SOCKET).contains("ListenStream=21\n")
        );
    }
}
