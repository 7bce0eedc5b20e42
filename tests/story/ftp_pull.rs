//! The daemon pulls the firmware file from an FTP server: vsftpd as in the vendor's tutorial, and
//! one that does wrong.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use suppaftp::FtpStream;
use suppaftp::types::FileType;
use tokio::sync::oneshot;

use uplift::config::Config;
use uplift::model::{Failure, FailureKind};
use uplift::stage::{Announced, Stage, Staged};
use uplift::transfer::ftp_client::{FtpClient, Pull};
use uplift::transfer::through::{Open, Through, Wishes};

mod wrong;

use crate::world::servers::own::OwnServer;
use crate::world::servers::pyftpdlib::Pyftpdlib;
use crate::world::servers::scripted::{Fault, Script, Scripted};
use crate::world::servers::stock;
use crate::world::servers::vsftpd::{Inetd, Vsftpd};

const NAME: &str = "DEMO_V02.00.00.00.bin";
const MAX_SIZE: u64 = 1 << 30;
/// A time of change in whole seconds.
const LONG_AGO: &str = "20260101000000";
/// Longest wait for anything, far above what it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that hosts upload to.
trait Server {
    fn address(&self) -> SocketAddr;

    fn client(&self, more: &str) -> FtpClient {
        let address = self.address();
        let text = format!(
            "[component.program]\nname = \"demo\"\nproduct = \"DEMO\"\n[transfer.ftp]\naddress = \"{address}\"\n{more}"
        );
        FtpClient::new(Config::parse(&text, Path::new("test.toml")).unwrap().ftp)
    }
}

/// One whose upload area is a directory of this machine.
trait RealServer: Server {
    fn home(&self) -> PathBuf;
}

impl RealServer for Vsftpd {
    fn home(&self) -> PathBuf {
        Vsftpd::home(self)
    }
}

impl Server for Inetd {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl RealServer for Inetd {
    fn home(&self) -> PathBuf {
        Inetd::home(self)
    }
}

impl Server for Pyftpdlib {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl RealServer for Pyftpdlib {
    fn home(&self) -> PathBuf {
        Pyftpdlib::home(self)
    }
}

impl RealServer for OwnServer {
    fn home(&self) -> PathBuf {
        OwnServer::home(self)
    }
}

impl Server for Vsftpd {
    fn address(&self) -> SocketAddr {
        Vsftpd::address(self)
    }
}

impl Server for OwnServer {
    fn address(&self) -> SocketAddr {
        OwnServer::address(self)
    }
}

impl Server for Scripted {
    fn address(&self) -> SocketAddr {
        Scripted::address(self)
    }
}

/// The host's side of a real server.
fn host(server: &impl Server) -> FtpStream {
    let mut host = FtpStream::connect(server.address()).unwrap();
    host.login("psdk_payload_ftp", "DJi_#$31").unwrap();
    host.transfer_type(FileType::Binary).unwrap();
    host
}

/// What a real server lists; some list the directory itself too.
fn names(host: &mut FtpStream) -> Vec<String> {
    let names = host.nlst(None).unwrap_or_default();
    names.into_iter().filter(|name| name != "." && name != "..").collect()
}

/// The same bytes for the same size; they do not repeat themselves.
fn bytes(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    fastrand::Rng::with_seed(7).fill(&mut bytes);
    bytes
}

/// No upload goes straight through.
fn nothing_goes_through() -> Open {
    Through::default().open(Wishes {
        component_of: Box::new(|_| None),
        receive: Arc::new(|_| unreachable!("nothing is of a component")),
        failed: Arc::new(|_| unreachable!("nothing comes that could fail")),
    })
}

/// A pull into a stage of its own.
struct Pulling {
    pull: Pull,
    answer: oneshot::Receiver<Result<Staged, Failure>>,
    directory: tempfile::TempDir,
}

impl Pulling {
    fn start(client: &FtpClient) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let stage = Stage::beside(&directory.path().join("program"), MAX_SIZE);
        let receive = move |announced| stage.receive(announced, Box::new(|_| {}));
        let (pull, answer) =
            Pull::start(client, |product| product == "DEMO", receive, nothing_goes_through())
                .unwrap();
        Self { pull, answer, directory }
    }

    /// Waits until so many bytes lie in the stage.
    fn wait_until_fetched(&self, size: u64) {
        let staged = || {
            let files =
                self.directory.path().join(".uplift").read_dir().into_iter().flatten().flatten();
            files.filter_map(|file| file.metadata().ok()).any(|file| file.len() == size)
        };
        wait_until("the file is fetched ahead", staged);
    }

    fn result(mut self) -> Result<Vec<u8>, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let answer =
            runtime.block_on(async { tokio::time::timeout(PATIENCE, &mut self.answer).await });
        let staged = answer.expect("no answer in time").expect("the pull is gone")?;
        let bytes = std::fs::read(staged.path()).unwrap();
        assert_eq!((staged.size, staged.file_name.as_deref()), (bytes.len() as u64, Some(NAME)));
        assert!(staged.path().starts_with(self.directory.path()));
        Ok(bytes)
    }

    /// The host says that all is uploaded.
    fn finish(self) -> Result<Vec<u8>, Failure> {
        self.pull.now();
        self.result()
    }
}

/// What is not done in the time that a host has: a loaded machine may need another try, a server
/// that is not understood fails in each.
fn prepare(client: &FtpClient) {
    let began = Instant::now();
    loop {
        match client.prepare() {
            Err(failure) if failure.kind == FailureKind::Timeout && began.elapsed() < PATIENCE => {}
            result => return result.unwrap(),
        }
    }
}

fn pull(client: &FtpClient) -> Result<Vec<u8>, Failure> {
    Pulling::start(client).finish()
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

// What must hold with any real server.

fn an_uploaded_file_is_fetched(server: &impl Server) {
    prepare(&server.client(""));
    let file = bytes(3_000_001);
    let mut host = host(server);
    host.put_file(NAME, &mut &file[..]).unwrap();
    assert!(pull(&server.client("")).unwrap() == file);
    assert_eq!(names(&mut host), [NAME], "it stays until the upgrade is over");
}

fn entering_empties_the_upload_area(server: &impl RealServer) {
    let mut host = host(server);
    for name in [NAME, "DEMO_V01.00.00.00.bin", "notes with spaces.txt", "größe.bin"] {
        host.put_file(name, &mut &b"old"[..]).unwrap();
    }
    prepare(&server.client(""));
    assert_eq!(names(&mut host), Vec::<String>::new());
    assert_eq!(
        std::fs::read_dir(server.home()).unwrap().count(),
        0,
        "what a listing hides is gone too"
    );
}

fn a_file_that_is_still_uploaded_is_fetched_whole(server: &impl Server) {
    let file = bytes(500_000);
    let pulling = Pulling::start(&server.client(""));
    let mut host = host(server);
    let mut upload = host.put_with_stream(NAME).unwrap();
    for chunk in file.chunks(250_000) {
        std::io::Write::write_all(&mut upload, chunk).unwrap();
        // Longer than it takes to believe that the upload is complete, where partial files can be
        // seen.
        std::thread::sleep(Duration::from_millis(3200));
    }
    upload.finish().unwrap();
    assert!(pulling.finish().unwrap() == file);
}

fn a_file_that_is_uploaded_anew_is_fetched_anew(server: &impl Server) {
    let pulling = Pulling::start(&server.client(""));
    let mut host = host(server);
    host.put_file(NAME, &mut &bytes(100_000)[..]).unwrap();
    pulling.wait_until_fetched(100_000);
    // Nothing but the time of change tells the two apart.
    let second = vec![2; 100_000];
    host.put_file(NAME, &mut &second[..]).unwrap();
    assert!(pulling.finish().unwrap() == second);
}

fn a_wrong_password_is_told(server: &impl Server) {
    let client = server.client("password = \"wrong\"");
    // A server may take longer to say no than a host waits for the answer to "enter".
    let failure = client.prepare().unwrap_err();
    assert!(
        [FailureKind::TransferFailed, FailureKind::Timeout].contains(&failure.kind),
        "{failure}"
    );
    let failure = pull(&client).unwrap_err();
    assert_eq!(failure.kind, FailureKind::TransferFailed);
    assert!(failure.to_string().contains("refuses our account: it said \"530"), "{failure}");
}

fn none_and_several_are_a_failure_that_lists_them(server: &impl Server) {
    let failure = pull(&server.client("")).unwrap_err();
    assert_eq!(failure.sentence, "no file was uploaded");
    let mut host = host(server);
    for name in [NAME, "DEMO_V03.00.00.00.bin", "readme.txt"] {
        host.put_file(name, &mut &b"x"[..]).unwrap();
    }
    let failure = pull(&server.client("")).unwrap_err();
    assert_eq!(failure.kind, FailureKind::TransferFailed);
    let named =
        failure.sentence.split_once("only one may be: ").unwrap_or_else(|| panic!("{failure}")).1;
    // Not every server sorts them.
    let mut named: Vec<&str> = named.split(", ").collect();
    named.sort_unstable();
    assert_eq!(named, ["\"DEMO_V02.00.00.00.bin\"", "\"DEMO_V03.00.00.00.bin\""]);
}

fn of_several_files_the_only_one_with_a_trusted_end_is_taken(server: &impl Server) {
    let client = || {
        server.client("").trusting(8, |beginning, end, size| {
            (beginning == b"from us:" || end == b"by us...") && size > 8
        })
    };
    let mut host = host(server);
    let mut ours = bytes(300_000);
    ours.extend_from_slice(b"by us...");
    let mut put = |name: &str, content: &[u8]| host.put_file(name, &mut &content[..]).unwrap();
    put("DEMO_V03.00.00.00.bin", &bytes(200_000));
    put("DEMO_V04.00.00.00.bin", b"x");
    assert!(pull(&client()).unwrap_err().sentence.contains("only one may be"), "none is trusted");
    put(NAME, &ours);
    assert!(pull(&client()).unwrap() == ours);
    // The other end tells too, of a file that is larger than what is read of it.
    let begun = [&b"from us:"[..], &bytes(3_000_000)].concat();
    put(NAME, &begun);
    assert!(pull(&client()).unwrap() == begun);
    put("DEMO_V04.00.00.00.bin", b"another by us...");
    let failure = pull(&client()).unwrap_err();
    for name in [NAME, "DEMO_V03.00.00.00.bin", "DEMO_V04.00.00.00.bin"] {
        assert!(failure.sentence.contains(name), "two are trusted: {failure}");
    }
}

/// The same stories for each real server; one more is one more line.
macro_rules! against {
    ($($server:ident: $start:expr;)*) => { $(
        mod $server {
            use super::*;
            against!(@stories $start;
                an_uploaded_file_is_fetched
                entering_empties_the_upload_area
                a_file_that_is_still_uploaded_is_fetched_whole
                a_file_that_is_uploaded_anew_is_fetched_anew
                a_wrong_password_is_told
                none_and_several_are_a_failure_that_lists_them
                of_several_files_the_only_one_with_a_trusted_end_is_taken
            );
        }
    )* };
    (@stories $start:expr; $($story:ident)*) => { $(
        #[test]
        fn $story() {
            super::$story(&$start);
        }
    )* };
}

against! {
    with_our_own: OwnServer::start();
    with_vsftpd: Vsftpd::start();
    with_proftpd: stock::proftpd();
    with_pure_ftpd: stock::pure_ftpd();
    with_virtual_users_of_pure_ftpd: stock::pure_ftpd_with_virtual_users();
    with_pyftpdlib: Pyftpdlib::start();
}

/// Sets the time of change of what lies in the upload area, within one second.
fn set_time(server: &impl RealServer, nanoseconds: u32) {
    let file = std::fs::File::options().write(true).open(server.home().join(NAME)).unwrap();
    file.set_modified(
        std::time::SystemTime::UNIX_EPOCH + Duration::new(1_795_246_298, nanoseconds),
    )
    .unwrap();
}

#[test]
fn our_own_server_tells_two_uploads_of_one_second_apart() {
    let server = OwnServer::start();
    let mut host = host(&server);
    let (first, second) = (vec![1; 100_000], vec![2; 100_000]);
    host.put_file(NAME, &mut &first[..]).unwrap();
    set_time(&server, 1_000);
    let pulling = Pulling::start(&server.client(""));
    pulling.wait_until_fetched(100_000);
    host.put_file(NAME, &mut &second[..]).unwrap();
    set_time(&server, 2_000);
    assert!(pulling.finish().unwrap() == second);
}
