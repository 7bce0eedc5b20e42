//! docs/design/faults.md and the tests hold each other: what the tables name exists, and what is
//! tested here is named.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

const FAULTS: [&str; 4] = ["error", "kill", "hang", "disk full"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The cells of each row of the tables that follow this heading, without the two lines of the
/// header.
fn rows(text: &str, heading: &str) -> Vec<Vec<String>> {
    let section = text
        .split("\n## ")
        .find(|section| section.starts_with(heading))
        .unwrap_or_else(|| panic!("no section {heading}"));
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// The tests that a text names, as `path/of/file.rs: name`.
fn named(text: &str) -> Vec<(String, String)> {
    let words = text.split('`').skip(1).step_by(2);
    words
        .filter_map(|word| word.split_once(".rs: "))
        .map(|(file, test)| (format!("{file}.rs"), test.to_owned()))
        .collect()
}

/// Names of the tests in a source file.
fn tests_of(source: &str) -> Vec<String> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let is_test = |line: &str| line == "#[test]" || line.starts_with("#[tokio::test");
    let name = |line: &str| {
        line.trim_start_matches("async ")
            .strip_prefix("fn ")
            .and_then(|rest| rest.split('(').next())
            .map(String::from)
    };
    lines.windows(2).filter(|pair| is_test(pair[0])).filter_map(|pair| name(pair[1])).collect()
}

#[test]
fn each_row_names_a_test_that_exists() {
    let text = read("docs/design/faults.md");
    for row in
        rows(&text, "Interrupted everywhere").into_iter().chain(rows(&text, "State and fault"))
    {
        let proof = row.last().unwrap();
        assert!(!named(proof).is_empty() || proof.starts_with("can't happen: "), "{row:?}");
    }
    for (file, test) in named(&text) {
        assert!(tests_of(&read(&file)).contains(&test), "{file} has no test {test}");
    }
}

#[test]
fn each_state_meets_each_fault() {
    let states: BTreeSet<String> = rows(&read("docs/design/machine.md"), "Every transition")
        .into_iter()
        .map(|mut row| row.remove(0))
        .collect();
    let expected: BTreeSet<(String, &str)> = states
        .into_iter()
        .filter(|state| state != "idle")
        .flat_map(|state| FAULTS.map(|fault| (state.clone(), fault)))
        .collect();
    let table = rows(&read("docs/design/faults.md"), "State and fault");
    let found: BTreeSet<(String, &str)> = table
        .iter()
        .map(|row| {
            (
                row[0].clone(),
                FAULTS
                    .into_iter()
                    .find(|fault| row[1] == *fault)
                    .unwrap_or_else(|| panic!("{row:?}")),
            )
        })
        .collect();
    assert_eq!(found, expected);
    assert_eq!(table.len(), expected.len(), "each once");
}

#[test]
fn each_test_of_this_directory_is_named() {
    let named = named(&read("docs/design/faults.md"));
    let directory = fs::read_dir(root().join("tests/story/faults")).unwrap();
    let files = directory.map(|entry| entry.unwrap().path());
    for path in files.chain([root().join("tests/change.rs")]) {
        if path.ends_with("table.rs") {
            continue; // holds the table, and is no fault
        }
        let file = path.strip_prefix(root()).unwrap().display().to_string();
        for test in tests_of(&fs::read_to_string(&path).unwrap()) {
            assert!(
                named.contains(&(file.clone(), test.clone())),
                "docs/design/faults.md does not name {file}: {test}"
            );
        }
    }
}
