//! Texts and bytes as PostgreSQL 15 has them.

use std::sync::Arc;

use arrow::array::{Decimal128Array, Float64Array, Int64Array, ListArray, TimestampMicrosecondArray, UInt64Array};

use super::*;

fn texts(array: ArrayRef) -> Vec<String> {
    let column = Column::new(&array, false).unwrap();
    let cells = column.cells().unwrap();
    let one = |row| {
        let mut out = Out::default();
        cells.bare(row, &mut out);
        String::from_utf8(out.as_bytes().to_vec()).unwrap()
    };
    (0..array.len()).map(one).collect()
}

fn bytes(array: ArrayRef) -> Vec<u8> {
    let column = Column::new(&array, true).unwrap();
    let mut out = Out::default();
    column.cells().unwrap().bare(0, &mut out);
    out.as_bytes().to_vec()
}

/// As PostgreSQL 15 writes them.
#[test]
fn numbers_are_written_as_postgresql_writes_them() {
    let floats = [0.1, 1e14, 1e15, 1e-4, 1.5e-5, -2.0, f64::NAN, f64::NEG_INFINITY, 123_456.75, 0.0, -0.0, 5e-324];
    let written = [
        "0.1",
        "100000000000000",
        "1e+15",
        "0.0001",
        "1.5e-05",
        "-2",
        "NaN",
        "-Infinity",
        "123456.75",
        "0",
        "-0",
        "5e-324",
    ];
    assert_eq!(texts(Arc::new(Float64Array::from(floats.to_vec()))), written);
    assert_eq!(texts(Arc::new(UInt64Array::from(vec![u64::MAX]))), ["18446744073709551615"]);
}

#[test]
fn times_have_their_offset_and_no_needless_digits() {
    let times = TimestampMicrosecondArray::from(vec![0, 1_500_000, -62_135_596_800_000_001]);
    let zoned: ArrayRef = Arc::new(times.clone().with_timezone("UTC"));
    let written = texts(zoned);
    assert_eq!(written, ["1970-01-01 00:00:00+00", "1970-01-01 00:00:01.5+00", "0001-12-31 23:59:59.999999+00 BC"]);
    assert_eq!(texts(Arc::new(times))[1], "1970-01-01 00:00:01.5");
}

#[test]
fn a_list_quotes_what_would_be_read_otherwise() {
    let mut list = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
    for item in [Some("a"), Some(""), Some("b c"), Some("NULL"), None, Some("q\"\\")] {
        list.values().append_option(item);
    }
    list.append(true);
    let list: ListArray = list.finish();
    assert_eq!(texts(Arc::new(list)), ["{a,\"\",\"b c\",\"NULL\",NULL,\"q\\\"\\\\\"}"]);
}

#[test]
fn a_decimal_is_groups_of_four_digits() {
    let decimal =
        |value, scale| Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(20, scale).unwrap());
    // 12345.678 is 1 | 2345 | 6780, the first of which counts 10000s.
    assert_eq!(bytes(decimal(12_345_678, 3)), [0, 3, 0, 1, 0, 0, 0, 3, 0, 1, 0x09, 0x29, 0x1a, 0x7c]);
    // -0.0001 is one group, one place behind the point.
    assert_eq!(bytes(decimal(-1, 4)), [0, 1, 0xff, 0xff, 0x40, 0, 0, 4, 0, 1]);
    assert_eq!(bytes(decimal(0, 2)), [0, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!(bytes(decimal(10_000, 0)), [0, 1, 0, 1, 0, 0, 0, 0, 0, 1]);
    // 0.00001 has a first group of zeros, which is left out.
    assert_eq!(bytes(decimal(1, 5)), [0, 1, 0xff, 0xfe, 0, 0, 0, 5, 0x03, 0xe8]);
}

#[test]
fn intervals_are_written_in_their_parts() {
    let text = |months, days, us| {
        let mut out = Out::default();
        interval(&mut out, months, days, us);
        String::from_utf8(out.as_bytes().to_vec()).unwrap()
    };
    assert_eq!(text(14, 1, 0), "1 year 2 mons 1 day");
    assert_eq!(text(0, 0, 0), "00:00:00");
    assert_eq!(text(0, 2, -5_500_000), "2 days -00:00:05.5");
}

#[test]
fn nulls_have_no_length_and_values_theirs() {
    let array: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None]));
    let column = Column::new(&array, false).unwrap();
    let cells = column.cells().unwrap();
    let mut out = Out::default();
    cells.write(0, &mut out);
    cells.write(1, &mut out);
    assert_eq!(out.as_bytes(), [0, 0, 0, 1, b'7', 0xff, 0xff, 0xff, 0xff]);
}
