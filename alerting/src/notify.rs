//! Notifiers: what is asked of whom so that somebody is told, and what an answer means.
//!
//! Called by whoever sends for the outbox. A notifier is two pure functions, one that makes a [`Request`] of a notification, and one that makes
//! a [`Verdict`](crate::outbox::Verdict) of the [`Answer`]; how a request travels is not here. Invariants: what a request says is within the
//! receiver's limits; text of labels and annotations is escaped for where it stands; no secret is in an error.

pub mod guard;

use std::time::Duration;

/// Bytes of an answer that are read; they say why something was refused.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A request that tells somebody.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// `POST`, mostly.
    pub method: &'static str,
    /// Where to. It may have a secret in it.
    pub url: String,
    /// Headers, beside those that travelling needs. They may have secrets in them.
    pub headers: Vec<(String, String)>,
    /// What is said.
    pub body: Vec<u8>,
    /// How long it may take.
    pub timeout: Duration,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status of HTTP.
    pub status: u16,
    /// After what time to ask again, milliseconds, if it says so.
    pub retry_after_ms: Option<i64>,
    /// The first bytes of the body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text, its first characters.
    #[must_use]
    pub fn text(&self) -> String {
        const CHARACTERS_MAX: usize = 500;
        String::from_utf8_lossy(&self.body).trim().chars().take(CHARACTERS_MAX).collect()
    }

    /// Did it work?
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("method", &self.method).field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}
