//! Registers, vector table and jump of an F405 or F407: all that is unsafe, and nothing that decides.
//!
//! Every address here is one of RM0090's (docs/wire/stm32f4.md has those that matter). The bootloader runs on what
//! the chip has at reset: 16 MHz, no interrupt, no cache, and leaves it so (ST-21).
#![allow(unsafe_code)]

use core::arch::asm;
use core::panic::PanicInfo;
use core::ptr::{read_volatile, write_volatile};

use uplift_boot::{Failed, Flash, Vectors};

const FLASH_KEYR: u32 = 0x4002_3C04;
const FLASH_SR: u32 = 0x4002_3C0C;
const FLASH_CR: u32 = 0x4002_3C10;
const KEYS: [u32; 2] = [0x4567_0123, 0xCDEF_89AB];

const SR_BUSY: u32 = 1 << 16;
/// Operation, write protection, alignment, parallelism, sequence.
const SR_ERRORS: u32 = 0b1111_0010;
const CR_PROGRAM: u32 = 1;
const CR_ERASE: u32 = 1 << 1;
const CR_SECTOR: u32 = 3;
/// A word at a time: for 2.7 to 3.6 V. A board with less needs another width here and in `program`.
const CR_WORDS: u32 = 0b10 << 8;
const CR_START: u32 = 1 << 16;
const CR_LOCK: u32 = 1 << 31;

/// Clocks of what hangs on the first bus, among them the CRC unit's.
#[cfg(not(feature = "table"))]
const RCC_AHB1ENR: u32 = 0x4002_3830;
#[cfg(not(feature = "table"))]
const CRC_CLOCK: u32 = 1 << 12;
#[cfg(not(feature = "table"))]
const CRC_DR: u32 = 0x4002_3000;
#[cfg(not(feature = "table"))]
const CRC_CR: u32 = 0x4002_3008;

/// The independent watchdog: an option byte may have started it. Its key does nothing where it does not run.
const IWDG_KR: u32 = 0x4000_3000;
const IWDG_REFRESH: u32 = 0xAAAA;

const VTOR: u32 = 0xE000_ED08;

/// What follows the stack pointer in the vector table: reset, and the fifteen exceptions of the core. None but a fault
/// can come.
#[used]
#[unsafe(link_section = ".vectors")]
static VECTORS: [unsafe extern "C" fn() -> !; 15] = {
    let mut vectors: [unsafe extern "C" fn() -> !; 15] = [fault; 15];
    vectors[0] = reset;
    vectors
};

/// Where the chip begins. There are no variables to prepare (link.x makes sure of that).
#[unsafe(no_mangle)]
unsafe extern "C" fn reset() -> ! {
    super::main()
}

unsafe extern "C" fn fault() -> ! {
    loop {
        wait_for_interrupt();
    }
}

/// There is no path to a panic: linking fails if one is left, because nothing defines what this calls.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn a_panic_can_be_reached() -> !;
    }
    // SAFETY: it does not exist.
    unsafe { a_panic_can_be_reached() }
}

/// The chip's flash, unlocked.
pub struct Chip(());

impl Chip {
    /// Unlocks the flash. Called once, after reset.
    pub fn take() -> Self {
        if get(FLASH_CR) & CR_LOCK != 0 {
            KEYS.into_iter().for_each(|key| set(FLASH_KEYR, key));
        }
        Self(())
    }

    /// Leaves the chip as it is at reset, and starts a program as the chip itself would (ST-21).
    pub fn start(self, address: u32, vectors: Vectors) -> ! {
        set(FLASH_CR, CR_LOCK);
        set(VTOR, address);
        // SAFETY: the vectors were checked, and nothing here is used again.
        unsafe {
            asm!(
                "dsb",
                "isb",
                "msr msp, {stack}",
                "bx {entry}",
                stack = in(reg) vectors.stack,
                entry = in(reg) vectors.entry,
                options(noreturn),
            )
        }
    }

    /// Waits for a reset.
    pub fn wait(self) -> ! {
        set(FLASH_CR, CR_LOCK);
        loop {
            set(IWDG_KR, IWDG_REFRESH);
            wait_for_interrupt();
        }
    }

    fn operate(&mut self, control: u32, start: impl FnOnce()) -> Result<(), Failed> {
        set(IWDG_KR, IWDG_REFRESH);
        // Errors of before are cleared by writing them.
        set(FLASH_SR, SR_ERRORS);
        set(FLASH_CR, control | CR_WORDS);
        start();
        while get(FLASH_SR) & SR_BUSY != 0 {}
        let errors = get(FLASH_SR) & SR_ERRORS;
        set(FLASH_CR, CR_WORDS);
        if errors == 0 { Ok(()) } else { Err(Failed) }
    }
}

impl Flash for Chip {
    fn read(&mut self, address: u32) -> Result<u32, Failed> {
        Ok(get(address))
    }

    fn program(&mut self, address: u32, word: u32) -> Result<(), Failed> {
        self.operate(CR_PROGRAM, || set(address, word))
    }

    fn erase(&mut self, sector: u8) -> Result<(), Failed> {
        let control = CR_ERASE | u32::from(sector) << CR_SECTOR;
        self.operate(control, || set(FLASH_CR, control | CR_WORDS | CR_START))
    }

    /// The unit takes words, the highest bit first; CRC-32 (IEEE) takes bytes, the lowest bit first.
    #[cfg(not(feature = "table"))]
    fn crc(&mut self, address: u32, size: u32) -> Result<u32, Failed> {
        let clocks = get(RCC_AHB1ENR);
        set(RCC_AHB1ENR, clocks | CRC_CLOCK);
        // Read back: the clock is there two cycles later.
        let _ = get(RCC_AHB1ENR);
        set(CRC_CR, 1);
        let mut offset = 0;
        while offset < size {
            set(CRC_DR, get(address.wrapping_add(offset)).reverse_bits());
            offset = offset.wrapping_add(4);
        }
        let crc = !get(CRC_DR).reverse_bits();
        set(CRC_CR, 1);
        set(RCC_AHB1ENR, clocks);
        Ok(crc)
    }
}

fn wait_for_interrupt() {
    // SAFETY: it waits, and touches nothing.
    unsafe { asm!("wfi", options(nomem, nostack, preserves_flags)) }
}

fn get(address: u32) -> u32 {
    // SAFETY: the addresses are registers and flash, which can always be read.
    unsafe { read_volatile(address as *const u32) }
}

fn set(address: u32, value: u32) {
    // SAFETY: the addresses are registers, and flash where a program or an erase is on its way; no Rust object is there.
    unsafe { write_volatile(address as *mut u32, value) }
}
