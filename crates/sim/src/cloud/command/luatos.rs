//! `uplift-sim cloud luatos`.

use std::path::PathBuf;

use clap::Args;

use super::{Common, DeliveryArguments, Judge, LAST_ANSWER, watch};
use crate::cloud::content::Content;
use crate::cloud::luatos::{Answer, Ending, Event, Options, Package, Server, Watch};

pub(super) const EXAMPLES: &str = "Examples:
  uplift-sim cloud luatos --firmware pkg.bin --listen 127.0.0.1:8081
  curl -G http://127.0.0.1:8081/api/site/firmware_upgrade -o pkg -d imei=P1 \\
      -d project_key=k -d firmware_name=payload_LuatOS-SoC_LINUX \\
      -d version=2012.1.3

  A platform that still makes the package, three times, and then sends half of it:
  uplift-sim cloud luatos --firmware pkg.bin --answer 43 --answer 43 --answer 43 \\
      --cut-after 2048

Codes: 0 ok, 3 invalid device, 17 other account, 21 forbidden, 25 invalid project, 26 invalid firmware, 27 already \
latest, 40 upgrade loop, 43 package is being made, 44 core version missing.

Exit codes: 0 the device ended what it was offered as a device should, 1 it did not, 2 wrong command line.";

#[derive(Debug, Args)]
pub(crate) struct Luatos {
    #[command(flatten)]
    common: Common,
    /// Firmware file.
    #[arg(long, value_name = "FILE")]
    firmware: PathBuf,
    /// Name that the package was uploaded under.
    #[arg(long, value_name = "NAME", default_value = "payload_LuatOS-SoC_LINUX")]
    firmware_name: String,
    /// Version of the package: core, first and last number of the application's.
    #[arg(long, value_name = "VERSION", default_value = "2012.1.4")]
    package_version: String,
    /// Key of the project [default: any].
    #[arg(long, value_name = "KEY")]
    project_key: Option<String>,
    /// Answer a request with a code, as in 43 or 27:304, with `empty`, `file` or `nothing`; again for the
    /// next one. After the last the package is answered with.
    #[arg(long, value_name = "ANSWER", value_parser = answer)]
    answer: Vec<Answer>,
    /// HTTP status of codes; which one the platform uses is not published.
    #[arg(long, value_name = "STATUS", default_value_t = 400, value_parser = clap::value_parser!(u16).range(200..600))]
    code_status: u16,
    /// Downloads of one file after which a device is in a loop; 0 is never.
    #[arg(long, value_name = "N", default_value_t = Options::default().loop_limit)]
    loop_limit: u32,
    /// SHA-256 that the newer protocol tells; empty is none.
    #[arg(long, value_name = "HEX")]
    told_sha256: Option<String>,
    /// Do not take the first N results of the newer protocol.
    #[arg(long, value_name = "N", default_value_t = 0)]
    lost_results: u32,
    /// How it should end [default: what the scenario leads to].
    #[arg(long, value_enum)]
    expect: Option<Ending>,
    #[command(flatten)]
    delivery: DeliveryArguments,
}

impl Luatos {
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
        let package = Package {
            firmware_name: self.firmware_name.clone(),
            version: self.package_version.clone(),
            content: Content::open(&self.firmware)?,
        };
        Ok(Options {
            listen: self.common.listen,
            project_key: self.project_key.clone(),
            packages: vec![package],
            delivery: self.delivery.delivery(),
            answers: self.answer.clone(),
            code_status: self.code_status,
            loop_limit: self.loop_limit,
            told_sha256: self.told_sha256.clone(),
            lost_results: self.lost_results,
        })
    }
}

impl Judge<Event> for Watch {
    type Ending = Ending;

    fn see(&mut self, event: &Event) {
        Self::see(self, event);
    }

    fn ending(&self, expected: Ending) -> Option<(Ending, bool)> {
        Self::ending(self, expected).map(|ending| (ending, ending == expected))
    }
}

fn answer(text: &str) -> Result<Answer, String> {
    let wrong = || "a code, CODE:STATUS, empty, file or nothing is expected".to_owned();
    Ok(match text {
        "empty" => Answer::Empty,
        "file" => Answer::File,
        "nothing" => Answer::Nothing,
        _ => match text.split_once(':') {
            Some((code, status)) => Answer::CodeWith(
                code.parse().map_err(|_| wrong())?,
                status
                    .parse()
                    .ok()
                    .filter(|status| (200..600).contains(status))
                    .ok_or_else(wrong)?,
            ),
            None => Answer::Code(text.parse().map_err(|_| wrong())?),
        },
    })
}
