//! Finds the periods of a line that recurs.
//!
//! Called by the mapping of manual lines with the texts of `date`, `every` and `until`. Steps are counted from the date, not from the step
//! before: what begins on the 31st of January begins on the last of February and again on the 31st of March.
//!
//! Invariants: periods lie end to end, and there are at least one and at most [`CHARGES_MAX`]; all of them can be billed, so that a line
//! that recurs has either all of its rows or none. Not here: what is charged.

use crate::time;

/// Charges of a line: eighty years of months, or a typing error.
pub(super) const CHARGES_MAX: usize = 1_000;

/// Columns of a line that are about time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Date,
    Every,
    Until,
}

/// Begin and end of each period, or what is wrong with which column.
pub(super) fn periods(date: &str, every: &str, until: &str) -> Result<Vec<(i64, i64)>, (At, String)> {
    let months = match every.to_ascii_lowercase().as_str() {
        "month" => 1,
        "quarter" => 3,
        "year" => 12,
        _ => return Err((At::Every, "no period that recurs: month, quarter, year, or empty for once".to_owned())),
    };
    let wrong = |what: &str| format!("{what}, such as 2026-11-01 or 2026-11");
    let (start, _) =
        day_or_month(date).ok_or_else(|| (At::Date, wrong("a line that recurs begins on a day or month")))?;
    if until.is_empty() {
        return Err((At::Until, wrong("a line that recurs needs the last day or month in which a charge may begin")));
    }
    let (_, end) = day_or_month(until).ok_or_else(|| (At::Until, wrong("no day or month")))?;
    if end <= start {
        return Err((At::Until, "before the date: there would be no charge".to_owned()));
    }
    let mut periods = Vec::new();
    let mut from = start;
    while from < end {
        if !time::is_billing_time(from) {
            let at = if periods.is_empty() { At::Date } else { At::Until };
            return Err((at, time::out_of_range("billing months are of 2000 to 2099", from)));
        }
        if periods.len() >= CHARGES_MAX {
            return Err((At::Until, format!("more than {CHARGES_MAX} charges of one line: looked for an earlier day")));
        }
        let step = u32::try_from(periods.len() + 1).unwrap_or(u32::MAX).saturating_mul(months);
        let to = time::months_later(start, step).ok_or_else(|| (At::Until, "no time".to_owned()))?;
        periods.push((from, to));
        from = to;
    }
    Ok(periods)
}

/// Begin and end of a day or a month.
pub(super) fn day_or_month(text: &str) -> Option<(i64, i64)> {
    if text.len() == "2026-11".len()
        && let Some(start) = time::micros(&format!("{text}-01"))
    {
        return Some((start, time::month_end(start)?));
    }
    time::micros(text).map(|start| (start, time::next_day(start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(date: &str, every: &str, until: &str) -> Vec<String> {
        let periods = periods(date, every, until).unwrap();
        assert!(periods.is_sorted() && periods.windows(2).all(|pair| pair[0].1 == pair[1].0), "{periods:?}");
        let day = |us: i64| chrono::DateTime::from_timestamp_micros(us).unwrap().format("%F").to_string();
        periods.iter().map(|(start, _)| day(*start)).chain(periods.last().map(|(_, end)| day(*end))).collect()
    }

    #[test]
    fn periods_lie_end_to_end_and_the_last_begins_by_the_end() {
        for (date, every, until, wanted) in [
            ("2023-12", "month", "2024-03", "2023-12-01 2024-01-01 2024-02-01 2024-03-01 2024-04-01"),
            ("2024-01-31", "month", "2024-03-31", "2024-01-31 2024-02-29 2024-03-31 2024-04-30"),
            ("2023-01-31", "Month", "2023-03-30", "2023-01-31 2023-02-28 2023-03-31"),
            ("2026-11", "quarter", "2027-05-01", "2026-11-01 2027-02-01 2027-05-01 2027-08-01"),
            ("2026-11", "QUARTER", "2027-04-30", "2026-11-01 2027-02-01 2027-05-01"),
            ("2024-02-29", "year", "2028-02-29", "2024-02-29 2025-02-28 2026-02-28 2027-02-28 2028-02-29 2029-02-28"),
            // The day and the month that are named are within.
            ("2026-11-15", "month", "2026-11-15", "2026-11-15 2026-12-15"),
            ("2026-11-15", "month", "2026-12", "2026-11-15 2026-12-15 2027-01-15"),
            ("2099-12", "month", "2099-12", "2099-12-01 2100-01-01"),
        ] {
            assert_eq!(starts(date, every, until).join(" "), wanted, "{date} {every} {until}");
        }
        // A thousand months from January 2000 end with April 2083.
        assert_eq!(periods("2000-01", "month", "2083-04").unwrap().len(), CHARGES_MAX);
    }

    #[test]
    fn what_cannot_recur_is_told() {
        for (date, every, until, at, why) in [
            ("2026-11", "week", "2027-11", At::Every, "month, quarter, year"),
            ("2026-11-01/2026-12-01", "month", "2027-11", At::Date, "a day or month"),
            ("", "month", "2027-11", At::Date, "a day or month"),
            ("2026-11", "month", "", At::Until, "needs the last day or month"),
            ("2026-11", "month", "soon", At::Until, "no day or month"),
            ("2026-11", "month", "2027-11-01/2027-12-01", At::Until, "no day or month"),
            ("2026-11", "month", "2026-10", At::Until, "before the date"),
            ("2026-11-02", "month", "2026-11-01", At::Until, "before the date"),
            ("2000-01", "month", "2083-05", At::Until, "more than 1000 charges"),
            ("2026-11", "year", "2101-01", At::Until, "out of range"),
            ("1999-11", "year", "2001-01", At::Date, "out of range"),
        ] {
            let (found, reason) = periods(date, every, until).unwrap_err();
            assert!(found == at && reason.contains(why), "{date} {every} {until}: {found:?} {reason}");
        }
    }
}
