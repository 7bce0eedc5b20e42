//! Debian's nginx, which serves files from memory, and stands before another server to tell when it
//! was asked what.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use uplift_sim::ports::free_address;

use super::vsftpd::SERVERS;

const CONFIGURATION: &str = "\
daemon off;
master_process off;
pid HERE/pid;
error_log HERE/error.log;
events {}
http {
    log_format timed escape=json '{\"end\":$msec,\"took\":$request_time,\"method\":\"$request_method\",\"uri\":\"$uri\",\"body\":\"$request_body\"}';
    access_log HERE/access.log timed;
    client_max_body_size 0;
    client_body_buffer_size 64k;
    client_body_temp_path HERE/1;
    proxy_temp_path HERE/2;
    fastcgi_temp_path HERE/3;
    uwsgi_temp_path HERE/4;
    scgi_temp_path HERE/5;
    default_type application/octet-stream;
    sendfile on;
    server {
        listen LISTEN;
        root HERE/files;
        location /paced/ { alias HERE/files/; limit_rate RATE; }
        location /DEFAULT/ { proxy_pass http://BEHIND; proxy_set_header Host $http_host; proxy_buffering off; }
    }
}
";
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server.
pub(crate) struct Nginx {
    server: Child,
    directory: TempDir,
    pub(crate) address: SocketAddr,
}

/// A request, once it was answered.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Seconds of the day's clock when it came.
    pub(crate) at: f64,
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) body: String,
}

impl Nginx {
    /// Whoever stands `behind` has all below `/DEFAULT/`; `rate` is that of files below `/paced/`, in
    /// bytes a second.
    pub(crate) fn start(behind: Option<SocketAddr>, rate: u64) -> Result<Self> {
        // What is served needs no disk.
        let directory = TempDir::new_in("/dev/shm")?;
        fs::create_dir(directory.path().join("files"))?;
        let address = free_address()?;
        let text = CONFIGURATION
            .replace("HERE", directory.path().to_str().context("a path that is no text")?)
            .replace("LISTEN", &address.to_string())
            .replace("RATE", &rate.to_string())
            .replace("BEHIND", &behind.unwrap_or(address).to_string());
        let file = directory.path().join("nginx.conf");
        std::io::Write::write_all(&mut fs::File::create(&file)?, text.as_bytes())?;
        let mut command = Command::new(format!("{SERVERS}/usr/sbin/nginx"));
        command.arg("-e").arg(directory.path().join("error.log")).arg("-c").arg(&file);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = command.spawn().context("tests/install-packages unpacks nginx")?;
        let mut this = Self { server, directory, address };
        this.wait()?;
        Ok(this)
    }

    /// It says nothing when it listens.
    fn wait(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).is_err() {
            let log = fs::read_to_string(self.directory.path().join("error.log"));
            let is_gone = self.server.try_wait()?.is_some();
            ensure!(!is_gone && Instant::now() < end, "nginx: {log:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// What it has.
    pub(crate) fn files(&self) -> PathBuf {
        self.directory.path().join("files")
    }

    /// All that it was asked so far.
    pub(crate) fn asked(&self) -> Result<Vec<Asked>> {
        let log = fs::read_to_string(self.directory.path().join("access.log"))?;
        log.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(asked).collect()
    }
}

fn asked(line: &str) -> Result<Asked> {
    let line: Value = serde_json::from_str(line)?;
    let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str| line[name].as_f64().with_context(|| format!("{name}: {line}"));
    Ok(Asked {
        at: number("end")? - number("took")?,
        method: text("method"),
        uri: text("uri"),
        body: text("body"),
    })
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
