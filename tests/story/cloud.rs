//! The simulated platforms beside real software: Debian's `swupdate` as a device of the simulated hawkBit, and gooseBit as
//! the server that the simulation plays too. Nothing of `uplift` takes part but its seals.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use uplift_sim::cloud::delivery::Delivery;
use uplift_sim::cloud::hawkbit::{
    Artifact, Auth, Chunk, Deployment, Event, Options, Release, Server, State,
};
use uplift_sim::signer::Signer;

use crate::world::goosebit::Goosebit;
use crate::world::http;
use crate::world::running::Running;
use crate::world::swu;

const DEVICE: &str = "PAYLOAD0001";
/// Generous: a loaded machine is no failure.
const SOON: Duration = Duration::from_secs(60);

/// `swupdate -u`, with all that it has in this directory.
fn swupdate(directory: &Path, url: &str, token: &str) -> Running {
    let configuration = format!(
        "globals : {{ }};\nsuricatta :\n{{\n\ttenant = \"DEFAULT\";\n\tid = \"{DEVICE}\";\n\turl = \"{url}\";\n\
         \ttargettoken = \"{token}\";\n\tpolldelay = 1;\n\tretry = 3;\n\tretrywait = 1;\n}};\n\
         identify : (\n\t{{ name = \"hw_boardname\"; value = \"default\"; }},\n\
         \t{{ name = \"hw_revision\"; value = \"default.default\"; }}\n);\n"
    );
    fs::write(directory.join("conf"), configuration).unwrap();
    let mut swupdate = Command::new("swupdate");
    swupdate
        .args(["-f", "conf", "-H", swu::HARDWARE, "-k", "swu.pem", "-l", "3", "-u", ""])
        .current_dir(directory)
        .env("TMPDIR", directory)
        .stdin(Stdio::null())
        .stdout(fs::File::create(directory.join("log")).unwrap())
        .stderr(Stdio::null());
    Running::start(&mut swupdate)
}

/// It was written by others, for the real server: what it makes of the simulation shows that that is right. The file comes in
/// two parts, because the first is cut off.
#[test]
fn swupdate_installs_from_the_simulated_hawkbit() {
    let directory = TempDir::new().unwrap();
    let (path, target) = (directory.path(), directory.path().join("installed"));
    swu::certify(path);
    let content = [7; 300_000];
    let archive = swu::signed(path, "fw.swu", "2.0.0", &content, &target);
    let delivery = Delivery { cut_after: Some(100_000), cuts: 1, ..Delivery::default() };
    let options = Options {
        delivery,
        auth: Auth::Target("token-of-the-test".to_owned()),
        sleep: "00:00:01".to_owned(),
        ..Options::default()
    };
    let server = Server::start(options).unwrap();
    let device = swupdate(path, &server.url(), "token-of-the-test");
    let mut events = server.events();
    let log = || fs::read_to_string(path.join("log")).unwrap_or_default();
    // It tells what it is before it is offered anything.
    let told =
        events.wait_for(SOON, |event| matches!(event, Event::Attributes { status: 200, .. }));
    let Some(Event::Attributes { data, .. }) = told else { panic!("{}", log()) };
    assert_eq!(data["hw_revision"], "default.default");
    let chunk = Chunk::of("firmware", "2.0.0", Artifact::of_file(&archive).unwrap());
    let action = server.assign(DEVICE, Deployment::of(chunk));
    let is_done = |event: &Event| {
        let Event::Feedback { status: 200, progress: Some((1, 1)), details, .. } = event else {
            return false;
        };
        details.iter().any(|text| text == "All Chunks Installed.")
    };
    assert!(events.wait_for(SOON, is_done).is_some(), "{}", log());
    assert_eq!(fs::read(&target).unwrap(), content);
    // In the order of the interface, and with nothing that the server refuses.
    let mut steps: Vec<String> = events.so_far().iter().filter_map(step).collect();
    assert_eq!(steps.remove(0), "deploymentBase");
    // Now and then it looks once more whether it is still wanted.
    steps.retain(|step| step != "deploymentBase");
    steps.dedup();
    let rest = format!("206 GET {}", fs::metadata(&archive).unwrap().len() - 100_000);
    let expected = ["proceeding", "200 HEAD 0", "200 GET 100000", &rest, "proceeding"];
    assert_eq!(steps, expected, "{}", log());
    // Debian's needs a boot loader to tell the end after a restart, so that it never comes.
    assert_eq!(server.state(DEVICE, action), Some(State::Running));
    drop(device);
}

/// What a device did of the offer.
fn step(event: &Event) -> Option<String> {
    match event {
        Event::Read { resource, status: 200, .. } => Some(resource.clone()),
        Event::Feedback { execution, status: 200, .. } => Some(execution.clone()),
        Event::Download { method, status: status @ (200 | 206), sent, .. } => {
            Some(format!("{status} {method} {sent}"))
        }
        Event::Read { .. }
        | Event::Feedback { .. }
        | Event::Download { .. }
        | Event::Refused { .. } => Some(format!("{event:?}")),
        _ => None,
    }
}

/// A device of curl's: the same requests to gooseBit and to its simulation, the same answers.
#[test]
fn the_simulated_goosebit_answers_as_goosebit_does() {
    let directory = TempDir::new().unwrap();
    let firmware = directory.path().join("firmware");
    fs::write(&firmware, [7; 10_000]).unwrap();
    let archive = swu::wrap(directory.path(), "fw.swu", "2.0.0", &firmware);
    let goosebit = Goosebit::start();
    let options = Options {
        release: Release::Goosebit,
        first_action: 1,
        sleep: "00:00:05".to_owned(),
        ..Options::default()
    };
    let simulated = Server::start(options).unwrap();
    let chunk = Chunk::of("fw.swu", "2.0.0", Artifact::of_file(&archive).unwrap());
    let assign = |goosebit: &Goosebit| {
        let software = goosebit.upload(&archive).unwrap();
        goosebit.assign(DEVICE, software);
        assert_eq!(simulated.assign(DEVICE, Deployment::of(chunk.clone())), software);
    };
    let attributes = json!({ "hw_boardname": "default", "hw_revision": "default.default", "sw_version": "1.0.0" });
    let feedback = |execution: &str, finished: &str| json!({ "id": "1", "status": { "execution": execution, "result": { "finished": finished }, "details": ["text"] } });
    let both = |method: &str, path: &str, body: &Value| {
        let ask = |url: String| {
            let target = format!("{url}/DEFAULT/controller/v1/{DEVICE}{path}");
            let answer = match method {
                "GET" => http::get(&target),
                _ => http::send(method, &target, body),
            };
            let text = answer.json().to_string().replace(&url, "URL");
            (answer.status, serde_json::from_str::<Value>(&text).unwrap())
        };
        let (real, played) = (ask(goosebit.url()), ask(simulated.url()));
        assert_eq!(real.0, played.0, "{method} {path} {body}: {}", goosebit.log());
        // The words of its errors are its library's.
        assert!(
            real.0 >= 400 || real.1 == played.1,
            "{method} {path} {body}:\n{real:?}\n{played:?}"
        );
    };
    both("GET", "", &Value::Null);
    both("PUT", "/configData", &json!({ "mode": "merge", "data": attributes }));
    both("GET", "", &Value::Null);
    both("GET", "/deploymentBase/1", &Value::Null);
    assign(&goosebit);
    both("GET", "", &Value::Null);
    both("GET", "/deploymentBase/1", &Value::Null);
    both("GET", "/deploymentBase/77?actionHistory=-1", &Value::Null);
    both("GET", "/download", &Value::Null);
    let size = fs::metadata(&archive).unwrap().len();
    let beyond = format!("bytes={size}-");
    for range in [
        "bytes=0-",
        "bytes=10-19",
        "bytes=100-999999",
        "bytes=-5",
        &beyond,
        "bytes=10-5",
        "lines=1-2",
    ] {
        let part = |url: String| {
            let (range, url) = (
                format!("Range: {range}"),
                format!("{url}/DEFAULT/controller/v1/{DEVICE}/download"),
            );
            let answer = http::curl(["--header", &range, &url]);
            (answer.status, (answer.status < 400).then_some(answer.body))
        };
        assert_eq!(part(goosebit.url()), part(simulated.url()), "{range}");
    }
    both("POST", "/deploymentBase/1/feedback", &feedback("proceeding", "none"));
    both("POST", "/deploymentBase/1/feedback", &feedback("installing", "none"));
    both("POST", "/deploymentBase/1/feedback", &feedback("rejected", "failure"));
    both("POST", "/deploymentBase/one/feedback", &feedback("proceeding", "none"));
    let mut half = feedback("proceeding", "none");
    half["status"]["result"]["progress"] = json!({ "cnt": 1 });
    both("POST", "/deploymentBase/1/feedback", &half);
    both("GET", "/cancelAction/1", &Value::Null);
    both("GET", "/confirmationBase/1", &Value::Null);
    both("GET", "/installedBase/1", &Value::Null);
    both("POST", "/deploymentBase/1/feedback", &feedback("closed", "failure"));
    both("GET", "", &Value::Null);
    both("POST", "/deploymentBase/1/feedback", &feedback("closed", "success"));
    both("GET", "", &Value::Null);
    both("GET", "/deploymentBase/1", &Value::Null);
    both("PUT", "/configData", &json!({ "data": { "sw_version": "2.0.0" } }));
    for version in ["V02.00.00.00", "2.0.0"] {
        let mut told = attributes.clone();
        told["sw_version"] = json!(version);
        both("PUT", "/configData", &json!({ "mode": "merge", "data": told }));
        both("GET", "", &Value::Null);
    }
    both("GET", "/download", &Value::Null);
    let known = goosebit.device(DEVICE);
    assert_eq!((&known["last_state"], &known["sw_version"]), (&json!("Finished"), &json!("2.0.0")));
}

/// Which files of uplift gooseBit takes: what begins as an archive of SWUpdate does, whatever it is called and whatever
/// follows it. A seal before a payload hides that, so that such a file goes as a member of an archive.
#[test]
fn goosebit_takes_a_sealed_file_in_an_archive_and_not_by_itself() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let signer = Signer::new(Path::new(env!("CARGO_BIN_EXE_uplift"))).unwrap();
    let sealed = path.join("PRODUCT_V02.00.00.00.bin");
    fs::write(&sealed, [7; 10_000]).unwrap();
    signer.seal_before(&sealed).unwrap();
    let mut goosebit = Goosebit::start();
    assert_eq!(goosebit.upload(&sealed).unwrap_err().0, 422);
    let archive = swu::wrap(path, "PRODUCT_V02.00.00.00.swu", "2.0.0", &sealed);
    let mut longer = fs::read(&archive).unwrap();
    longer.extend([1; 500]);
    let behind = path.join("PRODUCT_V03.00.00.00.bin");
    fs::write(&behind, longer).unwrap();
    assert_eq!(goosebit.upload(&behind).map_err(|(status, _)| status), Ok(1));
    assert_eq!(goosebit.upload(&archive).unwrap_err().0, 409, "the version is there already");
    let next = swu::wrap(path, "PRODUCT_V03.00.00.00.swu", "3.0.0", &sealed);
    let software = goosebit.upload(&next).unwrap();
    // What it knows outlives it, and the device is told the file's name twice.
    goosebit.register(DEVICE, "1.0.0");
    goosebit.assign(DEVICE, software);
    goosebit.stop();
    goosebit.start_again();
    let base = format!("{}/DEFAULT/controller/v1/{DEVICE}", goosebit.url());
    let offered = http::get(&format!("{base}/deploymentBase/{software}")).json();
    let chunk = &offered["deployment"]["chunks"][0];
    let name = json!("PRODUCT_V03.00.00.00.swu");
    assert_eq!((&chunk["name"], &chunk["artifacts"][0]["filename"]), (&name, &name));
    assert_eq!(chunk["version"], "3.0.0");
    assert_eq!(http::get(&format!("{base}/download")).body, fs::read(&next).unwrap());
}
