//! What makes the server's answers untrue.

use serde_json::{Value, json};

use super::options::{Digests, Lie};

/// A name of this length is a lie by itself.
const HUGE: usize = 10 << 20;

/// The deployment as the server tells it.
pub(super) fn told(document: Value, lies: &[Lie]) -> Result<Value, String> {
    let mut document = document;
    for lie in lies {
        document = tell(document, lie)?;
    }
    Ok(document)
}

/// The document, or text in its place.
fn tell(mut document: Value, lie: &Lie) -> Result<Value, String> {
    match lie {
        Lie::Digests(digests) => {
            each_artifact(&mut document, |artifact| change_digests(artifact, *digests));
        }
        Lie::Size(size) => each_artifact(&mut document, |artifact| artifact["size"] = json!(size)),
        Lie::OtherAction => document["id"] = json!("4711"),
        Lie::Href(href) => each_artifact(&mut document, |artifact| {
            for link in
                artifact["_links"].as_object_mut().into_iter().flat_map(|map| map.values_mut())
            {
                link["href"] = json!(href);
            }
        }),
        Lie::Missing(pointer) => leave_out(&mut document, pointer),
        Lie::Replaced(pointer, value) => replace(&mut document, pointer, value),
        Lie::HugeString => {
            if let Some(name) = document.pointer_mut("/deployment/chunks/0/name") {
                *name = json!("x".repeat(HUGE));
            }
        }
        Lie::Garbage => return Err("<html>\u{0}this is no JSON".to_owned()),
        Lie::HalfJson => {
            let text = document.to_string();
            return Err(text.chars().take(text.chars().count() / 2).collect());
        }
        // Of the poll, not of the deployment.
        Lie::PollHref(_) | Lie::PollMissing(_) | Lie::PollReplaced(..) => {}
    }
    Ok(document)
}

/// What of the answer to a poll is not true.
pub(super) fn of_poll(document: &mut Value, lie: &Lie) {
    match lie {
        Lie::PollHref(href) => {
            replace(document, "/_links/deploymentBase/href", &json!(href));
        }
        Lie::PollMissing(pointer) => leave_out(document, pointer),
        Lie::PollReplaced(pointer, value) => replace(document, pointer, value),
        _ => {}
    }
}

fn leave_out(document: &mut Value, pointer: &str) {
    if let Some((parent, name)) = pointer.rsplit_once('/')
        && let Some(parent) = document.pointer_mut(parent)
    {
        remove(parent, name);
    }
}

fn replace(document: &mut Value, pointer: &str, value: &Value) {
    if let Some(place) = document.pointer_mut(pointer) {
        *place = value.clone();
    }
}

fn remove(parent: &mut Value, name: &str) {
    match parent {
        Value::Object(members) => drop(members.remove(name)),
        Value::Array(items) => {
            if let Some(at) = name.parse().ok().filter(|at| *at < items.len()) {
                items.remove(at);
            }
        }
        _ => {}
    }
}

fn each_artifact(document: &mut Value, mut change: impl FnMut(&mut Value)) {
    for member in ["deployment", "confirmation"] {
        let chunks = document.get_mut(member).and_then(|inner| inner["chunks"].as_array_mut());
        for chunk in chunks.into_iter().flatten() {
            chunk["artifacts"].as_array_mut().into_iter().flatten().for_each(&mut change);
        }
    }
}

fn change_digests(artifact: &mut Value, digests: Digests) {
    let Some(hashes) = artifact["hashes"].as_object_mut() else { return };
    match digests {
        Digests::None => hashes.clear(),
        Digests::Sha1Only => hashes.retain(|name, _| name == "sha1"),
        Digests::Wrong | Digests::UpperCase | Digests::Short => {
            for value in hashes.values_mut() {
                let text = value.as_str().unwrap_or_default();
                *value = json!(match digests {
                    Digests::Wrong => "0".repeat(text.len()),
                    Digests::UpperCase => text.to_uppercase(),
                    _ => text[..text.len() - 2].to_owned(),
                });
            }
        }
    }
}
