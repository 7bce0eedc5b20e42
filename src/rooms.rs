//! Holds the imports against the list of rooms in `lib.rs`: they go down that list, and down only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Used by tests anywhere, and by nothing else.
const BESIDE_THE_HOUSE: [&str; 1] = ["crash_states"];

/// A place where a file names another room, or another file of its own.
#[derive(Debug)]
struct Import {
    file: PathBuf,
    line: usize,
    /// Below `crate::`, such as `["model", "version", "Version"]`.
    path: Vec<String>,
}

#[test]
fn no_import_runs_back_up() {
    let order = order();
    let rank = |room: &str| order.iter().position(|other| other == room);
    let mut wrong = Vec::new();
    for import in imports() {
        let room = room_of(&import.file);
        let (Some(here), Some(there)) = (rank(&room), rank(&import.path[0])) else {
            let beside = |room: &str| BESIDE_THE_HOUSE.contains(&room);
            if !beside(&room) && !beside(&import.path[0]) {
                wrong.push(format!("{import}: `{}` is not in the list", import.path[0]));
            }
            continue;
        };
        if there < here {
            wrong.push(format!("{import}: `{}` is above `{room}`", import.path[0]));
        }
    }
    assert!(wrong.is_empty(), "the list in src/lib.rs:\n{}", wrong.join("\n"));
}

/// Nobody uses what is there for tests alone.
#[test]
fn the_house_does_not_need_what_stands_beside_it() {
    let outside = |import: &Import| {
        !BESIDE_THE_HOUSE.contains(&&*room_of(&import.file))
            && BESIDE_THE_HOUSE.contains(&&*import.path[0])
    };
    let users: Vec<String> =
        imports().iter().filter(|import| outside(import)).map(ToString::to_string).collect();
    assert!(users.is_empty(), "{users:?}");
}

/// Files of one room may use each other, but not in a circle: a child its parent's words, as
/// everywhere in Rust, apart.
#[test]
fn no_files_go_round_in_a_circle() {
    let mut uses: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
    for import in imports() {
        if let Some(used) = file_of(&import.path)
            && used != import.file
            && !used.with_extension("").starts_with(import.file.with_extension(""))
            && !import.file.with_extension("").starts_with(used.with_extension(""))
        {
            uses.entry(import.file).or_default().insert(used);
        }
    }
    let in_circle: Vec<_> =
        uses.keys().filter(|file| reached(file, &uses).contains(*file)).collect();
    assert!(in_circle.is_empty(), "each of these uses itself by way of others: {in_circle:?}");
}

/// All files that this one uses, by way of others too.
fn reached<'a>(
    file: &'a PathBuf,
    uses: &'a BTreeMap<PathBuf, BTreeSet<PathBuf>>,
) -> BTreeSet<&'a PathBuf> {
    let mut seen = BTreeSet::new();
    let mut next = vec![file];
    while let Some(file) = next.pop() {
        next.extend(uses.get(file).into_iter().flatten().filter(|file| seen.insert(*file)));
    }
    seen
}

impl std::fmt::Display for Import {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "src/{}:{}", self.file.display(), self.line)
    }
}

/// The rooms from the doors down, by the table of `lib.rs`.
fn order() -> Vec<String> {
    let rows = include_str!("lib.rs").lines().filter_map(|line| line.strip_prefix("//! | "));
    let names =
        rows.filter_map(|row| row.split_once(" |")?.0.trim_matches(['[', ']']).strip_prefix('`'));
    let order: Vec<String> = names.map(|name| name.trim_end_matches('`').to_owned()).collect();
    let is_room = |module: &&str| !BESIDE_THE_HOUSE.contains(module) && *module != "rooms";
    let modules = include_str!("lib.rs")
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'));
    let modules: BTreeSet<&str> = modules.filter(is_room).collect();
    assert_eq!(order.iter().map(String::as_str).collect::<BTreeSet<_>>(), modules);
    order
}

/// All places outside of comments and tests that name something below `crate::` or `super::`.
fn imports() -> Vec<Import> {
    let mut files = Vec::new();
    list(&source(), &mut files);
    let mut imports = Vec::new();
    for file in files.into_iter().filter(|file| !is_of_tests(file)) {
        let text = std::fs::read_to_string(source().join(&file)).unwrap();
        let code: Vec<&str> =
            text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
        let tests = code
            .windows(2)
            .position(|pair| pair[0].starts_with("#[cfg(test") && pair[1].ends_with("mod tests {"));
        let code = code[..tests.unwrap_or(code.len())].join("\n");
        for (root, from) in [("crate::", Vec::new()), ("super::", parent_of(&file))] {
            for (at, _) in code.match_indices(root) {
                let line = code[..at].lines().count();
                let names = names(&code[at + root.len()..]);
                let paths = names.into_iter().map(|name| [from.clone(), name].concat());
                let whole = paths.filter(|path| !path.is_empty());
                imports.extend(whole.map(|path| Import { file: file.clone(), line, path }));
            }
        }
    }
    assert!(imports.len() > 500, "only {} were found", imports.len());
    imports
}

/// What is named from here on: `a::b`, or for `a::{b::C, d}` each `a::b` and `a::d`.
fn names(text: &str) -> Vec<Vec<String>> {
    let (first, rest) = word(text);
    let Some(list) = rest.strip_prefix('{') else { return vec![first] };
    let list = list.split('}').next().unwrap_or_default();
    list.split(',').map(|name| [first.clone(), word(name.trim()).0].concat()).collect()
}

/// The parts of a path, and what follows it.
fn word(text: &str) -> (Vec<String>, &str) {
    let is_of_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let end = text.find(|c| !is_of_path(c)).unwrap_or(text.len());
    let parts = text[..end].split("::").filter(|part| !part.is_empty());
    (parts.map(str::to_owned).collect(), &text[end..])
}

/// The module that `super` is in this file.
fn parent_of(file: &Path) -> Vec<String> {
    let module = file.with_extension("");
    let parts: Vec<String> =
        module.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    parts[..parts.len() - 1].to_vec()
}

/// The file that a path leads into.
fn file_of(path: &[String]) -> Option<PathBuf> {
    let longest_first = (1..=path.len()).rev();
    longest_first
        .map(|length| path[..length].iter().collect::<PathBuf>().with_extension("rs"))
        .find(|file| source().join(file).is_file())
}

fn room_of(file: &Path) -> String {
    let room = file.iter().next().unwrap().to_string_lossy();
    room.trim_end_matches(".rs").to_owned()
}

fn is_of_tests(file: &Path) -> bool {
    file.with_extension("").iter().any(|part| part == "tests")
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The Rust files below this directory, without those of the crate itself.
fn list(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in directory.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(source()).unwrap().to_owned();
        if path.is_dir() {
            list(&path, files);
        } else if !["lib.rs", "main.rs", "rooms.rs"]
            .iter()
            .any(|of_crate| name == Path::new(of_crate))
        {
            files.push(name);
        }
    }
}
