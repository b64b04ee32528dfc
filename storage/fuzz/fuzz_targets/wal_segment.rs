//! Any bytes as a log segment: intact records are decoded, the rest is told apart, nothing panics.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| storage::fuzz_wal_segment(bytes));
