//! Files as they come: compressed, cut off, damaged.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;

use super::*;
use crate::ErrorKind;

const BILL: &str = "BilledCost,ChargeCategory,BillingCurrency,ChargePeriodStart,Tags\r\n\
1.5,Usage,USD,2026-10-01T00:00:00Z,\"{\"\"a\"\": \"\"b, c\"\"}\"\r\n-2,Credit,EUR,2026-10-02,\r\n";

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn rows(bytes: Vec<u8>) -> Result<(usize, Report)> {
    let mut reader = Reader::open(Cursor::new(bytes), Options { file: "bill.csv".to_owned(), ..Options::default() })?;
    let mut rows = 0;
    while let Some(batch) = reader.next_batch()? {
        rows += batch.num_rows();
    }
    Ok((rows, reader.report()))
}

#[test]
fn a_compressed_file_of_several_members_is_read_whole() {
    let (head, tail) = BILL.split_at(100);
    let mut bytes = packed(head);
    bytes.extend(packed(tail));
    assert_eq!(rows(bytes).unwrap(), rows(BILL.into()).unwrap());
    assert_eq!(rows(BILL.into()).unwrap().0, 2);
    assert_eq!(rows(format!("\u{feff}{BILL}").into()).unwrap(), rows(BILL.into()).unwrap());
}

#[test]
fn a_file_that_is_cut_off_is_damaged() {
    let mut bytes = packed(&BILL.repeat(50));
    bytes.truncate(bytes.len() / 2);
    assert_eq!(rows(bytes).unwrap_err().kind, ErrorKind::Corrupt);
    let mut bytes = packed(BILL);
    let checksum = bytes.len() - 8;
    bytes[checksum] ^= 1;
    assert_eq!(rows(bytes).unwrap_err().kind, ErrorKind::Corrupt);
}

#[test]
fn rejects_without_end_hide_no_row() {
    let long = format!("x,Usage,USD,2026-10-01,{}\n", "y".repeat(1 << 20));
    let text = format!(
        "BilledCost,ChargeCategory,BillingCurrency,ChargePeriodStart,Tags\n{}1,Usage,USD,2026-10-01,\n",
        long.repeat(40)
    );
    let (written, report) = rows(text.into()).unwrap();
    assert_eq!((written, report.rows_rejected), (1, 40));
}

#[test]
fn large_records_make_small_batches() {
    let long = format!("1,Usage,USD,2026-10-01,\"{{\"\"a\"\": \"\"{}\"\"}}\"\n", "y".repeat(9 << 20));
    let text = format!("BilledCost,ChargeCategory,BillingCurrency,ChargePeriodStart,Tags\n{}", long.repeat(10));
    let reader = Reader::open(Cursor::new(text), Options::default()).unwrap();
    let sizes: Vec<_> = reader.map(|batch| batch.unwrap().num_rows()).collect();
    assert_eq!(sizes, [4, 4, 2]);
}

#[test]
fn a_format_is_told_without_what_reading_needs() {
    let header = "lineItem/UnblendedCost,lineItem/LineItemType,lineItem/UsageStartDate\n";
    let delivery = detect(Cursor::new(header), "cur.csv").unwrap();
    assert_eq!(delivery, Delivery { format: detect::Format::Aws, container: Container::Csv });
    assert!(rows(header.into()).unwrap_err().to_string().contains("--assume BillingCurrency=USD"));
}

#[test]
fn parquet_is_no_stream_and_a_header_no_flood() {
    assert!(rows(b"PAR1....".to_vec()).unwrap_err().to_string().contains("not read as a stream"));
    let error = rows(",".repeat(COLUMNS_MAX).into()).unwrap_err();
    assert!(error.to_string().contains("more than 4096 columns"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn a_damaged_file_is_counted_whole(
        file in 0_usize..4,
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(b'"'), Just(b','), Just(b'\n'), Just(b'9')]), 1..40),
    ) {
        let files: [&[u8]; 4] = [
            include_bytes!("../../tests/data/koku-aws/2023-06-01.csv"),
            include_bytes!("../../tests/data/koku-azure/azure_version_2.csv"),
            include_bytes!("../../tests/data/koku-gcp/202011_2020-11-08_2020-11-11.csv"),
            include_bytes!("../../tests/data/focus/spec-1.2-examples/virtual_currency_pricing_model_a2.csv"),
        ];
        let mut bytes = files[file].to_vec();
        let header = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for (at, byte) in changes {
            let at = header + at.index(bytes.len() - header);
            bytes[at] = byte;
        }
        let (written, report) = rows(bytes).unwrap();
        prop_assert_eq!(written as u64, report.rows_delivered + report.rows_derived);
        prop_assert_eq!(report.rows_read, report.rows_delivered + report.rows_rejected + report.rows_left_out());
        prop_assert_eq!(report.totals.values().map(|totals| totals.rows).sum::<u64>(), written as u64);
    }
}
