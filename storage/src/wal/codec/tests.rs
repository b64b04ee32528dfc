//! The form of rows in the log: what goes in comes out, and nothing else gets in.

#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]

use proptest::prelude::*;
use schemas::Dataset;

use super::{Input, decode, encode, fingerprint};
use crate::test_rows::{Sample, samples, series};
use arrow::array::RecordBatch;

fn check(dataset: &'static Dataset, batch: &RecordBatch) {
    let mut bytes = Vec::new();
    encode(batch, &mut bytes);
    let mut input = Input::new(&bytes);
    let decoded = decode(&dataset.schema, batch.num_rows(), &mut input).unwrap();
    assert!(input.is_empty());
    let mut again = Vec::new();
    encode(&decoded, &mut again);
    assert_eq!(bytes, again, "NaN bits and all");
}

fn sample() -> impl Strategy<Value = Sample> {
    let value = prop_oneof![any::<u64>().prop_map(f64::from_bits), (-1000i64..1000).prop_map(|v| v as f64)];
    ("[a-z]{0,8}", any::<i64>(), any::<i64>(), value)
}

proptest! {
    #[test]
    fn samples_come_back_as_they_were(rows in prop::collection::vec(sample(), 0..200)) {
        let batch = samples(&rows);
        check(schemas::samples(), &batch);
        check(schemas::samples(), &batch.slice(rows.len() / 3, rows.len() / 2 - rows.len() / 3));
    }

    #[test]
    fn series_come_back_as_they_were(rows in prop::collection::vec((-100_000i32..100_000, 0i64..9), 0..50)) {
        let rows: Vec<(i32, &str, i64)> = rows.iter().map(|(day, id)| (*day, "up", *id)).collect();
        check(schemas::series(), &series(&rows));
    }

    #[test]
    fn any_bytes_are_an_error_or_rows(bytes in prop::collection::vec(any::<u8>(), 0..300), rows in 0usize..500) {
        for dataset in schemas::all() {
            let _ = decode(&dataset.schema, rows, &mut Input::new(&bytes));
        }
    }

    #[test]
    fn a_changed_byte_never_panics(rows in prop::collection::vec(sample(), 1..40), at in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut bytes = Vec::new();
        encode(&samples(&rows), &mut bytes);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let _ = decode(&schemas::samples().schema, rows.len(), &mut Input::new(&bytes));
    }
}

#[test]
fn recent_samples_take_about_eighteen_bytes() {
    let rows: Vec<Sample> = (0..2000)
        .map(|i: i64| {
            let id = i.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed());
            (format!("metric_{}", i / 20), id, 1_790_000_000_000_000, 0.1 * i as f64)
        })
        .collect();
    let mut bytes = Vec::new();
    encode(&samples(&rows), &mut bytes);
    assert!(bytes.len() < 20 * rows.len(), "{}", bytes.len());
}

#[test]
fn the_fingerprint_tells_schemas_apart() {
    for one in schemas::all() {
        for other in schemas::all() {
            let is_same = fingerprint(&one.schema) == fingerprint(&other.schema);
            assert_eq!(is_same, one.schema == other.schema, "{} {}", one.name, other.name);
        }
    }
}
