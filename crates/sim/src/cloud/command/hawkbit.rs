//! `uplift-sim cloud hawkbit`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;

use super::{Common, DeliveryArguments, Judge, LAST_ANSWER, read_secret, watch};
use crate::cloud::hawkbit::{
    Artifact, Auth, Chunk, Deployment, Digests, Ending, Event, Handling, Lie, Lost, Moment,
    Options, Release, Server, Turn, Watch,
};

pub(super) const EXAMPLES: &str = "Examples:
  uplift-sim cloud hawkbit --firmware Gimbal_V02.00.00.00.bin --listen 127.0.0.1:8080
  curl http://127.0.0.1:8080/DEFAULT/controller/v1/PAYLOAD0001

  Two components, of a server that asks for a token:
  uplift-sim cloud hawkbit --firmware A_V02.00.00.00.bin \\
      --firmware B_V02.00.00.00.bin --target-token-file token

  The server takes the offer back while the file is sent, and loses an answer:
  uplift-sim cloud hawkbit --firmware A_V02.00.00.00.bin \\
      --cancel-at in-download --lose answer

Exit codes: 0 the device ended what it was offered as a device should, 1 it did not, 2 wrong command line.";

#[derive(Debug, Args)]
pub(crate) struct Hawkbit {
    #[command(flatten)]
    common: Common,
    /// Firmware file; each is a software module by itself. Product_Vaa.bb.cc.dd.bin gives its name and
    /// version.
    #[arg(long, value_name = "FILE", required_unless_present = "chunk")]
    firmware: Vec<PathBuf>,
    /// File of a named software module, as in main:2.0.0=FILE; several of one name are files of one
    /// module.
    #[arg(long, value_name = "NAME:VERSION=FILE", value_parser = chunk)]
    chunk: Vec<(String, String, PathBuf)>,
    /// Which server is played.
    #[arg(long, value_enum, default_value = "1.1")]
    release: Release,
    /// The tenant.
    #[arg(long, default_value = "DEFAULT")]
    tenant: String,
    /// How it should end [default: what the scenario leads to].
    #[arg(long, value_enum)]
    expect: Option<Ending>,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    offer: Offer,
    #[command(flatten)]
    course: Course,
    #[command(flatten)]
    lies: Lies,
    #[command(flatten)]
    delivery: DeliveryArguments,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Who may ask [default: anybody]")]
struct Access {
    /// Devices that bring the target token in this file's first line.
    #[arg(long, value_name = "FILE", group = "auth")]
    target_token_file: Option<PathBuf>,
    /// Devices that bring the gateway token in this file's first line.
    #[arg(long, value_name = "FILE", group = "auth")]
    gateway_token_file: Option<PathBuf>,
    /// Devices that come through a proxy that tells this hash of their certificate's issuer.
    #[arg(long, value_name = "HASH", group = "auth")]
    proxy_issuer: Option<String>,
    /// What stands before the tenant in links, for a server behind a proxy with TLS.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What is offered")]
struct Offer {
    /// How urgent it is.
    #[arg(long, value_enum, default_value = "forced")]
    handling: Handling,
    /// There is a maintenance window, closed for the first N looks at the deployment.
    #[arg(long, value_name = "N")]
    window_closed_for: Option<u32>,
    /// The device must confirm.
    #[arg(long)]
    confirmation: bool,
    /// `sleep` between polls, as it is: 00:05:00, PT36H, or nonsense.
    #[arg(long, value_name = "TEXT", default_value = "00:00:05")]
    sleep: String,
    /// Number of the first action.
    #[arg(long, value_name = "N", default_value_t = 10)]
    action: u64,
    /// Links to files lead to a second server, as a content delivery network's.
    #[arg(long)]
    cdn: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What happens in its course")]
struct Course {
    /// Cancel the action at this moment.
    #[arg(long, value_name = "MOMENT", value_enum)]
    cancel_at: Option<Moment>,
    /// Offer another file instead at this moment.
    #[arg(long, value_name = "MOMENT", value_enum, requires = "other")]
    change_at: Option<Moment>,
    /// The other file.
    #[arg(long, value_name = "FILE")]
    other: Option<PathBuf>,
    /// Go away at this moment, with all connections.
    #[arg(long, value_name = "MOMENT", value_enum)]
    restart_at: Option<Moment>,
    /// For so long.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    down: Duration,
    /// Lose a feedback; again for the next one.
    #[arg(long, value_name = "HOW", value_enum)]
    lose: Vec<Lost>,
    /// Feedbacks that an action may have before its quota is used up.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    entry_quota: usize,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What is not true")]
struct Lies {
    /// Digests.
    #[arg(long, value_enum)]
    digests: Option<Digests>,
    /// Size of each file.
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    size: Option<i64>,
    /// The deployment says that it is another action.
    #[arg(long)]
    other_action: bool,
    /// Link to each file.
    #[arg(long, value_name = "URL")]
    href: Option<String>,
    /// Link to the deployment.
    #[arg(long, value_name = "URL")]
    poll_href: Option<String>,
    /// A member of the answer to a poll is missing, as in /_links.
    #[arg(long, value_name = "POINTER")]
    poll_missing: Vec<String>,
    /// A member of the answer to a poll is this, as in /config/polling/sleep=7.
    #[arg(long, value_name = "POINTER=JSON", value_parser = replacement)]
    poll_replace: Vec<(String, serde_json::Value)>,
    /// A member of the deployment is missing, as in /deployment/chunks/0/artifacts.
    #[arg(long, value_name = "POINTER")]
    missing: Vec<String>,
    /// A member of the deployment is this, as in /deployment/chunks=7.
    #[arg(long, value_name = "POINTER=JSON", value_parser = replacement)]
    replace: Vec<(String, serde_json::Value)>,
    /// A name has 10 MiB.
    #[arg(long)]
    huge_string: bool,
    /// The deployment is no JSON.
    #[arg(long)]
    garbage: bool,
    /// The deployment ends in the middle.
    #[arg(long)]
    half_json: bool,
}

impl Hawkbit {
    pub(super) fn run(self) -> anyhow::Result<bool> {
        let options = self.options()?;
        let expected = self.expect.unwrap_or_else(|| Ending::expected(&options));
        let server = Server::start(options)?;
        self.common.introduce(&server.url(), &server.elsewhere())?;
        let is_good = watch::<_, Watch>(&self.common, server.events(), expected)?;
        server.settle(LAST_ANSWER);
        Ok(is_good)
    }

    fn options(&self) -> anyhow::Result<Options> {
        Ok(Options {
            listen: self.common.listen,
            public_url: self.access.public_url.clone(),
            tenant: self.tenant.clone(),
            release: self.release,
            auth: self.access.auth()?,
            deployment: Some(self.deployment(self.chunks()?)),
            first_action: self.offer.action,
            sleep: self.offer.sleep.clone(),
            confirmation: self.offer.confirmation,
            delivery: self.delivery.delivery(),
            cdn: self.offer.cdn,
            lost_feedbacks: self.course.lose.clone(),
            lies: self.lies.list(),
            turns: self.turns()?,
            entry_quota: self.course.entry_quota,
        })
    }

    fn chunks(&self) -> anyhow::Result<Vec<Chunk>> {
        let mut chunks: Vec<Chunk> =
            self.firmware.iter().map(|path| Chunk::of_file(path)).collect::<Result<_, _>>()?;
        for (name, version, path) in &self.chunk {
            let artifact = Artifact::of_file(path)?;
            match chunks.iter_mut().find(|chunk| chunk.name == *name) {
                Some(chunk) => {
                    ensure!(
                        chunk.version == *version,
                        "the module {name} has two versions, {} and {version}",
                        chunk.version
                    );
                    chunk.artifacts.push(artifact);
                }
                None => chunks.push(Chunk::of(name, version, artifact)),
            }
        }
        Ok(chunks)
    }

    fn deployment(&self, chunks: Vec<Chunk>) -> Deployment {
        Deployment {
            chunks,
            handling: self.offer.handling,
            closed_looks: self.offer.window_closed_for,
        }
    }

    fn turns(&self) -> anyhow::Result<Vec<(Moment, Turn)>> {
        let course = &self.course;
        let mut turns = Vec::new();
        turns.extend(course.cancel_at.map(|moment| (moment, Turn::Cancel)));
        turns.extend(course.restart_at.map(|moment| (moment, Turn::Restart(course.down))));
        if let Some(moment) = course.change_at {
            let other = course.other.as_ref().context("there is no other file; hint: --other")?;
            let deployment = self.deployment(vec![Chunk::of_file(other)?]);
            turns.push((moment, Turn::Change(deployment)));
        }
        Ok(turns)
    }
}

impl Access {
    fn auth(&self) -> anyhow::Result<Auth> {
        Ok(match (&self.target_token_file, &self.gateway_token_file, &self.proxy_issuer) {
            (Some(path), _, _) => Auth::Target(read_secret(path)?),
            (_, Some(path), _) => Auth::Gateway(read_secret(path)?),
            (_, _, Some(issuer)) => Auth::Proxy(issuer.clone()),
            (None, None, None) => Auth::None,
        })
    }
}

impl Lies {
    fn list(&self) -> Vec<Lie> {
        let mut lies = Vec::new();
        lies.extend(self.digests.map(Lie::Digests));
        lies.extend(self.size.map(Lie::Size));
        lies.extend(self.href.clone().map(Lie::Href));
        lies.extend(self.poll_href.clone().map(Lie::PollHref));
        lies.extend(self.poll_missing.iter().cloned().map(Lie::PollMissing));
        let replace = self.poll_replace.iter().cloned();
        lies.extend(replace.map(|(pointer, value)| Lie::PollReplaced(pointer, value)));
        lies.extend(self.missing.iter().cloned().map(Lie::Missing));
        let replace = self.replace.iter().cloned();
        lies.extend(replace.map(|(pointer, value)| Lie::Replaced(pointer, value)));
        let flags = [
            (self.other_action, Lie::OtherAction),
            (self.huge_string, Lie::HugeString),
            (self.garbage, Lie::Garbage),
            (self.half_json, Lie::HalfJson),
        ];
        lies.extend(flags.into_iter().filter(|(is_told, _)| *is_told).map(|(_, lie)| lie));
        lies
    }
}

impl Judge<Event> for Watch {
    type Ending = Ending;

    fn see(&mut self, event: &Event) {
        Self::see(self, event);
    }

    fn ending(&self, expected: Ending) -> Option<(Ending, bool)> {
        let ending = Self::ending(self, expected)?;
        Some((ending, ending.satisfies(expected)))
    }
}

fn chunk(text: &str) -> Result<(String, String, PathBuf), String> {
    let read = || {
        let (label, path) = text.split_once('=')?;
        let (name, version) = label.rsplit_once(':')?;
        let is_whole = ![name, version, path].contains(&"");
        is_whole.then(|| (name.to_owned(), version.to_owned(), PathBuf::from(path)))
    };
    read().ok_or_else(|| "NAME:VERSION=FILE is expected, as in main:2.0.0=main.bin".to_owned())
}

fn replacement(text: &str) -> Result<(String, serde_json::Value), String> {
    let wrong = "POINTER=JSON is expected, as in /deployment/chunks=7";
    let (pointer, value) = text.split_once('=').ok_or(wrong)?;
    let value = serde_json::from_str(value).map_err(|error| format!("{wrong}: {error}"))?;
    Ok((pointer.to_owned(), value))
}
