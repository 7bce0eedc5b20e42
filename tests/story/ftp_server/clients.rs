//! Stock clients: curl, lftp, Python's ftplib, suppaftp.

use std::io::Cursor;
use std::process::{Command, Output};
use std::time::Duration;

use suppaftp::types::FileType;
use suppaftp::{FtpStream, Mode};

use super::server::{PASSWORD, Server, USER, firmware, wait_until};

const NAME: &str = "DEMO_V01.02.03.04.bin";

/// Runs a client; a missing one fails the test with the package that has it.
fn run(program: &str, package: &str, arguments: &[&str], directory: &std::path::Path) -> Output {
    Command::new(program).args(arguments).current_dir(directory).output().unwrap_or_else(|error| {
        panic!("{program} can't be run ({error}): install the Debian package {package}")
    })
}

fn text(output: &Output) -> String {
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A directory with a firmware file in it.
fn source(content: &[u8]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::io::Write::write_all(
        &mut std::fs::File::create(directory.path().join(NAME)).unwrap(),
        content,
    )
    .unwrap();
    directory
}

fn curl(server: &Server, arguments: &[&str], directory: &std::path::Path) -> Output {
    let account = format!("{USER}:{PASSWORD}");
    let mut all = vec!["--silent", "--show-error", "--max-time", "20", "--user", &account];
    all.extend(arguments);
    let output = run("curl", "curl", &all, directory);
    assert!(server.log().contains("listening"), "the server is gone");
    output
}

#[test]
fn curl_uploads_lists_continues_a_download_and_deletes() {
    let server = Server::start();
    let content = firmware(5_000_000);
    let directory = source(&content);
    let url = format!("ftp://{}/", server.address);
    for flags in [
        &["--disable-epsv"][..],
        &["--ftp-method", "nocwd"],
        &["--ftp-create-dirs"],
        &["--ftp-port", "-"],
        &["--ftp-port", "-", "--disable-eprt"],
    ] {
        let output = curl(&server, &[flags, &["-T", NAME, &url]].concat(), directory.path());
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(server.content(NAME), content);
    }
    let listed = curl(&server, &["--list-only", &url], directory.path());
    assert_eq!(String::from_utf8_lossy(&listed.stdout).trim(), NAME);
    let file = format!("{url}{NAME}");
    let rest = curl(&server, &["--continue-at", "1000", &file], directory.path());
    assert_eq!(rest.stdout, &content[1000..]);
    let head = curl(&server, &["--head", &file], directory.path());
    assert!(
        String::from_utf8_lossy(&head.stdout).contains("Content-Length: 5000000"),
        "{}",
        text(&head)
    );
    let deleted = curl(&server, &["--quote", &format!("DELE {NAME}"), &url], directory.path());
    assert!(deleted.status.success(), "{}", text(&deleted));
    assert!(server.names().is_empty());
}

/// As vsftpd shows it to clients: under the path that it has on the machine.
#[test]
fn curl_finds_the_area_under_its_path_from_the_root() {
    const HOME: &str = "/srv";
    let directory = tempfile::tempdir().unwrap();
    let mut program = Command::new("unshare");
    program.args(if nix::unistd::geteuid().is_root() {
        &["--mount"][..]
    } else {
        &["--mount", "--user", "--map-root-user"]
    });
    program.args([
        "sh",
        "-c",
        &format!("mount -t tmpfs tmpfs {HOME} && exec \"$0\" \"$@\""),
        env!("CARGO_BIN_EXE_uplift"),
    ]);
    let server = Server::launch(directory, HOME.into(), "", program);
    let source = source(b"content");
    for path in ["//srv/", "/%2Fsrv/", "/srv/", "/%2F/srv/", "/./"] {
        let output = curl(
            &server,
            &["--path-as-is", "-T", NAME, &format!("ftp://{}{path}", server.address)],
            source.path(),
        );
        assert!(output.status.success(), "{path}: {}", text(&output));
        assert_eq!(server.login().download("NLST"), format!("{NAME}\r\n").as_bytes(), "{path}");
        server.login().ask(&format!("DELE {NAME}"), 250);
    }
}

#[test]
fn curl_can_t_leave_the_home() {
    let server = Server::start();
    let directory = source(b"x");
    for path in ["%2e%2e/escaped", "/%2Ftmp/escaped", "sub/escaped"] {
        let output = curl(
            &server,
            &["--path-as-is", "-T", NAME, &format!("ftp://{}/{path}", server.address)],
            directory.path(),
        );
        assert!(!output.status.success(), "{path}: {}", text(&output));
    }
    assert!(server.names().is_empty());
}

#[test]
fn a_killed_curl_leaves_nothing() {
    let server = Server::start();
    let directory = source(&firmware(4 << 20));
    let account = format!("{USER}:{PASSWORD}");
    let url = format!("ftp://{}/", server.address);
    let mut client = Command::new("curl")
        .args(["--silent", "--user", &account, "--limit-rate", "200k", "-T", NAME, &url])
        .current_dir(directory.path())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("curl can't be run ({error}): install the Debian package curl")
        });
    wait_until(|| server.names().len() == 1, || "the upload did not begin".into());
    client.kill().unwrap();
    client.wait().unwrap();
    server.wait_for_names(&[]);
}

#[test]
fn lftp_puts_lists_gets_and_removes() {
    let server = Server::start();
    let content = firmware(3_000_000);
    let directory = source(&content);
    let account = format!("{USER},{PASSWORD}");
    let script = format!(
        "set net:timeout 10; set net:max-retries 2; put {NAME}; cls -l --block-size=1; get {NAME} -o back; rm {NAME}; cls; bye"
    );
    let output = run(
        "lftp",
        "lftp",
        &["--norc", "-u", &account, "-e", &script, &format!("ftp://{}", server.address)],
        directory.path(),
    );
    let printed = text(&output);
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("3000000") && printed.contains(NAME), "{printed}");
    assert_eq!(std::fs::read(directory.path().join("back")).unwrap(), content);
    assert!(server.names().is_empty());
}

#[test]
fn lftp_parses_the_long_listing() {
    let server = Server::start();
    server.put(NAME, &firmware(4321));
    let directory = tempfile::tempdir().unwrap();
    let account = format!("{USER},{PASSWORD}");
    // Without MLSD lftp has to understand LIST.
    let script = "set net:timeout 10; set net:max-retries 2; set ftp:use-feat false; set ftp:use-mlsd false; find -l; bye";
    let output = run(
        "lftp",
        "lftp",
        &["--norc", "-u", &account, "-e", script, &format!("ftp://{}", server.address)],
        directory.path(),
    );
    let printed = text(&output);
    assert!(printed.contains("4321") && printed.contains(NAME), "{printed}");
}

#[test]
fn python_s_ftplib_speaks_with_us() {
    let server = Server::start();
    let content = firmware(2_000_000);
    let directory = source(&content);
    let script = format!(
        r#"
import ftplib, io
ftp = ftplib.FTP(timeout=20)
ftp.connect("{host}", {port})
ftp.login("{USER}", "{PASSWORD}")
with open("{NAME}", "rb") as file:
    assert ftp.storbinary("STOR {NAME}", file).startswith("226")
assert ftp.nlst() == ["{NAME}"], ftp.nlst()
assert [name for name, facts in ftp.mlsd() if facts["size"] == "2000000"] == ["{NAME}"]
lines = []
ftp.retrlines("LIST", lines.append)
assert len(lines) == 1 and lines[0].endswith(" {NAME}"), lines
assert ftp.size("{NAME}") == 2000000
assert ftp.pwd() == "/"
back = io.BytesIO()
ftp.retrbinary("RETR {NAME}", back.write, rest=1500000)
assert len(back.getvalue()) == 500000

# Abort, as ftplib does it: urgent data, line end included.
data = ftp.transfercmd("STOR aborted.bin")
data.sendall(b"x" * 100000)
reply = ftp.abort()
assert reply.startswith("426"), reply
assert ftp.getresp().startswith("226")
data.close()
assert ftp.nlst() == ["{NAME}"], ftp.nlst()

for name in ("../escaped", "/tmp/escaped"):
    try:
        ftp.storbinary("STOR " + name, io.BytesIO(b"x"))
        raise SystemExit(name + " was accepted")
    except ftplib.error_perm as error:
        assert str(error).startswith("553"), error
try:
    ftp.storlines("STOR text.bin", io.BytesIO(b"a\nb\n"))
    raise SystemExit("text was accepted")
except ftplib.error_perm as error:
    assert "TYPE I" in str(error), error
assert ftp.rename("{NAME}", "other.bin").startswith("250")
assert ftp.nlst() == ["other.bin"], ftp.nlst()
assert ftp.rename("other.bin", "{NAME}").startswith("250")
ftp.set_pasv(False)
with open("{NAME}", "rb") as file:
    assert ftp.storbinary("STOR {NAME}", file).startswith("226")
ftp.delete("{NAME}")
assert ftp.quit().startswith("221")
"#,
        host = server.address.ip(),
        port = server.address.port()
    );
    let output = run("python3", "python3", &["-c", &script], directory.path());
    assert!(output.status.success(), "{}\n{}", text(&output), server.log());
    assert!(server.names().is_empty());
}

#[test]
fn suppaftp_as_the_daemon_uses_it() {
    let server = Server::start();
    let content = firmware(1_500_000);
    for mode in [Mode::Passive, Mode::ExtendedPassive] {
        let mut ftp = FtpStream::connect_timeout(server.address, Duration::from_secs(10)).unwrap();
        ftp.set_mode(mode);
        ftp.login(USER, PASSWORD).unwrap();
        ftp.transfer_type(FileType::Binary).unwrap();
        assert_eq!(ftp.put_file(NAME, &mut Cursor::new(&content)).unwrap(), 1_500_000);
        assert_eq!(ftp.nlst(None).unwrap(), [NAME]);
        assert_eq!(ftp.size(NAME).unwrap(), 1_500_000);
        ftp.resume_transfer(1_000_000).unwrap();
        assert_eq!(ftp.retr_as_buffer(NAME).unwrap().into_inner(), &content[1_000_000..]);
        assert_eq!(ftp.retr_as_buffer(NAME).unwrap().into_inner(), content);
        ftp.rm(NAME).unwrap();
        assert!(ftp.size(NAME).is_err());
        ftp.quit().unwrap();
    }
}

/// suppaftp sends text unless told otherwise, and would change every line end in a firmware.
#[test]
fn suppaftp_left_in_text_mode_is_refused_if_it_says_so() {
    let server = Server::start();
    let mut ftp = FtpStream::connect_timeout(server.address, Duration::from_secs(10)).unwrap();
    ftp.login(USER, PASSWORD).unwrap();
    ftp.transfer_type(FileType::Ascii(suppaftp::types::FormatControl::Default)).unwrap();
    assert!(ftp.put_file(NAME, &mut Cursor::new(b"a\nb")).is_err());
    assert!(server.names().is_empty());
}

#[test]
fn lftp_moves_a_file_and_mirrors_by_active_mode() {
    let server = Server::start();
    let directory = source(&firmware(100_000));
    let account = format!("{USER},{PASSWORD}");
    let script = format!(
        "set net:timeout 10; set net:max-retries 2; put {NAME} -o part.bin; mv part.bin {NAME}; set ftp:passive-mode off; put {NAME} -o b.bin; bye"
    );
    let output = run(
        "lftp",
        "lftp",
        &["--norc", "-u", &account, "-e", &script, &format!("ftp://{}", server.address)],
        directory.path(),
    );
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(server.names(), [NAME, "b.bin"]);
}

#[test]
fn ncftpput_stores_under_a_temporary_name_first() {
    let server = Server::start();
    let directory = source(&firmware(100_000));
    let (host, port) = (server.address.ip().to_string(), server.address.port().to_string());
    for flags in [&["-T", "part."][..], &["-S", ".part"], &["-E"], &["-F"], &[]] {
        let arguments = [
            &["-u", USER, "-p", PASSWORD, "-P", &port, "-r", "1", "-t", "10"],
            flags,
            &[&host, "/", NAME],
        ]
        .concat();
        let output = run("ncftpput", "ncftp", &arguments, directory.path());
        assert!(output.status.success(), "{flags:?}: {}\n{}", text(&output), server.log());
        assert_eq!(server.names(), [NAME], "{flags:?}");
        server.login().ask(&format!("DELE {NAME}"), 250);
    }
}

/// It is in active mode unless told otherwise, and asks for nothing when its input is no terminal.
#[test]
fn inetutils_ftp_stores_in_active_mode() {
    let server = Server::start();
    let content = firmware(100_000);
    let directory = source(&content);
    let script = format!(
        "open {} {}\nuser {USER} {PASSWORD}\nbinary\nput {NAME}\nls\nrename {NAME} other.bin\nquit\n",
        server.address.ip(),
        server.address.port()
    );
    std::io::Write::write_all(
        &mut std::fs::File::create(directory.path().join("script")).unwrap(),
        script.as_bytes(),
    )
    .unwrap();
    let mut client = Command::new("inetutils-ftp");
    client.args(["--no-login", "--no-prompt", "--verbose"]).current_dir(directory.path());
    client.stdin(std::fs::File::open(directory.path().join("script")).unwrap());
    let output = client.output().unwrap_or_else(|error| {
        panic!("it can't be run ({error}): install the Debian package inetutils-ftp")
    });
    assert_eq!(server.names(), ["other.bin"], "{}\n{}", text(&output), server.log());
    assert_eq!(server.content("other.bin"), content);
}
