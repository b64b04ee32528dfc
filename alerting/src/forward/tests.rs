//! Every Alertmanager has the newest state of every alert, whatever becomes of the others.

use std::collections::VecDeque;

use super::*;

/// An Alertmanager whose answers are scripted; after them it takes everything.
#[derive(Default)]
struct Scripted {
    verdicts: Mutex<VecDeque<Verdict>>,
    /// An alert that is refused, with whatever comes with it.
    poison: Option<&'static str>,
    requests: Mutex<Vec<Vec<String>>>,
    taken: Mutex<Vec<String>>,
    dropped: Mutex<usize>,
    waits: Mutex<usize>,
}

impl Reach for Scripted {
    fn post(&self, alerts: Vec<Arc<Alert>>) -> Promise<'_, Verdict> {
        Box::pin(async move {
            let names: Vec<String> =
                alerts.iter().map(|alert| format!("{}@{}", alert.labels.get("instance"), alert.ends_ms)).collect();
            let is_poisoned = self.poison.is_some_and(|poison| names.iter().any(|name| name.starts_with(poison)));
            let scripted = self.verdicts.lock().pop_front();
            let verdict = scripted.unwrap_or(if is_poisoned { Verdict::Refused("400".into()) } else { Verdict::Sent });
            self.requests.lock().push(names.clone());
            if verdict == Verdict::Sent {
                self.taken.lock().extend(names);
            }
            verdict
        })
    }

    fn note(&self, waits: usize, dropped: usize) {
        *self.waits.lock() = waits;
        *self.dropped.lock() += dropped;
    }
}

fn alert(instance: &str, ends_ms: i64) -> Alert {
    Alert {
        labels: [("alertname", "a"), ("instance", instance)].into_iter().collect(),
        annotations: [("summary", "s")].into_iter().collect(),
        starts_ms: 0,
        ends_ms,
        generator_url: "http://gauge.test/graph".into(),
        updated_ms: 0,
        is_timeout: false,
        once: false,
    }
}

fn as_it_is() -> Relabelled {
    Arc::new(|labels| Some(labels.clone()))
}

fn to(peers: &[&Arc<Scripted>]) -> Forward {
    Forward::new(peers.iter().map(|peer| (Arc::clone(peer) as Arc<dyn Reach>, as_it_is())))
}

/// Sends what waits, and ends.
async fn drain(forward: &Forward) {
    tokio::join!(forward.run(), forward.close());
}

#[tokio::test]
async fn every_alertmanager_has_every_alert() {
    let [first, second] = [(); 2].map(|()| Arc::new(Scripted::default()));
    let forward = to(&[&first, &second]);
    let alerts: Vec<Alert> = (0..70).map(|nth| alert(&nth.to_string(), 10)).collect();
    forward.put(&alerts);
    drain(&forward).await;
    for peer in [&first, &second] {
        let sizes: Vec<usize> = peer.requests.lock().iter().map(Vec::len).collect();
        assert_eq!((sizes, *peer.waits.lock(), *peer.dropped.lock()), (vec![64, 6], 0, 0));
    }
}

#[tokio::test]
async fn an_end_is_told_once_an_alertmanager_is_back() {
    let away = Arc::new(Scripted::default());
    away.verdicts.lock().extend([Verdict::Failed("no connection".into())]);
    let forward = to(&[&away]);
    forward.put(&[alert("1", 300_000)]);
    let (running, others) = (forward.clone(), async {
        while away.requests.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        // While it is away the alert is told of again, and ends.
        forward.put(&[alert("1", 360_000)]);
        forward.put(&[alert("1", 42)]);
        while away.taken.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        forward.close().await;
    });
    tokio::join!(running.run(), others);
    assert_eq!(*away.requests.lock(), [["1@300000"], ["1@42"]]);
}

#[tokio::test]
async fn a_wrong_alert_costs_its_neighbours_nothing() {
    let peer = Arc::new(Scripted { poison: Some("bad"), ..Scripted::default() });
    let forward = to(&[&peer]);
    let names = ["1", "2", "bad", "3", "4"];
    forward.put(&names.map(|name| alert(name, 10)));
    drain(&forward).await;
    assert_eq!(*peer.taken.lock(), ["1@10", "2@10", "3@10", "4@10"]);
    assert_eq!((*peer.dropped.lock(), *peer.waits.lock()), (1, 0));
}

#[tokio::test]
async fn an_alertmanager_that_is_away_does_not_hold_up_the_end() {
    let away = Arc::new(Scripted::default());
    away.verdicts.lock().extend([Verdict::Failed("a".into()), Verdict::Failed("b".into())]);
    let here = Arc::new(Scripted::default());
    let forward = to(&[&away, &here]);
    forward.put(&[alert("1", 10)]);
    drain(&forward).await;
    assert_eq!((*away.waits.lock(), here.taken.lock().len()), (1, 1));
}

#[tokio::test]
async fn labels_are_changed_on_the_way_and_alerts_left_out() {
    let peer = Arc::new(Scripted::default());
    let relabelled: Relabelled = Arc::new(|labels| {
        let keeps = labels.get("instance") != "2";
        keeps.then(|| labels.with([("instance", "other")]))
    });
    let forward = Forward::new([(Arc::clone(&peer) as Arc<dyn Reach>, relabelled)]);
    forward.put(&[alert("1", 10), alert("2", 10)]);
    drain(&forward).await;
    assert_eq!(*peer.taken.lock(), ["other@10"]);
}

#[tokio::test]
async fn what_ended_shortly_before_a_start_is_told_again() {
    let peer = Arc::new(Scripted::default());
    let forward = to(&[&peer]);
    let row = |instance: &str, source: &str, state: State, at_ms: i64| AlertRow {
        at_ms,
        state,
        reason: "evaluated".into(),
        source: source.into(),
        labels: alert(instance, 0).labels,
        annotations: Labels::default(),
        value: None,
        active_ms: None,
        starts_ms: Some(1),
        ends_ms: Some(at_ms),
        keep_firing_ms: None,
        generator_url: Arc::default(),
        run: "".into(),
    };
    let now_ms = 10 * RESOLVED_KEPT_MS;
    let recent_ms = now_ms - RESOLVED_KEPT_MS;
    let rows = [
        row("recent", "rules;g;a#0", State::Resolved, recent_ms),
        row("watched", "watch;a", State::Resolved, now_ms),
        row("old", "rules;g;a#0", State::Resolved, recent_ms - 1),
        row("posted", API, State::Resolved, now_ms),
        row("firing", "rules;g;a#0", State::Firing, now_ms),
        row("again", "rules;h;a#0", State::Firing, now_ms),
        row("again", "rules;g;a#0", State::Resolved, now_ms - 1),
    ];
    forward.restore(&rows, now_ms);
    drain(&forward).await;
    assert_eq!(*peer.taken.lock(), [format!("recent@{recent_ms}"), format!("watched@{now_ms}")]);
}

#[test]
fn pauses_double_up_to_the_time_of_the_next_report() {
    let mut pace = Pace { failures: 0, batch: BATCH };
    let failed = Verdict::Failed(String::new());
    let pauses: Vec<i64> = (0..8).filter_map(|_| pace.after(&failed, 1)).collect();
    assert_eq!(pauses, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    assert_eq!(pace.after(&Verdict::Sent, 1), None);
    assert_eq!(pace.after(&failed, 1), Some(1_000));
    for (asked_ms, pause_ms) in [(0, 1_000), (7_000, 7_000), (i64::MAX, 60_000)] {
        assert_eq!(pace.after(&Verdict::Limited(asked_ms, String::new()), 1), Some(pause_ms));
    }
}

#[test]
fn a_request_is_what_prometheus_posts() {
    let url = "http://am.test/prefix/api/v2/alerts";
    let alerts = [Arc::new(alert("1", 1_500))];
    let request = request(url, &HttpConfig::default(), Duration::from_secs(10), &alerts).unwrap();
    assert_eq!((request.method, request.url.as_str(), request.timeout), ("POST", url, Duration::from_secs(10)));
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    let expected = serde_json::json!([{
        "labels": {"alertname": "a", "instance": "1"},
        "annotations": {"summary": "s"},
        "startsAt": "1970-01-01T00:00:00.000Z",
        "endsAt": "1970-01-01T00:00:01.500Z",
        "generatorURL": "http://gauge.test/graph",
    }]);
    assert_eq!(body, expected);
}

#[test]
fn only_what_is_said_of_the_alerts_themselves_is_final() {
    let verdict = |status: u16| super::verdict(&Answer { status, retry_after_ms: None, body: b"why".to_vec() });
    assert_eq!((verdict(200), verdict(202)), (Verdict::Sent, Verdict::Sent));
    for status in [400, 413, 422] {
        assert!(matches!(verdict(status), Verdict::Refused(why) if why.ends_with("why")), "{status}");
    }
    for status in [301, 401, 403, 404, 500, 503] {
        assert!(matches!(verdict(status), Verdict::Failed(_)), "{status}");
    }
    assert_eq!(verdict(429), Verdict::Limited(http::LIMITED_MS, "status 429".into()));
}
