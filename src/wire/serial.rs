//! The serial port: raw, exclusive, 8N1, and never drained.
//!
//! A type of its own because the crate's flush drains the port, which stands the whole runtime
//! still, and because a read of 0 bytes means that the device is gone. There is no flush here at
//! all.
//!
//! The crate sets the port; the bytes go through a second descriptor, which the runtime watches for
//! reading only: a driver tells of room for writing after each frame that went out, and an idle
//! daemon would wake up for it once a push.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use nix::fcntl::OFlag;
use tokio::net::unix::pipe;
use tokio::time::sleep;
use tokio_serial::{
    ClearBuffer, DataBits, FlowControl, Parity, SerialPort, SerialPortBuilder, StopBits,
};

/// Bytes that may wait for a line that does not take them; more than a second at the slowest rate
/// would be of no use.
const OUTGOING_LIMIT: usize = 16 * 1024;
const READ_SIZE: usize = 4096;

/// Until a full line is offered again what it did not take: far less than what a driver has
/// buffered takes to go out.
const FULL_LINE_PAUSE: Duration = Duration::from_millis(10);

/// An open serial port.
#[derive(Debug)]
pub(crate) struct Port {
    settings: Box<dyn SerialPort>,
    /// Does not block.
    writer: File,
    /// The same. The runtime's only door for a plain descriptor that needs no `unsafe`; reading is
    /// all that is done with it.
    reader: pipe::Receiver,
    device: PathBuf,
    outgoing: BytesMut,
}

/// Why a port can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PortError {
    /// It can't be opened.
    #[error("{} can't be opened: {reason}", device.display())]
    Open { device: PathBuf, reason: String },
    /// It can't be set to a rate.
    #[error("{} does not take {rate} baud: {reason}", device.display())]
    Rate { device: PathBuf, rate: u32, reason: String },
}

impl Port {
    /// Opens a device.
    pub(crate) fn open(device: &Path, rate: u32) -> Result<Self, PortError> {
        let failed = |reason: String| PortError::Open { device: device.to_owned(), reason };
        // First: the settings close the port to others.
        let (writer, reader) = open_for_bytes(device).map_err(|error| failed(error.to_string()))?;
        let settings = settings(device, rate).open().map_err(|error| failed(error.to_string()))?;
        let mut port =
            Self { settings, writer, reader, device: device.to_owned(), outgoing: BytesMut::new() };
        port.verify(rate)?;
        // What lay in the driver's buffer was received at another rate, by somebody else, or long
        // ago.
        port.discard_input();
        Ok(port)
    }

    /// Sets another rate.
    pub(crate) fn set_rate(&mut self, rate: u32) -> Result<(), PortError> {
        self.settings
            .set_baud_rate(rate)
            .map_err(|error| self.rate_error(rate, error.to_string()))?;
        self.verify(rate)?;
        self.discard_input();
        Ok(())
    }

    /// Drivers may round a rate, or ignore it without a word; up to 2 % off still carries bytes.
    fn verify(&self, rate: u32) -> Result<(), PortError> {
        let actual =
            self.settings.baud_rate().map_err(|error| self.rate_error(rate, error.to_string()))?;
        if actual.abs_diff(rate) > rate / 50 {
            return Err(self.rate_error(rate, format!("it says {actual}")));
        }
        Ok(())
    }

    fn rate_error(&self, rate: u32, reason: String) -> PortError {
        PortError::Rate { device: self.device.clone(), rate, reason }
    }

    fn discard_input(&mut self) {
        // A device that went away is noticed by the next read.
        let _ = self.settings.clear(ClearBuffer::Input);
    }

    /// Lets `encode` append bytes and hands them to the driver at once, as far as it takes them;
    /// false when too much waits already, or `encode` said so.
    pub(crate) fn send(&mut self, encode: impl FnOnce(&mut BytesMut) -> bool) -> bool {
        if self.outgoing.len() >= OUTGOING_LIMIT || !encode(&mut self.outgoing) {
            return false;
        }
        // An error is left for `read`, which meets it again.
        let _ = self.send_waiting();
        true
    }

    /// Reads what has come, and sends meanwhile what had to wait; 0 means that the device is gone.
    pub(crate) async fn read(&mut self, incoming: &mut BytesMut) -> io::Result<usize> {
        loop {
            self.send_waiting()?;
            let line_is_full = !self.outgoing.is_empty();
            tokio::select! {
                length = read_available(&self.reader, incoming) => return length,
                () = sleep(FULL_LINE_PAUSE), if line_is_full => {}
            }
        }
    }

    fn send_waiting(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            match self.writer.write(&self.outgoing) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => self.outgoing.advance(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn settings(device: &Path, rate: u32) -> SerialPortBuilder {
    tokio_serial::new(device.to_string_lossy(), rate)
        .data_bits(DataBits::Eight)
        .parity(Parity::None)
        .stop_bits(StopBits::One)
        .flow_control(FlowControl::None)
        .exclusive(true)
}

fn open_for_bytes(device: &Path) -> io::Result<(File, pipe::Receiver)> {
    let flags = OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    let writer =
        OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open(device)?;
    if !writer.is_terminal() {
        return Err(io::Error::other("it is not a serial port"));
    }
    let reader = pipe::Receiver::from_owned_fd_unchecked(writer.try_clone()?.into())?;
    Ok((writer, reader))
}

async fn read_available(reader: &pipe::Receiver, incoming: &mut BytesMut) -> io::Result<usize> {
    let mut bytes = [0; READ_SIZE];
    loop {
        reader.readable().await?;
        match reader.try_read(&mut bytes) {
            Ok(length) => {
                incoming.extend_from_slice(&bytes[..length]);
                return Ok(length);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
