use proptest::prelude::*;

use super::*;

/// The canonical line of a command.
fn line(command: &Command) -> String {
    let with = |verb: &str, path: &Option<PathText>| {
        path.as_ref().map_or(verb.to_owned(), |path| format!("{verb} {path}"))
    };
    match command {
        Command::User(name) => format!("USER {name}"),
        Command::Pass(secret) => format!("PASS {}", secret.reveal()),
        Command::Acct => "ACCT".into(),
        Command::Syst => "SYST".into(),
        Command::Feat => "FEAT".into(),
        Command::Opts(Opts::Utf8) => "OPTS UTF8 ON".into(),
        Command::Opts(Opts::Mlst) => "OPTS MLST size;".into(),
        Command::Type(Representation::Ascii) => "TYPE A".into(),
        Command::Type(Representation::Image) => "TYPE I".into(),
        Command::Mode => "MODE S".into(),
        Command::Stru => "STRU F".into(),
        Command::Pwd => "PWD".into(),
        Command::Cwd(path) => format!("CWD {path}"),
        Command::Cdup => "CDUP".into(),
        Command::Pasv => "PASV".into(),
        Command::Epsv(Epsv::Default) => "EPSV".into(),
        Command::Epsv(Epsv::Ipv4) => "EPSV 1".into(),
        Command::Epsv(Epsv::Ipv6) => "EPSV 2".into(),
        Command::Epsv(Epsv::All) => "EPSV ALL".into(),
        Command::Size(path) => format!("SIZE {path}"),
        Command::Mdtm(path) => format!("MDTM {path}"),
        Command::Rest(offset) => format!("REST {offset}"),
        Command::Retr(path) => format!("RETR {path}"),
        Command::Stor(path) => format!("STOR {path}"),
        Command::Allo(bytes) => format!("ALLO {bytes}"),
        Command::List(path) => with("LIST", path),
        Command::Nlst(path) => with("NLST", path),
        Command::Mlsd(path) => with("MLSD", path),
        Command::Mlst(path) => with("MLST", path),
        Command::Dele(path) => format!("DELE {path}"),
        Command::Rnfr(path) => format!("RNFR {path}"),
        Command::Rnto(path) => format!("RNTO {path}"),
        Command::Mkd(path) => format!("MKD {path}"),
        Command::Port(SocketAddr::V4(address)) => {
            format!("EPRT |1|{}|{}|", address.ip(), address.port())
        }
        Command::Port(SocketAddr::V6(address)) => {
            format!("EPRT |2|{}|{}|", address.ip(), address.port())
        }
        Command::Noop => "NOOP".into(),
        Command::Abor => "ABOR".into(),
        Command::Quit => "QUIT".into(),
    }
}

/// The commands that name neither file, number nor address.
const PLAIN: [Command; 19] = [
    Command::Acct,
    Command::Syst,
    Command::Feat,
    Command::Opts(Opts::Utf8),
    Command::Opts(Opts::Mlst),
    Command::Type(Representation::Ascii),
    Command::Type(Representation::Image),
    Command::Mode,
    Command::Stru,
    Command::Pwd,
    Command::Cdup,
    Command::Pasv,
    Command::Epsv(Epsv::Default),
    Command::Epsv(Epsv::Ipv4),
    Command::Epsv(Epsv::Ipv6),
    Command::Epsv(Epsv::All),
    Command::Noop,
    Command::Abor,
    Command::Quit,
];

fn any_command() -> impl Strategy<Value = Command> {
    let text = || "[a-zA-Z0-9_./äß€][a-zA-Z0-9_./äß€ -]{0,40}";
    let path = || text().prop_map(|text| PathText::from(text.as_bytes()));
    prop_oneof![
        prop::sample::select(&PLAIN[..]),
        any::<u64>().prop_map(Command::Rest),
        any::<u64>().prop_map(Command::Allo),
        text().prop_map(Command::User),
        text().prop_map(|text| Command::Pass(Secret(text))),
        path().prop_map(Command::Cwd),
        path().prop_map(Command::Size),
        path().prop_map(Command::Mdtm),
        path().prop_map(Command::Retr),
        path().prop_map(Command::Stor),
        path().prop_map(Command::Dele),
        path().prop_map(Command::Rnfr),
        path().prop_map(Command::Rnto),
        path().prop_map(Command::Mkd),
        any::<std::net::SocketAddrV4>().prop_map(|address| Command::Port(address.into())),
        (any::<std::net::Ipv6Addr>(), any::<u16>())
            .prop_map(|address| Command::Port(address.into())),
        prop::option::of(path()).prop_map(Command::List),
        prop::option::of(path()).prop_map(Command::Nlst),
        prop::option::of(path()).prop_map(Command::Mlsd),
        prop::option::of(path()).prop_map(Command::Mlst),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_a_command_or_a_refusal(line in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Err(reply) = Command::parse(&line) {
            prop_assert!((500..600).contains(&reply.code()));
        }
    }

    #[test]
    fn the_canonical_line_of_a_command_is_that_command(command in any_command()) {
        prop_assert_eq!(Command::parse(line(&command).as_bytes()), Ok(command));
    }

    #[test]
    fn verbs_are_known_in_any_case(command in any_command()) {
        let line = line(&command);
        let (verb, rest) = line.split_at(line.find(' ').unwrap_or(line.len()));
        prop_assert_eq!(Command::parse(format!("{}{rest}", verb.to_lowercase()).as_bytes()), Ok(command));
    }
}

#[test]
fn each_command_is_known_by_its_line() {
    for command in PLAIN {
        assert_eq!(Command::parse(line(&command).as_bytes()), Ok(command));
    }
}

fn code(line: &[u8]) -> u16 {
    Command::parse(line).unwrap_err().code()
}

#[test]
fn what_is_not_text_is_refused() {
    assert_eq!(code(b"STOR a\0b"), 501);
    assert_eq!(code(b"STOR a\rb"), 501);
    assert_eq!(code(b"STOR \xFF\n"), 501);
    assert_eq!(code(b"STOR \xC2\x85"), 501);
    assert_eq!(code(b"USER \xFF\xFE"), 501);
}

#[test]
fn names_are_bytes() {
    for name in [&b"\xFF\xFE"[..], b"\xC3", b"caf\xE9.bin", "café.bin".as_bytes()] {
        let line = [b"STOR ", name].concat();
        assert_eq!(Command::parse(&line), Ok(Command::Stor(PathText::from(name))));
    }
}

#[test]
fn where_a_client_waits_is_an_address_and_a_port() {
    let at = |address: &str| Ok(Command::Port(address.parse().unwrap()));
    assert_eq!(Command::parse(b"PORT 192,0,2,1,4,210"), at("192.0.2.1:1234"));
    assert_eq!(Command::parse(b"EPRT |1|192.0.2.1|1234|"), at("192.0.2.1:1234"));
    assert_eq!(Command::parse(b"EPRT !2!2001:db8::1!1234!"), at("[2001:db8::1]:1234"));
    for line in [
        &b"PORT 192,0,2,1,4"[..],
        b"PORT 192,0,2,256,4,1",
        b"PORT 192,0,2,1,4,1,1",
        b"PORT",
        b"EPRT |1|192.0.2.1|1234",
        b"EPRT |2|192.0.2.1|1234|",
        b"EPRT |1|host|1234|",
        b"EPRT |1|192.0.2.1|65536|",
    ] {
        assert_eq!(code(line), 501, "{}", String::from_utf8_lossy(line));
    }
    assert_eq!(code(b"EPRT |3|192.0.2.1|1234|"), 522);
}

#[test]
fn what_is_missing_or_malformed_is_said() {
    for line in [
        "STOR",
        "STOR ",
        "USER",
        "REST",
        "REST -1",
        "REST +1",
        "REST 18446744073709551616",
        "ALLO x",
        "ALLO 1 R",
        "OPTS X",
    ] {
        assert_eq!(code(line.as_bytes()), 501, "{line}");
    }
    for line in ["TYPE E", "MODE B", "STRU R", "TYPE L 7"] {
        assert_eq!(code(line.as_bytes()), 504, "{line}");
    }
    for line in ["", " ", "APPE x", "STOU", "SITE EXEC id", "AUTH TLS", "STORX a"] {
        assert_eq!(code(line.as_bytes()), 502, "{line}");
    }
    assert_eq!(code(b"EPSV 3"), 522);
    for (line, hint) in
        [("APPE x", "use STOR"), ("STOU", "use STOR"), ("AUTH TLS", "No encryption")]
    {
        let refusal = Command::parse(line.as_bytes()).unwrap_err();
        assert!(refusal.text().contains(hint), "{line}: {refusal:?}");
    }
}

#[test]
fn an_urgent_abort_is_an_abort() {
    assert_eq!(Command::parse(b"\xFF\xF4\xFF\xF2ABOR"), Ok(Command::Abor));
    assert_eq!(Command::parse(b"\xF2ABOR"), Ok(Command::Abor));
}

#[test]
fn options_of_ls_are_not_names() {
    assert_eq!(Command::parse(b"LIST -la"), Ok(Command::List(None)));
    assert_eq!(Command::parse(b"LIST -a -l a b"), Ok(Command::List(Some(b"a b"[..].into()))));
}

#[test]
fn a_record_size_is_ignored() {
    assert_eq!(Command::parse(b"ALLO 10 R 5"), Ok(Command::Allo(10)));
}

/// The log has it.
#[test]
fn a_path_is_shown_as_far_as_it_is_text() {
    let command = Command::parse(b"DELE caf\xE9 \"x\".bin").unwrap();
    assert_eq!(format!("{command:?}"), "Dele(\"caf\u{fffd} \\\"x\\\".bin\")");
}

#[test]
fn a_password_never_shows_itself() {
    let command = Command::parse(b"PASS hidden words").unwrap();
    assert_eq!(format!("{command:?}"), "Pass(Secret(…))");
    assert_eq!(command, Command::Pass(Secret("hidden words".into())));
}
