//! The times at which a request is judged: computed once per request from the clock.

use super::{
    admit::Limits,
    reject::{Reason, Reject},
    series_index::DAY_MS,
};

/// Milliseconds before midnight in which the series of the next day are registered.
const LEAD_MS: i64 = 3_600_000;

/// Largest step back of the clock that is taken for one that goes wrong. Beyond, it was wrong before: were it not believed,
/// all that is sent would look too old.
const STEP_BACK_MS_MAX: i64 = 2 * 3_600_000;
/// So long after a step back the clock is believed again. A clock that is wrong for longer than a day does not jump, it is
/// wrong, and somebody has to see it.
const DOUBT_MS: i64 = DAY_MS;

/// The present by a clock that may be set back.
///
/// Senders' clocks do not jump with ours. If ours is set back, their samples are suddenly ahead of it and would be refused
/// for good. Whether it is wrong since or was wrong before cannot be told, so for a day the present is taken to be so much
/// later; what that costs is that samples that are truly ahead, by no more than the step, are taken. A clock that is set
/// forward needs nothing: all that is sent is old to it, and not too old.
#[derive(Debug)]
pub(crate) struct Steady {
    last_ms: i64,
    ahead_ms: i64,
    until_ms: i64,
}

impl Steady {
    pub(crate) fn new() -> Self {
        Self { last_ms: i64::MIN, ahead_ms: 0, until_ms: i64::MIN }
    }

    /// The present when the clock says `clock_ms`: that, or a time after it.
    pub(crate) fn at(&mut self, clock_ms: i64) -> i64 {
        let back_ms = self.last_ms.saturating_sub(clock_ms);
        self.last_ms = clock_ms;
        if back_ms > STEP_BACK_MS_MAX || clock_ms >= self.until_ms {
            self.ahead_ms = 0;
        }
        // The largest step, not the sum: of a clock that goes to and fro the sum would grow.
        if back_ms > 0 && (self.ahead_ms..=STEP_BACK_MS_MAX).contains(&back_ms) {
            (self.ahead_ms, self.until_ms) = (back_ms, clock_ms.saturating_add(DOUBT_MS));
        }
        clock_ms.saturating_add(self.ahead_ms)
    }
}

/// The present, and which times are accepted in it.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub(crate) now_ms: i64,
    /// Day of `now_ms`, days since the epoch.
    pub(crate) today: i32,
    oldest_ms: i64,
    newest_ms: i64,
    today_start_ms: i64,
    /// Part of the series, of 2^32, whose row of the next day is due.
    next_day_due: u64,
}

impl Window {
    /// The window at a time.
    #[must_use]
    pub fn at(now_ms: i64, limits: &Limits) -> Self {
        Self::between(now_ms, now_ms, limits)
    }

    /// The window while the clock says `clock_ms` and the present is `now_ms`, which is not before it.
    pub(crate) fn between(clock_ms: i64, now_ms: i64, limits: &Limits) -> Self {
        // Within the range of Arrow's dates and timestamps whatever the clock says.
        let now_ms = now_ms.clamp(0, i64::from(i32::MAX) * 1000);
        let today = day(now_ms);
        let today_start_ms = i64::from(today) * DAY_MS;
        let into_lead = now_ms - (today_start_ms + DAY_MS - LEAD_MS);
        let next_day_due = u64::try_from(into_lead.max(0)).unwrap_or(0) * (1 << 32) / LEAD_MS.cast_unsigned();
        // Nothing is older than the epoch, however long it is to be kept.
        let oldest_ms = clock_ms.min(now_ms).saturating_sub(limits.retention_ms).max(0);
        let newest_ms = now_ms.saturating_add(limits.future_ms_max.min(DAY_MS));
        Self { now_ms, today, oldest_ms, newest_ms, today_start_ms, next_day_due }
    }

    /// Why a time is not accepted, if so.
    #[inline]
    pub(crate) fn outside(&self, ts_ms: i64) -> Option<Reject> {
        if (self.oldest_ms..=self.newest_ms).contains(&ts_ms) { None } else { Some(self.why_outside(ts_ms)) }
    }

    #[cold]
    fn why_outside(&self, ts_ms: i64) -> Reject {
        if ts_ms < self.oldest_ms {
            Reject::new(Reason::TooOld, "timestamp is older than the retention")
        } else {
            Reject::new(Reason::TooNew, "timestamp is too far in the future")
        }
    }

    /// Day of a time.
    #[inline]
    pub(crate) fn day_of(&self, ts_ms: i64) -> i32 {
        // Nearly always today, and a comparison is cheaper than a division.
        let into_today = ts_ms.wrapping_sub(self.today_start_ms);
        if (0..DAY_MS).contains(&into_today) { self.today } else { day(ts_ms) }
    }

    /// Is the row of the next day due for this series? Series come due one by one over the last hour of a day.
    #[inline]
    pub(crate) fn next_day_due(&self, series_id: i64) -> bool {
        series_id.cast_unsigned() >> 32 < self.next_day_due
    }
}

/// Days since the epoch; times out of range, which are never accepted, give any day.
pub(crate) fn day(ts_ms: i64) -> i32 {
    i32::try_from(ts_ms.div_euclid(DAY_MS)).unwrap_or(i32::MAX)
}
