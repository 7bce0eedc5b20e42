//! What a client may say: one line in, one typed command or the reply that refuses it out.
//!
//! Pure. Whether a command is allowed now, and what a path means, is for the session and the area.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::reply::Reply;

/// A command of RFC 959, 2389, 2428, 2640 or 3659 that this server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `USER`: the account.
    User(String),
    /// `PASS`: its password.
    Pass(Secret),
    /// `ACCT`: superfluous here.
    Acct,
    /// `SYST`: the kind of system.
    Syst,
    /// `FEAT`: the extensions.
    Feat,
    /// `OPTS`: an option of a command.
    Opts(Opts),
    /// `TYPE`: the representation of what follows.
    Type(Representation),
    /// `MODE S`: stream, the only one.
    Mode,
    /// `STRU F`: file, the only one.
    Stru,
    /// `PWD`: where am I.
    Pwd,
    /// `CWD`: go there.
    Cwd(PathText),
    /// `CDUP`: go up.
    Cdup,
    /// `PASV`: a data port for IPv4.
    Pasv,
    /// `EPSV`: a data port for any family.
    Epsv(Epsv),
    /// `SIZE`: a file's size.
    Size(PathText),
    /// `MDTM`: a file's time.
    Mdtm(PathText),
    /// `REST`: where the next transfer starts.
    Rest(u64),
    /// `RETR`: download.
    Retr(PathText),
    /// `STOR`: upload.
    Stor(PathText),
    /// `ALLO`: announces the size of an upload.
    Allo(u64),
    /// `LIST`: a listing for people.
    List(Option<PathText>),
    /// `NLST`: names only.
    Nlst(Option<PathText>),
    /// `MLSD`: a listing for programs.
    Mlsd(Option<PathText>),
    /// `MLST`: one line of it, on the control connection.
    Mlst(Option<PathText>),
    /// `DELE`: removes a file.
    Dele(PathText),
    /// `RNFR`: the file that is to have another name.
    Rnfr(PathText),
    /// `RNTO`: that name.
    Rnto(PathText),
    /// `MKD`: makes a directory; there is one, which exists.
    Mkd(PathText),
    /// `PORT` or `EPRT`: where the client waits for the data connection.
    Port(SocketAddr),
    /// `NOOP`: still here.
    Noop,
    /// `ABOR`: ends the transfer that runs.
    Abor,
    /// `QUIT`: goodbye.
    Quit,
}

/// The options that `OPTS` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opts {
    /// `UTF8 ON`: names are UTF-8, as they always are here.
    Utf8,
    /// `MLST`: the facts wanted; always all of them here.
    Mlst,
}

/// How the bytes of a transfer are to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Representation {
    /// `A`: text, whose line ends change on the way.
    Ascii,
    /// `I` or `L 8`: bytes.
    Image,
}

/// The argument of `EPSV`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epsv {
    /// None: the family of the control connection.
    Default,
    /// `1`: IPv4.
    Ipv4,
    /// `2`: IPv6.
    Ipv6,
    /// `ALL`: from now on nothing but `EPSV`.
    All,
}

/// A path as a client writes it: bytes, because what its character set is nobody says.
#[derive(Clone, PartialEq, Eq)]
pub struct PathText(Vec<u8>);

impl PathText {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for PathText {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl fmt::Debug for PathText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// As far as it is text.
impl fmt::Display for PathText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// A password as typed by a client; it does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The password, for the one place that compares it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Command {
    /// Parses a line without its line end. The reply of an error is ready to be sent.
    ///
    /// Control characters are refused, so that no name, log line or reply downstream can hold them.
    /// Names need not be UTF-8 (RFC 2640 wants it, and not every client knows); all else is.
    /// Telnet's interrupt and synch before `ABOR` (RFC 959, section 4.1.3) are skipped.
    pub fn parse(line: &[u8]) -> Result<Self, Reply> {
        let line = skip_telnet(line);
        if has_controls(line) {
            return Err(Reply::new(501, "Control characters are refused"));
        }
        let space = line.iter().position(|&byte| byte == b' ');
        let (verb, argument) =
            space.map_or((line, None), |space| (&line[..space], Some(&line[space + 1..])));
        let argument = argument.filter(|argument| !argument.is_empty());
        from_parts(&String::from_utf8_lossy(verb).to_ascii_uppercase(), argument)
    }
}

/// Whether bytes have control characters, those of UTF-8 too where they are that.
pub(super) fn has_controls(bytes: &[u8]) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.chars().any(char::is_control),
        Err(_) => bytes.iter().any(u8::is_ascii_control),
    }
}

/// Skips the Telnet sequences that a client sends before an urgent command: every byte from 0xF0 up
/// at the start, none of which can begin a command.
fn skip_telnet(line: &[u8]) -> &[u8] {
    let telnet = line.iter().take_while(|&&byte| byte >= 0xF0).count();
    &line[telnet..]
}

fn from_parts(verb: &str, argument: Option<&[u8]>) -> Result<Command, Reply> {
    let needed = || argument.ok_or_else(|| Reply::new(501, format!("{verb} needs an argument")));
    let path = || needed().map(PathText::from);
    let optional = || argument.map(PathText::from);
    let text = || utf8(needed()?);
    Ok(match verb {
        "USER" => Command::User(text()?.to_owned()),
        // An empty password is one, only never the right one.
        "PASS" => Command::Pass(Secret(utf8(argument.unwrap_or_default())?.to_owned())),
        "ACCT" => Command::Acct,
        "SYST" => Command::Syst,
        "FEAT" => Command::Feat,
        "OPTS" => Command::Opts(opts(text()?)?),
        "TYPE" => Command::Type(representation(text()?)?),
        "MODE" => only(text()?, "S", Command::Mode, "Stream mode only")?,
        "STRU" => only(text()?, "F", Command::Stru, "File structure only")?,
        "PWD" | "XPWD" => Command::Pwd,
        "CWD" | "XCWD" => Command::Cwd(path()?),
        "CDUP" | "XCUP" => Command::Cdup,
        "PASV" => Command::Pasv,
        "EPSV" => Command::Epsv(epsv(argument.map(utf8).transpose()?)?),
        "PORT" => Command::Port(port(text()?).ok_or_else(malformed_address)?),
        "EPRT" => Command::Port(extended_port(text()?)?),
        "SIZE" => Command::Size(path()?),
        "MDTM" => Command::Mdtm(path()?),
        "REST" => Command::Rest(number(text()?)?),
        "RETR" => Command::Retr(path()?),
        "STOR" => Command::Stor(path()?),
        "ALLO" => Command::Allo(allocation(text()?)?),
        "LIST" => Command::List(listing_path(argument)),
        "NLST" => Command::Nlst(listing_path(argument)),
        "MLSD" => Command::Mlsd(optional()),
        "MLST" => Command::Mlst(optional()),
        "DELE" => Command::Dele(path()?),
        "RNFR" => Command::Rnfr(path()?),
        "RNTO" => Command::Rnto(path()?),
        "MKD" | "XMKD" => Command::Mkd(path()?),
        "NOOP" => Command::Noop,
        "ABOR" => Command::Abor,
        "QUIT" => Command::Quit,
        "APPE" | "STOU" => {
            return Err(Reply::new(502, "A file is uploaded whole, under its own name: use STOR"));
        }
        "AUTH" => return Err(Reply::new(502, "No encryption here")),
        _ => return Err(Reply::new(502, "Command not implemented")),
    })
}

fn utf8(argument: &[u8]) -> Result<&str, Reply> {
    std::str::from_utf8(argument).map_err(|_| Reply::new(501, "What is no name must be UTF-8"))
}

fn malformed_address() -> Reply {
    Reply::new(501, "An address and a port are needed")
}

/// `h1,h2,h3,h4,p1,p2`.
fn port(argument: &str) -> Option<SocketAddr> {
    let numbers = argument
        .split(',')
        .map(|number| number.trim().parse().ok())
        .collect::<Option<Vec<u8>>>()?;
    let [a, b, c, d, high, low] = numbers[..] else { return None };
    Some(SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low]))))
}

/// `|1|192.0.2.1|5282|`, with any delimiter (RFC 2428).
fn extended_port(argument: &str) -> Result<SocketAddr, Reply> {
    let delimiter = argument.chars().next().ok_or_else(malformed_address)?;
    let fields: Vec<&str> = argument.split(delimiter).collect();
    let ["", family, address, port, ""] = fields[..] else { return Err(malformed_address()) };
    let address: IpAddr = address.parse().map_err(|_| malformed_address())?;
    match (family, address) {
        ("1", IpAddr::V4(_)) | ("2", IpAddr::V6(_)) => {}
        ("1" | "2", _) => return Err(malformed_address()),
        _ => return Err(Reply::new(522, "Network protocol not supported, use (1,2)")),
    }
    Ok(SocketAddr::new(address, port.parse().map_err(|_| malformed_address())?))
}

fn opts(argument: &str) -> Result<Opts, Reply> {
    let upper = argument.to_ascii_uppercase();
    match upper.split_once(' ').unwrap_or((&upper, "")) {
        ("UTF8", "" | "ON") => Ok(Opts::Utf8),
        ("MLST", _) => Ok(Opts::Mlst),
        _ => Err(Reply::new(501, "Unknown option")),
    }
}

fn representation(argument: &str) -> Result<Representation, Reply> {
    match argument.to_ascii_uppercase().as_str() {
        "A" | "A N" => Ok(Representation::Ascii),
        "I" | "L 8" | "L8" => Ok(Representation::Image),
        _ => Err(Reply::new(504, "Types A and I only")),
    }
}

fn only(
    argument: &str,
    value: &str,
    command: Command,
    refusal: &'static str,
) -> Result<Command, Reply> {
    if argument.eq_ignore_ascii_case(value) { Ok(command) } else { Err(Reply::new(504, refusal)) }
}

fn epsv(argument: Option<&str>) -> Result<Epsv, Reply> {
    match argument {
        None => Ok(Epsv::Default),
        Some("1") => Ok(Epsv::Ipv4),
        Some("2") => Ok(Epsv::Ipv6),
        Some(word) if word.eq_ignore_ascii_case("ALL") => Ok(Epsv::All),
        Some(_) => Err(Reply::new(522, "Network protocol not supported, use (1,2)")),
    }
}

fn number(argument: &str) -> Result<u64, Reply> {
    let malformed = || Reply::new(501, "A number of bytes is needed");
    // `parse` alone would also take a plus sign.
    if !argument.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed());
    }
    argument.parse().map_err(|_| malformed())
}

/// `ALLO bytes` or `ALLO bytes R record-size`; the record size means nothing to a file system.
fn allocation(argument: &str) -> Result<u64, Reply> {
    match argument.split(' ').collect::<Vec<_>>().as_slice() {
        [bytes] => number(bytes),
        [bytes, "R" | "r", record] => number(record).and(number(bytes)),
        _ => Err(Reply::new(501, "A number of bytes is needed")),
    }
}

/// Clients hand options of `ls` through (`LIST -la`); they change nothing here.
fn listing_path(argument: Option<&[u8]>) -> Option<PathText> {
    let words = argument?
        .split(|&byte| byte == b' ')
        .skip_while(|word| word.starts_with(b"-") || word.is_empty());
    let path = words.collect::<Vec<_>>().join(&b' ');
    (!path.is_empty()).then_some(PathText(path))
}

#[cfg(test)]
mod tests;
