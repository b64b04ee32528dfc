//! Values of the file: secrets, URLs, addresses, durations and rates.
//!
//! Used by the sections. Invariant: a secret is never printed, and of a URL no password.
//! Not here: files, except that [`Secret::read`] reads the one that holds a secret.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Error, ErrorKind, Result};

/// What is shown of a secret.
pub const HIDDEN: &str = "<secret>";
/// Longest file of a secret that is read. Tokens have hundreds of bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// A secret: its text, or the file in which it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// As it was written in the configuration.
    Text(String),
    /// To be read each time it is used, so that it can be changed without a reload.
    File(PathBuf),
}

/// A URL of a web service: `http` or `https`, with a host.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(String);

/// `host:port`.
#[derive(Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Name or address, without the brackets of IPv6.
    pub host: String,
    /// Number or name.
    pub port: String,
}

/// A duration as Prometheus writes them: `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A duration as Go writes them: `1.5s`, `1h30m`, `250ms`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timeout(pub Duration);

/// At most so many messages in so much time, written `30 per 1m`. Ours, not Alertmanager's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Messages.
    pub count: u32,
    /// In this time.
    pub per: Span,
}

impl Secret {
    /// The secret itself. Reads the file if it is in one; spaces and line breaks around it do not count.
    ///
    /// # Errors
    /// `Unavailable` if the file cannot be read, is too long or is empty.
    pub fn read(&self) -> Result<String> {
        let path = match self {
            Self::Text(text) => return Ok(text.clone()),
            Self::File(path) => path,
        };
        let bad = |reason: &str| {
            let message = format!("secret file cannot be used: {reason} path={}", path.display());
            Error::new(ErrorKind::Unavailable, message)
        };
        let bytes = fs::metadata(path).map_err(|error| bad("it cannot be read").caused_by(error))?.len();
        if bytes > SECRET_BYTES_MAX {
            return Err(bad("it is too long for a secret"));
        }
        let text = fs::read_to_string(path).map_err(|error| bad("it cannot be read").caused_by(error))?;
        if text.trim().is_empty() {
            return Err(bad("it is empty"));
        }
        Ok(text.trim().to_owned())
    }

    /// Makes one of a secret and the file that may hold it instead. An empty text is none.
    pub(super) fn settle(
        secret: &mut Option<Self>,
        file: &mut Option<PathBuf>,
        base: &Path,
        key: &str,
    ) -> Result<(), String> {
        secret.take_if(|secret| *secret == Self::Text(String::new()));
        file.take_if(|file| file.as_os_str().is_empty());
        let Some(file) = file else { return Ok(()) };
        if secret.is_some() {
            return Err(format!("at most one of `{key}` and `{key}_file` can be given"));
        }
        *file = base.join(&*file);
        *secret = Some(Self::File(file.clone()));
        Ok(())
    }

    /// Refuses a secret that should be a URL and is none. One in a file is seen when it is used, one with a template when it is expanded.
    pub(super) fn check_url(secret: Option<&Self>, key: &str) -> Result<(), String> {
        match secret {
            Some(Self::Text(text)) if text != HIDDEN && !text.contains("{{") => {
                Url::parse(text).map(drop).map_err(|reason| format!("`{key}`: {reason}"))
            }
            _ => Ok(()),
        }
    }
}

impl Url {
    /// Reads a URL.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let bad = "not a URL of the form `https://host/path`".to_owned();
        let Some((scheme, rest)) = text.split_once("://") else { return Err(bad) };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        let odd = text.chars().any(|c| c.is_control() || c == ' ');
        let host_only = host.split_once(':').map_or(host, |(name, _)| name);
        if !known || host_only.is_empty() || odd { Err(bad) } else { Ok(Self(text.to_owned())) }
    }

    /// A URL that is known to be one.
    pub(super) fn constant(text: &'static str) -> Option<Self> {
        Some(Self(text.to_owned()))
    }

    /// The URL as it was written, with a password if it has one.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same with a slash at its end.
    pub(super) fn into_folder(mut self) -> Self {
        if !self.0.ends_with('/') {
            self.0.push('/');
        }
        self
    }
}

/// A URL without the password in it.
pub(super) fn without_password(url: &str) -> String {
    let masked = || {
        let (scheme, rest) = url.split_once("://")?;
        let authority_bytes = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (user, host) = rest[..authority_bytes].rsplit_once('@')?;
        let (name, _) = user.split_once(':')?;
        Some(format!("{scheme}://{name}:xxxxx@{host}{}", &rest[authority_bytes..]))
    };
    masked().unwrap_or_else(|| url.to_owned())
}

impl HostPort {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no address: write `host:port`");
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if port.is_empty() || (bare.is_none() && host.contains([':', '[', ']'])) {
            return Err(bad());
        }
        Ok(Self { host: bare.unwrap_or(host).to_owned(), port: port.to_owned() })
    }
}

impl Span {
    /// So many seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let ms = promql::parse_duration(text).ok().and_then(|ms| u64::try_from(ms).ok());
        ms.map(|ms| Self(Duration::from_millis(ms))).ok_or_else(|| {
            format!("`{text}` is no duration: write numbers with units, larger ones first, like `5m` or `1h30m`")
        })
    }
}

impl Timeout {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

    fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no duration: write numbers with units, like `10s` or `1m30s`");
        let (mut rest, mut seconds) = (text, 0.0);
        if text == "0" {
            return Ok(Self::default());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
            let (number, tail) = rest.split_at(digits);
            let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let (_, factor) = Self::UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
            seconds += number.parse::<f64>().map_err(|_| bad())? * factor;
            rest = tail;
        }
        Duration::try_from_secs_f64(seconds).ok().filter(|_| !text.is_empty()).map(Self).ok_or_else(bad)
    }
}

impl Rate {
    fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no rate: write `30 per 1m`");
        let (count, per) = text.split_once(" per ").ok_or_else(bad)?;
        let count = count.trim().parse().ok().filter(|count| *count > 0).ok_or_else(bad)?;
        let per = Span::parse(per.trim())?;
        if per.0.is_zero() { Err(bad()) } else { Ok(Self { count, per }) }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.0))
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Years, weeks and days only where nothing is left: 36 h are not a day and a half.
        const UNITS: [(&str, u128, bool); 7] = [
            ("y", 31_536_000_000, true),
            ("w", 604_800_000, true),
            ("d", 86_400_000, true),
            ("h", 3_600_000, false),
            ("m", 60_000, false),
            ("s", 1_000, false),
            ("ms", 1, false),
        ];
        let mut left = self.0.as_millis();
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, ms, whole) in UNITS {
            if left >= ms && (!whole || left.is_multiple_of(ms)) {
                write!(f, "{}{unit}", left / ms)?;
                left %= ms;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0.as_secs_f64())
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per {}", self.count, self.per)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::Text)
    }
}

impl Serialize for Secret {
    /// One that is in a file is shown by the key that names the file.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(_) => serializer.serialize_str(HIDDEN),
            Self::File(_) => serializer.serialize_none(),
        }
    }
}

macro_rules! written {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

written!(Url, HostPort, Span, Timeout, Rate);
