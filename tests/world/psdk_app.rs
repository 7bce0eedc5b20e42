//! The example application (`examples/psdk-app`) with the bridge, linked to the stand-in for the
//! vendor's library: what a payload team ships, without the vendor's files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

/// A version of it, built once by each test process.
pub(crate) fn psdk_app(version: &str) -> Vec<u8> {
    static BUILT: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let build = || build(version);
    built.entry(version.to_owned()).or_insert_with(build).clone()
}

/// Another one, which is the same but for these definitions.
pub(crate) fn build_with(version: &str, definitions: &[&str]) -> Vec<u8> {
    let directory = TempDir::with_prefix("psdk-app-").unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (app, stand_in) = (root.join("examples/psdk-app"), root.join("tests/bridge/stand-in"));
    let sources = ["main", "credentials", "files", "osal", "uart", "link_serial"];
    let mut sources: Vec<PathBuf> = sources.map(|name| app.join(name).with_extension("c")).into();
    sources.push(root.join("bridge/uplift_psdk.c"));
    let of_stand_in = fs::read_dir(stand_in.join("src")).unwrap();
    sources.extend(
        of_stand_in
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "c")),
    );
    let text = version.strip_prefix('V').unwrap();
    let numbers: Vec<String> =
        text.split('.').map(|number| number.parse::<u8>().unwrap().to_string()).collect();
    let program = directory.path().join("psdk-app");
    // The compiler that links Rust's programs.
    let output = Command::new("cc")
        .args(["-std=c11", "-O1", "-g", "-pthread", "-D_GNU_SOURCE", "-DHAVE_OSAL_RANDOM"])
        .args(["-DHAVE_UART_DEVICE_INFO", "-DAPP_PRODUCT=\"PSDK_APPALIAS\""])
        .arg(format!("-DAPP_VERSION={}", numbers.join(",")))
        .arg(format!("-DAPP_VERSION_TEXT=\"{text}\""))
        .args(definitions.iter().map(|definition| format!("-D{definition}")))
        .arg("-I")
        .arg(stand_in.join("include"))
        .arg("-I")
        .arg(root.join("bridge"))
        .arg("-I")
        .arg(&app)
        .args(sources)
        .arg("-o")
        .arg(&program)
        .output()
        .expect("a C compiler, which Rust needs too");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read(program).unwrap()
}

fn build(version: &str) -> Vec<u8> {
    build_with(version, &[])
}
