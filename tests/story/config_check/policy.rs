//! What would keep an upgrade from beginning on this machine.

use super::{assert_error, assert_warning, check, sandbox};

#[test]
fn a_policy_that_lets_nothing_in_is_found() {
    let sandbox = sandbox();
    let policy =
        |lines: &str| check(&sandbox, &sandbox.restart_line(), &format!("[policy]\n{lines}\n"));
    let missing = policy("ready_command = [\"/nowhere/ready\", \"--quick\"]");
    assert!(missing.1.contains("  ready    where `/nowhere/ready --quick` says so within 2s"));
    assert_error(&missing, "policy.ready_command: ");
    assert_error(&policy("min_free_space = \"8388608GiB\""), "policy.min_free_space: ");
    let window = "window_utc = [\"02:00-05:00\"]\nclock_file = \"/nowhere/clock\"";
    let untrusted = policy(window);
    assert!(untrusted.1.contains("  window   02:00-05:00 UTC"), "{}", untrusted.1);
    assert_warning(&untrusted, "policy.window_utc: the clock was not set since the boot");
    let trusted = policy(&format!("{window}\nclock = \"trusted\""));
    assert!(!trusted.1.contains("policy."), "{}", trusted.1);
}
