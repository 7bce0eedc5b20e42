//! How fast a file is read from a module: 1 MiB over a line of 921600 baud, beside what the dialogue
//! allows. Nothing here asserts.
//!
//! cargo bench --bench quectel

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use uplift_sim::module::quectel::{Event, Module, Options, Plan};
use uplift_sim::sandbox::Sandbox;

const BAUD: u32 = 921_600;
const SIZE: u64 = 1 << 20;
const BLOCK: u64 = 1024;
const ROUNDS: u32 = 5;
const LONG: Duration = Duration::from_secs(120);

fn main() -> Result<()> {
    let wire = wire_bytes();
    let least = Duration::from_secs_f64(wire as f64 * 10.0 / f64::from(BAUD));
    println!(
        "what the dialogue allows: for each block of {BLOCK} bytes\n  \
         len(\"AT+QIOTOTARD=start,n\\r\") + len(\"\\r\\n+QIOTOTARD: start,n\\r\\n\") + n + len(\"\\r\\n\\r\\nOK\\r\\n\")\n  \
         = {wire} bytes for {SIZE}, times 10 bits / {BAUD} baud = {:.3} s, {:.1} kB/s",
        least.as_secs_f64(),
        rate(least)
    );
    for round in 1..=ROUNDS {
        let took = measure().with_context(|| format!("round {round}"))?;
        let share = least.as_secs_f64() / took.as_secs_f64() * 100.0;
        println!(
            "round {round}: {:.3} s, {:.1} kB/s, {share:.1} %",
            took.as_secs_f64(),
            rate(took)
        );
    }
    Ok(())
}

fn rate(time: Duration) -> f64 {
    SIZE as f64 / 1000.0 / time.as_secs_f64()
}

/// Bytes of the dialogue in both directions, which take turns.
fn wire_bytes() -> u64 {
    (0..SIZE)
        .step_by(usize::try_from(BLOCK).unwrap_or(1))
        .map(|start| {
            let length = BLOCK.min(SIZE - start);
            let command = format!("AT+QIOTOTARD={start},{length}\r");
            let head = format!("\r\n+QIOTOTARD: {start},{length}\r\n");
            (command.len() + head.len() + "\r\n\r\nOK\r\n".len()) as u64 + length
        })
        .sum()
}

/// From the moment that the file can be read to its last byte.
fn measure() -> Result<Duration> {
    let mut sandbox = Sandbox::new(Path::new(env!("CARGO_BIN_EXE_uplift")))?;
    let version = "V01.00.00.00".parse().context("a version")?;
    sandbox.install_by_hand(version)?;
    let link = sandbox.root().join("run/ttyQuectel");
    let section = format!(
        "[channel.quectel]\ndevice = \"{}\"\nbaud = {BAUD}\ncomponents = {{ PAYLOAD = \"program\" }}\nunsealed = \"lab\"\n",
        link.display()
    );
    sandbox.configure(&sandbox.restart_line(), &section)?;
    let firmware = sandbox.firmware("V02.00.00.00".parse().context("a version")?, Some(SIZE))?;
    let plans = vec![Plan::new("PAYLOAD", "2_0_0_0", std::fs::read(firmware)?)];
    let module = Module::start(link, Options { plans, baud: Some(BAUD), ..Options::default() })?;
    sandbox.start_daemon()?;
    sandbox.start_channels()?;
    let mut events = module.events();
    let is_readable = |event: &Event| matches!(event, Event::Readable { .. });
    events.wait_for(LONG, is_readable).context("nothing can be read")?;
    let began = Instant::now();
    let is_last =
        |event: &Event| matches!(event, Event::Command { text, .. } if text == "AT+QIOTUPDATE=3");
    let mut read = 0;
    while read < SIZE {
        let event = events.next(LONG).context("the file was not read")?;
        if let Event::Read { size, .. } = event {
            read += size;
        }
    }
    // It is told when the last block begins.
    let last = Duration::from_secs_f64((BLOCK + 8) as f64 * 10.0 / f64::from(BAUD));
    let took = began.elapsed() + last;
    events.wait_for(LONG, is_last).context("the file was not taken")?;
    Ok(took)
}
