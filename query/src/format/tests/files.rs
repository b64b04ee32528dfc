//! Answers as files: Parquet in parts, and workbooks.

use std::io::{Cursor, Read};

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use bytes::Bytes;

use super::{super::*, answer};

#[tokio::test(flavor = "multi_thread")]
async fn a_parquet_file_is_written_in_parts_and_has_every_row() {
    let sql = "SELECT value, CAST(value AS DECIMAL(38, 10)) AS d, 'text' AS t, MAP {'k': 'v'} AS m, \
               TIMESTAMP '2026-11-22T01:02:03.456Z' AS at FROM generate_series(1, 300000)";
    let (schema, batches) = answer(sql).await;
    let (mut encoder, mut file) = Encoder::begin(Format::Parquet, &schema).unwrap();
    let (mut parts, mut held) = (0, 0);
    for batch in &batches {
        let mut bytes = encoder.rows(batch).unwrap();
        held += batch.num_rows();
        if !bytes.is_empty() {
            (parts, held) = (parts + 1, 0);
        }
        assert!(held <= 2 << 17, "rows are handed on before there are many");
        file.append(&mut bytes);
    }
    assert!(parts >= 2, "{parts}");
    file.append(&mut encoder.finish().unwrap());
    let read = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap().build().unwrap();
    let read: Vec<RecordBatch> = read.collect::<std::result::Result<_, _>>().unwrap();
    assert_eq!(json(&schema, &read).unwrap(), json(&schema, &batches).unwrap());
}

#[tokio::test]
async fn a_type_that_parquet_does_not_have_is_told() {
    let (schema, _) = answer("SELECT INTERVAL '1 month 2 days' AS i").await;
    let error = match Encoder::begin(Format::Parquet, &schema) {
        Ok((mut encoder, _)) => {
            let (_, batches) = answer("SELECT INTERVAL '1 month 2 days' AS i").await;
            encoder.rows(&batches[0]).err()
        }
        Err(error) => Some(error),
    };
    assert!(error.is_some_and(|error| error.to_string().contains("cast the column to text")));
}

/// A file of a workbook.
fn part(workbook: &[u8], name: &str) -> String {
    let mut archive = zip::ZipArchive::new(Cursor::new(workbook)).unwrap();
    let mut text = String::new();
    archive.by_name(name).unwrap().read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn a_workbook_has_numbers_times_and_text_that_is_no_formula() {
    let sql = "SELECT 7 AS i, 9007199254740993 AS id, 1.25 AS n, CAST('NaN' AS DOUBLE) AS nan, true AS b, \
               DATE '2026-11-22' AS d, arrow_cast(TIMESTAMP '2026-11-22T12:00:00Z', 'Timestamp(Microsecond, Some(\"UTC\"))') AS at, \
               '=1+1' AS f, '-5' AS m, 'plain' AS p, NULL AS z, DATE '1812-01-01' AS old";
    let (schema, batches) = answer(sql).await;
    let (mut encoder, mut file) = Encoder::begin(Format::Xlsx, &schema).unwrap();
    for batch in &batches {
        file.append(&mut encoder.rows(batch).unwrap());
    }
    assert!(file.is_empty() && encoder.ends_slowly());
    let file = encoder.finish().unwrap();
    let (sheet, texts) = (part(&file, "xl/worksheets/sheet1.xml"), part(&file, "xl/sharedStrings.xml"));
    let styles = part(&file, "xl/styles.xml");
    assert!(!sheet.contains("<f>") && styles.contains("quotePrefix=\"1\""), "{sheet}");
    for cell in [
        "<c r=\"A2\"><v>7</v>",
        "<c r=\"C2\"><v>1.25</v>",
        "<c r=\"E2\" t=\"b\"><v>1</v>",
        "<v>46348</v>",
        "<v>46348.5</v>",
    ] {
        assert!(sheet.contains(cell), "{cell} {sheet}");
    }
    for text in ["9007199254740993", "NaN", "=1+1", "-5", "plain", "1812-01-01"] {
        assert!(texts.contains(&format!("<t>{text}</t>")), "{text} {texts}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workbook_is_bounded() {
    let (schema, batches) = answer("SELECT value AS a, value AS b, value AS c FROM generate_series(1, 400000)").await;
    let (mut encoder, _) = Encoder::begin(Format::Xlsx, &schema).unwrap();
    let error = batches.iter().find_map(|batch| encoder.rows(batch).err()).unwrap();
    assert!(error.to_string().contains("ask for csv or parquet"), "{error}");
    let pool: Arc<dyn MemoryPool> = Arc::new(datafusion::execution::memory_pool::GreedyMemoryPool::new(1_000));
    let (mut encoder, _) = Encoder::begin(Format::Xlsx, &schema).unwrap();
    encoder.bounded_by(&pool);
    let error = encoder.rows(&batches[0]).unwrap_err();
    assert!(error.to_string().contains("needs more memory"), "{error}");
}
