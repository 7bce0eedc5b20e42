//! What udev does about an adapter by the packaged rule: udev itself, with an adapter that only its
//! view of the kernel has.

use std::path::Path;
use std::process::Command;

fn plug_in(vendor: &str, driver: &str) -> String {
    assert!(nix::unistd::geteuid().is_root(), "this test mounts file systems: run it as root");
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private"]).arg(source.join("tests/udev/plug_in"));
    let output = unshare
        .arg(source.join("packaging/udev/70-uplift.rules"))
        .args([vendor, driver])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// What udev says by which line of our rule.
fn ours(said: &str) -> Vec<&str> {
    said.lines()
        .filter_map(|line| line.split_once("70-uplift.rules:")?.1.split_once(' '))
        .map(|(_line, effect)| effect)
        .collect()
}

#[test]
fn an_ftdi_adapter_gets_name_group_and_low_latency() {
    let said = plug_in("0403", "ftdi_sio");
    let effects = ours(&said);
    assert_eq!(effects[..3], ["LINK 'uplift-link'", "GROUP 4711", "MODE 0660"], "{said}");
    assert!(
        effects.len() == 4 && effects[3].ends_with("/ttyUSB0/device/latency_timer' writing '1'"),
        "{said}"
    );
    assert!(
        said.contains("\nID_MM_DEVICE_IGNORE=1\n")
            && said.contains("\nDEVLINKS=/dev/uplift-link\n"),
        "{said}"
    );
}

#[test]
fn another_adapter_has_no_timer_to_set() {
    let said = plug_in("10c4", "cp210x");
    assert_eq!(ours(&said), ["LINK 'uplift-link'", "GROUP 4711", "MODE 0660"], "{said}");
    assert!(said.contains("\nID_MM_DEVICE_IGNORE=1\n"), "{said}");
}

#[test]
fn a_modem_is_left_to_modem_manager() {
    let said = plug_in("12d1", "option");
    assert!(
        ours(&said).is_empty()
            && !said.contains("ID_MM_DEVICE_IGNORE")
            && !said.contains("uplift-link"),
        "{said}"
    );
}
