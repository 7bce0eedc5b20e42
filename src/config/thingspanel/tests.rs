use std::path::Path;

use super::super::Config;
use super::*;

const NEEDED: &str = "broker = \"cloud\"\ntoken_file = \"/token\"\nunsealed = \"lab\"\n";

fn parse(fields: &str) -> Result<ThingsPanel, String> {
    let text = format!(
        "[component.program]\nname = \"demo\"\nproduct = \"P\"\n[broker.cloud]\nurl = \"mqtt://b\"\nclient_id = \"c\"\n\
         [channel.thingspanel]\n{fields}"
    );
    let config = Config::parse(&text, Path::new("uplift.toml")).map_err(|error| error.to_string());
    Ok(config?.thingspanel.unwrap())
}

fn texts(config: &ThingsPanel) -> (Vec<String>, String, Option<String>) {
    let of = |topic: &Topic| topic.of("KEY", "7");
    let Topics { tasks, progress, report } = &config.topics;
    (tasks.iter().map(of).collect(), of(progress), report.as_ref().map(of))
}

#[test]
fn tp_1_each_generation_has_its_topics_and_each_topic_can_be_another() {
    let report = Some("ota/device/inform".to_owned());
    for (fields, tasks, progress, report) in [
        ("", &["ota/device/inform/KEY"][..], "ota/device/progress", report.clone()),
        (
            "generation = \"legacy-infrom\"\n",
            &["ota/device/infrom/KEY"],
            "ota/device/progress",
            report,
        ),
        (
            "generation = \"v1\"\n",
            &["ota/devices/inform/KEY", "ota/devices/infrom/KEY"],
            "ota/devices/progress",
            Some("devices/attributes/7".to_owned()),
        ),
        (
            "tasks = [\"a/{device}\"]\nprogress = \"b/{device}\"\nreport = \"\"\n",
            &["a/KEY"],
            "b/KEY",
            None,
        ),
    ] {
        let config = parse(&format!("{NEEDED}{fields}")).unwrap();
        let expected =
            (tasks.iter().map(|topic| (*topic).to_owned()).collect(), progress.to_owned(), report);
        assert_eq!(texts(&config), expected, "{fields}");
    }
}

#[test]
fn a_value_with_which_nothing_can_work_is_an_error_with_what_would_be_right() {
    for (fields, right) in [
        ("broker = \"cloud\"\n", "exactly one of two"),
        ("broker = \"cloud\"\ntoken_file = \"/t\"\ndevice_number = \"1\"\n", "exactly one of two"),
        ("broker = \"cloud\"\ndevice_number = \"a/b\"\n", "without + # /"),
        (
            "broker = \"other\"\ndevice_number = \"1\"\nunsealed = \"lab\"\n",
            "no section [broker.other]",
        ),
        ("broker = \"cloud\"\ndevice_number = \"1\"\n", "needs a seal"),
        (&format!("{NEEDED}tasks = [\"ota/+/x\"]\n"), "without wildcards"),
        (&format!("{NEEDED}tasks = []\n"), "expected one to"),
        (&format!("{NEEDED}progress = \"{{token}}\"\n"), "is no topic"),
        (&format!("{NEEDED}report = \"#\"\n"), "no version is told"),
        (&format!("{NEEDED}modules = {{}}\n"), "at least one module"),
        (&format!("{NEEDED}modules = {{ MCU = \"gimbal\" }}\n"), "none of the `components`"),
        (&format!("{NEEDED}version_attribute = \"module\"\n"), "name of an attribute"),
        (&format!("{NEEDED}download_base = \"/api\"\n"), "expected a URL"),
        (&format!("{NEEDED}generation = \"v2\"\n"), "legacy-infrom"),
    ] {
        let error = parse(fields).unwrap_err();
        assert!(error.contains(right), "{fields}: {error}");
    }
}
