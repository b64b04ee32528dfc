//! HA pairs over the endpoint, with a clock that the test moves: whose turn it is, fail-over, mixed requests.

use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use storage::Lane;

use super::{
    NOW_MS,
    http::{Answer, Server},
    messages,
};
use crate::remote_write::{Config, ReplicaLabels, Rules};

fn config() -> Config {
    Config { rules: Rules { ha: Some(ReplicaLabels::default()), ..Rules::default() }, ..Config::default() }
}

async fn start() -> Server {
    Server::start_with(config()).await
}

fn series(cluster: &str, replica: &str, metric: &str, after: i64) -> messages::v1::TimeSeries {
    let labels = [("__name__", metric), ("__replica__", replica), ("cluster", cluster)];
    messages::v1::series(&labels, &[(NOW_MS + after, 1.0)])
}

impl Server {
    fn clock(&self, after_ms: i64) {
        self.now_us.store((NOW_MS + after_ms) * 1000, Ordering::Relaxed);
    }

    /// What a replica of cluster `c` sends at a time.
    async fn from(&self, replica: &str, after: i64) -> Answer {
        self.clock(after);
        self.v1(vec![series("c", replica, "up", after), series("c", replica, "load", after)]).await
    }

    fn times(&self) -> Vec<i64> {
        self.samples().into_iter().map(|(after, ..)| after).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_is_taken_and_what_the_other_sends_is_acknowledged_and_left() {
    let server = start().await;
    for after in [0, 10_000, 20_000] {
        assert_eq!(server.from("a", after).await.status, StatusCode::NO_CONTENT);
        let left = server.from("b", after + 5_000).await;
        assert_eq!(left.status, StatusCode::ACCEPTED);
        let text = "left to the elected replica: cluster=\"c\" replica=\"b\" elected=\"a\"\n";
        assert_eq!(left.text, text);
    }
    assert_eq!(server.times(), [0, 10_000, 20_000]);
    assert_eq!(server.remote_write.0.admission.lock().series(), 2, "the replica is no part of a series");
    assert_eq!(server.counter("remote_write_samples_written_total", &[]), 6.0);
    assert_eq!(server.counter("remote_write_dropped_total", &[("reason", "replica")]), 6.0);
    assert_eq!(server.counter("remote_write_ha_clusters", &[]), 1.0);
    assert_eq!(server.counter("remote_write_ha_failovers_total", &[]), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_twenty_seconds_of_silence_the_next_that_sends_is_elected() {
    let server = start().await;
    server.from("a", 0).await;
    assert_eq!(server.from("b", 19_999).await.status, StatusCode::ACCEPTED);
    assert_eq!(server.from("b", 20_000).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.from("a", 25_000).await.status, StatusCode::ACCEPTED, "the first is back, and second");
    assert_eq!(server.from("b", 30_000).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.counter("remote_write_ha_failovers_total", &[]), 1.0);
    // Both were down: whoever comes first.
    assert_eq!(server.from("a", 300_000).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.counter("remote_write_ha_failovers_total", &[]), 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_both_sent_around_a_failover_is_stored_once() {
    let server = start().await;
    let both = [series("c", "b", "up", 0), series("c", "b", "up", 10_000), series("c", "b", "up", 20_000)];
    server.v1(vec![series("c", "a", "up", 0), series("c", "a", "up", 10_000)]).await;
    server.clock(31_000);
    // The second sends what it has queued, some of which the first had sent.
    assert_eq!(server.v1(both.to_vec()).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.samples(), [(0, 1.0, Lane::Late), (10_000, 1.0, Lane::InOrder), (20_000, 1.0, Lane::InOrder)]);
    assert_eq!(server.rows(schemas::series()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_the_labels_pass_unchanged() {
    let server = start().await;
    let one = |labels: &[(&str, &str)]| vec![messages::v1::series(labels, &[(NOW_MS, 1.0)])];
    for labels in [
        &[("__name__", "up")][..],
        &[("__name__", "up"), ("cluster", "c")],
        &[("__name__", "up"), ("__replica__", "b")],
        &[("__name__", "up"), ("__replica__", "b"), ("cluster", "")],
    ] {
        assert_eq!(server.v1(one(labels)).await.status, StatusCode::NO_CONTENT, "{labels:?}");
    }
    assert_eq!(
        server.remote_write.0.admission.lock().series(),
        3,
        "a replica without a cluster is a label like others"
    );
    assert_eq!(server.counter("remote_write_ha_clusters", &[]), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_are_elected_each_for_itself() {
    let server = start().await;
    for (cluster, replica, status) in [
        ("c1", "a", StatusCode::NO_CONTENT),
        ("c2", "b", StatusCode::NO_CONTENT),
        ("c1", "b", StatusCode::ACCEPTED),
        ("c2", "a", StatusCode::ACCEPTED),
    ] {
        assert_eq!(server.v1(vec![series(cluster, replica, "up", 0)]).await.status, status, "{cluster} {replica}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn version_2_is_told_that_nothing_is_missing() {
    let server = start().await;
    let send = |replica: &str, after: i64| {
        let mut request = messages::v2::Request::empty();
        for metric in ["up", "load"] {
            let labels = [("__name__", metric), ("__replica__", replica), ("cluster", "c")];
            request.add(&labels).sample(NOW_MS + after, 1.0);
        }
        request
    };
    let taken = server.v2(&send("a", 0)).await;
    assert_eq!((taken.status, taken.written()), (StatusCode::NO_CONTENT, Some([2, 0, 0])));
    let left = server.v2(&send("b", 5)).await;
    assert_eq!((left.status, left.written()), (StatusCode::ACCEPTED, Some([2, 0, 0])));
    assert_eq!(server.times(), [0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_mixes_senders_is_decided_series_by_series() {
    let server = start().await;
    server.v1(vec![series("c1", "a", "up", 0)]).await;
    server.v1(vec![series("c2", "b", "up", 1)]).await;
    let plain = |after: i64| messages::v1::series(&[("__name__", "plain")], &[(NOW_MS + after, 1.0)]);
    // The first series is another replica's turn, the rest is not; new series and known ones.
    for after in [10, 20, 30] {
        let mixed = vec![
            series("c1", "b", "up", after),
            series("c2", "b", "up", after + 1),
            series("c1", "a", "up", after + 2),
            plain(after + 3),
            series("c3", "x", "up", after + 4),
        ];
        assert_eq!(server.v1(mixed).await.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(server.times(), [0, 1, 11, 12, 13, 14, 21, 22, 23, 24, 31, 32, 33, 34]);
    // The first series is taken, and others are not: all of them known by now, so that no labels would have to be read.
    for after in [40, 50] {
        let mixed = vec![series("c1", "a", "up", after), series("c1", "b", "up", after + 1), plain(after + 2)];
        assert_eq!(server.v1(mixed).await.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(server.times()[14..], [40, 42, 50, 52]);
    // The first series is of nobody.
    server.v1(vec![plain(60), series("c1", "b", "up", 61), series("c1", "a", "up", 62)]).await;
    assert_eq!(server.times()[18..], [60, 62]);
    // All of the others: what is left is acknowledged like a part that was dropped.
    let left = vec![series("c1", "b", "up", 70), series("c2", "a", "up", 71)];
    assert_eq!(server.v1(left).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.times().len(), 20);
    assert_eq!(server.counter("remote_write_dropped_total", &[("reason", "replica")]), 8.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_neither_freezes_an_election_nor_starts_one() {
    let server = start().await;
    server.from("a", 0).await;
    assert_eq!(server.from("b", 1_000).await.status, StatusCode::ACCEPTED);
    for (replica, after, status) in [
        ("a", -3_600_000, StatusCode::NO_CONTENT),
        ("b", -3_599_000, StatusCode::ACCEPTED),
        ("b", -3_570_000, StatusCode::NO_CONTENT),
    ] {
        assert_eq!(server.from(replica, after).await.status, status, "{replica} {after}");
    }
    // So large a step is believed; an elected replica heard in the future that was is heard now.
    assert_eq!(server.from("a", -10 * 3_600_000).await.status, StatusCode::ACCEPTED);
    assert_eq!(server.from("a", -10 * 3_600_000 + 20_000).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_elects_who_comes_first() {
    let mut server = start().await;
    server.from("a", 0).await;
    server = server.restart().await;
    assert_eq!(server.from("b", 1_000).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.from("a", 2_000).await.status, StatusCode::ACCEPTED);
    assert_eq!(server.remote_write.0.admission.lock().series(), 2);
}

#[test]
fn clusters_made_up_without_end_do_not_fill_the_memory() {
    use prost::Message as _;

    use crate::remote_write::{
        Request, Version,
        ha::{Elections, Heard},
        tests::decode,
    };
    let mut elections = Elections::new(ReplicaLabels::default(), 100);
    let mut hear = |cluster: &str, replica: &str, now_ms| {
        let timeseries = vec![series(cluster, replica, "up", 0)];
        let body = messages::v1::WriteRequest { timeseries, metadata: Vec::new() }.encode_to_vec();
        let decoded = decode(Version::V1, &body).unwrap();
        let heard = elections.hear(Request { body: &body, decoded: &decoded }, now_ms);
        (heard, elections.clusters())
    };
    for n in 0..12_000 {
        let (heard, clusters) = hear(&format!("c{n}"), "a", n);
        assert!(matches!(heard, Heard::Taken(_)) && clusters <= 10_000);
    }
    // The oldest are forgotten, the newest known; a name too long names nobody.
    assert!(matches!(hear("c11999", "b", 12_000).0, Heard::Left(_)));
    assert!(matches!(hear("c0", "b", 12_000).0, Heard::Taken(_)));
    assert_eq!(hear(&"c".repeat(101), "b", 12_000).0, Heard::Taken(0));
}
