//! Where files lie that do not outlive a restart, or that can't be what they must be.

use super::*;

/// `uplift`, in a mount namespace in which a command was run before.
fn check_after(sandbox: &Sandbox, command: &str) -> Said {
    sandbox.configure(&sandbox.restart_line(), "").unwrap();
    check_as_it_is_after(sandbox, command)
}

/// The same, by the configuration that is there.
pub(super) fn check_as_it_is_after(sandbox: &Sandbox, command: &str) -> Said {
    assert!(nix::unistd::geteuid().is_root(), "this test mounts file systems: run it as root");
    let uplift = sandbox.command(&["config", "check"]);
    let mut unshare = Command::new("unshare");
    unshare
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            &format!("{command} && exec \"$@\""),
        ])
        .arg("sh");
    output(unshare.arg(uplift.get_program()).args(uplift.get_args()))
}

#[test]
fn a_staging_area_on_another_mount_and_a_program_that_is_one() {
    let sandbox = sandbox();
    let bin = sandbox.root().join("bin");
    let bin = bin.display();
    fs::create_dir(sandbox.root().join("bin/.uplift")).unwrap();
    let said = check_after(&sandbox, &format!("mount --bind {bin}/.uplift {bin}/.uplift"));
    assert_error(&said, "component.program.path: ");
    assert!(said.1.contains("bin/.uplift is a mount of its own"), "{}", said.1);
    assert!(
        check_after(&sandbox, &format!("mount --bind {bin}/payload {bin}/payload"))
            .1
            .contains("bin/payload is a mount of its own")
    );
}

#[test]
fn a_file_system_that_is_read_only_full_or_in_memory() {
    let sandbox = sandbox();
    let bin = sandbox.root().join("bin");
    let bin = bin.display();
    assert_error(
        &check_after(&sandbox, &format!("mount --bind -o ro {bin} {bin}")),
        "can't be written: Read-only file system",
    );
    let keep = format!(
        "cp {bin}/payload {bin}.kept && mount -t tmpfs -o size=16k tmpfs {bin} && cp {bin}.kept {bin}/payload"
    );
    assert_warning(&check_after(&sandbox, &keep), "is in memory (tmpfs)");
    let said = check_after(
        &sandbox,
        &format!("{keep} && {{ cat /dev/zero >{bin}/filler 2>/dev/null; true; }}"),
    );
    assert_warning(&said, "has 0 bytes free, less than the program's");
}

/// The sandbox, but what restarts is this machine.
fn configure_for_reboot(sandbox: &Sandbox) {
    sandbox.configure("restart = \"reboot\"", "").unwrap();
    let text = fs::read_to_string(sandbox.config()).unwrap();
    let kernels: Vec<&str> = text.lines().filter(|line| !line.starts_with("boot_id")).collect();
    std::fs::write(sandbox.config(), kernels.join("\n")).unwrap();
}

/// Puts a copy of what is in a directory into one in memory that is mounted over it.
fn into_memory(directory: &str) -> String {
    format!(
        "cp -a {directory} {directory}.kept && mount -t tmpfs tmpfs {directory} && cp -a {directory}.kept/. {directory}"
    )
}

#[test]
fn a_state_in_memory_and_all_that_is_lost_at_a_restart() {
    let sandbox = sandbox();
    if statfs(sandbox.root()).unwrap().filesystem_type() == TMPFS_MAGIC {
        return untested::say(
            "the temporary directory is in memory; `tests/run` chooses another one",
        );
    }
    let (bin, state) =
        (sandbox.root().join("bin").display().to_string(), sandbox.state().display().to_string());
    fs::create_dir_all(&state).unwrap();
    configure_for_reboot(&sandbox);
    let said = check_as_it_is_after(&sandbox, &into_memory(&state));
    assert_error(&said, "paths.state: what is written to");
    assert!(
        said.1.contains("state is in memory (tmpfs)") && !said.1.contains("neither the program"),
        "{}",
        said.1
    );
    let both = format!("{} && {}", into_memory(&state), into_memory(&bin));
    assert_error(
        &check_as_it_is_after(&sandbox, &both),
        "component.program.path: neither the program nor the state outlives the restart of the machine",
    );
    // A restart of the unit loses nothing.
    assert_warning(&check_after(&sandbox, &both), "component.program.path: what is written to");
}

#[test]
fn an_overlay_whose_upper_layer_is_in_memory_or_can_not_be_seen() {
    let sandbox = sandbox();
    let (root, bin) =
        (sandbox.root().display().to_string(), sandbox.root().join("bin").display().to_string());
    let overlay = |memory: &str| {
        let mount = format!(
            "mount -t overlay overlay -o lowerdir={bin},upperdir={memory}/upper,workdir={memory}/work {bin}"
        );
        format!(
            "mkdir -p {memory} && mount -t tmpfs tmpfs {memory} && mkdir {memory}/upper {memory}/work && {mount}"
        )
    };
    let said = check_after(&sandbox, &overlay(&format!("{root}/memory")));
    assert_warning(&said, "component.program.path: what is written to");
    assert!(
        said.1.contains(&format!("the upper layer of the overlay at {bin} is {root}/memory/upper, and {root}/memory is in memory (tmpfs)")),
        "{}",
        said.1
    );
    // As the initial system of a boot leaves it.
    let hidden = format!("{} && umount --lazy {root}/hidden", overlay(&format!("{root}/hidden")));
    let said = check_after(&sandbox, &hidden);
    assert_warning(
        &said,
        "component.program.path: this check can't tell whether what is written to",
    );
    assert!(said.1.contains("hidden/upper, which can't be seen from here"), "{}", said.1);
}

#[test]
fn an_option_by_which_a_sync_means_nothing() {
    let sandbox = sandbox();
    let (memory, bin) = (sandbox.root().join("memory"), sandbox.root().join("bin"));
    let (memory, bin) = (memory.display(), bin.display());
    let layers = format!(
        "mkdir {memory} && mount -t tmpfs tmpfs {memory} && mkdir {memory}/upper {memory}/work"
    );
    let overlay = format!(
        "{layers} && mount -t overlay overlay -o volatile,lowerdir={bin},upperdir={memory}/upper,workdir={memory}/work {bin}"
    );
    let said = check_after(&sandbox, &overlay);
    assert_warning(&said, "is mounted with `");
    assert!(
        said.1.contains("volatile`, so that a power cut can undo a finished upgrade"),
        "{}",
        said.1
    );
}

#[test]
fn a_program_that_is_immutable() {
    let sandbox = sandbox();
    let flag = |flag: &str| {
        Command::new("chattr")
            .arg(flag)
            .arg(sandbox.program())
            .status()
            .is_ok_and(|status| status.success())
    };
    assert!(
        flag("+i"),
        "the file system of temporary files must have the flag; set TMPDIR to a directory on one that has"
    );
    let said = check(&sandbox, &sandbox.restart_line(), "");
    assert!(flag("-i"));
    assert_error(&said, "bin/payload is immutable, so that nobody can replace it");
    assert!(said.1.contains("`chattr -i -a "), "{}", said.1);
}

#[test]
fn a_file_system_on_which_files_have_no_mode() {
    if !Path::new("/dev/fuse").exists() {
        return untested::say("this machine has no /dev/fuse");
    }
    let sandbox = sandbox();
    let bin = sandbox.root().join("bin").display().to_string();
    for policy in ["--chmod-deny", "--chmod-ignore"] {
        let said = check_after(&sandbox, &format!("bindfs {policy} {bin} {bin}"));
        assert_error(&said, "can't be given a mode");
    }
    assert_eq!(fs::read_dir(&bin).unwrap().count(), 1, "the check leaves nothing behind");
}
