//! What is different at the Rust crate hawkbit_mock: it compares what a device says, as JSON, with what
//! it was told to expect, and knows no more than that.

use serde_json::Value;

/// Whether a feedback has the members that the crate expects, and none besides.
pub(super) fn is_minimal(body: &[u8]) -> bool {
    let Ok(Value::Object(told)) = serde_json::from_slice(body) else { return false };
    let only = |value: Option<&Value>, required: &[&str], allowed: &[&str]| {
        let Some(Value::Object(members)) = value else { return false };
        required.iter().all(|name| members.contains_key(*name))
            && members
                .keys()
                .all(|name| required.contains(&name.as_str()) || allowed.contains(&name.as_str()))
    };
    let told = Value::Object(told);
    only(Some(&told), &["id", "status"], &[])
        && only(told.get("status"), &["execution", "result", "details"], &[])
        && only(told.pointer("/status/result"), &["finished"], &["progress"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_expected_is_unknown() {
        let minimal = r#"{"id":"1","status":{"execution":"closed","result":{"finished":"none"},"details":[]}}"#;
        assert!(is_minimal(minimal.as_bytes()));
        for (old, new) in [
            ("\"id\":\"1\",", ""),
            ("\"id\"", "\"timestamp\":1,\"id\""),
            ("\"execution\"", "\"code\":200,\"execution\""),
            (",\"details\":[]", ""),
            ("{\"id\"", "[{\"id\""),
        ] {
            assert!(!is_minimal(minimal.replace(old, new).as_bytes()), "{new}");
        }
    }
}
