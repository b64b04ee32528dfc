//! Decides whether a group that was flushed owes its receiver a notification.
//!
//! Called by the dispatcher with what the receiver was told last. Spec: Alertmanager's `DedupStage`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What a receiver knows of a group: the alerts of which it was told last, by fingerprint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// When it was told, milliseconds.
    pub at_ms: i64,
    /// Since when it knows of something that fires, without a pause, milliseconds.
    pub began_ms: i64,
    /// Alerts that were firing then.
    pub firing: BTreeSet<u64>,
    /// Alerts that had ended then.
    pub resolved: BTreeSet<u64>,
    /// Has it been told since that all that fires is silenced?
    #[serde(default)]
    pub is_silenced: bool,
}

impl Told {
    /// Since when something fires for a receiver that is told now and was told before.
    #[must_use]
    pub fn began_ms(before: Option<&Self>, now_ms: i64) -> i64 {
        before.filter(|before| !before.firing.is_empty()).map_or(now_ms, |before| before.began_ms)
    }
}

/// Why a receiver is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// It knows of nothing that fires.
    First,
    /// An alert fires that it does not know.
    NewAlerts,
    /// Some ended.
    SomeResolved,
    /// All ended.
    AllResolved,
    /// It was told long ago.
    Repeat,
    /// Somebody took the incident at another receiver.
    Acknowledged,
    /// Nobody has it any more.
    Unacknowledged,
    /// Somebody ended it there.
    Closed,
    /// All that it knows as firing is silenced here.
    Silenced,
    /// Not all is silenced any more.
    Unsilenced,
    /// The time of a question has come: it is told the answer, and nothing of alerts.
    Scheduled,
}

impl Reason {
    /// As users read it, and templates.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::First => "first notification",
            Self::NewAlerts => "new alerts added",
            Self::SomeResolved => "some alerts resolved",
            Self::AllResolved => "all alerts resolved",
            Self::Repeat => "repeat interval elapsed",
            Self::Acknowledged => "incident acknowledged",
            Self::Unacknowledged => "incident unacknowledged",
            Self::Closed => "incident closed",
            Self::Silenced => "all alerts silenced",
            Self::Unsilenced => "silence ended",
            Self::Scheduled => "scheduled query",
        }
    }

    /// As it was written; what is not known is the first.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let of_alerts = [Self::NewAlerts, Self::SomeResolved, Self::AllResolved, Self::Repeat, Self::Unsilenced];
        let mut all = of_alerts.into_iter().chain(Self::REMARKS).chain([Self::Scheduled]);
        all.find(|reason| reason.text() == text).unwrap_or(Self::First)
    }

    /// Words about the group, of which the receiver learns nothing about its alerts.
    pub const REMARKS: [Self; 4] = [Self::Acknowledged, Self::Unacknowledged, Self::Closed, Self::Silenced];

    /// Is it one of them?
    #[must_use]
    pub fn is_remark(self) -> bool {
        Self::REMARKS.contains(&self)
    }

    /// Does the receiver learn of alerts?
    #[must_use]
    pub fn is_of_alerts(self) -> bool {
        !self.is_remark() && self != Self::Scheduled
    }
}

/// What is asked: alerts of the group now, and how its receiver wants it.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Alerts that fire.
    pub firing: &'a BTreeSet<u64>,
    /// Alerts that ended.
    pub resolved: &'a BTreeSet<u64>,
    /// Is it told of ends?
    pub sends_resolved: bool,
    /// After what time it is told the same again, milliseconds; never if there is none.
    pub repeat_ms: Option<i64>,
    /// Now, milliseconds.
    pub now_ms: i64,
}

/// Why the receiver is to be told, if it is.
#[must_use]
pub fn due(told: Option<&Told>, question: Question<'_>) -> Option<Reason> {
    let Question { firing, resolved, sends_resolved, repeat_ms, now_ms } = question;
    let Some(told) = told else { return (!firing.is_empty()).then_some(Reason::First) };
    if !firing.is_subset(&told.firing) {
        return Some(if told.firing.is_empty() { Reason::First } else { Reason::NewAlerts });
    }
    if firing.is_empty() {
        // Also to who is not told of ends, so that what fires next is the first again.
        return (!told.firing.is_empty()).then_some(Reason::AllResolved);
    }
    if sends_resolved && !resolved.is_subset(&told.resolved) {
        return Some(Reason::SomeResolved);
    }
    repeat_ms.is_some_and(|repeat_ms| told.at_ms < now_ms - repeat_ms).then_some(Reason::Repeat)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 10_000;

    fn set(of: &[u64]) -> BTreeSet<u64> {
        of.iter().copied().collect()
    }

    #[test]
    fn a_receiver_is_told_what_it_does_not_know() {
        let told = |at_ms, firing: &[u64], resolved: &[u64]| {
            Some(Told { at_ms, began_ms: at_ms, firing: set(firing), resolved: set(resolved), is_silenced: false })
        };
        for (what, told, firing, resolved, sends_resolved, expected) in [
            ("nothing was ever told, and nothing fires", None, &[][..], &[1][..], true, None),
            ("the first", None, &[1], &[], true, Some(Reason::First)),
            ("another one fires", told(NOW_MS, &[1], &[]), &[1, 2], &[], true, Some(Reason::NewAlerts)),
            ("fires again after all ended", told(NOW_MS, &[], &[1]), &[1], &[], true, Some(Reason::First)),
            ("the same fires", told(NOW_MS, &[1, 2], &[]), &[1, 2], &[], true, None),
            ("the same fires for long", told(NOW_MS - 101, &[1, 2], &[]), &[1], &[], true, Some(Reason::Repeat)),
            ("not for long enough", told(NOW_MS - 100, &[1], &[]), &[1], &[], true, None),
            ("one ended", told(NOW_MS, &[1, 2], &[]), &[1], &[2], true, Some(Reason::SomeResolved)),
            ("one ended, who asks not", told(NOW_MS, &[1, 2], &[]), &[1], &[2], false, None),
            ("an end is known", told(NOW_MS, &[1], &[2]), &[1], &[2], true, None),
            ("all ended", told(NOW_MS, &[1], &[]), &[], &[1], true, Some(Reason::AllResolved)),
            ("all ended, who asks not", told(NOW_MS, &[1], &[]), &[], &[1], false, Some(Reason::AllResolved)),
            ("all ended before", told(NOW_MS - 500, &[], &[1]), &[], &[1], true, None),
            ("all ended, and one was never told", told(NOW_MS, &[], &[1]), &[], &[1, 2], true, None),
        ] {
            let (firing, resolved) = (set(firing), set(resolved));
            let question =
                Question { firing: &firing, resolved: &resolved, sends_resolved, repeat_ms: Some(100), now_ms: NOW_MS };
            assert_eq!(due(told.as_ref(), question), expected, "{what}");
            let once = Question { repeat_ms: None, ..question };
            assert_eq!(due(told.as_ref(), once), expected.filter(|reason| *reason != Reason::Repeat), "{what}, once");
        }
    }
}
