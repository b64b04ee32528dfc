//! Answers as they are shown.

use query::When;

use super::answer::Answer;

fn table(text: &str, step_ms: Option<i64>) -> String {
    let mut out = Vec::new();
    let range = step_ms.map(|step_ms| When { end_ms: 180_000, step_ms, ..When::at(0) });
    Answer::read(text).unwrap().table(&mut out, range).unwrap();
    String::from_utf8(out).unwrap()
}

fn csv(text: &str) -> String {
    let mut out = Vec::new();
    Answer::read(text).unwrap().csv(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

const VECTOR: &str = r#"{"status":"success","data":{"resultType":"vector","result":[
    {"metric":{"__name__":"up","job":"a\u001b[31m\"b"},"value":[1767225600.5,"1"]},
    {"metric":{"__name__":"größe","a.b":"c"},"histogram":[1767225600.5,{"count":"3","sum":"4.5","buckets":[[0,"1","2","3"]]}]},
    {"metric":{},"value":[1767225600.5,"+Inf"]}]},"warnings":["careful"],"infos":["\u0007by the way"]}"#;

const MATRIX: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[
    {"metric":{"job":"a"},"values":[[0,"1"],[60,"2"],[120,"10"],[180,"NaN"]]}]}}"#;

#[test]
fn a_vector_is_a_table_of_series_and_values() {
    let expected = r#"
+-------------------------+-------------------+
| series                  | value             |
+-------------------------+-------------------+
| up{job="a\x1b[31m\"b"} | 1                 |
| {"größe", "a.b"="c"}    | {count:3, sum:4.5} |
| {}                      | +Inf              |
"#;
    let shown = table(VECTOR, None);
    // Widths are the table's own affair.
    let words = |text: &str| {
        text.split_whitespace()
            .filter(|word| !word.starts_with('+') || *word == "+Inf")
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(words(&shown), words(expected));
    assert!(!shown.contains('\u{1b}'));
}

#[test]
fn a_range_has_its_last_lowest_and_highest_value_and_a_line() {
    let shown = table(MATRIX, Some(60_000));
    assert!(shown.contains("1970-01-01T00:00:00Z to 1970-01-01T00:03:00Z"), "{shown}");
    let row = shown.lines().find(|line| line.contains("job")).unwrap();
    let cells: Vec<&str> = row.split('|').map(str::trim).collect();
    assert_eq!(cells[1..5], [r#"{job="a"}"#, "NaN", "1", "10"]);
    assert_eq!(cells[5], "▁▂█×", "{shown}");
}

#[test]
fn windows_are_shown_sample_by_sample() {
    let shown = table(MATRIX, None);
    assert_eq!(shown.lines().filter(|line| line.contains("job")).count(), 4);
    assert!(shown.contains("1970-01-01T00:02:00Z | 10"), "{shown}");
}

#[test]
fn scalars_and_texts_stand_alone() {
    assert_eq!(table(r#"{"data":{"resultType":"scalar","result":[0,"2.5"]}}"#, None), "2.5\n");
    assert_eq!(table(r#"{"data":{"resultType":"string","result":[0,"a\u001bb"]}}"#, None), "a\\u{1b}b\n");
    assert_eq!(table(r#"{"data":{"resultType":"vector","result":[]}}"#, None), "no series\n");
}

#[test]
fn csv_has_a_line_for_each_sample() {
    let lines = csv(MATRIX);
    assert_eq!(
        lines.lines().collect::<Vec<_>>()[..3],
        ["series,time,value", r#""{job=""a""}",1970-01-01T00:00:00Z,1"#, r#""{job=""a""}",1970-01-01T00:01:00Z,2"#]
    );
    assert!(csv(VECTOR).contains(r#","{count:3, sum:4.5}""#));
}

#[test]
fn elements_of_ndjson_are_as_they_came_and_notes_are_printable() {
    let answer = Answer::read(MATRIX).unwrap();
    let mut out = Vec::new();
    answer.ndjson(&mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(out.starts_with(r#"{"metric":{"job":"a"},"values":[[0,"1"]"#) && out.lines().count() == 1, "{out}");
    let notes: Vec<String> = Answer::read(VECTOR).unwrap().notes().collect();
    assert_eq!(notes, ["warning: careful", "info: \\u{7}by the way"]);
    assert!(Answer::read("<html>").is_err());
}
