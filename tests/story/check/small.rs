//! A program of 32 bits that tells V02.00.00.00, for machines that run those of 64 bits too.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Prints its version by the system calls of i386, so that it needs no C library.
const I386: &str = r#"
static long call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
    return result;
}
void _start(void) { call(4, 1, (long)"V02.00.00.00\n", 13); call(1, 0, 0, 0); }
"#;
/// The same of ARM, with its EABI.
const ARM: &str = r#"
__asm__(".global _start\n_start: mov r0, #1\nadr r1, text\nmov r2, #13\nmov r7, #4\nsvc #0\nmov r0, #0\nmov r7, #1\nsvc #0\n"
        "text: .ascii \"V02.00.00.00\\n\"\n");
"#;

/// A program of 32 bits that this machine can run.
pub(crate) fn build(directory: &Path) -> Vec<u8> {
    let (compiler, options, source) = match std::env::consts::ARCH {
        "x86_64" => ("cc", &["-m32"][..], I386),
        "aarch64" => ("arm-linux-gnueabihf-gcc", &[][..], ARM),
        other => panic!("{other} has no programs of 32 bits"),
    };
    fs::File::create(directory.join("small.c"))
        .and_then(|mut file| std::io::Write::write_all(&mut file, source.as_bytes()))
        .unwrap();
    let mut command = Command::new(compiler);
    command.args(options).args([
        "-nostdlib",
        "-static",
        "-fno-pie",
        "-no-pie",
        "-fno-stack-protector",
        "-o",
        "small",
        "small.c",
    ]);
    let output = command.current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    fs::read(directory.join("small")).unwrap()
}
