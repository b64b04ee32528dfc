//! Three years of nights, thinned out every night.

use super::*;

fn ms(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
}

fn dates(stay: &BTreeSet<i64>) -> Vec<String> {
    stay.iter().map(|ms| DateTime::from_timestamp_millis(*ms).unwrap().format("%Y-%m-%d").to_string()).collect()
}

#[test]
fn schedules_are_read_and_shown() {
    assert_eq!(Keep::parse("7d,4w,12m,7y"), Ok(Keep::default()));
    assert_eq!(Keep::parse(" 3d , 1y").unwrap().to_string(), "3d,0w,0m,1y");
    for wrong in ["", "7", "d", "7d,", "7h", "-1d", "0d", "7d,3d", "10001d", "7 d", "ééé"] {
        assert!(Keep::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn three_years_of_nights_keep_exactly_the_schedule() {
    let first = ms("2023-01-02T02:30:00Z");
    let last = ms("2026-01-14T02:30:00Z");
    let mut there: Vec<i64> = Vec::new();
    let mut at = first;
    while at <= last {
        there.push(at);
        there = Keep::default().pick(&there).into_iter().collect();
        at += DAY_MS;
    }
    let expected = [
        // Years that are over, and the one that goes on, whose newest is the last night.
        "2023-12-31",
        "2024-12-31", // Months that are over.
        "2025-02-28",
        "2025-03-31",
        "2025-04-30",
        "2025-05-31",
        "2025-06-30",
        "2025-07-31",
        "2025-08-31",
        "2025-09-30",
        "2025-10-31",
        "2025-11-30", // Sundays; the last day of the year is that of its month, too.
        "2025-12-28",
        "2025-12-31",
        "2026-01-04", // Days, a Sunday among them.
        "2026-01-08",
        "2026-01-09",
        "2026-01-10",
        "2026-01-11",
        "2026-01-12",
        "2026-01-13",
        "2026-01-14",
    ];
    assert_eq!(dates(&there.into_iter().collect()), expected);
}

#[test]
fn nothing_goes_because_backups_stopped() {
    let there: Vec<i64> = (1..=7).map(|day| ms(&format!("2020-05-{day:02}T02:00:00Z"))).collect();
    assert_eq!(Keep::default().pick(&there).len(), 7, "years later they are still the newest seven days");
    assert!(Keep::default().pick(&[]).is_empty());
}

#[test]
fn of_a_day_the_newest_stays() {
    let day = |hour: i64| ms("2026-03-01T00:00:00Z") + hour * 3_600_000;
    let there = [day(-1), day(0), day(12), day(23), day(24)];
    let keep = Keep { days: 3, weeks: 0, months: 0, years: 0 };
    assert_eq!(keep.pick(&there), [day(-1), day(23), day(24)].into());
    let none = Keep { days: 0, weeks: 0, months: 0, years: 0 };
    assert_eq!(none.pick(&there), [day(24)].into(), "the newest stays whatever is said");
}
