//! Sorting against a plain sort of tuples.

#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]

use std::sync::Arc;

use arrow::{array::RecordBatch, compute::concat_batches};
use proptest::prelude::*;
use schemas::Dataset;

use super::{Equal, sort, sort_into_partitions};
use crate::test_rows::{DAY_US, Sample, samples, samples_of, series, series_of};

fn rows() -> impl Strategy<Value = Vec<Vec<Sample>>> {
    let id = prop_oneof![0i64..4, any::<i64>()];
    let row = ("[a-c]{1,2}", id, -3i64..6, 0u32..1000)
        .prop_map(|(metric, id, time, value)| (metric, id, time * DAY_US / 2, f64::from(value)));
    prop::collection::vec(prop::collection::vec(row, 0..40), 1..6)
}

/// Partitions with their rows.
fn parts(dataset: &Dataset, batches: &[&RecordBatch], equal: Equal) -> Vec<(Option<Arc<str>>, RecordBatch)> {
    let mut parts = Vec::new();
    sort_into_partitions(dataset, batches, equal, &mut |partition, rows| {
        let rows = rows.collect::<crate::Result<Vec<_>>>()?;
        parts.push((partition, concat_batches(&dataset.schema, &rows)?));
        Ok(())
    })
    .unwrap();
    parts
}

proptest! {
    #[test]
    fn rows_are_sorted_and_stable(batches in rows()) {
        let encoded: Vec<_> = batches.iter().map(|rows| samples(rows)).collect();
        let sorted = sort(schemas::samples(), &encoded.iter().collect::<Vec<_>>(), Equal::Keep).unwrap();
        let mut expected: Vec<Sample> = batches.into_iter().flatten().collect();
        expected.sort_by(|a, b| (&a.0, a.1, a.2).cmp(&(&b.0, b.1, b.2)));
        prop_assert_eq!(samples_of(&sorted), expected);
    }

    #[test]
    fn the_last_of_equal_rows_stays_and_days_are_told_apart(batches in rows()) {
        let encoded: Vec<_> = batches.iter().map(|rows| samples(rows)).collect();
        let parts = parts(schemas::samples(), &encoded.iter().collect::<Vec<_>>(), Equal::Last);
        let mut expected = std::collections::BTreeMap::new();
        for (metric, id, time, value) in batches.into_iter().flatten() {
            expected.insert((super::day_text((time.div_euclid(DAY_US)) as i32), metric, id, time), value);
        }
        let mut found = Vec::new();
        for (day, rows) in parts {
            let day = day.unwrap().to_string();
            found.extend(samples_of(&rows).into_iter().map(|row| ((day.clone(), row.0, row.1, row.2), row.3)));
        }
        // Partitions before 1970 sort by day, not by text; order between partitions does not matter.
        found.sort_by(|a, b| a.0.cmp(&b.0));
        prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_key_in_two_partitions_is_two_rows() {
    let rows = series(&[(1, "up", 5), (2, "up", 5), (1, "up", 5)]);
    let parts = parts(schemas::series(), &[&rows], Equal::Last);
    let found: Vec<_> = parts.iter().flat_map(|(_, rows)| series_of(rows)).collect();
    assert_eq!(found, [(1, "up".into(), 5), (2, "up".into(), 5)]);
}
