//! Settings of a connection: those that clients set and read, with the values they may have.
//!
//! Invariant: nothing set here changes what a query may do; only `statement_timeout` has an effect on it, and only shortens.

use std::{collections::BTreeMap, time::Duration};

use crate::failure::Failure;

/// The version whose answers clients get; the number is all that they look at.
pub(crate) const VERSION: &str = "15.0";

/// Names in the case in which they are reported, and values at the begin.
const KNOWN: [(&str, &str); 44] = [
    ("application_name", ""),
    ("array_nulls", "on"),
    ("backslash_quote", "safe_encoding"),
    ("bytea_output", "hex"),
    ("check_function_bodies", "on"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("datestyle", "ISO, MDY"),
    ("default_transaction_deferrable", "off"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "on"),
    ("extra_float_digits", "1"),
    ("geqo", "on"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("integer_datetimes", "on"),
    ("in_hot_standby", "off"),
    ("intervalstyle", "postgres"),
    ("is_superuser", "off"),
    ("jit", "off"),
    ("lc_collate", "C.UTF-8"),
    ("lc_ctype", "C.UTF-8"),
    ("lc_messages", "C.UTF-8"),
    ("lc_monetary", "C.UTF-8"),
    ("lc_numeric", "C.UTF-8"),
    ("lc_time", "C.UTF-8"),
    ("lock_timeout", "0"),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("quote_all_identifiers", "off"),
    ("role", "none"),
    ("row_security", "on"),
    ("search_path", "public"),
    ("server_encoding", "UTF8"),
    ("server_version", VERSION),
    ("server_version_num", "150000"),
    ("session_authorization", ""),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("synchronize_seqscans", "on"),
    ("timezone", "UTC"),
    ("transaction_isolation", "read committed"),
    ("transaction_read_only", "on"),
    ("work_mem", "4MB"),
];
/// Told to the client at the begin, and when they change.
const REPORTED: [(&str, &str); 14] = [
    ("application_name", "application_name"),
    ("client_encoding", "client_encoding"),
    ("datestyle", "DateStyle"),
    ("default_transaction_read_only", "default_transaction_read_only"),
    ("in_hot_standby", "in_hot_standby"),
    ("integer_datetimes", "integer_datetimes"),
    ("intervalstyle", "IntervalStyle"),
    ("is_superuser", "is_superuser"),
    ("search_path", "search_path"),
    ("server_encoding", "server_encoding"),
    ("server_version", "server_version"),
    ("session_authorization", "session_authorization"),
    ("standard_conforming_strings", "standard_conforming_strings"),
    ("timezone", "TimeZone"),
];
/// Those that are facts, not choices.
const FIXED: [&str; 13] = [
    "in_hot_standby",
    "integer_datetimes",
    "is_superuser",
    "lc_collate",
    "lc_ctype",
    "max_identifier_length",
    "max_index_keys",
    "server_encoding",
    "server_version",
    "server_version_num",
    "session_authorization",
    "transaction_isolation",
    "role",
];
/// Longest value that is kept.
const VALUE_BYTES_MAX: usize = 1_024;

/// Settings of one connection.
pub(crate) struct Settings {
    begin: BTreeMap<&'static str, String>,
    now: BTreeMap<&'static str, String>,
}

impl Settings {
    /// Of a user, with what the client asked for when it came; what is not known of that is left out, as it may be meant for others.
    pub fn new(user: &str, options: &BTreeMap<String, String>) -> Self {
        let mut now: BTreeMap<&'static str, String> =
            KNOWN.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        now.insert("session_authorization", user.to_owned());
        let mut settings = Self { begin: BTreeMap::new(), now };
        for (name, value) in options {
            let _ = settings.set(name, Some(value));
        }
        for (name, value) in options.get("options").map(|options| written(options)).unwrap_or_default() {
            let _ = settings.set(&name, Some(&value));
        }
        settings.begin = settings.now.clone();
        settings
    }

    pub fn get(&self, name: &str) -> Result<&str, Failure> {
        let name = name.to_ascii_lowercase();
        self.now.get(name.as_str()).map(String::as_str).ok_or_else(|| unknown(&name))
    }

    /// Sets, or takes back; gives the name and value to report, and a remark.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<Option<&'static str>, Failure> {
        let lower = name.to_ascii_lowercase();
        let (name, default) = KNOWN.iter().find(|(known, _)| *known == lower).ok_or_else(|| unknown(&lower))?;
        let wanted = value.map_or_else(|| self.begin.get(name).cloned().unwrap_or_default(), str::to_owned);
        if wanted.len() > VALUE_BYTES_MAX {
            return Err(Failure::new("22023", format!("value of \"{name}\" is longer than {VALUE_BYTES_MAX} bytes")));
        }
        if value.is_some() && FIXED.contains(name) && !wanted.eq_ignore_ascii_case(default) {
            return Err(Failure::new("55P02", format!("parameter \"{name}\" cannot be changed")));
        }
        let (kept, remark) = match *name {
            "client_encoding" if ["utf8", "utf-8", "unicode"].contains(&&*wanted.to_ascii_lowercase()) => {
                ("UTF8".to_owned(), None)
            }
            "client_encoding" => return Err(Failure::new("0A000", "texts are UTF8 only")),
            "datestyle" if wanted.to_ascii_uppercase().starts_with("ISO") || value.is_none() => {
                ("ISO, MDY".to_owned(), None)
            }
            "datestyle" => return Err(Failure::new("0A000", "dates are written as ISO only")),
            "bytea_output" if !wanted.eq_ignore_ascii_case("hex") => {
                return Err(Failure::new("0A000", "bytes are written as hexadecimal digits only"));
            }
            "standard_conforming_strings" if !is_on(&wanted) => {
                return Err(Failure::new("0A000", "a backslash in a text is a backslash"));
            }
            "default_transaction_read_only" | "transaction_read_only" if !is_on(&wanted) => {
                return Err(Failure::new("25006", "queries only read"));
            }
            "timezone" if !is_utc(&wanted) => {
                (default.to_string(), Some("times are written in UTC, with their offset, whatever the time zone"))
            }
            "timezone" => (default.to_string(), None),
            "statement_timeout" => {
                duration(&wanted).ok_or_else(|| {
                    Failure::new("22023", format!("invalid value for parameter \"{name}\": {wanted}"))
                })?;
                (wanted, None)
            }
            _ => (wanted, None),
        };
        self.now.insert(*name, kept);
        Ok(remark)
    }

    /// All as they were at the begin.
    pub fn reset(&mut self) {
        self.now = self.begin.clone();
    }

    /// What a client is told of.
    pub fn reported(&self) -> impl Iterator<Item = (&'static str, &str)> {
        REPORTED.iter().map(|(name, shown)| (*shown, self.now.get(name).map_or("", String::as_str)))
    }

    /// All of them, in order.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.now.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// How long a statement may take; none if only the engine's limit counts.
    pub fn statement_timeout(&self) -> Option<Duration> {
        self.now.get("statement_timeout").and_then(|text| duration(text)).filter(|limit| !limit.is_zero())
    }
}

/// What a client writes as `-c name=value`.
fn written(options: &str) -> Vec<(String, String)> {
    let settings = options.split_whitespace().filter(|part| *part != "-c");
    let settings = settings.map(|part| part.strip_prefix("--").or_else(|| part.strip_prefix("-c")).unwrap_or(part));
    settings.filter_map(|part| part.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn unknown(name: &str) -> Failure {
    Failure::new("42704", format!("unrecognized configuration parameter \"{name}\""))
}

fn is_on(value: &str) -> bool {
    ["on", "true", "yes", "1"].contains(&&*value.to_ascii_lowercase())
}

fn is_utc(value: &str) -> bool {
    ["utc", "gmt", "z", "etc/utc", "default", "0", "local"].contains(&&*value.to_ascii_lowercase())
}

/// Milliseconds, or a number with a unit.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u32 = text[..digits].parse().ok()?;
    let unit_ms: u64 = match text[digits..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(u64::from(number) * unit_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let options = [("options", "-c statement_timeout=5min"), ("application_name", "psql"), ("database", "x")];
        Settings::new("grafana", &options.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }

    #[test]
    fn a_setting_is_kept_taken_back_and_reset_to_what_the_client_came_with() {
        let mut settings = settings();
        assert_eq!(settings.statement_timeout(), Some(Duration::from_secs(300)));
        settings.set("Statement_Timeout", Some("1500")).unwrap();
        assert_eq!(settings.statement_timeout(), Some(Duration::from_millis(1500)));
        settings.set("statement_timeout", None).unwrap();
        assert_eq!(settings.get("STATEMENT_TIMEOUT").unwrap(), "5min");
        assert_eq!(settings.get("session_authorization").unwrap(), "grafana");
    }

    #[test]
    fn what_would_not_be_true_is_refused() {
        let mut settings = settings();
        for (name, value, code) in [
            ("server_version", "9.0", "55P02"),
            ("client_encoding", "LATIN1", "0A000"),
            ("default_transaction_read_only", "off", "25006"),
            ("statement_timeout", "soon", "22023"),
            ("no_such", "1", "42704"),
        ] {
            assert_eq!(settings.set(name, Some(value)).unwrap_err().code, code, "{name}");
        }
        assert!(settings.set("timezone", Some("Europe/Berlin")).unwrap().is_some(), "with a remark");
        assert_eq!(settings.get("timezone").unwrap(), "UTC");
    }
}
