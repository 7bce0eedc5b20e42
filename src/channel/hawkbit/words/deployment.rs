//! What is to be installed: the answer to the link of a deployment, or of a confirmation, which has
//! the same form under another name.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde::de::value::{Error as ValueError, StrDeserializer};

use super::naming::{self, shown};
use super::{Id, Names, Naming, Senseless, read};
use crate::channel::offer::{Action, FirmwareName, Install, Offer, OfferedFile};
use crate::config::HawkbitLink;
use crate::model::file_name::{FileName, NameError};
use crate::model::{AnnouncedDigests, Failure, FailureKind};

/// Most files of one action.
const MOST_FILES: usize = 32;
/// Longest URL of a file in bytes.
const LONGEST_URL: usize = 4096;
/// What a file is called behind the name of the file that it goes with: digests and signatures. The
/// proof of a firmware file is its seal, which is inside.
const COMPANIONS: [&str; 9] =
    [".md5sum", ".md5", ".sha1", ".sha256", ".sha512", ".sig", ".asc", ".minisig", ".p7s"];

/// An action of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deployment {
    /// Its name.
    pub(crate) action: Action,
    /// What it asks for.
    pub(crate) asked: Asked,
    /// Files that are passed over, because they go with another one: for the log.
    pub(crate) passed_over: Vec<String>,
}

/// What an action asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// These files.
    Offer(Offer),
    /// Nothing yet, not even to fetch them: it is looked at again.
    NotYet,
    /// What can't be done here, and is told so.
    Refused(Failure),
}

#[derive(Deserialize)]
struct Head {
    id: Option<Id>,
}

#[derive(Deserialize)]
struct Body {
    deployment: Option<Plan>,
    confirmation: Option<Plan>,
}

#[derive(Deserialize)]
struct Plan {
    download: Handling,
    update: Handling,
    #[serde(rename = "maintenanceWindow")]
    maintenance_window: Option<String>,
    chunks: Option<Vec<Chunk>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Handling {
    Skip,
    Attempt,
    Forced,
}

/// A software module.
#[derive(Deserialize)]
struct Chunk {
    part: Option<String>,
    name: Option<String>,
    version: Option<String>,
    encrypted: Option<bool>,
    artifacts: Option<Vec<Artifact>>,
}

#[derive(Deserialize)]
struct Artifact {
    filename: String,
    size: Option<Size>,
    hashes: Option<Hashes>,
    #[serde(rename = "_links")]
    links: Option<Links>,
}

/// A size of another type is one that is not understood.
#[derive(Deserialize)]
#[serde(untagged)]
enum Size {
    Number(u64),
    Text(String),
    Other(serde::de::IgnoredAny),
}

#[derive(Default, Deserialize)]
struct Hashes {
    sha256: Option<String>,
    sha1: Option<String>,
    md5: Option<String>,
}

#[derive(Default, Deserialize)]
struct Links {
    download: Option<Href>,
    #[serde(rename = "download-http")]
    download_http: Option<Href>,
}

#[derive(Deserialize)]
struct Href {
    href: String,
}

impl Deployment {
    /// Takes an answer apart; none where the server has no action after all, as gooseBit says by
    /// `null`.
    ///
    /// An answer that names its action is never senseless: what is wrong with it can be told.
    ///
    /// It must be about the action of the link that it was read from, where that names one: what is
    /// said of any other goes to an action that the server does not wait for.
    pub(crate) fn parse(
        answer: &[u8],
        offered: Option<&Action>,
        naming: &Naming,
    ) -> Result<Option<Self>, Senseless> {
        let Some(head) = read::<Option<Head>>(answer)? else { return Ok(None) };
        let action = Action::try_from(head.id.ok_or(Senseless::NoAction)?)?;
        if offered.is_some_and(|offered| *offered != action) {
            return Err(Senseless::OtherAction);
        }
        let mut passed_over = Vec::new();
        let plan =
            read(answer).map_err(|error| not_understood().because(error)).and_then(|body: Body| {
                body.deployment.or(body.confirmation).ok_or_else(not_understood)
            });
        let asked = plan.and_then(|plan| plan.ask(&action, naming, &mut passed_over));
        let asked = asked.unwrap_or_else(Asked::Refused);
        Ok(Some(Self { action, asked, passed_over }))
    }
}

impl Plan {
    fn ask(
        self,
        action: &Action,
        naming: &Naming,
        passed_over: &mut Vec<String>,
    ) -> Result<Asked, Failure> {
        let mut files = Vec::new();
        let chunks = self.chunks.unwrap_or_default();
        for chunk in chunks.into_iter().filter(|chunk| naming.concerns(chunk.part.as_deref())) {
            chunk.add_to(&mut files, naming, passed_over)?;
        }
        check_products(&files)?;
        // hawkBit keeps modules as a set: their order may be another one in the next answer, and it
        // would be another offer.
        files.sort_by_cached_key(|file| {
            let product = product(file);
            (product.as_deref().and_then(|product| naming.rank(product)), product)
        });
        // HB-4. Outside its window the server says "skip"; what else it may say of the window one
        // day is no word to install either.
        let is_open = self.maintenance_window.is_none_or(|window| window == "available");
        let install =
            if is_open && self.update != Handling::Skip { Install::Now } else { Install::Later };
        Ok(match self.download {
            Handling::Skip => Asked::NotYet,
            Handling::Attempt | Handling::Forced => {
                Asked::Offer(Offer { action: action.clone(), files, install })
            }
        })
    }
}

/// There is one file at least, and no product is that of two: which one came last would be chance.
fn check_products(files: &[OfferedFile]) -> Result<(), Failure> {
    if files.is_empty() {
        return Err(Failure::new(
            FailureKind::WrongProduct,
            "the action has no file for this payload",
        )
        .with_hint(
            "give its software module a file, of a type that `parts` of [channel.hawkbit] lists",
        ));
    }
    let mut products: Vec<String> = files.iter().filter_map(product).collect();
    products.sort_unstable();
    match products.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(Failure::new(
            FailureKind::WrongProduct,
            format!("the action has two files for the product {}", shown(&pair[0])),
        )
        .with_hint("leave one of them in the distribution set")),
    }
}

fn product(file: &OfferedFile) -> Option<String> {
    match &file.name {
        FirmwareName::Known(name) => Some(name.product().to_owned()),
        FirmwareName::BySeal => None,
    }
}

impl Chunk {
    /// Adds the files of this module.
    fn add_to(
        self,
        files: &mut Vec<OfferedFile>,
        naming: &Naming,
        passed_over: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let module = self.name.unwrap_or_default();
        if self.encrypted == Some(true) {
            return Err(Failure::new(
                FailureKind::TransferFailed,
                format!(
                    "the software module {} is encrypted, and nobody here has its key",
                    shown(&module)
                ),
            )
            .with_hint(
                "make the software module without encryption; what proves a file is its seal",
            ));
        }
        let artifacts = self.artifacts.unwrap_or_default();
        let names: Vec<String> =
            artifacts.iter().map(|artifact| artifact.filename.to_ascii_lowercase()).collect();
        let mut own = Vec::new();
        for (artifact, name) in artifacts.into_iter().zip(&names) {
            if is_companion(name, &names) {
                passed_over.push(shown(&artifact.filename));
            } else {
                own.push(artifact);
            }
        }
        if files.len() + own.len() > MOST_FILES {
            let sentence = format!("the action has more than {MOST_FILES} files");
            return Err(Failure::new(FailureKind::TooLarge, sentence)
                .with_hint("divide the distribution set"));
        }
        let of_module = match &naming.names {
            Names::File => None,
            Names::Chunk { .. } if own.is_empty() => None,
            Names::Chunk { .. } if own.len() > 1 => return Err(several(&module)),
            Names::Chunk { products } => {
                let version = self.version.unwrap_or_default();
                Some(naming::of_module(products, &module, self.part.as_deref(), &version)?)
            }
        };
        for artifact in own {
            files.push(artifact.offered(of_module.clone(), naming.link)?);
        }
        Ok(())
    }
}

/// Whether a file goes with another one of these; the names are in small letters.
fn is_companion(name: &str, names: &[String]) -> bool {
    COMPANIONS.iter().any(|ending| {
        name.strip_suffix(ending).is_some_and(|file| names.iter().any(|other| other == file))
    })
}

impl Artifact {
    fn offered(
        self,
        name: Option<FileName>,
        preferred: HawkbitLink,
    ) -> Result<OfferedFile, Failure> {
        let Self { filename, size, hashes, links } = self;
        let name = match name {
            Some(name) => name,
            None => filename.parse().map_err(|error: NameError| error.into_failure(&filename))?,
        };
        let wrong = |what: &str| {
            let sentence =
                format!("what the server says of {} can't be used: {what}", shown(&filename));
            Failure::new(FailureKind::TransferFailed, sentence)
                .with_hint("upload the file to the server again")
        };
        let size =
            size.map_or(Ok(None), Size::bytes).map_err(|()| wrong("its size is no number"))?;
        let digests = hashes.unwrap_or_default().digests().map_err(wrong)?;
        let url = links
            .unwrap_or_default()
            .preferred(preferred)
            .filter(|url| !url.is_empty())
            .ok_or_else(|| wrong("it has no link to download it"))?;
        if url.len() > LONGEST_URL {
            return Err(wrong("its link is too long"));
        }
        Ok(OfferedFile { name: FirmwareName::Known(name), url, size, digests })
    }
}

impl Size {
    /// The size, where it is known: 0 stands for one that is not (DL-5).
    fn bytes(self) -> Result<Option<u64>, ()> {
        let bytes = match self {
            Self::Number(bytes) => bytes,
            // `parse` alone would take a sign.
            Self::Text(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().map_err(|_| ())?
            }
            Self::Text(_) | Self::Other(_) => return Err(()),
        };
        Ok((bytes != 0).then_some(bytes))
    }
}

impl Hashes {
    fn digests(self) -> Result<AnnouncedDigests, &'static str> {
        Ok(AnnouncedDigests {
            sha256: digest(self.sha256.as_deref()).map_err(|()| "its sha256 is none")?,
            sha1: digest(self.sha1.as_deref()).map_err(|()| "its sha1 is none")?,
            md5: digest(self.md5.as_deref()).map_err(|()| "its md5 is none")?,
        })
    }
}

/// An empty digest is none (DL-4), one of another length or alphabet is an error (DL-3).
fn digest<T: DeserializeOwned>(text: Option<&str>) -> Result<Option<T>, ()> {
    match text {
        None | Some("") => Ok(None),
        Some(text) => {
            T::deserialize(StrDeserializer::<ValueError>::new(text)).map(Some).map_err(|_| ())
        }
    }
}

impl Links {
    /// HB-3.
    fn preferred(self, preferred: HawkbitLink) -> Option<String> {
        let (first, second) = match preferred {
            HawkbitLink::Download => (self.download, self.download_http),
            HawkbitLink::DownloadHttp => (self.download_http, self.download),
        };
        first.or(second).map(|link| link.href)
    }
}

fn several(module: &str) -> Failure {
    let sentence = format!(
        "the software module {} has several files, and its name and version are those of one",
        shown(module)
    );
    Failure::new(FailureKind::NameInvalid, sentence).with_hint(
        "make one software module for each file, or set `names = \"file\"` in [channel.hawkbit]",
    )
}

fn not_understood() -> Failure {
    Failure::new(FailureKind::TransferFailed, "the action can't be understood").with_hint(
        "docs/use/hawkbit.md has the form that is understood, and the servers that were seen",
    )
}

#[cfg(test)]
mod tests;
