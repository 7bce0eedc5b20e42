//! The shipped configuration, taken apart for tests: sections, and those that are commented out as a
//! whole.

use std::path::Path;

use super::Config;

/// The shipped file without the sections that are commented out as a whole, and these.
pub(super) fn shipped() -> (String, Vec<String>) {
    let (mut rest, mut sections, mut is_inside) = (String::new(), Vec::new(), false);
    for line in include_str!("../../config/uplift.toml").lines() {
        let begins = ["# [channel.", "# [broker."].iter().any(|header| line.starts_with(header));
        if begins && line.ends_with(']') {
            sections.push(String::new());
            is_inside = true;
        }
        is_inside &= !line.starts_with('[');
        let text = sections.last_mut().filter(|_| is_inside).unwrap_or(&mut rest);
        *text += &format!("{line}\n");
    }
    (rest, sections)
}

pub(super) fn is_field(line: &str) -> bool {
    line.split_once(" = ")
        .is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
}

/// The fields that a section has: the parser itself tells.
pub(super) fn fields(section: &str) -> Vec<String> {
    let error = parse(&format!("[{section}]\nno_such_field = 1\n")).unwrap_err();
    let known = error.rsplit("expected ").next().unwrap().split('`').skip(1).step_by(2);
    let known: Vec<String> = known.map(String::from).collect();
    assert!(!known.is_empty(), "{error}");
    known
}

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("uplift.toml")).map_err(|error| error.to_string())
}

/// A section that is commented out as a whole lists its fields alike; those that it needs have
/// an example, and so have those without a default.
#[test]
fn a_shipped_section_that_is_commented_out_lists_every_field_with_its_default() {
    const BROKER: &str = "[broker.cloud]\nurl = \"mqtt://b\"\nclient_id = \"c\"\n";
    const NEEDED: [&str; 11] = [
        "server",
        "controller_id",
        "project_key_file",
        "firmware_name",
        "identity",
        "core",
        "components",
        "client_id",
        "broker",
        "gateway_sn",
        "token_file",
    ];
    const WITHOUT_DEFAULT: [&str; 16] = [
        "target_token_file",
        "gateway_token_file",
        "model",
        "core_id",
        "product_file",
        "battery_file",
        "user",
        "user_file",
        "device_number",
        "download_base",
        "password_file",
        "ca_file",
        "client_certificate",
        "client_key",
        "device_secret_file",
        "nonce",
    ];
    let (_, sections) = shipped();
    assert!(!sections.is_empty());
    for section in sections {
        let header = section.lines().next().unwrap().strip_prefix("# ").unwrap().to_owned();
        let is_broker = header.starts_with("[broker.");
        // A broker's URL has no default, that of LuatOS has.
        let is_needed = |field: &str| NEEDED.contains(&field) || (is_broker && field == "url");
        let (before, after) = if is_broker { ("", "") } else { (BROKER, "unsealed = \"lab\"\n") };
        let with = |is_wanted: &dyn Fn(&str) -> bool| {
            let fields = section
                .lines()
                .filter_map(|line| line.strip_prefix("# ").filter(|line| is_field(line)))
                .filter(|line| is_wanted(line.split(' ').next().unwrap()))
                .map(|line| format!("{line}\n"));
            let fields: String = fields.collect();
            let text = format!(
                "[component.program]\nname = \"demo\"\nproduct = \"P\"\n{before}{header}\n{fields}"
            );
            // There is no key here.
            let text = text.replace("unsealed = \"never\"", "");
            format!("{:?}", parse(&format!("{text}{after}")).unwrap())
        };
        let needed = with(&is_needed);
        assert_eq!(with(&|field| !WITHOUT_DEFAULT.contains(&field)), needed, "{header}");
        for field in fields(header.trim_matches(['[', ']'])) {
            assert!(section.contains(&format!("\n# {field} = ")), "{header} {field}");
        }
    }
}
