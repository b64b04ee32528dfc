//! Texts and bytes as PostgreSQL 15 has them.

use std::sync::Arc;

use arrow::{
    array::{
        Date32Array, Decimal128Array, DictionaryArray, Float32Array, Float64Array, Int64Array, ListArray, NullArray,
        StringArray, StringViewArray, TimestampMicrosecondArray, UInt64Array,
    },
    datatypes::Int32Type,
};

use super::*;

fn texts(array: ArrayRef) -> Vec<String> {
    let mut column = Column::new(&array, false).unwrap();
    let one = |row| {
        let mut out = Out::default();
        column.bare(row, &mut out);
        String::from_utf8(out.as_bytes().to_vec()).unwrap()
    };
    (0..array.len()).map(one).collect()
}

fn bytes(array: ArrayRef) -> Vec<u8> {
    let mut out = Out::default();
    Column::new(&array, true).unwrap().bare(0, &mut out);
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
    let wholes = [0, 7, 10, 100, -205, 1_000_000, i64::MAX, i64::MIN];
    assert_eq!(texts(Arc::new(Int64Array::from(wholes.to_vec()))), wholes.map(|whole| whole.to_string()));
}

/// As PostgreSQL 15 writes them: `SELECT 43::float8 / 4194304` and so on.
#[test]
fn exponents_are_written_as_postgresql_writes_them() {
    let floats = [
        1e16,
        1.5e300,
        -2.5e-7,
        9_999_999_999_999_998.0,
        999_999_999_999_999.9,
        43.0 / 4_194_304.0,
        f64::MAX,
        // As near to this number is -714704272472552.3, which ends in an odd digit.
        f64::from_bits(14_052_444_871_948_357_442),
    ];
    let written = [
        "1e+16",
        "1.5e+300",
        "-2.5e-07",
        "9.999999999999998e+15",
        "999999999999999.9",
        "1.0251998901367188e-05",
        "1.7976931348623157e+308",
        "-714704272472552.2",
    ];
    assert_eq!(texts(Arc::new(Float64Array::from(floats.to_vec()))), written);
    let floats = [0.1, 1e6, 999_999.0, 1e-4, 1e-5, 1.234_567e9, f32::INFINITY, f32::MIN_POSITIVE];
    let written = ["0.1", "1e+06", "999999", "0.0001", "1e-05", "1.234567e+09", "Infinity", "1.1754944e-38"];
    assert_eq!(texts(Arc::new(Float32Array::from(floats.to_vec()))), written);
}

#[test]
fn a_decimal_has_all_its_places_behind_the_point() {
    let of = |values: &[i128], precision, scale| {
        let array = Decimal128Array::from(values.to_vec()).with_precision_and_scale(precision, scale).unwrap();
        texts(Arc::new(array))
    };
    assert_eq!(
        of(&[0, 5, -5, 1_000, 12_345_678, -12_345_678], 18, 3),
        ["0.000", "0.005", "-0.005", "1.000", "12345.678", "-12345.678"]
    );
    assert_eq!(of(&[0, -120], 10, 0), ["0", "-120"]);
    let most = 99_999_999_999_999_999_999_999_999_999_999_999_999;
    assert_eq!(of(&[most, -most], 38, 38), [format!("0.{}", "9".repeat(38)), format!("-0.{}", "9".repeat(38))]);
    // Groups of nineteen digits have their zeros.
    assert_eq!(
        of(&[10_i128.pow(19), 10_i128.pow(37) + 1], 38, 1),
        ["1000000000000000000.0", "1000000000000000000000000000000000000.1"]
    );
}

#[test]
fn texts_and_nulls_are_found_however_a_column_keeps_them() {
    let words = vec![Some("a"), None, Some("b"), Some("a")];
    let dictionary: DictionaryArray<Int32Type> = words.iter().copied().collect();
    let none: DictionaryArray<Int32Type> = [None::<&str>, None].into_iter().collect();
    let arrays: [ArrayRef; 3] =
        [Arc::new(StringArray::from(words.clone())), Arc::new(StringViewArray::from(words)), Arc::new(dictionary)];
    for array in arrays {
        let mut column = Column::new(&array, false).unwrap();
        let mut out = Out::default();
        (0..4).for_each(|row| column.write(row, &mut out));
        assert_eq!(out.as_bytes(), b"\0\0\0\x01a\xff\xff\xff\xff\0\0\0\x01b\0\0\0\x01a", "{array:?}");
    }
    for array in [Arc::new(none) as ArrayRef, Arc::new(NullArray::new(2))] {
        let column = Column::new(&array, false).unwrap();
        assert!(column.is_null(0) && column.is_null(1), "{array:?}");
    }
}

#[test]
fn times_have_their_offset_and_no_needless_digits() {
    let times = TimestampMicrosecondArray::from(vec![0, 1_500_000, -62_135_596_800_000_001]);
    let zoned: ArrayRef = Arc::new(times.clone().with_timezone("UTC"));
    let written = texts(zoned);
    assert_eq!(written, ["1970-01-01 00:00:00+00", "1970-01-01 00:00:01.5+00", "0001-12-31 23:59:59.999999+00 BC"]);
    assert_eq!(texts(Arc::new(times))[1], "1970-01-01 00:00:01.5");
    // Days follow one another, come again, and have years of five digits.
    let days = Date32Array::from(vec![0, 0, -1, 0, 19_782, 2_932_897, -719_163]);
    let written =
        ["1970-01-01", "1970-01-01", "1969-12-31", "1970-01-01", "2024-02-29", "10000-01-01", "0001-12-31 BC"];
    assert_eq!(texts(Arc::new(days)), written);
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
        time::interval(&mut out, months, days, us);
        String::from_utf8(out.as_bytes().to_vec()).unwrap()
    };
    assert_eq!(text(14, 1, 0), "1 year 2 mons 1 day");
    assert_eq!(text(0, 0, 0), "00:00:00");
    assert_eq!(text(0, 2, -5_500_000), "2 days -00:00:05.5");
}

#[test]
fn nulls_have_no_length_and_values_theirs() {
    let array: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None]));
    let mut column = Column::new(&array, false).unwrap();
    let mut out = Out::default();
    column.write(0, &mut out);
    column.write(1, &mut out);
    assert_eq!(out.as_bytes(), [0, 0, 0, 1, b'7', 0xff, 0xff, 0xff, 0xff]);
}
