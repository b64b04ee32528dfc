//! Decides who may do what: tokens with scopes and an expiry, checked on every request but the two health probes and those that
//! are signed.
//!
//! Called by `http` before anything is routed, so an endpoint nobody thought of needs the read scope. Tokens come from the
//! settings and from a file that is read again when it changes.
//! Invariants: only SHA-256 hashes of tokens are kept (tokens are 256 random bits, so a slow hash would add nothing); a
//! presented token is compared with every hash, in constant time; no token and no hash is ever printed; once a token is
//! configured the server stays closed, whatever happens to the file later.
//! Not here: passwords and users, of which there are none; cookies (`http::page`), of which this knows the sessions only.

pub mod session;
mod tokens;

use std::{fmt, path::PathBuf, sync::Arc};

use axum::http::{HeaderMap, Method, header::AUTHORIZATION};
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use clap::ValueEnum;
use parking_lot::{Mutex, RwLock};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use storage::Clock;
use subtle::{ConditionallySelectable, ConstantTimeEq};

use session::Sessions;
pub(crate) use tokens::tokens;
pub use tokens::{Token, holds_token, joined, new_token, parse_file};

/// Base64 with or without what fills it up: drivers of Flight SQL leave that off.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Longest `Authorization` header that is looked at; ours are below 200 bytes.
const HEADER_BYTES_MAX: usize = 4096;

/// Where rules are written, each with what is below it: as data sources of kind Mimir ask, as mimirtool does, and as those of kind Cortex and
/// Thanos do. `http::ruler` routes these.
pub(crate) const RULER: [&str; 3] = ["/config/v1/rules", "/prometheus/config/v1/rules", "/rules"];

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Sending data.
    Write,
    /// Queries, metrics and status.
    Read,
    /// Endpoints that change how the server runs.
    Admin,
}

/// Settings of authentication.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// File with further tokens, read again when it changes.
    pub tokens_file: Option<PathBuf>,
    /// Tokens of the settings file.
    pub tokens: Vec<Token>,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// It has no token, or one that is not known.
    Unknown,
    /// Its token has expired.
    Expired,
    /// Its token lacks this scope.
    Scope(Scope),
}

/// The tokens in force. Cheap to clone; clones share them.
#[derive(Clone)]
pub struct Auth {
    tokens: Arc<RwLock<Arc<[Token]>>>,
    /// Are requests without a token welcome? Only if none was ever configured.
    open: bool,
    sessions: Arc<Mutex<Sessions>>,
    clock: Clock,
}

impl Scope {
    /// The scope that a request needs; none for the probes, which tell nothing, and what is signed. Who deletes something is an
    /// administrator.
    #[must_use]
    pub fn of(method: &Method, path: &str) -> Option<Self> {
        match path {
            // Of the webhook a signature stands in place of a token.
            "/-/healthy" | "/-/ready" | "/api/v1/pagerduty/webhook" => None,
            // Where a token is shown, and how that looks; who ends a session shows that it is theirs.
            "/login" | "/logout" | "/page.css" | "/page.js" => None,
            // Those of rules write: alerts of a run, and what is evaluated from now on.
            "/-/reload" | "/api/v1/rules/replay" => Some(Self::Admin),
            path if method == Method::POST && is_below(path, &RULER) => Some(Self::Admin),
            path if path.starts_with("/api/v1/admin") || method == Method::DELETE => Some(Self::Admin),
            "/api/v1/write" => Some(Self::Write),
            // Whoever sends alerts must not silence those of others.
            "/api/v2/alerts" if method == Method::POST => Some(Self::Write),
            "/api/v2/silences" if method == Method::POST => Some(Self::Admin),
            path if path.starts_with("/api/v1/billing/") && method == Method::POST => Some(Self::Write),
            path if path.starts_with("/api/v1/reference/") && method == Method::PUT => Some(Self::Write),
            _ => Some(Self::Read),
        }
    }

    /// Its name in settings and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

fn is_below(path: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/')))
}

impl Config {
    /// Is any way to authenticate configured?
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.tokens_file.is_some() || !self.tokens.is_empty()
    }
}

impl Auth {
    /// Starts with these tokens; `open` lets everybody in.
    #[must_use]
    pub fn new(tokens: Vec<Token>, open: bool, clock: Clock) -> Self {
        Self { tokens: Arc::new(RwLock::new(tokens.into())), open, sessions: Arc::default(), clock }
    }

    /// Replaces the tokens; requests that are running keep what they were allowed, sessions of tokens that are gone end.
    pub fn set(&self, tokens: Vec<Token>) {
        self.sessions.lock().keep(|hash| tokens.iter().any(|token| token.hash == *hash));
        *self.tokens.write() = tokens.into();
    }

    /// The tokens in force.
    #[must_use]
    pub fn tokens(&self) -> Arc<[Token]> {
        Arc::clone(&self.tokens.read())
    }

    /// Is everybody let in?
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The token of a name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Token> {
        self.tokens().iter().find(|token| *token.name == *name).cloned()
    }

    /// Is this the token of that name?
    #[must_use]
    pub fn is_token(&self, name: &str, secret: &[u8]) -> bool {
        find(&self.tokens(), &Sha256::digest(secret).into()).is_some_and(|token| *token.name == *name)
    }

    /// May the token of a name, which was shown before, do what needs `scope`?
    ///
    /// # Errors
    /// Why not.
    pub fn may(&self, name: &str, scope: Scope) -> Result<(), Denied> {
        if self.open {
            return Ok(());
        }
        self.allows(&self.named(name).ok_or(Denied::Unknown)?, scope)
    }

    fn allows(&self, token: &Token, scope: Scope) -> Result<(), Denied> {
        if token.expires_us.is_some_and(|expires_us| self.clock.now_us() >= expires_us) {
            return Err(Denied::Expired);
        }
        if token.scopes.contains(&scope) { Ok(()) } else { Err(Denied::Scope(scope)) }
    }

    /// The token that a request shows, good or not.
    #[must_use]
    pub fn secret(headers: &HeaderMap) -> Option<String> {
        presented(headers).and_then(|(_, secret)| String::from_utf8(secret).ok())
    }

    /// May a request with these headers do what needs `scope`? Gives the token's name.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, headers: &HeaderMap, scope: Option<Scope>) -> Result<Option<Arc<str>>, Denied> {
        let Some(scope) = scope.filter(|_| !self.open) else { return Ok(None) };
        let (name, secret) = presented(headers).ok_or(Denied::Unknown)?;
        let tokens = self.tokens();
        let token = find(&tokens, &Sha256::digest(&secret).into()).ok_or(Denied::Unknown)?;
        if name.is_some_and(|name| name != *token.name) {
            return Err(Denied::Unknown);
        }
        self.allows(token, scope).map(|()| Some(Arc::clone(&token.name)))
    }
}

/// Looks at every token, whichever matches, so that time tells nothing.
fn find<'a>(tokens: &'a [Token], hash: &[u8; 32]) -> Option<&'a Token> {
    found(tokens, |token| &token.hash, hash)
}

/// The one with this hash; looks at every one.
fn found<'a, T>(all: &'a [T], hash_of: impl Fn(&T) -> &[u8; 32], hash: &[u8; 32]) -> Option<&'a T> {
    let mut found = u64::MAX;
    for (index, one) in (0_u64..).zip(all) {
        found.conditional_assign(&index, hash_of(one).ct_eq(hash));
    }
    usize::try_from(found).ok().and_then(|index| all.get(index))
}

/// The token of a request: `Bearer <token>`, or `Basic <token name>:<token>` with the name.
fn presented(headers: &HeaderMap) -> Option<(Option<String>, Vec<u8>)> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?;
    if values.next().is_some() || value.len() > HEADER_BYTES_MAX {
        return None;
    }
    let (scheme, credentials) = value.to_str().ok()?.split_once(' ')?;
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some((None, credentials.as_bytes().to_vec()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = BASE64.decode(credentials).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    let name = String::from_utf8(pair[..colon].to_vec()).ok()?;
    Some((Some(name), pair[colon + 1..].to_vec()))
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str(
                "no valid token: send `Authorization: Bearer <token>`, or basic authentication with the token's name as \
                 user and the token as password",
            ),
            Self::Expired => f.write_str("the token has expired: ask for a new one (`streamgauge token` makes it)"),
            Self::Scope(scope) => write!(f, "the token lacks the scope `{}`", scope.name()),
        }
    }
}

#[cfg(test)]
mod tests;
