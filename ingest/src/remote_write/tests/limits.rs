//! Limits of series: what is refused and what is kept, what is said about it, and that made-up names cost no memory.

use axum::http::StatusCode;

use super::{NOW_MS, admission::Receiver, http::Server, limits, messages};
use crate::remote_write::{
    Config, Limits, Reason, Refused, Rules,
    refused::{METRICS_MAX, Worst},
};

fn numbered(metric: &str, numbers: std::ops::Range<usize>) -> Vec<messages::v1::TimeSeries> {
    let series = |n: usize| messages::v1::series(&[("__name__", metric), ("n", &n.to_string())], &[(NOW_MS, 1.0)]);
    numbers.map(series).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metric_with_too_many_series_is_named_with_its_limit_and_the_rest_is_kept() {
    let server = Server::start_with(Config { series_per_metric_max: 3, ..Config::default() }).await;
    let mut request = numbered("bomb", 0..5);
    request.extend(numbered("good", 0..2));
    let answer = server.v1(request.clone()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    for said in [
        "no new series of this metric is taken",
        "raise remote_write.series_per_metric_max",
        "metric=\"bomb\" series_per_metric_max=3",
        "rejected=2 samples_written=5",
    ] {
        assert!(answer.text.contains(said), "{said} in {}", answer.text);
    }
    assert_eq!(server.rows(schemas::samples()), 5);
    assert_eq!(server.counter("series_refused_total", &[("limit", "series_per_metric_max")]), 2.0);
    assert_eq!(server.counter("series_refused_metric", &[("metric", "bomb")]), 2.0);
    assert_eq!(server.counter("series", &[]), 5.0);
    // Those within the limit go on.
    assert_eq!(server.v1(numbered("bomb", 0..3)).await.status, StatusCode::NO_CONTENT);
    server.v1(request).await;
    assert_eq!(server.counter("series_refused_metric", &[("metric", "bomb")]), 4.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_refuses_new_series_with_400_and_keeps_the_known_ones() {
    let server = Server::start_with(Config { series_max: 3, ..Config::default() }).await;
    assert_eq!(server.counter("series_max", &[]), 3.0);
    assert_eq!(server.v1(numbered("up", 0..3)).await.status, StatusCode::NO_CONTENT);
    // Only new ones, and some of each: never 429, see `admit`.
    for numbers in [3..5, 0..5] {
        let answer = server.v1(numbered("up", numbers)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.text.contains("raise remote_write.series_max"), "{}", answer.text);
        assert!(answer.text.contains("metric=\"up\" series_max=3"), "{}", answer.text);
    }
    assert_eq!(server.v1(numbered("up", 0..3)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.counter("series_refused_total", &[("limit", "series_max")]), 4.0);
    assert_eq!(server.counter("series_refused_total", &[("limit", "series_per_metric_max")]), 0.0);
    assert_eq!(server.counter("remote_write_rejected_total", &[("reason", "series_limit")]), 4.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_set_lower_keeps_what_is_stored() {
    let mut server = Server::start().await;
    server.v1(numbered("up", 0..5)).await;
    server.config.series_per_metric_max = 2;
    server = server.restart().await;
    assert_eq!(server.v1(numbered("up", 0..5)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.v1(numbered("up", 0..6)).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(server.rows(schemas::series()), 5);
}

#[test]
fn a_limit_counts_series_as_relabelling_leaves_them() {
    let mut relabel = crate::remote_write::Relabel::none();
    let rule = crate::remote_write::RelabelRule {
        action: crate::remote_write::Action::LabelDrop,
        regex: "n".into(),
        ..Default::default()
    };
    relabel.add(&rule).unwrap();
    let limits = Limits { series_per_metric_max: 1, ..limits() };
    let report = Receiver::with(limits, Rules { relabel, ..Rules::default() }).v1(numbered("up", 0..100)).report;
    assert_eq!((report.rejects.total(), report.samples_written), (0, 100));
    let report = Receiver::with(limits, Rules::default()).v1(numbered("up", 0..100)).report;
    assert_eq!(report.rejects.counts[Reason::MetricLimit as usize], 99);
}

#[test]
fn a_label_bomb_does_not_fill_the_memory() {
    let limits = Limits { series_max: 2_000, series_per_metric_max: 1_000, ..limits() };
    let mut receiver = Receiver::with(limits, Rules::default());
    let mut worst = Worst::default();
    let mut shown = std::collections::BTreeSet::new();
    let mut show = |report: &crate::remote_write::Report, worst: &mut Worst| {
        assert!(report.refused.metrics.len() <= METRICS_MAX);
        worst.add(&report.refused, |metric, count| {
            assert!(metric.len() <= 200);
            if count.is_some() {
                shown.insert(metric.to_owned())
            } else {
                shown.remove(metric)
            };
        });
        assert!(shown.len() <= METRICS_MAX);
    };
    // One metric with a label that never repeats; then metrics that never repeat, with long names.
    for round in 0..100 {
        let report = receiver.v1(numbered("bomb", round * 1_000..(round + 1) * 1_000)).report;
        show(&report, &mut worst);
    }
    let long = "x".repeat(1_000);
    for round in 0..100 {
        let names: Vec<String> = (0..1_000).map(|n| format!("m{round}_{n}_{long}")).collect();
        let series = names.iter().map(|name| messages::v1::series(&[("__name__", name)], &[(NOW_MS, 1.0)]));
        let report = receiver.v1(series.collect()).report;
        show(&report, &mut worst);
    }
    let index = &receiver.admission.index;
    assert_eq!((index.len(), index.slots.len(), index.metrics()), (2_000, 2_000, 1_001));
    assert!(index.forms() <= 2_000);
    assert!(shown.contains("bomb"), "who is refused all the time stays: {shown:?}");
}

#[test]
fn the_log_is_told_once_a_minute_and_the_worst_stay_in_the_table() {
    let refused = |metric: &str, count: usize| {
        let mut refused = Refused::default();
        (0..count).for_each(|_| refused.add(metric, Reason::MetricLimit));
        refused
    };
    let mut worst = Worst::default();
    assert_eq!(worst.tell(NOW_MS), None);
    worst.add(&refused("a", 100), |_, _| {});
    assert_eq!(worst.tell(NOW_MS), Some(100));
    let mut last = std::collections::BTreeMap::new();
    for n in 0..1_000 {
        worst.add(&refused(&format!("m{n}"), 1), |metric, count| match count {
            Some(count) => drop(last.insert(metric.to_owned(), count)),
            None => drop(last.remove(metric)),
        });
        assert_eq!(worst.tell(NOW_MS + 59_999), None);
    }
    assert_eq!(worst.tell(NOW_MS + 60_000), Some(1_000));
    assert_eq!(worst.tell(NOW_MS + 180_000), None, "nothing new");
    worst.add(&refused("a", 1), |metric, count| assert_eq!((metric, count), ("a", Some(101))));
    assert!(last.len() <= METRICS_MAX && last.contains_key("m999"));
    assert!(Refused::default().total() == 0 && refused("b", 3).total() == 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_samples_are_acknowledged_counted_and_not_written() {
    let mut relabel = crate::remote_write::Relabel::none();
    let rule = crate::remote_write::RelabelRule {
        action: crate::remote_write::Action::Drop,
        source_labels: vec!["__name__".into()],
        regex: "go_.*".into(),
        ..Default::default()
    };
    relabel.add(&rule).unwrap();
    let config = Config { rules: Rules { relabel, ..Rules::default() }, ..Config::default() };
    let server = Server::start_with(config).await;
    let mut request = messages::v2::Request::empty();
    request.add(&[("__name__", "go_threads")]).sample(NOW_MS, 1.0).sample(NOW_MS + 1, 1.0);
    for _ in 0..2 {
        let answer = server.v2(&request).await;
        // The headers say that nothing has to be sent again; a success without any written is an error to a sender.
        assert_eq!((answer.status, answer.written()), (StatusCode::NO_CONTENT, Some([2, 0, 0])));
    }
    assert_eq!(server.rows(schemas::samples()) + server.rows(schemas::series()), 0);
    assert_eq!(server.counter("remote_write_samples_written_total", &[]), 0.0);
    assert_eq!(server.counter("remote_write_dropped_total", &[("reason", "relabel")]), 4.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_by_an_hour_loses_nothing() {
    use std::sync::atomic::Ordering;
    const HOUR_MS: i64 = super::HOUR_MS;

    let server = Server::start().await;
    let mut sent = 0;
    // The clock is right, an hour behind, right, an hour ahead, right; senders' clocks are right all the time. Midnight is
    // crossed as well, where series are registered and forgotten.
    for minute in (0..13 * 60).step_by(7) {
        let step = [0, -HOUR_MS, 0, HOUR_MS, 0][usize::try_from(minute / 170).unwrap().min(4)];
        let true_ms = NOW_MS + minute * 60_000;
        server.now_us.store((true_ms + step) * 1000, Ordering::Relaxed);
        let answer = server.v1(super::http::up(&[(minute * 60_000, 1.0)])).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "minute {minute}: {}", answer.text);
        sent += 1;
    }
    assert_eq!(server.rows(schemas::samples()), sent);
    // What is ahead of every clock is refused all the same.
    let answer = server.v1(super::http::up(&[(24 * HOUR_MS, 1.0)])).await;
    assert!(answer.text.contains("timestamp is too far in the future"), "{}", answer.text);
}
