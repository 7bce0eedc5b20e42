//! Every command of the README and of `docs/use`: the lines of `uplift` and `uplift-sim` are parsed as
//! they are parsed by the programs; whatever else stands there is on a list, with where it is run or why
//! it can't be. What needs neither root nor a payload is run, word for word.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Output, Stdio};

use clap::{Command, CommandFactory as _};
use tempfile::TempDir;
use uplift_fixtures::elf::{Architecture, Program};
use uplift_fixtures::{executable, untested};

use crate::world::programs;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// What a block is marked as that has no commands.
const NO_COMMANDS: [&str; 10] =
    ["text", "toml", "ini", "json", "libconfig", "cpp", "go", "rust", "python", "yaml"];

const PACKAGES: &str = "needs root; tests/packages and tests/booted install what is packed";
const UNITS: &str =
    "needs root and a systemd that has booted: tests/under_systemd, tests/packages/life";
const BUILT: &str =
    "a compiler's; that its output is accepted, tests/story/check and tests/story/seal show";
const BRIDGE: &str = "tests/bridge/psdk-app-test builds the application so";
const RELEASE: &str = "takes minutes; CI runs it: tests/packages";
const CHIP: &str =
    "tests/boot builds it so; crates/sim/tests/mcu.rs has stm32flash write to the simulated chip";
const PEER: &str = "asks a server that goes on running; the stories of its channel ask it the same";
const FILES: &str = "files and text of the machine alone; nothing of uplift is in it";

/// Other programs, and where their lines are run or why they can't be.
const OTHERS: &[(&str, &str)] = &[
    ("apt-get", PACKAGES),
    ("uplift-0.1.0-arm64/install.sh", PACKAGES),
    ("systemctl", UNITS),
    ("useradd", UNITS),
    ("chpasswd", UNITS),
    ("g++", BUILT),
    ("strip", BUILT),
    ("go", BUILT),
    ("cargo", BUILT),
    ("python3", BUILT),
    ("build-env/bin/pip", BUILT),
    ("build-env/bin/pyinstaller", BUILT),
    ("cmake", BRIDGE),
    ("build/psdk-app", BRIDGE),
    ("crates/boot/build", CHIP),
    ("stm32flash", CHIP),
    ("packaging/build", RELEASE),
    ("packaging/release", RELEASE),
    ("tests/run", RELEASE),
    ("curl", PEER),
    ("mosquitto", PEER),
    ("mosquitto_pub", PEER),
    ("mosquitto_sub", PEER),
    ("editor", "a person's"),
    ("minisign", "its lines of docs/use/seal.md are run below"),
    ("cat", FILES),
    ("cd", FILES),
    ("cp", FILES),
    ("echo", FILES),
    ("head", FILES),
    ("install", FILES),
    ("mkdir", FILES),
    ("mv", FILES),
    ("number()", FILES),
    ("od", FILES),
    ("sha256sum", FILES),
    ("tail", FILES),
    ("tar", FILES),
    ("tr", FILES),
    ("}", FILES),
];

/// A block of commands.
pub(super) struct Block {
    page: PathBuf,
    line: usize,
    pub(super) text: String,
}

/// The blocks of all pages for users.
pub(super) fn blocks() -> Vec<Block> {
    let mut pages = vec![PathBuf::from("README.md")];
    let used = fs::read_dir(Path::new(ROOT).join("docs/use")).unwrap();
    pages.extend(used.map(|page| Path::new("docs/use").join(page.unwrap().file_name())));
    pages.sort();
    pages.into_iter().flat_map(|page| blocks_of(&page)).collect()
}

fn blocks_of(page: &Path) -> Vec<Block> {
    let text = fs::read_to_string(Path::new(ROOT).join(page)).unwrap();
    let (mut found, mut block) = (Vec::new(), None::<(&str, Block)>);
    for (number, line) in (1..).zip(text.lines()) {
        match (line.trim_start().strip_prefix("```"), &mut block) {
            (Some(language), None) => {
                let empty = Block { page: page.to_owned(), line: number, text: String::new() };
                block = Some((language.trim(), empty));
            }
            (Some(_), Some(_)) => {
                let (language, block) = block.take().unwrap();
                // A script is a file that another page's commands name; its updater's test runs it.
                if !NO_COMMANDS.contains(&language) && !block.text.starts_with("#!") {
                    assert!(["", "sh"].contains(&language), "{language}: {}", block.page.display());
                    found.push(block);
                }
            }
            (None, Some((_, block))) => block.text += &format!("{}\n", line.trim_start()),
            (None, None) => {}
        }
    }
    found
}

/// The simple commands of a script of the shell, as words. What the shell itself would make of `$` is
/// left as it is.
fn commands(script: &str) -> Vec<Vec<String>> {
    let (mut found, mut words, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let mut letters = script.chars().peekable();
    let mut document = None::<String>;
    while let Some(letter) = letters.next() {
        let is_new_word = word.is_none();
        match letter {
            '\\' if letters.next_if_eq(&'\n').is_some() => {}
            '\\' => word.get_or_insert_default().extend(letters.next()),
            '\'' | '"' => {
                let text = word.get_or_insert_default();
                text.extend(letters.by_ref().take_while(|next| *next != letter));
            }
            '#' if is_new_word => while letters.next_if(|next| *next != '\n').is_some() {},
            '$' if letters.next_if_eq(&'(').is_some() => {
                let text = word.get_or_insert_default();
                let mut depth = 1;
                text.push_str("$(");
                while depth > 0 {
                    let next = letters.next().expect("a bracket that ends");
                    depth += i32::from(next == '(') - i32::from(next == ')');
                    text.push(next);
                }
            }
            '<' | '>' => {
                words.extend(word.take());
                words.push(letter.to_string());
            }
            '\n' | ';' | '&' | '|' => {
                words.extend(word.take());
                if let Some(end) = here_document(&words) {
                    document = Some(end);
                }
                found.push(std::mem::take(&mut words));
                if let Some(end) = document.take_if(|_| letter == '\n') {
                    skip_to(&mut letters, &end);
                }
            }
            blank if blank.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    found.push(words);
    found.into_iter().map(without_rest).filter(|words| !words.is_empty()).collect()
}

/// The word that ends the document behind a command.
fn here_document(words: &[String]) -> Option<String> {
    let begins = words.windows(3).find(|three| three[0] == "<" && three[1] == "<")?;
    Some(begins[2].clone())
}

fn skip_to(letters: &mut std::iter::Peekable<std::str::Chars<'_>>, end: &str) {
    loop {
        let line: String = letters.by_ref().take_while(|letter| *letter != '\n').collect();
        if line == end || letters.peek().is_none() {
            return;
        }
    }
}

/// Without variables that are set before a command, and files that it reads and writes.
fn without_rest(words: Vec<String>) -> Vec<String> {
    let is_variable = |word: &String| {
        let name = word.split_once('=').map(|(name, _)| name);
        name.is_some_and(|name| {
            name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
        })
    };
    let (mut left, mut is_file) = (Vec::new(), false);
    for word in words.into_iter().skip_while(is_variable) {
        if word == "<" || word == ">" {
            is_file = true;
        } else if !std::mem::take(&mut is_file) {
            left.push(word);
        }
    }
    left
}

#[test]
fn a_script_is_read_as_a_shell_reads_it() {
    let script = "A=1 uplift pack ./x \\\n  --note 'two words' # why\ncd /tmp && cp \"a b\" $(f (x)) > file | wc\n\
                  cat >/etc/x <<END\nuplift nothing\nEND\nuplift status";
    let words: Vec<String> = commands(script).iter().map(|words| words.join("|")).collect();
    let expected = [
        "uplift|pack|./x|--note|two words",
        "cd|/tmp",
        "cp|a b|$(f (x))",
        "wc",
        "cat",
        "uplift|status",
    ];
    assert_eq!(words, expected);
}

/// The words of a program of ours, with its parser.
fn ours(words: &[String]) -> Option<(Command, Vec<String>)> {
    let uplift = || uplift::cli::Arguments::command();
    match words[0].as_str() {
        "uplift" => Some((uplift(), words.to_vec())),
        "uplift-sim" => Some((uplift_sim::command::command(), words.to_vec())),
        "cargo" => {
            let (cargo, rest) = words.split_at(words.iter().position(|word| word == "--")?);
            let is_sim = cargo.iter().any(|word| word == "uplift-sim");
            Some((if is_sim { uplift_sim::command::command() } else { uplift() }, rest.to_vec()))
        }
        _ => None,
    }
}

#[test]
fn every_command_is_parsed_or_on_the_list() {
    let (mut parsed, mut wrong, mut used) = (0, Vec::new(), BTreeSet::new());
    for Block { page, line, text } in blocks() {
        for words in commands(&text) {
            let place = format!("{}, below line {line}: {}", page.display(), words.join(" "));
            if let Some((parser, words)) = ours(&words) {
                parsed += 1;
                if let Err(error) = parser.try_get_matches_from(words) {
                    wrong.push(format!("{place}: {error}"));
                }
            } else if let Some((name, _)) = OTHERS.iter().find(|(name, _)| *name == words[0]) {
                used.insert(*name);
            } else {
                wrong.push(format!("{place}: it is neither ours nor on the list"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(parsed > 60, "only {parsed} commands were found");
    let listed: BTreeSet<&str> = OTHERS.iter().map(|(name, _)| *name).collect();
    assert_eq!(used, listed, "what no page has any more is off the list");
}

/// Makes the key that a page's other blocks have made.
const KEY: &str = "uplift keygen --out release --no-password";
const SEALED: &str = "uplift pack ./sensor --product SENSOR --version V02.01.00.03 --key release.key; f=SENSOR_V02.01.00.03.bin";
const SEALED_BEFORE: &str = "uplift pack ./sensor --product SENSOR --version V02.01.00.03 --key release.key --seal-place before; \
    f=SENSOR_V02.01.00.03.bin";
/// The machine of a reader goes on; a test's processes end with it.
const ENDS: &str = "trap 'jobs -p >jobs; kill $(cat jobs)' EXIT";

/// Blocks that are run, by page and first words, each with what the pages have done before.
const RUN: [(&str, &str, &[&str]); 11] = [
    ("docs/use/seal.md", "uplift keygen --out release ", &[]),
    ("docs/use/seal.md", "uplift pack ./modem.deb", &[KEY]),
    ("docs/use/seal.md", "uplift pack ./sensor", &[KEY]),
    ("docs/use/seal.md", "f=SENSOR_V02.01.00.03.bin", &[KEY, SEALED]),
    ("docs/use/seal.md", "number() { tail -c +$1", &[KEY, SEALED_BEFORE]),
    ("docs/use/pack-and-sign.md", "uplift keygen", &[]),
    ("docs/use/pack-and-sign.md", "uplift pack", &[KEY]),
    ("docs/use/luatos.md", "mkdir -p /tmp/luatos/bin", &[]),
    ("docs/use/thingspanel.md", "mkdir -p /tmp/panel/bin", &[]),
    ("docs/use/dji-cloud.md", "mkdir -p /tmp/dji/bin", &[]),
    ("docs/use/hawkbit.md", "mkdir state", &[ENDS]),
];
/// Lines of them that begin what runs until it is stopped; the stories of the channels do that.
const GO_ON: [&str; 2] = ["uplift-sim cloud dji", "mosquitto "];

/// Where the blocks are run: a directory that is their `/tmp`, with the files that the pages take for
/// granted.
struct Place {
    directory: TempDir,
    port: u16,
}

impl Place {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let program = Program::new(Architecture::host().unwrap(), [2, 1, 0, 3]).bytes();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("try")).unwrap();
        executable::write(&at("try/sensor"), &program).unwrap();
        fs::write(at("try/modem.deb"), b"!<arch>\ndebian-binary").unwrap();
        fs::write(at("try/update.raucb"), b"hsqs and a bundle").unwrap();
        let port = uplift_sim::ports::free_address().unwrap().port();
        Self { directory, port }
    }

    /// A block as it is run here: `/tmp` is this directory, and 8080 a port that is free.
    fn script(&self, block: &Block, before: &[&str]) -> String {
        let lines = block.text.lines();
        let lines = lines.filter(|line| !GO_ON.iter().any(|begin| line.starts_with(begin)));
        let script = before.iter().copied().chain(lines).collect::<Vec<_>>().join("\n");
        let script = script.replace("/tmp/", &format!("{}/", self.directory.path().display()));
        script.replace("127.0.0.1:8080", &format!("127.0.0.1:{}", self.port))
    }

    /// Runs it at a terminal of its own, where keys ask for passwords.
    fn run(&self, script: &str) -> Output {
        let file = self.directory.path().join("script");
        fs::write(&file, script).unwrap();
        let programs = Path::new(env!("CARGO_BIN_EXE_uplift")).parent().unwrap();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        let mut terminal = process::Command::new("script")
            .args(["--quiet", "--flush", "--return", "--command"])
            .arg(format!("sh -eu {}", file.display()))
            .arg("/dev/null")
            .current_dir(self.directory.path().join("try"))
            .env("PATH", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("script can't be run");
        let mut typed = terminal.stdin.take().unwrap();
        std::io::Write::write_all(&mut typed, &b"our secret\n".repeat(3)).unwrap();
        let output = terminal.wait_with_output().unwrap();
        drop(typed);
        output
    }
}

#[test]
fn what_needs_no_root_is_run_word_for_word() {
    programs::uplift_sim();
    if Path::new(uplift::config::DEFAULT_PATH).exists() {
        untested::say("this machine has a configuration, and the pages' machines have none");
        return;
    }
    let blocks = blocks();
    for (page, begins, before) in RUN {
        let is_it =
            |block: &&Block| block.page == Path::new(page) && block.text.starts_with(begins);
        let block = blocks.iter().find(is_it).unwrap_or_else(|| panic!("{page}: {begins}"));
        let place = Place::new();
        let output = place.run(&place.script(block, before));
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{page}: {begins}: {said}");
    }
}
