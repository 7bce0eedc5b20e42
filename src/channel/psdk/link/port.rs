//! The serial port: raw, exclusive, 8N1, and never drained.
//!
//! A type of its own because the crate's flush drains the port, which stands the whole runtime still, and because a read
//! of 0 bytes means that the device is gone. There is no flush here at all.

use std::future::poll_fn;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite as _, ReadBuf};
use tokio_serial::{ClearBuffer, DataBits, FlowControl, Parity, SerialPort as _, SerialStream, StopBits};

/// Bytes that may wait for a line that does not take them; more than a second at the slowest rate would be of no use.
const OUTGOING_LIMIT: usize = 16 * 1024;
const READ_SIZE: usize = 4096;

/// An open serial port.
#[derive(Debug)]
pub(super) struct Port {
    stream: SerialStream,
    device: PathBuf,
    outgoing: BytesMut,
}

/// Why a port can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum PortError {
    /// It can't be opened.
    #[error("{} can't be opened: {reason}", device.display())]
    Open { device: PathBuf, reason: String },
    /// It can't be set to a rate.
    #[error("{} does not take {rate} baud: {reason}", device.display())]
    Rate { device: PathBuf, rate: u32, reason: String },
}

impl Port {
    /// Opens a device.
    pub(super) fn open(device: &Path, rate: u32) -> Result<Self, PortError> {
        let builder = tokio_serial::new(device.to_string_lossy(), rate)
            .data_bits(DataBits::Eight)
            .parity(Parity::None)
            .stop_bits(StopBits::One)
            .flow_control(FlowControl::None)
            .exclusive(true);
        let stream =
            SerialStream::open(&builder).map_err(|error| PortError::Open { device: device.to_owned(), reason: error.to_string() })?;
        let mut port = Self { stream, device: device.to_owned(), outgoing: BytesMut::new() };
        port.verify(rate)?;
        // What lay in the driver's buffer was received at another rate, by somebody else, or long ago.
        port.discard_input();
        Ok(port)
    }

    /// Sets another rate.
    pub(super) fn set_rate(&mut self, rate: u32) -> Result<(), PortError> {
        self.stream.set_baud_rate(rate).map_err(|error| self.rate_error(rate, error.to_string()))?;
        self.verify(rate)?;
        self.discard_input();
        Ok(())
    }

    /// Drivers may round a rate, or ignore it without a word; up to 2 % off still carries bytes.
    fn verify(&self, rate: u32) -> Result<(), PortError> {
        let actual = self.stream.baud_rate().map_err(|error| self.rate_error(rate, error.to_string()))?;
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
        let _ = self.stream.clear(ClearBuffer::Input);
    }

    /// Lets `encode` append bytes and hands them to the driver at once, as far as it takes them; false when too much waits
    /// already, or `encode` said so.
    pub(super) fn send(&mut self, encode: impl FnOnce(&mut BytesMut) -> bool) -> bool {
        if self.outgoing.len() >= OUTGOING_LIMIT || !encode(&mut self.outgoing) {
            return false;
        }
        // An error is left for `read`, which meets it again.
        if let Ok(written) = self.stream.try_write(&self.outgoing) {
            self.outgoing.advance(written);
        }
        true
    }

    /// Reads what has come, and sends meanwhile what had to wait; 0 means that the device is gone.
    pub(super) async fn read(&mut self, incoming: &mut BytesMut) -> io::Result<usize> {
        poll_fn(|context| {
            self.poll_send(context)?;
            self.poll_read(context, incoming)
        })
        .await
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, &self.outgoing) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => self.outgoing.advance(written),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    fn poll_read(&mut self, context: &mut Context<'_>, incoming: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut bytes = [0; READ_SIZE];
        let mut buffer = ReadBuf::new(&mut bytes);
        match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
            Poll::Ready(Ok(())) => {
                incoming.extend_from_slice(buffer.filled());
                Poll::Ready(Ok(buffer.filled().len()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Asks a USB adapter not to hold bytes back (an FTDI one does for 16 ms otherwise); `sysfs` is the root of the kernel's
/// attributes. A sentence when that was not possible; nothing when the device has no such timer.
pub(super) fn request_low_latency(sysfs: &Path, device: &Path) -> Option<String> {
    let node = device.canonicalize().ok()?;
    let timer = sysfs.join("bus/usb-serial/devices").join(node.file_name()?).join("latency_timer");
    let milliseconds = std::fs::read_to_string(&timer).ok()?;
    if milliseconds.trim() == "1" {
        return None;
    }
    let written = std::fs::OpenOptions::new().write(true).open(&timer).and_then(|mut file| file.write_all(b"1"));
    written.err().map(|error| {
        format!("the adapter holds bytes back for {} ms, and {} can't be set to 1: {error}", milliseconds.trim(), timer.display())
    })
}
