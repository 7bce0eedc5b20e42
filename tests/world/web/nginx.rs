//! Debian's nginx, with a server for each of the ways in which it treats ranges.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use uplift_sim::ports::free_address;

use super::certificates::Certificates;
use crate::world::servers::vsftpd::SERVERS;

const CONFIGURATION: &str = "\
daemon off;
master_process off;
pid HERE/pid;
error_log HERE/error.log;
events {}
http {
    access_log HERE/access.log combined;
    client_body_temp_path HERE/1;
    proxy_temp_path HERE/2;
    fastcgi_temp_path HERE/3;
    uwsgi_temp_path HERE/4;
    scgi_temp_path HERE/5;
    root HERE/files;
    default_type application/octet-stream;
    server { listen PLAIN; }
    server { listen NO_RANGES; max_ranges 0; }
    server { listen GZIP; gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any; }
    server { listen PROXY; location / { proxy_pass http://BEHIND; } }
    server {
        listen TLS ssl;
        ssl_certificate CERTIFICATES/server.pem;
        ssl_certificate_key CERTIFICATES/server.key;
        location /down/ { return 302 http://PLAIN/; }
    }
    server {
        listen MUTUAL ssl;
        ssl_certificate CERTIFICATES/server.pem;
        ssl_certificate_key CERTIFICATES/server.key;
        ssl_client_certificate CERTIFICATES/ca.pem;
        ssl_verify_client on;
    }
    map $ssl_client_s_dn $device { ~CN=(?<name>[^,]+) $name; }
    server {
        listen DEVICES ssl;
        ssl_certificate CERTIFICATES/server.pem;
        ssl_certificate_key CERTIFICATES/server.key;
        ssl_client_certificate CERTIFICATES/ca.pem;
        ssl_verify_client optional;
        location / {
            proxy_pass http://BEHIND;
            proxy_set_header X-Controller-Id $device;
            proxy_set_header X-Authority ISSUER;
        }
    }
}
";

/// How it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Plain,
    /// `max_ranges 0`.
    NoRanges,
    /// `gzip on`, for whoever takes it.
    Gzip,
    /// What another server has, which stands behind it.
    Proxy,
    /// With a certificate that the test's authority knows.
    Tls,
    /// The same, and it wants to know who asks.
    Mutual,
    /// What stands behind, which is told of whom the client's certificate is, and [`ISSUER`].
    Devices,
}

/// What the server behind is told of who has issued a client's certificate.
pub(crate) const ISSUER: &str = "0123456789abcdef";

const WAYS: [(Way, &str); 7] = [
    (Way::Plain, "PLAIN"),
    (Way::NoRanges, "NO_RANGES"),
    (Way::Gzip, "GZIP"),
    (Way::Proxy, "PROXY"),
    (Way::Tls, "TLS"),
    (Way::Mutual, "MUTUAL"),
    (Way::Devices, "DEVICES"),
];

/// A running server.
pub(crate) struct Nginx {
    server: Child,
    directory: tempfile::TempDir,
    addresses: Vec<SocketAddr>,
    pub(crate) certificates: Certificates,
}

impl Nginx {
    /// Starts it, with no files; `behind` is who stands behind the proxy.
    pub(crate) fn start(behind: Option<SocketAddr>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("files")).unwrap();
        let certificates = Certificates::make();
        let addresses: Vec<SocketAddr> = WAYS.iter().map(|_| free_address().unwrap()).collect();
        let mut text = CONFIGURATION
            .replace("HERE", directory.path().to_str().unwrap())
            .replace("CERTIFICATES", certificates.as_ref().to_str().unwrap())
            .replace("ISSUER", ISSUER)
            .replace("BEHIND", &behind.unwrap_or(addresses[0]).to_string());
        for ((_, name), address) in WAYS.iter().zip(&addresses) {
            text = text.replace(&format!("listen {name}"), &format!("listen {address}"));
        }
        text = text.replace("http://PLAIN", &format!("http://{}", addresses[0]));
        let file = directory.path().join("nginx.conf");
        fs::write(&file, text).unwrap();
        let mut command = Command::new(format!("{SERVERS}/usr/sbin/nginx"));
        command.arg("-e").arg(directory.path().join("error.log")).arg("-c").arg(&file);
        let server = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("tests/install-packages installs nginx-light");
        let mut this = Self { server, directory, addresses, certificates };
        this.wait();
        this
    }

    /// It says nothing when it listens.
    fn wait(&mut self) {
        let end = Instant::now() + Duration::from_secs(30);
        while self.addresses.iter().any(|address| TcpStream::connect(address).is_err()) {
            let log = fs::read_to_string(self.directory.path().join("error.log"));
            let is_gone = self.server.try_wait().unwrap().is_some();
            assert!(!is_gone && Instant::now() < end, "{log:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Where this way leads.
    pub(crate) fn address(&self, way: Way) -> SocketAddr {
        self.addresses[WAYS.iter().position(|(known, _)| *known == way).unwrap()]
    }

    /// What it has.
    pub(crate) fn files(&self) -> PathBuf {
        self.directory.path().join("files")
    }

    /// What it was asked, and what it answered.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("access.log")).unwrap()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
