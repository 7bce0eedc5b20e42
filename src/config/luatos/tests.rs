use std::path::Path;

use super::super::Config;
use super::*;

const PROGRAM: &str = "[component.program]\nname = \"demo\"\nproduct = \"P\"\n";
const OTHER: &str = "[component.other]\npath = \"/opt/other\"\nproduct = \"O\"\n";
const DEVICE: &str = "project_key_file = \"/run/key\"\nfirmware_name = \"payload\"\nidentity = { imei = \"1\" }\ncore = 2012\n";
const LAB: &str = "unsealed = \"lab\"\n";

fn parse(section: &str) -> Result<Luatos, String> {
    let text = format!("{PROGRAM}{OTHER}[channel.luatos]\n{LAB}{section}\n");
    let config = Config::parse(&text, Path::new("uplift.toml"));
    config.map(|config| config.luatos.unwrap()).map_err(|error| error.to_string())
}

#[test]
fn lu_2_there_is_the_platform_a_prefix_a_url_as_it_is_and_the_turnkey_protocol() {
    let prefix = |section: &str| match parse(&format!("{DEVICE}{section}")).unwrap().server {
        LuatosServer::Query { prefix, .. } => prefix.reveal().to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(prefix(""), format!("{PLATFORM}?"));
    assert_eq!(prefix("url = \"http://127.0.0.1:8091/x\""), "http://127.0.0.1:8091/x?");
    let own = "mode = \"prefix\"\nurl = \"https://example.org/?a=b&\"";
    assert_eq!(prefix(own), "https://example.org/?a=b&");
    let verbatim = parse("mode = \"verbatim\"\nurl = \"https://example.org/p.bin?t=1\"").unwrap();
    assert!(verbatim.project_key_file().is_none());
    assert!(
        matches!(verbatim.server, LuatosServer::Verbatim { url } if url.reveal().ends_with("?t=1"))
    );
    let turnkey =
        parse(&format!("mode = \"turnkey\"\n{DEVICE}model = \"payload\"\ncore_id = \"1\""))
            .unwrap();
    assert!(matches!(turnkey.server, LuatosServer::Turnkey { url, .. } if url.reveal() == TURNKEY));
}

#[test]
fn what_is_not_said_has_the_documented_default() {
    let luatos = parse(DEVICE).unwrap();
    assert_eq!((luatos.poll.as_secs(), luatos.spread.as_secs()), (14_400, 300));
    assert_eq!((luatos.codes, luatos.component), (Codes::Library, ComponentName::PROGRAM));
    let LuatosServer::Query { device, version_form, .. } = luatos.server else { panic!() };
    assert_eq!((device.version_digits, version_form), ([2, 1, 1, 2], VersionForm::Core));
    let plain = DEVICE.replace("core = 2012", "version_form = \"plain\"");
    assert!(parse(&plain).is_ok(), "the core is not sent then");
}

#[test]
fn a_section_with_which_nothing_can_work_is_an_error_with_what_would_be_right() {
    let without = |field: &str| {
        DEVICE.lines().filter(|line| !line.starts_with(field)).collect::<Vec<_>>().join("\n")
    };
    let all = |section: &str| format!("{DEVICE}{section}");
    for (section, field, right) in [
        (without("identity"), "identity", "say who this payload is"),
        (without("project_key_file"), "project_key_file", "the project's key"),
        (without("firmware_name"), "firmware_name", "the name that the server knows"),
        (without("core"), "core", "such as 2012"),
        (without("identity") + "\nidentity = {}", "identity", "exactly one of"),
        (
            without("identity") + "\nidentity = { imei = \"1\", mac = \"2\" }",
            "identity",
            "exactly one of",
        ),
        (without("identity") + "\nidentity = { imei = \"\" }", "identity", "plain characters"),
        (without("identity") + "\nidentity = { serial = \"1\" }", "identity", "`uid`"),
        (without("firmware_name") + "\nfirmware_name = \"\"", "firmware_name", "plain characters"),
        (without("core") + "\ncore = -1", "core", "u32"),
        (
            without("project_key_file") + "\nproject_key_file = \"key\"",
            "project_key_file",
            "absolute",
        ),
        (all("poll = \"0s\""), "poll", "expected more"),
        (all("components = []"), "components", "exactly one component"),
        (all("components = [\"program\", \"other\"]"), "components", "exactly one component"),
        (all("components = [\"nothing\"]"), "components", "there is no section"),
        (all("version_digits = [2, 2, 2, 2]"), "version_digits", "six together"),
        (all("version_digits = [3, 1, 1, 1]"), "version_digits", "two at most"),
        (all("version_digits = [1, 1, 1]"), "version_digits", "[2, 1, 1, 2]"),
        (all("version_digits = [1, 1, 1, 1, 1]"), "version_digits", "[2, 1, 1, 2]"),
        (all("model = \"x\""), "model", "leave it away"),
        (all("mode = \"verbatim\"\nurl = \"http://a/b\""), "identity", "leave it away"),
        (all("mode = \"turnkey\"\ncore_id = \"1\""), "model", "the name that the server knows"),
        (all("mode = \"turnkey\"\nversion_form = \"plain\""), "version_form", "leave it away"),
        (all("mode = \"prefix\""), "url", "your own server"),
        ("mode = \"verbatim\"".to_owned(), "url", "your own server"),
        (all("mode = \"prefix\"\nurl = \"http://a/b\""), "url", "end in `?` or `&`"),
        (all("url = \"http://a/b?c=d\""), "url", "mode = \"prefix\""),
        (all("url = \"###http://a/b\""), "url", "mode = \"verbatim\""),
        (all("mode = \"cloud\""), "mode", "`turnkey`"),
        (all("codes = \"blog\""), "codes", "`requirement`"),
    ] {
        let error = parse(&section).unwrap_err();
        let place = format!("field channel.luatos.{field}");
        assert!(error.contains(&place) && error.contains(right), "{section}: {error}");
    }
}

#[test]
fn what_is_no_url_of_the_web_is_refused_and_no_url_shows_itself() {
    for url in [
        "",
        "http://",
        "http:///a",
        "ftp://a/b",
        "file:///etc/passwd",
        "a/b",
        "http://a/b c",
        "http://a/\\r\\nHost: b",
        "http://a/b#c",
        "http://ä/b",
        "http://?a",
        "https://:80/",
    ] {
        let error = parse(&format!("mode = \"verbatim\"\nurl = \"{url}\"")).unwrap_err();
        assert!(error.contains("field channel.luatos.url"), "{url}: {error}");
    }
    for wrong in [
        "url = \"http://example.org/s3cret x\"",
        "url = \"###http://example.org/?s3cret\"",
        "url = [\"http://s3cret\"]",
        "url = \"http://s3cret\\q\"",
        "ulr = \"http://s3cret\"",
    ] {
        let error = parse(&format!("mode = \"verbatim\"\n{wrong}")).unwrap_err();
        assert!(!error.contains("s3cret"), "{error}");
    }
    let shown = format!("{:?}", parse("mode = \"verbatim\"\nurl = \"http://s3cret/\"").unwrap());
    assert!(!shown.contains("s3cret"), "{shown}");
}

/// The rule of every network channel.
#[test]
fn lu_7_what_comes_from_there_needs_a_trusted_seal() {
    let text = format!("{PROGRAM}[channel.luatos]\n{DEVICE}");
    let error = Config::parse(&text, Path::new("uplift.toml")).unwrap_err().to_string();
    assert!(error.contains("[[package.keys]]"), "{error}");
    let network = parse(DEVICE).unwrap().network();
    assert!(network.unsealed && network.name == ChannelName::LUATOS);
}
