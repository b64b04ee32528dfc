//! Is evaluation healthy? And the sign of life that says so.
//!
//! Asked by whoever sends the heartbeat, each time before it does. Invariant: what is not healthy is told by silence, so nothing here tries
//! to mend anything.

use std::time::Duration;

use crate::{
    Error, Result,
    config::{
        http::HttpConfig,
        values::{Secret, Url},
    },
    notify::{Request, http},
};

/// How late an evaluation may be beyond two intervals, milliseconds: a slow disk, a pause of the machine.
const GRACE_MS: i64 = 30_000;
/// How often notifications are looked at even if nothing happens, milliseconds.
pub const STEP_MS: i64 = 60_000;
/// How long a heartbeat may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How a group of rules does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulse {
    /// Its name.
    pub group: String,
    /// Between evaluations, milliseconds.
    pub interval_ms: i64,
    /// When it was evaluated last or, before that, began to be, milliseconds.
    pub last_ms: i64,
    /// Did the last evaluation break off?
    pub broke_off: bool,
    /// Did all of its rules fail?
    pub has_failed: bool,
}

/// Why evaluation is not healthy: a group is late, broke off or has no rule that could be evaluated, or nobody looks at notifications.
/// `told_ms` is when somebody did last.
#[must_use]
pub fn ill(groups: &[Pulse], told_ms: i64, now_ms: i64) -> Option<String> {
    let of_group = |pulse: &Pulse| {
        let Pulse { group, interval_ms, last_ms, broke_off, has_failed } = pulse;
        let late_ms = now_ms - last_ms;
        if *broke_off {
            Some(format!("an evaluation broke off group={group}"))
        } else if *has_failed {
            Some(format!("no rule of a group could be evaluated group={group}"))
        } else if late_ms > interval_ms.saturating_mul(2).saturating_add(GRACE_MS) {
            Some(format!("a group is not evaluated group={group} seconds={}", late_ms / 1000))
        } else {
            None
        }
    };
    let is_stuck = now_ms - told_ms > 2 * STEP_MS + GRACE_MS;
    let of_telling = || is_stuck.then(|| format!("notifications do not go on seconds={}", (now_ms - told_ms) / 1000));
    groups.iter().find_map(of_group).or_else(of_telling)
}

/// The request of a heartbeat.
///
/// # Errors
/// `Unavailable` if a secret cannot be read, `Invalid` if the address is none; never with the address, which may be a secret.
pub fn request(url: &Secret, http: &HttpConfig) -> Result<Request> {
    let url = url.read()?;
    Url::parse(&url).map_err(|reason| Error::invalid(format!("the address of the heartbeat is wrong: {reason}")))?;
    let headers = http::headers_of(Some(http))?;
    Ok(Request { method: "GET", url, headers, body: Vec::new(), timeout: TIMEOUT })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_000_000_000;

    fn pulse(late_ms: i64) -> Pulse {
        Pulse { group: "g".into(), interval_ms: 60_000, last_ms: NOW_MS - late_ms, broke_off: false, has_failed: false }
    }

    #[test]
    fn evaluation_is_healthy_while_every_group_is_in_time() {
        assert_eq!(ill(&[], NOW_MS, NOW_MS), None);
        assert_eq!(ill(&[pulse(0), pulse(150_000)], NOW_MS - 150_000, NOW_MS), None);
        let late = ill(&[pulse(0), pulse(150_001)], NOW_MS, NOW_MS).unwrap();
        assert_eq!(late, "a group is not evaluated group=g seconds=150");
    }

    #[test]
    fn a_group_that_broke_off_or_cannot_be_evaluated_is_not() {
        let broke_off = Pulse { broke_off: true, ..pulse(0) };
        assert!(ill(&[pulse(0), broke_off], NOW_MS, NOW_MS).unwrap().starts_with("an evaluation broke off"));
        let failed = Pulse { has_failed: true, ..pulse(0) };
        assert!(ill(&[failed], NOW_MS, NOW_MS).unwrap().starts_with("no rule of a group"));
    }

    #[test]
    fn notifications_that_stand_still_are_not() {
        assert!(ill(&[pulse(0)], NOW_MS - 150_001, NOW_MS).unwrap().starts_with("notifications do not go on"));
    }

    #[test]
    fn a_heartbeat_says_who_we_are_and_no_error_says_where() {
        let authorization = crate::config::http::Authorization {
            kind: "GenieKey".into(),
            credentials: Some(Secret::Text("k".into())),
            ..Default::default()
        };
        let http = HttpConfig { authorization: Some(authorization), ..HttpConfig::default() };
        let request = request(&Secret::Text("https://beat.example/token".into()), &http).unwrap();
        assert_eq!((request.method, request.url.as_str()), ("GET", "https://beat.example/token"));
        assert_eq!(request.headers, [("Authorization".to_owned(), "GenieKey k".to_owned())]);
        let wrong = super::request(&Secret::Text("beat.example/token".into()), &http).unwrap_err().to_string();
        assert!(wrong.contains("address") && !wrong.contains("token"), "{wrong}");
    }
}
