//! Imports from a server that answers remote read with a sample at the beginning of what it is asked for.

use super::*;

#[derive(Clone, PartialEq, Message)]
struct Question {
    #[prost(message, repeated, tag = "1")]
    queries: Vec<Times>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Times {
    #[prost(int64, tag = "1")]
    first_ms: i64,
    #[prost(int64, tag = "2")]
    last_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(message, repeated, tag = "1")]
    results: Vec<Found>,
}

#[derive(Clone, PartialEq, Message)]
struct Found {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<wire::v1::TimeSeries>,
}

/// The answer to a message, compressed. Notes what was asked for.
pub(super) fn answer(body: &[u8], asked: &mut Vec<(i64, i64)>) -> Vec<u8> {
    let times = Question::decode(body).unwrap().queries[0];
    asked.push((times.first_ms, times.last_ms));
    let labels = vec![wire::v1::Label { name: "__name__".into(), value: "read".into() }];
    let samples = vec![wire::v1::Sample { value: 1.0, timestamp: times.first_ms }];
    let series = wire::v1::TimeSeries { labels, samples, ..wire::v1::TimeSeries::default() };
    let answer = Answer { results: vec![Found { timeseries: vec![series] }] };
    snap::raw::Encoder::new().compress_vec(&answer.encode_to_vec()).unwrap()
}

#[test]
fn what_ended_within_the_last_hour_is_read_again() {
    const HOUR_MS: i64 = 3_600_000;
    let folder = tempfile::tempdir().unwrap();
    let (from, asked) = server(&[]);
    let (to, heard) = server(&[]);
    let now_ms = app::env().clock.now_us() / 1000;
    let (start, end) = ((now_ms - 9 * HOUR_MS) / 1000, (now_ms - HOUR_MS / 2) / 1000);
    let state = folder.path().join("state.json");
    // The end is the same each time, so that the last slice is.
    let more = ["--state", state.to_str().unwrap(), "--start", &start.to_string(), "--end", &end.to_string()];
    let source = from.replace("http://", "Http://me:s3cret@");
    let first = run_with(&source, &to, &more, "").unwrap();
    assert!((4..=6).contains(&first.taken.samples), "{}", first.taken.samples);
    let whole = std::mem::take(&mut asked.lock().unwrap().asked);
    assert_eq!(u64::try_from(whole.len()), Ok(first.taken.samples));
    let again = run_with(&source, &to, &more, "").unwrap();
    // One or two, as slices begin at even hours.
    let late: Vec<_> = whole.iter().copied().filter(|(_, last_ms)| *last_ms >= now_ms - HOUR_MS).collect();
    let asked = asked.lock().unwrap();
    assert_eq!(asked.asked, late);
    assert!(late.len() < whole.len() && late.last() == whole.last());
    assert_eq!((usize::try_from(again.taken.samples), again.nothing_new), (Ok(late.len()), false));
    assert!(asked.authorizations.iter().all(|asks| asks == "Basic bWU6czNjcmV0"), "{:?}", asked.authorizations);
    assert!(!fs::read_to_string(&state).unwrap().contains("s3cret"));
    assert_eq!(heard.lock().unwrap().times["__name__ read"].len(), whole.len() + late.len());
}
