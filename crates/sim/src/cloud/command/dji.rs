//! `uplift-sim cloud dji`.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::{Common, DeliveryArguments, Judge, LAST_ANSWER, read_secret, watch};
use crate::cloud::broker::{Choice, Login};
use crate::cloud::content::Content;
use crate::cloud::dji::{
    Answers, Device, Ending, Event, File, Md5, Options, Order, Platform, Watch,
};
use crate::cloud::event::Events;

pub(super) const EXAMPLES: &str = "Examples:
  uplift-sim cloud dji --firmware pkg.bin --product-version 02.00.0000

  The same at a broker that runs, asked three times under new names, with a
  URL that expires after half of the file:
  uplift-sim cloud dji --broker mqtt://127.0.0.1:1883 --firmware pkg.bin \\
      --repeat 3 --expires --cut-after 2048 --expect failure

Exit codes: 0 the gateway ended what it was asked for as a gateway should, 1 it did not, 2 wrong command line.";

/// How long a gateway is waited for, unless a time is given.
const COMES_WITHIN: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Between two looks at whether nobody asks any more.
const SOON: Duration = Duration::from_millis(10);

#[derive(Debug, Args)]
pub(crate) struct Dji {
    #[command(flatten)]
    common: Common,
    /// A broker that runs [default: Debian's mosquitto is started].
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// Name at the broker.
    #[arg(long, value_name = "NAME", requires = "password_file")]
    user: Option<String>,
    /// File with the password in its first line.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// Firmware file.
    #[arg(long, value_name = "FILE")]
    firmware: PathBuf,
    /// Its name, as it is told [default: the file's].
    #[arg(long, value_name = "NAME")]
    file_name: Option<String>,
    /// Its version, as it is told; any text.
    #[arg(long, value_name = "VERSION", default_value = "02.00.0000")]
    product_version: String,
    /// Serial number of the device [default: the gateway that comes first].
    #[arg(long, value_name = "SN")]
    sn: Option<String>,
    /// Kind of upgrade: 2 and 3 are those of a dock, 4 is that of a payload.
    #[arg(long, value_name = "TYPE", default_value_t = 4)]
    upgrade_type: u64,
    /// A second entry without a file, for this device.
    #[arg(long, value_name = "SN")]
    second: Option<String>,
    /// What is told of the file's MD5.
    #[arg(long, value_enum, default_value = "right")]
    md5: Md5,
    /// Added to the size that is told.
    #[arg(long, value_name = "BYTES", default_value_t = 0, allow_negative_numbers = true)]
    size_error: i64,
    /// Ask so often, each time under new names.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Send this instead of a command.
    #[arg(long, value_name = "TEXT")]
    raw: Option<String>,
    /// The URL is valid for one request.
    #[arg(long)]
    expires: bool,
    /// Answer a topology with this code.
    #[arg(long, value_name = "CODE", default_value_t = 0, allow_negative_numbers = true)]
    topology_code: i64,
    /// Do not answer topologies.
    #[arg(long)]
    no_topology_reply: bool,
    /// Which events are answered.
    #[arg(long, value_enum, default_value = "always")]
    events_reply: Answers,
    /// How it should end [default: success].
    #[arg(long, value_enum)]
    expect: Option<Ending>,
    #[command(flatten)]
    delivery: DeliveryArguments,
}

impl Dji {
    pub(super) fn run(self) -> anyhow::Result<bool> {
        let platform = Arc::new(Platform::start(self.options()?)?);
        self.common.introduce(&platform.broker_url(), &platform.files_url())?;
        let content = Content::open(&self.firmware)?;
        let asks = (platform.events(), Arc::downgrade(&platform));
        let asking = self.order(content)?;
        let (raw, repeat, within) = (self.raw.clone(), self.repeat, self.common.timeout);
        let wants_gateway = self.sn.is_none();
        thread::Builder::new().name("asks".to_owned()).spawn(move || {
            let ask = Ask { raw, repeat, order: asking, wants_gateway };
            ask.run(asks.0, &asks.1, within.unwrap_or(COMES_WITHIN))
        })?;
        let expected = self.expect.unwrap_or(Ending::Success);
        let is_good = watch::<_, Watch>(&self.common, platform.events(), expected)?;
        platform.settle(LAST_ANSWER);
        // Whoever asks still has its broker, which must not outlive this program.
        while Arc::strong_count(&platform) > 1 {
            thread::sleep(SOON);
        }
        Ok(is_good)
    }

    fn options(&self) -> anyhow::Result<Options> {
        let login = match (&self.user, &self.password_file) {
            (Some(user), Some(file)) => {
                Some(Login { user: user.clone(), password: read_secret(file)? })
            }
            _ => None,
        };
        Ok(Options {
            broker: Choice { url: self.broker.clone(), mosquitto: None, login },
            listen: self.common.listen,
            delivery: self.delivery.delivery(),
            expires: self.expires,
            topology: (!self.no_topology_reply).then_some(self.topology_code),
            answers: self.events_reply,
        })
    }

    fn order(&self, content: Content) -> anyhow::Result<Order> {
        let name = self.file_name.clone().or_else(|| {
            let name = self.firmware.file_name()?.to_str()?;
            Some(name.to_owned())
        });
        let name = name.context("the firmware has a strange name: give it another one")?;
        let file = File { content, name, md5: self.md5, size_error: self.size_error };
        let device = |sn: &str, file| Device {
            sn: sn.to_owned(),
            product_version: self.product_version.clone(),
            kind: self.upgrade_type,
            file,
        };
        let first = device(self.sn.as_deref().unwrap_or_default(), Some(file));
        let second = self.second.as_deref().map(|sn| device(sn, None));
        Ok(Order { devices: std::iter::once(first).chain(second).collect() })
    }
}

/// What is asked of the gateway that comes first.
struct Ask {
    raw: Option<String>,
    repeat: u32,
    order: Order,
    wants_gateway: bool,
}

impl Ask {
    fn run(
        mut self,
        mut events: Events<Event>,
        platform: &Weak<Platform>,
        within: Duration,
    ) -> anyhow::Result<()> {
        // What it tells of itself it tells when it is ready for more.
        let Some(Event::State { sn, .. }) =
            events.wait_for(within, |event| matches!(event, Event::State { .. }))
        else {
            return Ok(());
        };
        let Some(platform) = platform.upgrade() else { return Ok(()) };
        let topologies = events.so_far().into_iter();
        let gateway = topologies.rev().find_map(|event| match event {
            Event::Topology { gateway, .. } => Some(gateway),
            _ => None,
        });
        let gateway = gateway.unwrap_or(sn);
        if let Some(raw) = &self.raw {
            let topic = format!("thing/product/{gateway}/services");
            return platform.publish(&topic, raw.as_bytes(), false);
        }
        if let Some(device) = self.order.devices.first_mut().filter(|_| self.wants_gateway) {
            device.sn.clone_from(&gateway);
        }
        if self.repeat == 1 {
            return platform.ask_until_answered(&gateway, &self.order).map(drop);
        }
        (0..self.repeat).try_for_each(|_| platform.ask(&gateway, &self.order).map(drop))
    }
}

impl Judge<Event> for Watch {
    type Ending = Ending;

    fn see(&mut self, event: &Event) {
        Self::see(self, event);
    }

    fn ending(&self, expected: Ending) -> Option<(Ending, bool)> {
        let ending = Self::ending(self)?;
        Some((ending, ending == expected && self.kept_the_rules()))
    }
}
