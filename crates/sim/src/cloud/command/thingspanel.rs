//! `uplift-sim cloud thingspanel`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::{Common, Judge, LAST_ANSWER, read_secret, watch};
use crate::cloud::broker::{Choice, Login};
use crate::cloud::content::Content;
use crate::cloud::thingspanel::{
    Ending, Event, Generation, Options, PushWhen, Ranges, Server, Signed, Size, Spelling, Task,
    Topics, Watch, Way,
};

pub(super) const EXAMPLES: &str = "Examples:
  uplift-sim cloud thingspanel --firmware pkg.bin --package-version v2.0
  mosquitto_sub -t 'ota/device/#' -v -p PORT        # what goes over the wire
  mosquitto_pub -t ota/device/inform -p PORT -m '{\"id\":\"1\",\"params\":{\"version\":\"v1.0\",\"module\":\"default\"}}'

  A server of 1.x with neither size nor digest, whose ranges are answered 200, and a broker of yours:
  uplift-sim cloud thingspanel --firmware pkg.bin --package-version v2.0 \\
      --generation v1 --device-number 4711 --broker mqtt://127.0.0.1:1883

Without --broker one is started: Debian's package `mosquitto` has it.

Exit codes: 0 the device ended its task as a device should, 1 it did not, 2 wrong command line.";

#[derive(Debug, Args)]
pub(crate) struct Thingspanel {
    #[command(flatten)]
    common: Common,
    /// Firmware file.
    #[arg(long, value_name = "FILE")]
    firmware: PathBuf,
    /// The version that the platform calls it.
    #[arg(long, value_name = "VERSION")]
    package_version: String,
    /// Which version of the platform.
    #[arg(long, value_enum, default_value = "v05")]
    generation: Generation,
    /// A broker that runs, such as mqtt://127.0.0.1:1883, instead of one of its own.
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// The broker's program, where it is not found by itself.
    #[arg(long, value_name = "FILE", conflicts_with = "broker")]
    mosquitto: Option<PathBuf>,
    /// The platform's own user at the broker.
    #[arg(long, value_name = "NAME", requires = "broker")]
    user: Option<String>,
    /// A file with its password.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// A file with the device's access token [default: the token PAYLOAD0001].
    #[arg(long, value_name = "FILE", conflicts_with = "device_number")]
    token_file: Option<PathBuf>,
    /// The device's number.
    #[arg(long, value_name = "NUMBER")]
    device_number: Option<String>,
    /// The module; empty is none.
    #[arg(long, value_name = "NAME", default_value = "default")]
    module: String,
    /// Name of the file on the platform.
    #[arg(long, value_name = "NAME", default_value = "package.bin")]
    file_name: String,
    #[command(flatten)]
    messages: Messages,
    #[command(flatten)]
    files: Files,
    /// How it should end [default: what the scenario leads to].
    #[arg(long, value_enum)]
    expect: Option<Ending>,
}

/// How tasks are pushed.
#[derive(Debug, Args)]
#[command(next_help_heading = "How tasks are pushed")]
struct Messages {
    /// When.
    #[arg(long, value_enum, default_value = "on-report")]
    push: PushWhen,
    /// On which spelling of its topic a server of 1.x pushes.
    #[arg(long, value_enum, default_value = "infrom")]
    spelling: Spelling,
    /// Have the broker keep the task.
    #[arg(long)]
    retained: bool,
    /// Publish each push so often.
    #[arg(long, value_name = "N", default_value_t = 1)]
    times: u32,
    /// How often a server of 0.5 pushes again when another version is told.
    #[arg(long, value_name = "N", default_value_t = 3)]
    retries: u32,
    /// What is told of the digest.
    #[arg(long, value_enum, default_value = "usual")]
    sign: Signed,
    /// How the size is told [default: as the generation does it].
    #[arg(long, value_enum)]
    size: Option<Size>,
    /// The code is a number and no text.
    #[arg(long)]
    code_number: bool,
    /// The URL is a path alone.
    #[arg(long)]
    path_only: bool,
}

/// How files are handed out.
#[derive(Debug, Args)]
#[command(next_help_heading = "How files are handed out")]
struct Files {
    /// What is done with a range.
    #[arg(long, value_enum, default_value = "usual")]
    ranges: Ranges,
    /// Bytes a second.
    #[arg(long, value_name = "BYTES/S", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Cut a file after so many bytes.
    #[arg(long, value_name = "BYTES")]
    cut_after: Option<u64>,
    /// So often only; 0 is always.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "cut_after")]
    cuts: u32,
    /// So many sums of parts are wrong.
    #[arg(long, value_name = "N", default_value_t = 0)]
    wrong_crc: u32,
    /// Answer a request for a file with this status; again for the next one.
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(200..600))]
    file_status: Vec<u16>,
}

impl Thingspanel {
    pub(super) fn run(self) -> anyhow::Result<bool> {
        let options = self.options()?;
        let expected = self.expect.unwrap_or_else(|| Ending::expected(&options));
        let server = Server::start(options)?;
        self.common.introduce(&server.url(), &server.broker().url())?;
        let is_good = watch::<_, Watch>(&self.common, server.events(), expected)?;
        server.settle(LAST_ANSWER);
        Ok(is_good)
    }

    fn options(&self) -> anyhow::Result<Options> {
        let Messages { push, spelling, retained, times, retries, .. } = self.messages;
        Ok(Options {
            listen: self.common.listen,
            broker: self.choice()?,
            generation: self.generation,
            device: self.device()?,
            topics: Topics::default(),
            spelling,
            task: Some(self.task()?),
            when: push,
            is_retained: retained,
            times,
            retries,
            way: self.files.way(),
        })
    }

    fn choice(&self) -> anyhow::Result<Choice> {
        let password = self.password_file.as_ref().map(read_secret).transpose()?;
        let login =
            self.user.clone().map(|user| Login { user, password: password.unwrap_or_default() });
        Ok(Choice { url: self.broker.clone(), mosquitto: self.mosquitto.clone(), login })
    }

    fn device(&self) -> anyhow::Result<String> {
        let key = match (&self.token_file, &self.device_number) {
            (Some(file), _) => read_secret(file)?,
            (None, Some(number)) => number.clone(),
            (None, None) => Options::default().device,
        };
        let is_level = !key.contains(['/', '+', '#']);
        is_level.then_some(key).context("the device's key has a character that no topic takes")
    }

    fn task(&self) -> anyhow::Result<Task> {
        let messages = &self.messages;
        Ok(Task {
            module: Some(self.module.clone()).filter(|module| !module.is_empty()),
            file_name: self.file_name.clone(),
            signed: messages.sign,
            size: messages.size,
            code_is_number: messages.code_number,
            path_only: messages.path_only,
            ..Task::of(&self.package_version, Content::open(&self.firmware)?)
        })
    }
}

impl Files {
    fn way(&self) -> Way {
        Way {
            ranges: self.ranges,
            rate: self.rate,
            cut_after: self.cut_after,
            cuts: self.cuts,
            wrong_sums: self.wrong_crc,
            statuses: self.file_status.clone(),
        }
    }
}

impl Judge<Event> for Watch {
    type Ending = Ending;

    fn see(&mut self, event: &Event) {
        Self::see(self, event);
    }

    fn ending(&self, expected: Ending) -> Option<(Ending, bool)> {
        Self::ending(self).map(|ending| (ending, ending == expected))
    }
}
