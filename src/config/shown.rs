//! The settings in force as YAML: what the defaults, the user's file and the command line say together.
//!
//! Called by `config` for the endpoint that shows them. Values stay as they were written (`60%`, `2m`), so that what is shown can be
//! copied into a file.
//!
//! Invariant: no secret is in here, and no hash of one.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use super::{Listening, Overrides, outbound};

/// Stands for what is not shown, as Prometheus has it.
const SECRET: &str = "<secret>";

/// Settings as they were written.
#[derive(Debug, Clone, Default)]
pub struct Shown(Map<String, Value>);

impl Shown {
    /// The user's settings over the defaults; both were read before, so nothing is wrong with them.
    pub(super) fn of(defaults: &str, written: &str) -> Self {
        let mut shown = object(defaults);
        for (key, value) in object(written) {
            match (shown.get_mut(&key), value) {
                // Sections are laid over one another key by key; a map of datasets is one value.
                (Some(Value::Object(below)), Value::Object(top)) if key != "roots" => {
                    below.extend(top.into_iter().filter(|(_, value)| !value.is_null()));
                }
                (_, Value::Null) => {}
                (_, value) => drop(shown.insert(key, value)),
            }
        }
        shown.get_mut("alerting").into_iter().for_each(outbound::hide);
        hide(shown.get_mut("auth").and_then(|auth| auth.get_mut("tokens")));
        Self(shown)
    }

    /// What the command line says.
    pub(super) fn override_with(&mut self, overrides: &Overrides) {
        let path = |path: &Path| Value::from(path.display().to_string());
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                self.0.insert(key.to_owned(), value);
            }
        };
        set("data_dir", overrides.data_dir.as_deref().map(path));
        set("listen", overrides.listen.map(|address| address.to_string().into()));
        set("insecure", overrides.insecure.then_some(true.into()));
        for (section, listening) in [("pg", overrides.pg_listen), ("flight", overrides.flight_listen)] {
            if let (Some(Listening(listen)), Some(Value::Object(section))) = (listening, self.0.get_mut(section)) {
                let address = listen.map_or_else(|| "off".to_owned(), |address| address.to_string());
                section.insert("listen".to_owned(), address.into());
            }
        }
        let format = overrides.log_format.map(|format| format.name().into());
        let log = [("format", format), ("level", overrides.log_level.clone().map(Value::from))];
        if let Some(Value::Object(section)) = self.0.get_mut("log") {
            section.extend(log.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
        }
    }

    /// As YAML.
    ///
    /// # Errors
    /// None in practice: everything was YAML before.
    pub fn yaml(&self) -> Result<String> {
        serde_saphyr::to_string(&self.0).context("settings cannot be written as YAML")
    }
}

fn object(yaml: &str) -> Map<String, Value> {
    serde_saphyr::from_str::<Option<Map<String, Value>>>(yaml).ok().flatten().unwrap_or_default()
}

fn hide(tokens: Option<&mut Value>) {
    let tokens = tokens.and_then(Value::as_array_mut).into_iter().flatten();
    for token in tokens.filter_map(Value::as_object_mut) {
        for key in ["sha256", "token", "scram"] {
            token.entry(key).and_modify(|value| *value = SECRET.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULTS;

    #[test]
    fn the_file_stands_over_the_defaults_and_secrets_are_hidden() {
        let hash = "ab".repeat(32);
        let written = format!(
            "sql: {{timeout: 1m}}\ntls:\nroots: {{series: 's3://b/p'}}\nauth:\n  tokens:\n  - {{name: a, scopes: [read], sha256: {hash}}}\n  \
             - {{name: b, scopes: [write], token: '${{T}}'}}\n"
        );
        let mut shown = Shown::of(DEFAULTS, &written);
        let overrides = Overrides { log_level: Some("debug".into()), insecure: true, ..Overrides::default() };
        shown.override_with(&overrides);
        let yaml = shown.yaml().unwrap();
        let read: Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(read["sql"]["timeout"], "1m", "{yaml}");
        assert_eq!((&read["sql"]["rows_max"], &read["memory"]), (&1_000_000.into(), &"60%".into()));
        assert_eq!((&read["log"]["level"], &read["insecure"]), (&"debug".into(), &true.into()));
        assert_eq!(read["auth"]["tokens"][0]["sha256"], "<secret>");
        assert_eq!(read["auth"]["tokens"][1]["token"], "<secret>");
        assert!(!yaml.contains(&hash) && yaml.contains("name: a"), "{yaml}");
        assert_eq!(Shown::of(DEFAULTS, "# nothing\n").0, object(DEFAULTS));
    }
}
