//! Parquet with members of members, lists, maps, decimals and floats.

use arrow::{
    array::{
        BooleanArray, Decimal128Array, Float64Array, ListArray, MapBuilder, StringArray, StringBuilder, StructArray,
        TimestampMicrosecondArray,
    },
    buffer::OffsetBuffer,
    datatypes::{Field, Fields, Schema},
};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};

use super::*;
use crate::testing::{Read, read_parquet};

fn written(columns: Vec<(&str, ArrayRef)>) -> Read {
    compressed(columns, Compression::UNCOMPRESSED)
}

fn compressed(columns: Vec<(&str, ArrayRef)>, compression: Compression) -> Read {
    let fields: Fields =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let batch =
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, column)| column).collect())
            .unwrap();
    let mut bytes = Vec::new();
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    read_parquet(bytes.into())
}

fn text(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn object(members: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let members = members
        .into_iter()
        .map(|(name, column)| (Arc::new(Field::new(name, column.data_type().clone(), true)), column));
    Arc::new(StructArray::from(members.collect::<Vec<_>>()))
}

/// A list of the members of an object, of so many in each row.
fn list(object: ArrayRef, lengths: &[usize]) -> ArrayRef {
    let field = Arc::new(Field::new("element", object.data_type().clone(), true));
    Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths.iter().copied()), object, None))
}

fn times(zone: Option<&str>) -> ArrayRef {
    let times = TimestampMicrosecondArray::from(vec![1_790_812_800_000_000; 2]);
    Arc::new(zone.map_or(times.clone(), |zone| times.with_timezone(zone)))
}

#[test]
fn an_export_of_google_has_members_and_lists() {
    let read = written(vec![
        ("billing_account_id", text(&[Some("b1"), Some("b1")])),
        (
            "service",
            object(vec![
                ("id", text(&[Some("s"), None])),
                ("description", text(&[Some("BigQuery"), Some("BigQuery")])),
            ]),
        ),
        ("usage_start_time", times(Some("UTC"))),
        ("cost", Arc::new(Float64Array::from(vec![0.1, 5e-06]))),
        ("currency", text(&[Some("USD"), Some("USD")])),
        ("labels", list(object(vec![("key", text(&[Some("team")])), ("value", text(&[Some("blue")]))]), &[1, 0])),
        (
            "credits",
            list(
                object(vec![
                    ("amount", Arc::new(Float64Array::from(vec![-0.025])) as ArrayRef),
                    ("type", text(&[Some("DISCOUNT")])),
                ]),
                &[1, 0],
            ),
        ),
        ("invoice", object(vec![("month", text(&[Some("202610"), Some("202610")]))])),
    ]);
    assert_eq!(
        read.rows(&["x_DeliveredCost", "BilledCost", "ServiceName", "ChargePeriodStart", "Tags"]),
        ["0.1|0.075|BigQuery|2026-10-01T00:00:00Z|team=blue", "0.000005|0.000005|BigQuery|2026-10-01T00:00:00Z|"]
    );
    let finding = &read.report.findings["binary-float"];
    assert_eq!((finding.rows, finding.first.as_str()), (2, "cost"));
}

#[test]
fn decimals_are_exact_and_maps_are_tags() {
    let mut tags = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    tags.keys().append_value("user_team");
    tags.values().append_value("blue \"1\"");
    tags.append(true).unwrap();
    tags.append(false).unwrap();
    let costs =
        Decimal128Array::from(vec![12_345_678_901_234_567_890_i128, -1]).with_precision_and_scale(38, 18).unwrap();
    let read = written(vec![
        ("bill_billing_period_start_date", times(None)),
        ("line_item_line_item_type", text(&[Some("Usage"), Some("Usage")])),
        ("line_item_usage_start_date", times(None)),
        ("line_item_currency_code", text(&[Some("USD"), Some("USD")])),
        ("line_item_unblended_cost", Arc::new(costs)),
        ("resource_tags", Arc::new(tags.finish())),
        ("some_flag", Arc::new(BooleanArray::from(vec![Some(true), None]))),
    ]);
    assert_eq!(
        read.rows(&["BilledCost", "Tags", "x_Columns"]),
        [
            "12.34567890123456789|user_team=blue \"1\"|x_line_item_line_item_type=Usage x_some_flag=true",
            "-0.000000000000000001||x_line_item_line_item_type=Usage",
        ]
    );
    assert!(read.report.findings.is_empty());
}

#[test]
fn what_is_no_parquet_is_damaged() {
    let error = Nested::open(bytes::Bytes::from_static(b"PAR1 and no more PAR1"), "x.parquet").err().unwrap();
    assert_eq!(error.kind, ErrorKind::Corrupt);
}

#[test]
fn every_compression_of_providers_is_read() {
    for compression in [
        Compression::GZIP(parquet::basic::GzipLevel::default()),
        Compression::SNAPPY,
        Compression::ZSTD(ZstdLevel::default()),
        Compression::UNCOMPRESSED,
    ] {
        let read = compressed(
            vec![
                ("BilledCost", text(&[Some("1.5"), Some("2.25")])),
                ("ChargeCategory", text(&[Some("Usage"), Some("Usage")])),
                ("BillingCurrency", text(&[Some("USD"), Some("USD")])),
                ("ChargePeriodStart", times(Some("UTC"))),
            ],
            compression,
        );
        assert_eq!(read.rows(&["BilledCost"]), ["1.5", "2.25"], "{compression:?}");
    }
}
