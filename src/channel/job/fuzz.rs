//! What must hold of the machine whatever happens, for the fuzzer.

use super::model::{Step, World};

/// Takes bytes as what happens to a platform, a daemon and the process between them, two a step, and
/// lets all end well. Panics where a promise is broken.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let mut world = World::default();
    bytes.chunks_exact(2).for_each(|step| world.step(Step::read(step[0], step[1])));
    world.settle();
}
