//! What a client may say: one line in, one typed command or the reply that refuses it out.
//!
//! Pure. Whether a command is allowed now, and what a path means, is for the session and the area.

use std::fmt;

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
    Cwd(String),
    /// `CDUP`: go up.
    Cdup,
    /// `PASV`: a data port for IPv4.
    Pasv,
    /// `EPSV`: a data port for any family.
    Epsv(Epsv),
    /// `SIZE`: a file's size.
    Size(String),
    /// `MDTM`: a file's time.
    Mdtm(String),
    /// `REST`: where the next transfer starts.
    Rest(u64),
    /// `RETR`: download.
    Retr(String),
    /// `STOR`: upload.
    Stor(String),
    /// `ALLO`: announces the size of an upload.
    Allo(u64),
    /// `LIST`: a listing for people.
    List(Option<String>),
    /// `NLST`: names only.
    Nlst(Option<String>),
    /// `MLSD`: a listing for programs.
    Mlsd(Option<String>),
    /// `MLST`: one line of it, on the control connection.
    Mlst(Option<String>),
    /// `DELE`: removes a file.
    Dele(String),
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
    /// Bytes that are not UTF-8 (RFC 2640) and control characters are refused, so that no name, log line or reply
    /// downstream can hold them. Telnet's interrupt and synch before `ABOR` (RFC 959, section 4.1.3) are skipped.
    pub fn parse(line: &[u8]) -> Result<Self, Reply> {
        let line = std::str::from_utf8(skip_telnet(line)).map_err(|_| Reply::new(501, "Names must be UTF-8"))?;
        if line.chars().any(char::is_control) {
            return Err(Reply::new(501, "Control characters are refused"));
        }
        let (verb, argument) = line.split_once(' ').map_or((line, None), |(verb, argument)| (verb, Some(argument)));
        let argument = argument.filter(|argument| !argument.is_empty());
        from_parts(&verb.to_ascii_uppercase(), argument)
    }
}

/// Skips the Telnet sequences that a client sends before an urgent command: every byte from 0xF0 up at the start, none of
/// which can begin a command.
fn skip_telnet(line: &[u8]) -> &[u8] {
    let telnet = line.iter().take_while(|&&byte| byte >= 0xF0).count();
    &line[telnet..]
}

fn from_parts(verb: &str, argument: Option<&str>) -> Result<Command, Reply> {
    let text = || argument.map(str::to_owned).ok_or_else(|| Reply::new(501, format!("{verb} needs an argument")));
    let optional = || argument.map(str::to_owned);
    Ok(match verb {
        "USER" => Command::User(text()?),
        // An empty password is one, only never the right one.
        "PASS" => Command::Pass(Secret(optional().unwrap_or_default())),
        "ACCT" => Command::Acct,
        "SYST" => Command::Syst,
        "FEAT" => Command::Feat,
        "OPTS" => Command::Opts(opts(&text()?)?),
        "TYPE" => Command::Type(representation(&text()?)?),
        "MODE" => only(&text()?, "S", Command::Mode, "Stream mode only")?,
        "STRU" => only(&text()?, "F", Command::Stru, "File structure only")?,
        "PWD" | "XPWD" => Command::Pwd,
        "CWD" => Command::Cwd(text()?),
        "CDUP" => Command::Cdup,
        "PASV" => Command::Pasv,
        "EPSV" => Command::Epsv(epsv(argument)?),
        "SIZE" => Command::Size(text()?),
        "MDTM" => Command::Mdtm(text()?),
        "REST" => Command::Rest(number(&text()?)?),
        "RETR" => Command::Retr(text()?),
        "STOR" => Command::Stor(text()?),
        "ALLO" => Command::Allo(allocation(&text()?)?),
        "LIST" => Command::List(listing_path(argument)),
        "NLST" => Command::Nlst(listing_path(argument)),
        "MLSD" => Command::Mlsd(optional()),
        "MLST" => Command::Mlst(optional()),
        "DELE" => Command::Dele(text()?),
        "NOOP" => Command::Noop,
        "ABOR" => Command::Abor,
        "QUIT" => Command::Quit,
        "APPE" | "STOU" => return Err(Reply::new(502, "A file is uploaded whole, under its own name: use STOR")),
        "PORT" | "EPRT" => return Err(Reply::new(502, "Active mode is refused: use EPSV or PASV")),
        "AUTH" => return Err(Reply::new(502, "No encryption here")),
        _ => return Err(Reply::new(502, "Command not implemented")),
    })
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

fn only(argument: &str, value: &str, command: Command, refusal: &'static str) -> Result<Command, Reply> {
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
fn listing_path(argument: Option<&str>) -> Option<String> {
    let path = argument?.split(' ').skip_while(|word| word.starts_with('-') || word.is_empty()).collect::<Vec<_>>().join(" ");
    Some(path).filter(|path| !path.is_empty())
}

#[cfg(test)]
mod tests;
