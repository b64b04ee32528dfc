//! Admission: lanes, repetitions, days, limits, and the rows that come of them.

use std::sync::Arc;

use arrow::{
    array::{AsArray as _, RecordBatch},
    datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType},
    util::pretty::pretty_format_batches,
};
use proptest::prelude::*;
use prost::Message as _;
use storage::{Lane, Write};

use super::{HOUR_MS, NOW_MS, limits, messages, window};
use crate::remote_write::{
    Admission, Admitted, Decoded, Limits, Located, Reason, Report, Request, Rules, Version, Window,
    series_index::DAY_MS,
};

/// Admission under test, with a clock of its own.
pub(super) struct Receiver {
    pub(super) admission: Admission,
    pub(super) now_ms: i64,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self::with(limits(), Rules::default())
    }

    pub(super) fn with_rules(rules: Rules) -> Self {
        Self::with(limits(), rules)
    }

    pub(super) fn with(limits: Limits, rules: Rules) -> Self {
        Self { admission: Admission::new(limits, &window()).with_rules(Arc::new(rules)), now_ms: NOW_MS }
    }

    pub(super) fn body(&mut self, version: Version, body: &[u8]) -> Admitted {
        let mut decoded = Decoded::default();
        decoded.read(version, body).unwrap();
        let window = Window::at(self.now_ms, &limits());
        self.admission.take(Request { body, decoded: &decoded }, &window, &mut Located::default()).unwrap()
    }

    pub(super) fn v1(&mut self, timeseries: Vec<messages::v1::TimeSeries>) -> Admitted {
        self.body(Version::V1, &messages::v1::WriteRequest { timeseries, metadata: Vec::new() }.encode_to_vec())
    }

    pub(super) fn v2(&mut self, request: &messages::v2::Request) -> Admitted {
        self.body(Version::V2, &request.encode_to_vec())
    }

    /// One series `up{job="a"}` with samples so many milliseconds after noon.
    fn up(&mut self, samples: &[(i64, f64)]) -> Admitted {
        let samples: Vec<_> = samples.iter().map(|(after, value)| (NOW_MS + after, *value)).collect();
        self.v1(vec![messages::v1::series(&[("__name__", "up"), ("job", "a")], &samples)])
    }
}

/// Rows of a dataset in a lane.
pub(super) fn rows(admitted: &Admitted, dataset: &str, lane: Lane) -> Option<RecordBatch> {
    let mut found = admitted.batches.iter().filter_map(|batch| match &batch.write {
        Write::Append(rows, in_lane) if batch.dataset.name == dataset && *in_lane == lane => Some(rows.clone()),
        _ => None,
    });
    let rows = found.next();
    assert!(found.next().is_none(), "more than one batch of {dataset}");
    rows
}

/// Milliseconds after noon and values of the samples of a lane.
fn samples(admitted: &Admitted, lane: Lane) -> Vec<(i64, f64)> {
    let Some(rows) = rows(admitted, "samples", lane) else { return Vec::new() };
    let ts = rows.column_by_name("ts").unwrap().as_primitive::<TimestampMicrosecondType>();
    let values = rows.column_by_name("value").unwrap().as_primitive::<Float64Type>();
    (0..rows.num_rows()).map(|row| (ts.value(row) / 1000 - NOW_MS, values.value(row))).collect()
}

/// Days of the rows of `series`, counted from today.
fn days(admitted: &Admitted, lane: Lane) -> Vec<i32> {
    let Some(rows) = rows(admitted, "series", lane) else { return Vec::new() };
    let days = rows.column_by_name("day").unwrap().as_primitive::<Date32Type>();
    days.values().iter().map(|day| day - i32::try_from(NOW_MS / DAY_MS).unwrap()).collect()
}

fn written(report: &Report) -> (u64, u64, u64) {
    (report.samples_written, report.duplicates, report.late)
}

#[test]
fn newer_samples_go_in_order_and_older_ones_late() {
    let mut receiver = Receiver::new();
    let first = receiver.up(&[(0, 1.0), (10, 2.0), (5, 3.0), (20, 4.0)]);
    assert_eq!(samples(&first, Lane::InOrder), [(0, 1.0), (10, 2.0), (20, 4.0)]);
    assert_eq!(samples(&first, Lane::Late), [(5, 3.0)]);
    let second = receiver.up(&[(15, 5.0), (30, 6.0)]);
    assert_eq!(samples(&second, Lane::InOrder), [(30, 6.0)]);
    assert_eq!(samples(&second, Lane::Late), [(15, 5.0)]);
    assert_eq!(written(&second.report), (2, 0, 1));
    assert_eq!(second.report.rejects.total(), 0);
}

#[test]
fn a_sample_sent_again_is_written_and_not_stored() {
    let mut receiver = Receiver::new();
    receiver.up(&[(0, 1.0)]);
    let again = receiver.up(&[(0, 1.0)]);
    assert!(again.batches.is_empty());
    assert_eq!(written(&again.report), (1, 1, 0));
}

#[test]
fn another_value_at_the_same_time_goes_late_and_is_what_a_repetition_must_equal() {
    let mut receiver = Receiver::new();
    receiver.up(&[(0, 1.0)]);
    assert_eq!(samples(&receiver.up(&[(0, 2.0)]), Lane::Late), [(0, 2.0)]);
    assert!(receiver.up(&[(0, 2.0)]).batches.is_empty());
    assert_eq!(samples(&receiver.up(&[(0, 1.0)]), Lane::Late), [(0, 1.0)]);
}

#[test]
fn nan_keeps_its_bits_and_repeats_by_its_bits() {
    let mut receiver = Receiver::new();
    let (stale, other) = (0x7ff0_0000_0000_0002, 0x7ff8_0000_0000_0001);
    let admitted = receiver.up(&[(0, f64::from_bits(stale)), (1, f64::from_bits(other))]);
    let rows = rows(&admitted, "samples", Lane::InOrder).unwrap();
    let values = rows.column_by_name("value").unwrap().as_primitive::<Float64Type>();
    assert_eq!([values.value(0).to_bits(), values.value(1).to_bits()], [stale, other]);
    assert!(receiver.up(&[(1, f64::from_bits(other))]).batches.is_empty());
    assert_eq!(receiver.up(&[(1, f64::from_bits(stale))]).report.late, 1);
}

#[test]
fn other_orders_and_messages_are_the_same_series() {
    let mut receiver = Receiver::new();
    receiver.up(&[(0, 1.0)]);
    let turned = messages::v1::series(&[("job", "a"), ("__name__", "up")], &[(NOW_MS, 1.0)]);
    assert_eq!(receiver.v1(vec![turned]).report.duplicates, 1);
    let mut request = messages::v2::Request::empty();
    request.symbol("in between, so that the numbers differ");
    request.add(&[("__name__", "up"), ("job", "a")]).sample(NOW_MS, 1.0);
    assert_eq!(receiver.v2(&request).report.duplicates, 1);
    assert_eq!(receiver.admission.series(), 1);
}

#[test]
fn a_series_repeated_in_a_request_is_one_series() {
    let mut receiver = Receiver::new();
    let series = |after| messages::v1::series(&[("__name__", "up")], &[(NOW_MS + after, 1.0)]);
    let admitted = receiver.v1(vec![series(0), series(5), series(0)]);
    assert_eq!(samples(&admitted, Lane::InOrder), [(0, 1.0), (5, 1.0)]);
    assert_eq!(samples(&admitted, Lane::Late), [(0, 1.0)]);
    assert_eq!(days(&admitted, Lane::InOrder), [0]);
}

#[test]
fn each_day_of_a_series_has_one_row() {
    let mut receiver = Receiver::new();
    let admitted = receiver.up(&[(-DAY_MS, 1.0), (-DAY_MS + 1, 1.0), (0, 1.0)]);
    assert_eq!(days(&admitted, Lane::InOrder), [-1, 0]);
    assert_eq!(days(&receiver.up(&[(1, 1.0)]), Lane::InOrder), [] as [i32; 0]);
    // Of the days before yesterday not every series is known, so their rows may be there already.
    let old = receiver.up(&[(-40 * DAY_MS, 1.0), (-40 * DAY_MS, 2.0)]);
    assert_eq!((days(&old, Lane::InOrder), days(&old, Lane::Late)), (vec![], vec![-40]));
    assert_eq!(receiver.up(&[(-40 * DAY_MS, 3.0)]).batches.len(), 1, "the row of that day is known now");
}

#[test]
fn the_rows_of_a_request_have_the_schemas_of_their_datasets() {
    let mut receiver = Receiver::new();
    let mut request = messages::v2::Request::empty();
    let (help, unit) = (request.symbol("Requests."), request.symbol("seconds"));
    let trace = request.refs(&[("trace_id", "abc")]);
    let series = request.add(&[("path", "/"), ("__name__", "requests"), ("job", "api")]);
    series.samples.push(messages::v2::Sample { value: 1.5, timestamp: NOW_MS, start_timestamp: NOW_MS - HOUR_MS });
    series.exemplars.push(messages::v2::Exemplar { labels_refs: trace, value: 0.5, timestamp: NOW_MS - 1 });
    series.metadata = Some(messages::v2::Metadata { r#type: 1, help_ref: help, unit_ref: unit });
    let series = request.add(&[("__name__", "latency")]);
    series.histograms.push(messages::Histogram { start_timestamp: NOW_MS - 5, ..messages::int_histogram(NOW_MS) });
    series.histograms.push(messages::float_histogram(NOW_MS + 1));
    series.histograms.push(messages::custom_histogram(NOW_MS + 2));
    request.add(&[("__name__", "up")]).sample(NOW_MS, 0.0);
    let admitted = receiver.v2(&request);
    let mut text = String::new();
    for batch in &admitted.batches {
        let Write::Append(rows, lane) = &batch.write else { panic!("not an append") };
        assert_eq!(rows.schema(), batch.dataset.schema);
        text += &format!(
            "{} {lane:?}\n{}\n",
            batch.dataset.name,
            pretty_format_batches(std::slice::from_ref(rows)).unwrap()
        );
    }
    insta::assert_snapshot!(text);
}

#[test]
fn samples_outside_the_window_are_refused_and_their_neighbours_kept() {
    let mut receiver = Receiver::new();
    let admitted = receiver.up(&[
        (-91 * DAY_MS, 1.0),
        (-89 * DAY_MS, 2.0),
        (600_000, 3.0),
        (600_001, 4.0),
        (i64::MAX - NOW_MS, 5.0),
    ]);
    assert_eq!(samples(&admitted, Lane::InOrder), [(600_000, 3.0)]);
    assert_eq!(samples(&admitted, Lane::Late), [(-89 * DAY_MS, 2.0)]);
    let rejects = &admitted.report.rejects;
    assert_eq!((rejects.counts[Reason::TooOld as usize], rejects.counts[Reason::TooNew as usize]), (1, 2));
    let first = rejects.first().unwrap();
    assert_eq!(first, r#"timestamp is older than the retention: series="{__name__=up, job=a}""#);
}

#[test]
fn a_bad_series_costs_no_neighbour() {
    let mut receiver = Receiver::new();
    let good = |name| messages::v1::series(&[("__name__", name)], &[(NOW_MS, 1.0)]);
    let nameless = messages::v1::series(&[("job", "<script>\n\"")], &[(NOW_MS, 1.0), (NOW_MS, 2.0)]);
    let admitted =
        receiver.v1(vec![good("a"), nameless, good("b"), messages::v1::series(&[], &[(NOW_MS, 1.0)]), good("c")]);
    assert_eq!(admitted.report.samples_written, 3);
    assert_eq!(admitted.report.rejects.counts[Reason::NameMissing as usize], 3);
    let first = admitted.report.rejects.first().unwrap();
    assert_eq!(first, r#"series has no label __name__: series="{job=<script>\n\"}""#);
    assert_eq!(receiver.admission.series(), 3);
}

#[test]
fn a_series_of_version_2_has_samples_or_histograms_and_not_both() {
    let mut receiver = Receiver::new();
    let mut request = messages::v2::Request::empty();
    request.add(&[("__name__", "both")]).sample(NOW_MS, 1.0).histograms.push(messages::int_histogram(NOW_MS));
    request.add(&[("__name__", "neither")]);
    request.add(&[("__name__", "metadata_only")]).metadata =
        Some(messages::v2::Metadata { r#type: 1, help_ref: 0, unit_ref: 0 });
    let trace = request.refs(&[("trace_id", "abc")]);
    request.add(&[("__name__", "exemplar_only")]).exemplars =
        vec![messages::v2::Exemplar { labels_refs: trace, value: 1.0, timestamp: NOW_MS }];
    let report = receiver.v2(&request).report;
    assert_eq!(report.rejects.counts[Reason::Series as usize], 3);
    assert_eq!((report.samples_written, report.histograms_written, report.exemplars_written), (0, 0, 1));
    assert_eq!(report.metadata_written, 1);
}

#[test]
fn tomorrows_rows_are_written_one_by_one_over_the_last_hour() {
    let mut receiver = Receiver::new();
    let midnight = 12 * HOUR_MS;
    let all = |now: i64| -> Vec<_> {
        (0..2000)
            .map(|n| messages::v1::series(&[("__name__", "up"), ("n", &n.to_string())], &[(NOW_MS + now, 1.0)]))
            .collect()
    };
    let tomorrow = |admitted: &Admitted| days(admitted, Lane::InOrder).iter().filter(|day| **day == 1).count();
    let mut registered = Vec::new();
    for minutes in [61, 45, 30, 15, 1] {
        receiver.now_ms = NOW_MS + midnight - minutes * 60_000;
        registered.push(tomorrow(&receiver.v1(all(midnight - minutes * 60_000))));
    }
    assert_eq!(registered[0], 0);
    assert!(registered[1..4].iter().all(|count| (400..600).contains(count)), "{registered:?}");
    receiver.now_ms = NOW_MS + midnight + 1;
    let after = tomorrow(&receiver.v1(all(midnight)));
    assert!(after < 100, "{after} rows in a burst");
    assert_eq!(registered.iter().sum::<usize>() + after, 2000);
}

#[test]
fn series_not_seen_for_two_days_are_forgotten_and_come_back_as_new() {
    let mut receiver = Receiver::new();
    receiver.up(&[(0, 1.0)]);
    receiver.now_ms += 2 * DAY_MS;
    receiver.v1(vec![messages::v1::series(&[("__name__", "other")], &[(receiver.now_ms, 1.0)])]);
    assert_eq!(receiver.admission.series(), 1);
    let back = receiver.up(&[(2 * DAY_MS, 1.0), (0, 1.0)]);
    assert_eq!((days(&back, Lane::InOrder), days(&back, Lane::Late)), (vec![2], vec![0]));
    // The sample of two days ago is there already, and only the late lane may repeat it.
    assert_eq!((samples(&back, Lane::InOrder), samples(&back, Lane::Late)), (vec![(2 * DAY_MS, 1.0)], vec![(0, 1.0)]));
}

#[test]
fn a_histogram_and_a_sample_of_a_series_share_its_last_time() {
    let mut receiver = Receiver::new();
    let with = |histogram| messages::v1::TimeSeries {
        histograms: vec![histogram],
        ..messages::v1::series(&[("__name__", "up"), ("job", "a")], &[])
    };
    receiver.up(&[(10, 1.0)]);
    assert_eq!(receiver.v1(vec![with(messages::int_histogram(NOW_MS))]).report.late, 1);
    let newer = receiver.v1(vec![with(messages::int_histogram(NOW_MS + 20))]);
    assert_eq!((newer.report.late, newer.report.histograms_written), (0, 1));
    assert_eq!(receiver.v1(vec![with(messages::int_histogram(NOW_MS + 20))]).report.duplicates, 1);
    let other = messages::Histogram { sum: 1.0, ..messages::int_histogram(NOW_MS + 20) };
    assert_eq!(receiver.v1(vec![with(other)]).report.late, 1);
    let bad = messages::Histogram { count: Some(messages::Count::Int(1)), ..messages::int_histogram(NOW_MS + 30) };
    let admitted = receiver.v1(vec![with(bad)]);
    assert_eq!(admitted.report.rejects.counts[Reason::Histogram as usize], 1);
    assert!(admitted.batches.is_empty());
    assert_eq!(samples(&receiver.up(&[(25, 1.0)]), Lane::InOrder), [(25, 1.0)], "a refused histogram is not the last");
}

#[test]
fn a_repeated_exemplar_is_stored_once_and_older_ones_go_late() {
    let mut receiver = Receiver::new();
    let mut send = |exemplars: &[(i64, f64)]| {
        let exemplars = exemplars
            .iter()
            .map(|(after, value)| messages::v1::Exemplar {
                labels: vec![messages::v1::label("trace_id", "abc")],
                value: *value,
                timestamp: NOW_MS + after,
            })
            .collect();
        let series = messages::v1::TimeSeries { exemplars, ..messages::v1::series(&[("__name__", "up")], &[]) };
        let admitted = receiver.v1(vec![series]);
        let count = |lane| rows(&admitted, "exemplars", lane).map_or(0, |rows| rows.num_rows());
        (admitted.report.exemplars_written, count(Lane::InOrder), count(Lane::Late), admitted.report.duplicates)
    };
    assert_eq!(send(&[(0, 1.0), (5, 1.0), (3, 1.0)]), (3, 2, 1, 0));
    assert_eq!(send(&[(5, 1.0)]), (1, 0, 0, 1));
    assert_eq!(send(&[(5, 2.0)]), (1, 0, 1, 0));
    assert_eq!(send(&[(6, f64::NAN)]), (1, 1, 0, 0));
}

#[test]
fn metadata_is_written_when_it_changes_and_not_more_often_than_once_a_minute() {
    let mut receiver = Receiver::new();
    let send = |receiver: &mut Receiver, help: &str| {
        let metadata = vec![messages::v1::MetricMetadata {
            r#type: 2,
            metric_family_name: "up".into(),
            help: help.into(),
            unit: String::new(),
        }];
        let body = messages::v1::WriteRequest { timeseries: Vec::new(), metadata }.encode_to_vec();
        receiver.body(Version::V1, &body).report.metadata_written
    };
    assert_eq!(send(&mut receiver, "Is it up?"), 1);
    assert_eq!(send(&mut receiver, "Is it up?"), 0);
    assert_eq!(send(&mut receiver, "Is it?"), 0);
    receiver.now_ms += 60_000;
    assert_eq!(send(&mut receiver, "Is it?"), 1);
    // Version 2 says the same with a series, of the same family.
    let mut request = messages::v2::Request::empty();
    let help = request.symbol("Is it?");
    let series = request.add(&[("__name__", "up")]);
    series.sample(NOW_MS, 1.0).metadata = Some(messages::v2::Metadata { r#type: 2, help_ref: help, unit_ref: 0 });
    receiver.now_ms += 60_000;
    assert_eq!(receiver.v2(&request).report.metadata_written, 0);
}

#[test]
fn labels_read_before_the_lock_are_not_needed_by_series_known_meanwhile() {
    // Two requests with the same new series, both located before either is admitted.
    let mut receiver = Receiver::new();
    let body = |after: i64| {
        let timeseries = vec![messages::v1::series(&[("__name__", "up")], &[(NOW_MS + after, 1.0)])];
        messages::v1::WriteRequest { timeseries, metadata: Vec::new() }.encode_to_vec()
    };
    let (first, second) = (body(0), body(1));
    let (window, limits) = (window(), limits());
    let mut decoded = [Decoded::default(), Decoded::default()];
    decoded[0].read(Version::V1, &first).unwrap();
    decoded[1].read(Version::V1, &second).unwrap();
    let requests = [Request { body: &first, decoded: &decoded[0] }, Request { body: &second, decoded: &decoded[1] }];
    let mut days_written = Vec::new();
    let mut prepared = requests.map(|request| {
        let mut located = Located::default();
        receiver.admission.locate(request, &window, &mut located);
        assert!(located.wants_labels());
        let mut labels = crate::remote_write::Labels::new(request, &limits, &Arc::default());
        labels.read(&located);
        (request, located, labels)
    });
    for (request, located, labels) in &mut prepared {
        receiver.admission.locate(*request, &window, located);
        let admitted = receiver.admission.admit(*request, located, labels, &window).unwrap();
        days_written.extend(days(&admitted, Lane::InOrder));
        assert_eq!(samples(&admitted, Lane::InOrder).len(), 1);
    }
    assert_eq!(days_written, [0]);
}

#[test]
fn references_to_one_long_symbol_do_not_multiply_into_memory() {
    let mut receiver = Receiver::new();
    let mut request = messages::v2::Request::empty();
    let long = "x".repeat(8000);
    let names: Vec<String> = (0..90).map(|n| format!("l{n}")).collect();
    for n in 0..400 {
        let number = n.to_string();
        let mut labels: Vec<_> = names.iter().map(|name| (name.as_str(), long.as_str())).collect();
        labels.extend([("__name__", "bomb"), ("n", &number)]);
        request.add(&labels).sample(NOW_MS, 1.0);
    }
    let body = request.encode_to_vec();
    assert!(body.len() < 200_000, "{} bytes stand for 288 MB of labels", body.len());
    let report = receiver.body(Version::V2, &body).report;
    assert!(report.rejects.counts[Reason::LabelLimit as usize] > 200, "{report:?}");
    assert_eq!(report.samples_written + report.rejects.total(), 400);
}

proptest! {
    /// Whatever is sent in whatever order: in-order rows rise, and late rows never are newer than all before.
    #[test]
    fn the_lanes_keep_their_promise(
        requests in proptest::collection::vec(proptest::collection::vec((0u8..4, -20i64..20, 0u8..3), 1..12), 1..8),
    ) {
        let mut receiver = Receiver::new();
        let mut last = std::collections::HashMap::new();
        let mut table = std::collections::HashMap::new();
        let mut model = std::collections::HashMap::new();
        for request in requests {
            let mut timeseries = Vec::new();
            for (series, after, value) in request {
                let labels = [("__name__", "up"), ("n", &*series.to_string())];
                timeseries.push(messages::v1::series(&labels, &[(NOW_MS + after, f64::from(value))]));
                let id = crate::remote_write::labels::identity("up", [("n", &*series.to_string())].into_iter()).series_id;
                model.insert((id, after), f64::from(value));
            }
            let count = timeseries.len();
            let admitted = receiver.v1(timeseries);
            prop_assert_eq!(usize::try_from(admitted.report.samples_written).unwrap(), count);
            for lane in [Lane::InOrder, Lane::Late] {
                let Some(rows) = rows(&admitted, "samples", lane) else { continue };
                let ids = rows.column_by_name("series_id").unwrap().as_primitive::<Int64Type>();
                for (row, (after, value)) in samples(&admitted, lane).into_iter().enumerate() {
                    let last = last.entry(ids.value(row)).or_insert(i64::MIN);
                    prop_assert_eq!(lane == Lane::InOrder, after > *last);
                    *last = after.max(*last);
                    table.insert((ids.value(row), after), value);
                }
            }
        }
        // Repetitions left out, late rows over earlier ones: the table is what was sent last.
        prop_assert_eq!(table, model);
    }
}
