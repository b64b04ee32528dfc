//! What is borrowed for a time so that somebody can be told: tokens of OAuth2, credentials of a role at AWS.
//!
//! Called by whoever carries requests, who keeps what was borrowed until it is [worn](Borrowed::is_worn). Like a notifier each is two pure
//! functions: one makes a request, one reads the answer. Not here: where it is kept.

pub mod oauth2;
pub mod sts;

/// Before its end so much is left for what is under way, milliseconds; less of what lasts for minutes alone.
const RENEWED_BEFORE_MS: i64 = 60_000;

/// Something that is good until a time.
#[derive(Clone, PartialEq, Eq)]
pub struct Borrowed<T> {
    /// What it is.
    pub what: T,
    since_ms: i64,
    until_ms: i64,
}

impl<T> Borrowed<T> {
    fn new(what: T, since_ms: i64, until_ms: i64) -> Self {
        Self { what, since_ms, until_ms }
    }

    /// Is it time for another one?
    #[must_use]
    pub fn is_worn(&self, now_ms: i64) -> bool {
        let left_ms = RENEWED_BEFORE_MS.min((self.until_ms - self.since_ms) / 5);
        now_ms >= self.until_ms - left_ms
    }
}

impl<T> std::fmt::Debug for Borrowed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Borrowed").field("until_ms", &self.until_ms).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_borrowed_is_renewed_before_its_end() {
        let hour = Borrowed::new("secret", 0, 3_600_000);
        assert!(!hour.is_worn(3_539_999) && hour.is_worn(3_540_000));
        let short = Borrowed::new("secret", 1_000, 11_000);
        assert!(!short.is_worn(8_999) && short.is_worn(9_000));
        assert!(!format!("{hour:?}").contains("secret"));
    }
}
