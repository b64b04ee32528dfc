//! Records against `csv-core`, and what broken ones cost.

use proptest::prelude::*;

use super::*;

/// Bytes that come a few at a time.
struct Trickle {
    bytes: Vec<u8>,
    at: usize,
    step: usize,
}

impl Read for Trickle {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        let end = (self.at + self.step.min(room.len())).min(self.bytes.len());
        let read = end - self.at;
        room[..read].copy_from_slice(&self.bytes[self.at..end]);
        self.at = end;
        Ok(read)
    }
}

fn records(text: &str, columns: Option<usize>) -> Vec<String> {
    let mut csv = Csv::new(Box::new(Trickle { bytes: text.into(), at: 0, step: 3 }), "test");
    let mut found = Vec::new();
    loop {
        match csv.next(columns).unwrap() {
            Next::End => return found,
            Next::Broken { line, reason } => found.push(format!("{line}! {} ({reason})", csv.text())),
            Next::Record { line } => {
                let record = csv.record().unwrap();
                let fields: Vec<_> = (0..record.spans.len()).map(|slot| record.get(slot)).collect();
                found.push(format!("{line}: {}", fields.join("|")));
            }
        }
    }
}

/// Records as `csv-core` has them.
fn reference(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv_core::Reader::new();
    let (mut input, mut out, mut ends) = (text.as_bytes(), vec![0; text.len() + 1], vec![0; text.len() + 2]);
    let mut found = Vec::new();
    let (mut filled, mut fields) = (0, 0);
    loop {
        let (result, read, wrote, ended) = reader.read_record(input, &mut out[filled..], &mut ends[fields..]);
        input = &input[read..];
        (filled, fields) = (filled + wrote, fields + ended);
        match result {
            csv_core::ReadRecordResult::Record => {
                let starts = std::iter::once(0).chain(ends[..fields].iter().copied());
                let field = |(start, end): (usize, &usize)| String::from_utf8(out[start..*end].to_vec()).unwrap();
                found.push(starts.zip(&ends[..fields]).map(field).collect());
                (filled, fields) = (0, 0);
            }
            csv_core::ReadRecordResult::End => return found,
            _ => {}
        }
    }
}

#[test]
fn quoted_fields_keep_commas_quotes_and_lines() {
    let text = "a,b,c\r\n\"1,2\",\"say \"\"so\"\"\",\"two\nlines\"\r\n\r\n,,\n\"x\"y,\"\",z";
    assert_eq!(records(text, Some(3)), ["1: a|b|c", "2: 1,2|say \"so\"|two\nlines", "5: ||", "6: xy||z"]);
}

#[test]
fn a_broken_record_costs_its_line_only() {
    let text = "a,b\n1,\"open\n2,3\n4\n5,\"6\"\n7,8,9\n10,\"11\n";
    let torn = "a quote is closed in a later line, within a field";
    assert_eq!(
        records(text, Some(2)),
        [
            "1: a|b".to_owned(),
            format!("2! 1,\"open ({torn})"),
            "3: 2|3".to_owned(),
            "4! 4 (1 fields, the header has 2)".to_owned(),
            "5: 5|6".to_owned(),
            "6! 7,8,9 (3 fields, the header has 2)".to_owned(),
            "7! 10,\"11 (a quote is never closed)".to_owned(),
        ]
    );
}

#[test]
fn a_record_without_end_is_given_up_at_the_limit() {
    let text = format!("a,b\n1,\"{}\n2,3\n", "x".repeat(RECORD_BYTES_MAX + 10));
    let mut csv = Csv::new(Box::new(std::io::Cursor::new(text)), "test");
    assert!(matches!(csv.next(None).unwrap(), Next::Record { line: 1 }));
    let Next::Broken { line: 2, reason } = csv.next(Some(2)).unwrap() else { panic!("a broken record") };
    assert_eq!(reason, "no end within 16777216 bytes");
    assert!(csv.buffer.len() <= 4 * RECORD_BYTES_MAX);
}

#[test]
fn bytes_that_are_no_text_cost_their_record() {
    let mut csv = Csv::new(Box::new(std::io::Cursor::new(b"a\n\xff\xfe\nb\n".to_vec())), "test");
    for (line, is_text) in [(1, true), (2, false), (3, true)] {
        assert!(matches!(csv.next(None).unwrap(), Next::Record { line: found } if found == line));
        assert_eq!(csv.record().is_some(), is_text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_global_rejects: 100_000, ..ProptestConfig::with_cases(3000) })]

    #[test]
    fn records_are_those_of_csv_core(text in r#"([a-zé]{0,12}|"([a-z,\n]|""){0,12}"|[a-z]"|,|,|,|\n|\r\n){0,40}"#) {
        // A quote that never closes is broken here, and the rest of the file there.
        prop_assume!(!records(&text, None).iter().any(|record| record.contains('!')));
        let wanted: Vec<String> = reference(&text).iter().map(|fields| fields.join("|")).collect();
        let found: Vec<String> = records(&text, None).iter().map(|r| r.split_once(": ").unwrap().1.to_owned()).collect();
        prop_assert_eq!(found, wanted);
    }
}
