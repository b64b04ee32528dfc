//! What a delete makes admission forget: that something was sent before, and nothing else.

use axum::http::StatusCode;
use storage::Lane;

use super::{
    NOW_MS,
    http::{Server, up},
    messages,
};

const ALL: std::ops::Range<i64> = i64::MIN..i64::MAX;

/// Id of the only series.
fn series_id(server: &Server) -> i64 {
    server.remote_write.0.admission.lock().index.slots[0].series_id
}

async fn write(server: &Server, samples: &[(i64, f64)]) {
    assert_eq!(server.v1(up(samples)).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_that_was_deleted_is_no_repetition_and_takes_the_late_lane() {
    let server = Server::start().await;
    write(&server, &[(0, 1.0), (10, 2.0)]).await;
    server.remote_write.delete(vec![("up", series_id(&server))], ALL).await.unwrap();
    assert_eq!(server.rows(schemas::samples()), 0);
    assert_eq!(server.rows(schemas::series()), 1, "the series of the day is registered still");
    write(&server, &[(10, 2.0)]).await;
    assert_eq!(server.samples(), [(10, 2.0, Lane::Late)]);
    write(&server, &[(10, 2.0), (11, 3.0)]).await;
    assert_eq!(server.samples(), [(10, 2.0, Lane::Late), (11, 3.0, Lane::InOrder)]);
    assert_eq!(server.rows(schemas::samples()), 2, "the repetition of the second is known");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_of_something_else_lets_admission_remember() {
    let server = Server::start().await;
    write(&server, &[(0, 1.0), (10, 2.0)]).await;
    let id = series_id(&server);
    let at = |after: i64| (NOW_MS + after) * 1000;
    server.remote_write.delete(vec![("up", id)], at(0)..at(0) + 1).await.unwrap();
    server.remote_write.delete(vec![("down", id), ("up", id + 1)], ALL).await.unwrap();
    server.remote_write.delete(Vec::new(), ALL).await.unwrap();
    assert_eq!(server.rows(schemas::samples()), 1);
    write(&server, &[(10, 2.0)]).await;
    assert_eq!(server.rows(schemas::samples()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn histograms_and_exemplars_go_and_come_back() {
    let server = Server::start().await;
    let mut request = messages::v2::Request::empty();
    let trace = request.refs(&[("trace_id", "abc")]);
    let series = request.add(&[("__name__", "latency")]);
    series.histograms = vec![messages::int_histogram(NOW_MS)];
    series.exemplars = vec![messages::v2::Exemplar { labels_refs: trace, value: 1.0, timestamp: NOW_MS }];
    for rows in [1, 0, 1] {
        if rows == 0 {
            server.remote_write.delete(vec![("latency", series_id(&server))], ALL).await.unwrap();
        } else {
            assert_eq!(server.v2(&request).await.status, StatusCode::NO_CONTENT);
            assert_eq!(server.v2(&request).await.status, StatusCode::NO_CONTENT);
        }
        assert_eq!((server.rows(schemas::histograms()), server.rows(schemas::exemplars())), (rows, rows));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_series_are_deleted_in_several_steps() {
    let server = Server::start().await;
    write(&server, &[(0, 1.0)]).await;
    let id = series_id(&server);
    let others = (0..250_000).map(|other| ("up", other)).chain([("up", id), ("up", id)]);
    server.remote_write.delete(others.collect(), ALL).await.unwrap();
    assert_eq!(server.rows(schemas::samples()), 0);
}
