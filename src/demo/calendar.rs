//! When things happen in the demo's company: days and nights, weekends, nightly jobs, one incident; and chance that can be repeated.
//!
//! Asked by the metrics (`fleet`) and the bills (`bills`), so that both tell of the same incident. Invariant: everything follows from the
//! seed and the times given; no clock, no random numbers.

use std::ops::Range;

use chrono::{DateTime, NaiveDate};

use crate::times::{DAY_MS, length};

/// Between two samples of a series in the history, milliseconds.
pub(super) const STEP_MS: i64 = 60_000;
/// When on its day the incident begins, and for how long it lasts.
const INCIDENT_MS: Range<i64> = 860 * 60_000..945 * 60_000;
/// So long before now it was, if the history is as long.
const INCIDENT_DAYS: i64 = 3;

/// What the demo tells of.
#[derive(Debug, Clone)]
pub(super) struct Calendar {
    /// What chance follows from.
    pub(super) seed: u64,
    /// From when on there are metrics, up to now: multiples of a step, milliseconds.
    pub(super) history_ms: Range<i64>,
    /// When the service `checkout-api` failed, milliseconds.
    pub(super) incident_ms: Range<i64>,
}

/// How things stand at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Milliseconds since the epoch.
    pub(super) at_ms: i64,
    /// How much people do: 1 in the afternoon of a working day, a fifth of that by night.
    pub(super) traffic: f64,
    /// Do the nightly jobs run? From 0 to 1.
    pub(super) jobs: f64,
    /// How bad the incident is, from 0 to 1.
    pub(super) incident: f64,
    /// How much of the history is over; more than 1 after it.
    pub(super) age: f64,
}

impl Calendar {
    /// So many days of history up to now.
    pub(super) fn new(seed: u64, now_ms: i64, days: i64) -> Self {
        let now_ms = now_ms - now_ms.rem_euclid(STEP_MS);
        let midnight = now_ms - now_ms.rem_euclid(DAY_MS);
        let day = midnight - INCIDENT_DAYS.min(days - 1) * DAY_MS;
        Self {
            seed,
            history_ms: now_ms - days * DAY_MS..now_ms,
            incident_ms: day + INCIDENT_MS.start..day + INCIDENT_MS.end,
        }
    }

    /// How things stand.
    pub(super) fn at(&self, at_ms: i64) -> Moment {
        let hour = length(&(0..at_ms.rem_euclid(DAY_MS))) / 3_600_000.0;
        // 1970 began on a Thursday.
        let is_weekend = matches!(at_ms.div_euclid(DAY_MS).rem_euclid(7), 2 | 3);
        let day = 0.6 + 0.4 * ((hour - 9.0) / 24.0 * std::f64::consts::TAU).sin();
        let Range { start, end } = self.incident_ms;
        let minutes = |range: Range<i64>| length(&range) / 60_000.0;
        let incident = if self.incident_ms.contains(&at_ms) {
            (minutes(start..at_ms) / 4.0).min(minutes(at_ms..end) / 8.0).min(1.0)
        } else {
            0.0
        };
        Moment {
            at_ms,
            traffic: if is_weekend { day * 0.7 } else { day },
            jobs: if (1.0..3.5).contains(&hour) { 1.0 } else { 0.0 },
            incident,
            age: length(&(self.history_ms.start..at_ms)) / length(&self.history_ms),
        }
    }

    /// For how long the alert of the incident fired: it took its rule some minutes to be sure.
    pub(super) fn alert_ms(&self) -> Range<i64> {
        self.incident_ms.start + 6 * STEP_MS..self.incident_ms.end
    }

    /// The day of the incident.
    pub(super) fn incident_day(&self) -> NaiveDate {
        date(self.incident_ms.start)
    }

    /// The day in which the history ends.
    pub(super) fn today(&self) -> NaiveDate {
        date(self.history_ms.end)
    }
}

/// The day of a time.
pub(super) fn date(ms: i64) -> NaiveDate {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().date_naive()
}

/// A key of chance for something that has a name.
pub(super) fn key(seed: u64, name: &str) -> u64 {
    name.bytes().fold(mixed(seed), |key, byte| mixed(key ^ u64::from(byte)))
}

/// A number from 0 to 1 that belongs to a key and a number.
pub(super) fn chance(key: u64, of: i64) -> f64 {
    let upper = mixed(key ^ mixed(of.cast_unsigned())) >> 32;
    f64::from(u32::try_from(upper).unwrap_or_default()) / f64::from(u32::MAX)
}

/// Mixes bits, as splitmix64 ends.
pub(super) fn mixed(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-28, a Saturday, 21:30:12.
    const NOW_MS: i64 = 1_795_901_412_000;

    #[test]
    fn people_do_most_in_the_afternoon_of_a_working_day() {
        let calendar = Calendar::new(1, NOW_MS, 30);
        let at = |day: i64, hour: i64| calendar.at((NOW_MS / DAY_MS + day) * DAY_MS + hour * 3_600_000);
        let friday = at(-1, 15);
        assert!(friday.traffic > 0.99 && friday.traffic <= 1.0, "{friday:?}");
        assert!(at(-1, 3).traffic < 0.25 && at(0, 15).traffic < 0.75 && at(1, 15).traffic < 0.75);
        assert_eq!((at(-1, 2).jobs, at(-1, 4).jobs), (1.0, 0.0));
    }

    #[test]
    fn the_incident_is_within_the_history_however_short_that_is() {
        for days in [2, 3, 30] {
            let calendar = Calendar::new(1, NOW_MS, days);
            assert!(calendar.history_ms.start < calendar.incident_ms.start, "{days}");
            assert!(calendar.incident_ms.end < calendar.history_ms.end, "{days}");
            let middle = calendar.incident_ms.start.midpoint(calendar.incident_ms.end);
            assert_eq!(calendar.at(middle).incident, 1.0);
            assert_eq!(calendar.at(calendar.incident_ms.end).incident, 0.0);
            assert_eq!(calendar.at(calendar.history_ms.end).age, 1.0);
        }
    }

    #[test]
    fn chance_is_spread_and_can_be_repeated() {
        let drawn: Vec<f64> = (0..1000).map(|at| chance(key(7, "web-1"), at)).collect();
        let mean = drawn.iter().sum::<f64>() / 1000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
        assert!(drawn.iter().all(|number| (0.0..=1.0).contains(number)));
        assert_eq!(chance(key(7, "web-1"), 3), drawn[3]);
        assert_ne!(chance(key(8, "web-1"), 3), drawn[3]);
    }
}
