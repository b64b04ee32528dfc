//! Every type in every format.

mod files;

use serde_json::{Value, json};

use super::{Format, csv, json as to_json, table, text};
use crate::testing::Bench;

const ALL: &str = "SELECT CAST(1 AS BIGINT) AS i, 1.5e0 AS f, CAST('NaN' AS DOUBLE) AS nan, CAST('Infinity' AS DOUBLE) AS inf, \
    CAST('-Infinity' AS DOUBLE) AS ninf, 'a\"b,c' AS s, true AS b, NULL AS n, DATE '2026-11-22' AS d, \
    TIMESTAMP '2026-11-22T01:02:03.456Z' AS ms, TIMESTAMP '2026-11-22T01:02:03.456789Z' AS us, \
    CAST('123456789012345678901.123456789012345' AS DECIMAL(38, 15)) AS m, [1, 2] AS l, \
    MAP {'k': 'v', 'q\"': 'w'} AS p, X'00ff' AS h, {'x': 1} AS r, CAST(18446744073709551615 AS BIGINT UNSIGNED) AS u";

async fn answer(sql: &str) -> (arrow::datatypes::SchemaRef, Vec<arrow::array::RecordBatch>) {
    let answer = Bench::new().engine().sql(sql).await.unwrap_or_else(|error| panic!("{error}"));
    (answer.schema.clone(), answer.collect().await.unwrap())
}

#[tokio::test]
async fn json_has_types_and_exact_values() {
    let (schema, batches) = answer(ALL).await;
    let text = to_json(&schema, &batches).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(json["status"], "success");
    let row = &json["data"]["rows"][0];
    let expected = json!([
        1, 1.5, "NaN", "+Inf", "-Inf", "a\"b,c", true, null, "2026-11-22", "2026-11-22T01:02:03.456Z",
        "2026-11-22T01:02:03.456789Z", "123456789012345678901.123456789012345", [1, 2], {"k": "v", "q\"": "w"}, "00ff",
        {"x": 1}, 18_446_744_073_709_551_615_u64
    ]);
    assert_eq!(row, &expected);
    let columns = json["data"]["columns"].as_array().unwrap();
    assert_eq!(columns[0], json!({"name": "i", "type": "int64"}));
    assert_eq!(columns[5]["type"], "string");
    assert_eq!(columns[9]["type"], "timestamp");
    assert_eq!(columns[11]["type"], "decimal(38, 15)");
    assert_eq!(columns[13]["type"], "map(string, string)");
}

#[tokio::test]
async fn ndjson_has_an_object_a_line() {
    let (schema, batches) = answer("SELECT * FROM (VALUES (1, 'a'), (2, NULL)) AS v(x, y) ORDER BY x").await;
    assert_eq!(text(Format::Ndjson, &schema, &batches).unwrap(), "{\"x\":1,\"y\":\"a\"}\n{\"x\":2,\"y\":null}\n");
}

#[tokio::test]
async fn csv_quotes_what_needs_it() {
    let (schema, batches) =
        answer("SELECT 'a\"b,c' AS \"x,y\", 'plain' AS p, NULL AS n, MAP {'k': 'v'} AS m, CAST('NaN' AS DOUBLE) AS f")
            .await;
    let text = csv(&schema, &batches).unwrap();
    assert_eq!(text, "\"x,y\",p,n,m,f\r\n\"a\"\"b,c\",plain,,\"{\"\"k\"\":\"\"v\"\"}\",NaN\r\n");
}

#[tokio::test]
async fn an_answer_without_rows_still_has_its_columns() {
    let (schema, batches) = answer("SELECT 1 AS x WHERE false").await;
    let json: Value = serde_json::from_str(&to_json(&schema, &batches).unwrap()).unwrap();
    assert_eq!(json["data"], json!({"columns": [{"name": "x", "type": "int64"}], "rows": []}));
    assert_eq!(csv(&schema, &batches).unwrap(), "x\r\n");
    assert!(table(&schema, &batches).unwrap().contains("| x |"));
}

#[tokio::test]
async fn text_that_a_spreadsheet_would_run_is_led_by_a_quote_and_numbers_are_not() {
    let sql = "SELECT column1 AS t, -1 AS n, -1.5 AS d, arrow_cast(column1, 'Dictionary(Int32, Utf8)') AS \"=x\", \
               cast('-Infinity' AS DOUBLE) AS f FROM \
               (VALUES ('=HYPERLINK(\"a\")'), ('+1'), ('-5'), ('@x'), (E'\\tx'), (E'\\rx'), ('a=b'), (''), (NULL), ('''a'))";
    let (schema, batches) = answer(sql).await;
    let fields = ["\"'=HYPERLINK(\"\"a\"\")\"", "'+1", "'-5", "'@x", "'\tx", "\"'\rx\"", "a=b", "", "", "'a"];
    let expected: String =
        ["t,n,d,'=x,f\r\n".to_owned()].into_iter().chain(fields.map(|f| format!("{f},-1,-1.5,{f},-Inf\r\n"))).collect();
    assert_eq!(csv(&schema, &batches).unwrap(), expected);
    assert!(to_json(&schema, &batches).unwrap().contains("\"+1\""));
}

#[tokio::test]
async fn a_table_is_for_reading() {
    let (schema, batches) = answer("SELECT 'up' AS metric, 1.0 AS value").await;
    let expected = "+--------+-------+\n| metric | value |\n+--------+-------+\n| up     | 1.0   |\n+--------+-------+";
    assert_eq!(table(&schema, &batches).unwrap(), expected);
}

#[test]
fn the_first_accepted_format_of_ours_is_taken() {
    assert_eq!(Format::accepted("text/html, text/csv;q=0.9, application/json"), Some(Format::Csv));
    assert_eq!(Format::accepted("application/vnd.apache.arrow.stream"), Some(Format::Arrow));
    assert_eq!(Format::accepted("application/x-ndjson"), Some(Format::Ndjson));
    assert_eq!(Format::accepted("*/*"), None);
}
