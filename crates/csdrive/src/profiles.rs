//! `csdrive config profiles`: settings of known drives and emulators, and where they come from.

use config::PROFILES;
use serde_json::{Map, Value, json};

use crate::report::say;

pub(crate) fn print(is_json: bool) {
    if is_json {
        let document = |profile: &config::Profile| {
            let settings = profile.settings.iter();
            let settings: Map<String, Value> =
                settings.map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
            json!({ "name": profile.name, "doc": profile.doc, "settings": settings })
        };
        let profiles: Vec<Value> = PROFILES.iter().map(document).collect();
        return say!("{:#}", json!({ "format_version": 1, "profiles": profiles }));
    }
    for profile in &PROFILES {
        say!("{}: {}", profile.name, profile.doc);
        for (key, value) in profile.settings {
            say!("  {key:<28} {value}");
        }
    }
}
