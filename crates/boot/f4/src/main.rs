//! The bootloader of an STM32F405 or F407. It asks [`uplift_boot`] what is to be done, and does it: starts the
//! application, or waits for the host, which resets the chip into the loader in its ROM.

#![no_std]
#![no_main]

mod chip;

use uplift_boot::{Boot, Map, boot};

use chip::Chip;

/// What the first reset vector points to.
fn main() -> ! {
    let mut chip = Chip::take();
    match boot(&Map::SEED, &mut chip) {
        Boot::Run(vectors) => chip.start(Map::SEED.application.address, vectors),
        Boot::Wait(_) => chip.wait(),
    }
}
