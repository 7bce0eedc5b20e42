//! The file by FTP: asks for the port, uploads on a thread of its own, and keeps the link alive
//! meanwhile.

use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use suppaftp::types::FileType;
use suppaftp::{FtpError, FtpStream};

use super::firmware::{Firmware, when_ready};
use super::host::Host;
use super::verdict::Step;
use super::{Options, Stage, Trouble, words};

/// Account of the payload's server (docs/wire/payload-link.md section 5).
const USER: &str = "psdk_payload_ftp";
const PASSWORD: &str = "DJi_#$31";
/// For the connection, and for every read and write on it.
const NETWORK_WAIT: Duration = Duration::from_secs(20);
const ATTEMPTS: u32 = 3;
const AGAIN: Duration = Duration::from_millis(300);
const BLOCK: usize = 256 << 10;
/// How long the link is served between two looks at the upload.
const LINK_TURN: Duration = Duration::from_millis(2);

/// Where and as whom to upload.
#[derive(Debug, Clone)]
pub struct FtpOptions {
    /// The payload's host name or address.
    pub host: String,
    /// Account.
    pub user: String,
    /// Its password.
    pub password: String,
    /// Bytes a second that the host's network takes at most, where that is not all that it can.
    pub rate: Option<u64>,
}

impl Default for FtpOptions {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            user: USER.to_owned(),
            password: PASSWORD.to_owned(),
            rate: None,
        }
    }
}

/// What the uploading thread says.
enum News {
    Uploaded(u64),
    Again(String),
}

struct Upload<'a> {
    firmware: &'a Firmware,
    options: &'a FtpOptions,
    address: SocketAddr,
    abort: bool,
    pause: Duration,
    news: Sender<News>,
}

pub(super) fn hand_over(
    host: &mut Host<'_>,
    firmware: &Firmware,
    options: &Options,
    ready: Instant,
) -> Result<(), Trouble> {
    let answer = when_ready(host, words::TRANSFERRED, &[], ready)?;
    let port = words::ftp_port(&answer).ok_or_else(|| Trouble::Malformed {
        command: words::TRANSFERRED,
        answer: answer.clone(),
    })?;
    let (news, received) = channel();
    let upload = Upload {
        firmware,
        options: &options.ftp,
        address: resolve(&options.ftp.host, port)?,
        abort: options.abort_at == Some(Stage::Transfer),
        pause: host.pause_at(Stage::Transfer),
        news,
    };
    thread::scope(|scope| {
        let uploading = scope.spawn(move || upload.run());
        while !uploading.is_finished() {
            host.idle(Instant::now() + LINK_TURN);
            pass_on(host, &received, firmware.size);
        }
        pass_on(host, &received, firmware.size);
        uploading
            .join()
            .unwrap_or_else(|_| Err(Trouble::Ftp("the uploading thread panicked".to_owned())))
    })?;
    host.begin(Stage::Finish);
    host.reach(Stage::Finish)
}

/// Tells the newest count only.
fn pass_on(host: &mut Host<'_>, received: &Receiver<News>, total: u64) {
    let mut newest = None;
    for news in received.try_iter() {
        match news {
            News::Uploaded(bytes) => newest = Some(bytes),
            News::Again(cause) => host.tell(&Step::UploadAgain { cause }),
        }
    }
    if let Some(bytes) = newest {
        host.tell(&Step::Transferred { bytes, total });
    }
}

fn resolve(host: &str, port: u16) -> Result<SocketAddr, Trouble> {
    let mut addresses =
        (host, port).to_socket_addrs().map_err(|cause| Trouble::Ftp(format!("{host}: {cause}")))?;
    addresses.next().ok_or_else(|| Trouble::Ftp(format!("{host} has no address")))
}

impl Upload<'_> {
    fn run(&self) -> Result<(), Trouble> {
        let mut attempt = 1;
        loop {
            match self.once() {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(Trouble::Aborted(Stage::Transfer)),
                // Wrong password, wrong name: asking again changes nothing.
                Err(FtpError::UnexpectedResponse(response)) if response.status.code() >= 500 => {
                    return Err(Trouble::Ftp(sentence(&response)));
                }
                Err(error) if attempt == ATTEMPTS => return Err(Trouble::Ftp(error.to_string())),
                Err(error) => self.say(News::Again(error.to_string())),
            }
            attempt += 1;
            thread::sleep(AGAIN);
        }
    }

    /// One upload from the beginning; `false` when it was aborted half-way as asked for.
    fn once(&self) -> Result<bool, FtpError> {
        let mut client = FtpStream::connect_timeout(self.address, NETWORK_WAIT)?;
        client.get_ref().set_read_timeout(Some(NETWORK_WAIT)).map_err(FtpError::ConnectionError)?;
        client
            .get_ref()
            .set_write_timeout(Some(NETWORK_WAIT))
            .map_err(FtpError::ConnectionError)?;
        // A server behind a translated address announces one that can't be reached.
        client.set_passive_nat_workaround(true);
        client.login(&self.options.user, &self.options.password)?;
        client.transfer_type(FileType::Binary)?;
        let mut data = client.put_with_stream(&self.firmware.name)?;
        data.get_ref()
            .get_ref()
            .set_write_timeout(Some(NETWORK_WAIT))
            .map_err(FtpError::ConnectionError)?;
        let complete = self.send(&mut data).map_err(FtpError::ConnectionError)?;
        if !complete {
            return Ok(false);
        }
        data.finish()?;
        // The file has arrived; how the server says goodbye changes nothing.
        let _ = client.quit();
        Ok(true)
    }

    fn send(&self, data: &mut impl Write) -> std::io::Result<bool> {
        let (mut block, mut sent, mut paused) = (vec![0; BLOCK], 0, false);
        let pace = self.options.rate.map(|rate| (Instant::now(), rate));
        loop {
            if !paused && sent >= self.firmware.size / 2 {
                if self.abort {
                    return Ok(false);
                }
                thread::sleep(self.pause);
                paused = true;
            }
            // At most up to the middle first, so that a small file has a middle too.
            let limit = if paused { self.firmware.size } else { self.firmware.size / 2 } - sent;
            let wanted = usize::try_from(limit).map_or(BLOCK, |limit| limit.min(BLOCK));
            if wanted == 0 {
                return Ok(true);
            }
            let count = self.firmware.file.read_at(&mut block[..wanted], sent)?;
            if count == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            data.write_all(&block[..count])?;
            sent += count as u64;
            if let Some((began, rate)) = pace {
                let due = began + Duration::from_secs_f64(sent as f64 / rate as f64);
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            self.say(News::Uploaded(sent));
        }
    }

    fn say(&self, news: News) {
        // Nobody listens any more: then nobody needs it.
        let _ = self.news.send(news);
    }
}

fn sentence(response: &suppaftp::types::Response) -> String {
    format!(
        "the server answers {} {}",
        response.status.code(),
        String::from_utf8_lossy(&response.body).trim_end()
    )
}
