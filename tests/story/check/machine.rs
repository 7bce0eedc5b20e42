//! Programs of 32 bits on a machine that runs those of 64 bits too.

use super::small::build;
use super::{RIGHT, Sandbox};

#[test]
fn a_program_of_32_bits_is_accepted_where_the_configuration_says_so_and_it_runs() {
    let sandbox = Sandbox::new("");
    let small = build(sandbox.0.path());
    sandbox.file(RIGHT, &small);
    sandbox.assert_refused(RIGHT, "wrong-machine", "the installed program is for ");
    assert!(
        sandbox
            .hint(RIGHT)
            .contains("`machine = \"any-runnable\"` in the [package] section accepts it")
    );

    let sandbox = Sandbox::new("[package]\nmachine = \"any-runnable\"");
    sandbox.file(RIGHT, &small);
    let text = sandbox.accepted(RIGHT);
    assert!(
        text.contains("the preflight shows whether this machine runs it")
            && text.contains("prints version V02.00.00.00"),
        "{text}"
    );
    // From 32 to 64 bits too.
    sandbox.file("program", &small);
    let next = "DEMO_V03.00.00.00.bin";
    sandbox.file(next, &super::program("V03.00.00.00"));
    let text = sandbox.accepted(next);
    assert!(text.contains("the preflight shows whether this machine runs it"), "{text}");

    // One that does not run here is refused by its silence.
    let mut broken = small;
    broken[24..28].copy_from_slice(&[0; 4]); // its entry
    let sandbox = Sandbox::new("[package]\nmachine = \"any-runnable\"");
    sandbox.file(RIGHT, &broken);
    sandbox.assert_refused(RIGHT, "preflight-failed", "did not print its version");
}
