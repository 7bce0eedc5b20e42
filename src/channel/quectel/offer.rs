//! A plan of the platform as an offer in our words, or why it is none (QT-6).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use super::words::PlanInfo;
use super::{place_of, product_of};
use crate::channel::offer::{Action, FirmwareName, Install, Offer, OfferedFile};
use crate::config::{Config, Quectel, QuectelVersions};
use crate::disk;
use crate::handover::channels::OwnComponent;
use crate::model::file_name::FileName;
use crate::model::{AnnouncedDigests, ComponentName, Failure, FailureKind};

/// What of a file with the battery's charge is looked at.
const CHARGE: u64 = 16;

/// What plans are held against.
pub(super) struct Platform {
    form: QuectelVersions,
    components: BTreeMap<String, Here>,
    battery_file: Option<PathBuf>,
    most: u64,
}

struct Here {
    name: ComponentName,
    product: String,
    place: Place,
}

/// The directory beside which a file waits.
pub(super) struct Place(pub(super) Option<PathBuf>);

/// A plan that can be followed.
pub(super) struct Planned {
    /// As an offer, which may not be installed before the module is told.
    pub(super) offer: Offer,
    /// The name of its file.
    pub(super) name: String,
}

impl Platform {
    pub(super) fn new(config: &Config, quectel: &Quectel) -> Self {
        let here = |name: ComponentName| Here {
            name,
            product: product_of(config, name).unwrap_or_default().to_owned(),
            place: place_of(config, name),
        };
        let components = quectel.components.iter();
        Self {
            form: quectel.version_form.clone(),
            components: components.map(|(text, name)| (text.clone(), here(*name))).collect(),
            battery_file: quectel.battery_file.clone(),
            most: config.package.max_size.0,
        }
    }

    /// The offer of a plan, if it can be followed here and now.
    pub(super) fn examine(
        &self,
        plan: &PlanInfo,
        signal: Option<i32>,
        own: &[OwnComponent],
    ) -> Result<Planned, Failure> {
        let planned = self.planned(&plan.component, &plan.to)?;
        let Some(here) = self.components.get(&plan.component) else { return Ok(planned) };
        self.runs(plan, here, own)?;
        self.is_charged(plan.battery)?;
        if let Some(signal) = signal.filter(|signal| *signal < plan.signal) {
            let least = plan.signal;
            return Err(not_now(format!(
                "the signal is {signal} dBm, and the plan wants {least} dBm"
            )));
        }
        self.has_room(plan.space, here)?;
        Ok(planned)
    }

    /// The offer of a version of a component.
    pub(super) fn planned(&self, component: &str, to: &str) -> Result<Planned, Failure> {
        let here = self.components.get(component).ok_or_else(|| {
            let sentence =
                format!("{component:?} is none of the `components` of [channel.quectel]");
            Failure::new(FailureKind::WrongProduct, sentence)
        })?;
        let version = self.form.version(to).ok_or_else(|| {
            let sentence = format!("{to:?} is no version by `version_form` of [channel.quectel]");
            Failure::new(FailureKind::WrongVersion, sentence)
        })?;
        let text = format!("{}_{version}.bin", here.product);
        let invalid = |why: String| Failure::new(FailureKind::NameInvalid, why);
        let name: FileName = text.parse().map_err(|error| invalid(format!("{error}")))?;
        let action = Action::try_from(format!("{component},{to}"));
        let file = OfferedFile {
            name: FirmwareName::Known(name),
            url: String::new(),
            size: None,
            digests: AnnouncedDigests::default(),
        };
        let action = action.map_err(|error| invalid(error.to_string()))?;
        Ok(Planned {
            offer: Offer { action, files: vec![file], install: Install::Later },
            name: text,
        })
    }

    fn runs(&self, plan: &PlanInfo, here: &Here, own: &[OwnComponent]) -> Result<(), Failure> {
        let running = own.iter().find(|one| one.component == here.name).and_then(|one| one.version);
        if plan.from.is_empty() || self.form.version(&plan.from) == running {
            return Ok(());
        }
        let running =
            running.map_or("an unknown version".to_owned(), |version| version.to_string());
        let sentence = format!("the plan is for {}, and {running} runs", plan.from);
        Err(Failure::new(FailureKind::WrongVersion, sentence))
    }

    fn is_charged(&self, least: u32) -> Result<(), Failure> {
        let Some(file) = &self.battery_file else { return Ok(()) };
        let mut text = String::new();
        let read = File::open(file).and_then(|file| file.take(CHARGE).read_to_string(&mut text));
        let charge = read.ok().and_then(|_| text.trim().parse::<u32>().ok()).ok_or_else(|| {
            not_now(format!("{} does not tell the battery's charge", file.display()))
        })?;
        if charge >= least {
            return Ok(());
        }
        Err(not_now(format!("the battery has {charge} %, and the plan wants {least} %")))
    }

    fn has_room(&self, space: u64, here: &Here) -> Result<(), Failure> {
        if space > self.most {
            let most = self.most;
            let sentence =
                format!("the plan wants room for {space} bytes, and `max_size` is {most}");
            return Err(Failure::new(FailureKind::TooLarge, sentence));
        }
        // Where it can't be looked at, the daemon says so when the file comes.
        let place = here.place.0.as_ref();
        match place.and_then(|place| disk::shortage(place, space).ok().flatten()) {
            Some(free) => {
                let sentence =
                    format!("the plan wants room for {space} bytes, and {free} are free");
                Err(Failure::new(FailureKind::NoSpace, sentence))
            }
            None => Ok(()),
        }
    }
}

/// Component and version of a request, as the platform writes them.
pub(super) fn parted(action: &Action) -> Option<(String, String)> {
    let (component, to) = action.as_str().split_once(',')?;
    Some((component.to_owned(), to.to_owned()))
}

fn not_now(sentence: String) -> Failure {
    Failure::new(FailureKind::NotNow, sentence)
}
