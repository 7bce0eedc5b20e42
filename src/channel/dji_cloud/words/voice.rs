//! What this device says: each message with its topic.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Call, Code, Fares, Status, Step};
use crate::config::{DjiCloud, DjiVersionForm, Password, Serial, StepForm, SubDevice, Topology};
use crate::model::ComponentName;
use crate::model::version::Version;

/// The domain of docks.
const DOCK: &str = "3";
/// The domain of aircraft.
const AIRCRAFT: &str = "0";

/// A message, and where it is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// The topic.
    pub(crate) topic: String,
    /// The message.
    pub(crate) payload: Vec<u8>,
}

/// What makes a message unlike any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ids {
    /// Of this message.
    pub(crate) tid: String,
    /// Of what it is about.
    pub(crate) bid: String,
    /// When, in milliseconds since 1970.
    pub(crate) timestamp: u64,
}

/// Speaks as this device is set to.
#[derive(Debug, Clone)]
pub(crate) struct Voice {
    gateway: Serial,
    devices: BTreeMap<Serial, ComponentName>,
    topology: Topology,
    secret: Option<Password>,
    step: StepForm,
    version_form: DjiVersionForm,
    need_reply: bool,
    products: BTreeMap<ComponentName, String>,
}

impl Voice {
    /// The configured one, with the secret of its file, and the products of what it may replace.
    pub(crate) fn new(
        config: &DjiCloud,
        products: BTreeMap<ComponentName, String>,
        secret: Option<Password>,
    ) -> Self {
        Self {
            gateway: config.gateway_sn.clone(),
            devices: config.devices.clone(),
            topology: config.topology.clone(),
            secret,
            step: config.step,
            version_form: config.version_form,
            need_reply: config.need_reply,
            products,
        }
    }

    /// Where commands come.
    pub(crate) fn services(&self) -> String {
        self.thing(&self.gateway, "services")
    }

    /// Where answers to events come.
    pub(crate) fn events_reply(&self) -> String {
        self.thing(&self.gateway, "events_reply")
    }

    /// Where answers to the topology come.
    pub(crate) fn status_reply(&self) -> String {
        format!("sys/product/{}/status_reply", self.gateway.as_str())
    }

    /// Which component a device's number stands for.
    pub(crate) fn component(&self, sn: &str) -> Option<ComponentName> {
        self.devices.get(sn).copied()
    }

    /// Which product a file for a device is of, where there are several. Of one alone the daemon knows.
    pub(crate) fn product(&self, sn: &str) -> Option<&str> {
        let product = self.products.get(&self.component(sn)?)?;
        (self.products.len() > 1).then_some(product.as_str())
    }

    /// A version as the platform is told it.
    pub(crate) fn version(&self, version: Version) -> String {
        let [a, b, c, d] = version.numbers();
        match self.version_form {
            DjiVersionForm::Joined => format!("{a:02}.{b:02}.{c:02}{d:02}"),
            DjiVersionForm::Dotted => format!("{a:02}.{b:02}.{c:02}.{d:02}"),
        }
    }

    /// That we are here, with what hangs on us.
    pub(crate) fn update_topo(&self, ids: &Ids) -> Said {
        let Topology { kind, thing_version, sub_devices, .. } = &self.topology;
        let sub_devices: Vec<Value> = sub_devices
            .iter()
            .map(|device| {
                let SubDevice { sn, domain, number, sub_type, index } = device;
                let mut told = self.described(domain, *number, *sub_type, thing_version);
                told.insert("sn".to_owned(), json!(sn.as_str()));
                told.insert("index".to_owned(), json!(index));
                Value::Object(told)
            })
            .collect();
        let mut data = self.described(&kind.domain, kind.number, kind.sub_type, thing_version);
        data.insert("sub_devices".to_owned(), json!(sub_devices));
        let message = json!({
            "tid": ids.tid, "bid": ids.bid, "timestamp": ids.timestamp, "method": "update_topo",
            "data": data,
        });
        said(format!("sys/product/{}/status", self.gateway.as_str()), &message)
    }

    fn described(
        &self,
        domain: &str,
        number: u32,
        sub_type: u32,
        thing_version: &str,
    ) -> Map<String, Value> {
        let mut told = Map::new();
        told.insert("domain".to_owned(), json!(domain));
        told.insert("type".to_owned(), json!(number));
        told.insert("sub_type".to_owned(), json!(sub_type));
        told.insert("thing_version".to_owned(), json!(thing_version));
        if let Some(secret) = &self.secret {
            told.insert("device_secret".to_owned(), json!(secret.reveal()));
        }
        if let Some(nonce) = &self.topology.nonce {
            told.insert("nonce".to_owned(), json!(nonce));
        }
        told
    }

    /// The devices that the platform is told are here.
    pub(crate) fn present(&self) -> Vec<Serial> {
        let sub_devices = self.topology.sub_devices.iter().map(|device| device.sn.clone());
        std::iter::once(self.gateway.clone()).chain(sub_devices).collect()
    }

    /// The properties that are told when they change (DJ-15).
    pub(crate) fn state(&self, sn: &Serial, version: Version, upgrades: bool, ids: &Ids) -> Said {
        let data = json!({
            "firmware_version": self.version(version),
            "compatible_status": 0,
            "firmware_upgrade_status": i32::from(upgrades),
        });
        said(self.thing(sn, "state"), &self.of_gateway(ids, &data))
    }

    /// The properties that are told all the time (DJ-16).
    pub(crate) fn osd(
        &self,
        sn: &Serial,
        version: Option<Version>,
        upgrades: bool,
        ids: &Ids,
    ) -> Said {
        let mut data = Map::new();
        let domain = self.domain(sn);
        let mode = if domain == AIRCRAFT { 13 } else { 3 };
        data.insert("mode_code".to_owned(), json!(if upgrades { mode } else { 0 }));
        if domain == DOCK {
            // Without it the vendor's server begins no upgrade.
            data.insert("emergency_stop_state".to_owned(), json!(0));
        }
        if let Some(version) = version {
            data.insert("firmware_version".to_owned(), json!(self.version(version)));
        }
        said(self.thing(sn, "osd"), &self.of_gateway(ids, &Value::Object(data)))
    }

    fn domain(&self, sn: &Serial) -> &str {
        let device = self.topology.sub_devices.iter().find(|device| device.sn == *sn);
        device.map_or(&self.topology.kind.domain, |device| &device.domain)
    }

    fn of_gateway(&self, ids: &Ids, data: &Value) -> Value {
        json!({
            "tid": ids.tid, "bid": ids.bid, "timestamp": ids.timestamp,
            "gateway": self.gateway.as_str(), "data": data,
        })
    }

    /// The answer to a command (DJ-1).
    pub(crate) fn reply(
        &self,
        call: &Call,
        result: Code,
        status: Option<Status>,
        timestamp: u64,
    ) -> Said {
        let mut data = json!({ "result": result });
        if let Some(status) = status {
            data["output"] = json!({ "status": status });
        }
        let message = json!({
            "tid": call.tid, "bid": call.bid, "timestamp": timestamp,
            "gateway": self.gateway.as_str(), "method": call.method, "data": data,
        });
        said(self.thing(&self.gateway, "services_reply"), &message)
    }

    /// How an upgrade fares (DJ-2, DJ-11).
    pub(crate) fn progress(&self, fares: Fares, result: Code, ids: &Ids) -> Said {
        let mut progress = Map::new();
        progress.insert("percent".to_owned(), json!(fares.percent));
        let number = match fares.step {
            Step::DownloadFirmware => 1,
            Step::UpgradeFirmware => 2,
        };
        let (key, current) = match self.step {
            StepForm::StepKeyString => (Some(json!(fares.step)), None),
            StepForm::CurrentStepString => (None, Some(json!(fares.step))),
            StepForm::CurrentStepInt => (None, Some(json!(number))),
            StepForm::BothStrings => (Some(json!(fares.step)), Some(json!(fares.step))),
        };
        progress.extend(key.map(|step| ("step_key".to_owned(), step)));
        progress.extend(current.map(|step| ("current_step".to_owned(), step)));
        let output = json!({ "status": fares.status, "progress": progress });
        let data = json!({ "result": result, "output": output });
        let mut message = self.of_gateway(ids, &data);
        message["method"] = json!("ota_progress");
        if self.need_reply {
            message["need_reply"] = json!(1);
        }
        said(self.thing(&self.gateway, "events"), &message)
    }

    fn thing(&self, sn: &Serial, what: &str) -> String {
        format!("thing/product/{}/{what}", sn.as_str())
    }
}

fn said(topic: String, message: &Value) -> Said {
    Said { topic, payload: message.to_string().into_bytes() }
}
