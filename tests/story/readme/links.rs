//! Every link of the pages leads to a file, and to a heading in it; every page that a source, a unit
//! or a script names is there; the index names each page.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// What a build, a fuzzer or a package manager has made.
const NOT_OURS: [&str; 6] =
    [".git", "target", "corpus", "artifacts", "node_modules", "__pycache__"];
/// What the bridge's tar and package have of the pages (`packaging/build`).
const ALONGSIDE: &str = "cp --parents ";

/// All files below, with paths from the project's root.
fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(Path::new(ROOT).join(directory)).unwrap() {
        let entry = entry.unwrap();
        let path = directory.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() && !NOT_OURS.iter().any(|name| entry.file_name() == *name) {
            files(&path, found);
        } else if kind.is_file() {
            found.push(path);
        }
    }
}

fn all_files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(Path::new(""), &mut found);
    found
}

fn pages() -> Vec<PathBuf> {
    let is_page = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    all_files().into_iter().filter(is_page).collect()
}

fn read(page: &Path) -> String {
    fs::read_to_string(Path::new(ROOT).join(page)).unwrap()
}

/// The path of a link's target from the project's root, where it does not lead out of that.
fn target(page: &Path, link: &str) -> Option<PathBuf> {
    let mut path = page.parent().unwrap().to_owned();
    for component in Path::new(link).components() {
        match component {
            Component::ParentDir if path.pop() => {}
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(path)
}

/// The relative links of a page.
fn links(text: &str) -> Vec<String> {
    Parser::new_ext(text, Options::ENABLE_TABLES)
        .filter_map(|event| match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                Some(dest_url.into_string())
            }
            _ => None,
        })
        .filter(|link| !link.contains(':'))
        .collect()
}

/// The anchors of a page's headings, as GitHub makes them: small letters, no punctuation, hyphens
/// for spaces, and a number from the second of the same on.
fn anchors(text: &str) -> BTreeSet<String> {
    let (mut found, mut heading) = (BTreeSet::new(), None::<String>);
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(piece) | Event::Code(piece) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&piece);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let anchor = anchor(&heading.take().unwrap_or_default());
                let again = |count: &usize| !found.contains(&format!("{anchor}-{count}"));
                let name = if found.contains(&anchor) {
                    format!("{anchor}-{}", (1..).find(again).unwrap())
                } else {
                    anchor.clone()
                };
                found.insert(name);
            }
            _ => {}
        }
    }
    found
}

fn anchor(heading: &str) -> String {
    let letters = heading.chars().filter_map(|letter| match letter {
        ' ' => Some('-'),
        '-' | '_' => Some(letter),
        _ => letter.is_alphanumeric().then_some(letter),
    });
    letters.flat_map(char::to_lowercase).collect()
}

#[test]
fn an_anchor_is_what_github_makes_of_a_heading() {
    let text =
        "# `[channel.dji-cloud]`\n\n## What `uplift` can't do, or won't\n\n## Trust\n\n## Trust\n";
    let expected = ["channeldji-cloud", "what-uplift-cant-do-or-wont", "trust", "trust-1"];
    assert_eq!(anchors(text), expected.map(str::to_owned).into());
}

#[test]
fn every_link_leads_to_a_file_and_to_a_heading_in_it() {
    let mut count = 0;
    for page in pages() {
        let text = read(&page);
        for link in links(&text) {
            count += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let file = if path.is_empty() { Some(page.clone()) } else { target(&page, path) };
            let file = file.filter(|file| Path::new(ROOT).join(file).exists());
            let file = file.unwrap_or_else(|| panic!("{}: {link} is no file", page.display()));
            assert!(
                anchor.is_empty() || anchors(&read(&file)).contains(anchor),
                "{}: {link} is no heading",
                page.display()
            );
        }
    }
    assert!(count > 150, "only {count} links were found");
}

/// Names as `docs/use/seal.md`, wherever they stand in a text.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "-_/.".contains(letter);
    text.match_indices("docs/").filter_map(move |(start, _)| {
        let rest = &text[start..];
        let path = &rest[..rest.find(|letter| !is_part(letter)).unwrap_or(rest.len())];
        let path = path.split_once(".md").map(|(path, _)| path)?;
        Some(&rest[..path.len() + ".md".len()])
    })
}

#[test]
fn every_page_that_is_named_anywhere_is_there() {
    let mut count = 0;
    for file in all_files() {
        // The names of files that only test this look like pages.
        if file.ends_with("readme/links.rs") {
            continue;
        }
        // What is no text names no page.
        let Ok(text) = fs::read_to_string(Path::new(ROOT).join(&file)) else { continue };
        for page in named(&text) {
            count += 1;
            assert!(Path::new(ROOT).join(page).exists(), "{} names {page}", file.display());
        }
    }
    assert!(count > 200, "only {count} names were found");
}

#[test]
fn the_index_has_every_page_once() {
    let index = Path::new("docs/README.md");
    let linked = links(&read(index));
    for page in pages().iter().filter(|page| page.starts_with("docs") && *page != index) {
        let count = linked.iter().filter(|link| target(index, link).as_ref() == Some(page)).count();
        assert_eq!(count, 1, "{}", page.display());
    }
}

/// The example's page is right beside the bridge alone, too, as its package and its tar have it.
#[test]
fn the_bridge_s_package_has_the_pages_that_its_page_links() {
    let build = read(Path::new("packaging/build"));
    let copied = build.lines().find_map(|line| line.trim().strip_prefix(ALONGSIDE)).unwrap();
    let copied: Vec<&Path> = copied.split(' ').map(Path::new).collect();
    let page = Path::new("docs/use/psdk-app.md");
    assert!(copied.contains(&page), "{copied:?}");
    for link in links(&read(page)) {
        let file = target(page, link.split('#').next().unwrap()).unwrap();
        assert!(link.starts_with('#') || copied.contains(&&*file), "{link}: {copied:?}");
    }
}
