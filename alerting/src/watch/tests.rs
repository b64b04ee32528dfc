//! What stays away is told, what comes back is told, and a restart neither tells nor forgets. In the world of the Alertmanager's tests.

use std::sync::{Arc, atomic::Ordering};

use super::*;
use crate::{
    Mode,
    alertmanager::{Alertmanager, Plan, world::World},
    alerts::Posted,
    config::receiver::ReceiverKind,
    dispatch::Integration,
    outbox::Rate,
    rows::State,
};

const MINUTE: i64 = 60_000;

fn watch() -> Watch {
    Watch {
        name: "PrometheusMissing".into(),
        matchers: Matchers::parse("alertname=Watchdog, cluster=~\"a|b\"", Mode::Fallback).unwrap(),
        within_ms: 5 * MINUTE,
        labels: [("severity", "critical"), ("instance", "a")].into_iter().collect(),
        annotations: [("summary", "it is gone")].into_iter().collect(),
        generator_url: "http://gauge.test/api/v2/alerts".into(),
    }
}

fn world() -> Arc<World> {
    Arc::new(World { watches: vec![watch()], ..World::default() })
}

/// One receiver, told of everything at once.
fn plan() -> Plan {
    let text = "route: {receiver: team, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1d}\n\
                receivers: [{name: team}]";
    let rate = Rate { every_ms: 0, burst: 1, takes_summaries: false };
    let hook = Integration {
        kind: ReceiverKind::Webhook,
        destination: "hook".into(),
        sends_resolved: true,
        digest: None,
        rate,
        hears_of_silence: false,
    };
    let config = Arc::new(crate::Config::parse(text, std::path::Path::new(".")).unwrap());
    Plan { config, receivers: [("team".into(), Arc::from([hook]))].into_iter().collect() }
}

async fn arrives(manager: &Alertmanager, cluster: &str, ends_ms: Option<i64>) {
    let labels = [("alertname", "Watchdog"), ("cluster", cluster), ("severity", "none")];
    let posted = Posted { labels: labels.into_iter().collect(), ends_ms, ..Posted::default() };
    assert!(manager.post(vec![posted]).await.unwrap().is_empty());
}

/// Lets time pass up to a moment, a second at a time.
async fn until(world: &Arc<World>, manager: &Alertmanager, end_ms: i64) {
    while world.now() < end_ms {
        world.now_ms.fetch_add(1_000, Ordering::Relaxed);
        manager.step().await.unwrap();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
}

/// Changes of the watch's alert on the disk.
fn changes(world: &World) -> Vec<(i64, State)> {
    let disk = world.disk.lock();
    let rows = disk.alerts.iter().filter(|row| &*row.source == "watch;PrometheusMissing");
    rows.map(|row| (row.at_ms, row.state)).collect()
}

#[tokio::test]
async fn what_stays_away_fires_and_ends_when_it_arrives() {
    let world = world();
    let manager = world.start(plan());
    for minute in 1..=10 {
        until(&world, &manager, minute * MINUTE).await;
        arrives(&manager, "b", None).await;
    }
    assert_eq!(changes(&world), []);
    until(&world, &manager, 20 * MINUTE).await;
    assert_eq!(changes(&world), [(15 * MINUTE + 1_000, State::Firing)]);
    let row = world.disk.lock().alerts.iter().find(|row| row.state == State::Firing && row.value.is_some()).cloned();
    let row = row.unwrap();
    assert_eq!((row.labels.get("alertname"), row.labels.get("severity")), ("PrometheusMissing", "critical"));
    assert_eq!((row.value, row.annotations.get("summary")), (Some(301.0), "it is gone"));
    assert_eq!(
        manager.watches()[0],
        Seen { name: "PrometheusMissing".into(), seen_ms: Some(10 * MINUTE), is_missing: true }
    );
    arrives(&manager, "a", None).await;
    until(&world, &manager, 21 * MINUTE).await;
    assert_eq!(changes(&world)[1], (20 * MINUTE + 1_000, State::Resolved));
    // A Watchdog is an alert itself, and told as such.
    let about = |told: &String| told.ends_with(" a") || told.ends_with("-a");
    let told: Vec<String> = world.told().into_iter().filter(about).collect();
    assert_eq!(told, [format!("{} a", 15 * MINUTE + 1_000), format!("{} -a", 20 * MINUTE + 1_000)]);
}

#[tokio::test]
async fn what_never_arrived_fires_and_what_is_like_it_does_not_count() {
    let world = world();
    let manager = world.start(plan());
    until(&world, &manager, 4 * MINUTE).await;
    // Another cluster's, and one that has ended.
    arrives(&manager, "c", None).await;
    arrives(&manager, "a", Some(world.now() - 1)).await;
    until(&world, &manager, 5 * MINUTE).await;
    assert_eq!(changes(&world), []);
    until(&world, &manager, 6 * MINUTE).await;
    assert_eq!(changes(&world), [(5 * MINUTE + 1_000, State::Firing)]);
}

#[tokio::test]
async fn a_restart_is_no_false_alarm() {
    let world = world();
    let manager = world.start(plan());
    arrives(&manager, "a", None).await;
    // It was away for longer than the watch waits.
    world.now_ms.store(60 * MINUTE, Ordering::Relaxed);
    drop(manager);
    let manager = world.start(plan());
    until(&world, &manager, 65 * MINUTE).await;
    assert_eq!(changes(&world), []);
    until(&world, &manager, 66 * MINUTE).await;
    assert_eq!(changes(&world), [(65 * MINUTE + 1_000, State::Firing)]);
}

#[tokio::test]
async fn a_restart_forgets_no_alarm() {
    let world = world();
    let manager = world.start(plan());
    until(&world, &manager, 6 * MINUTE).await;
    drop(manager);
    let manager = world.start(plan());
    assert!(manager.watches()[0].is_missing);
    until(&world, &manager, 30 * MINUTE).await;
    assert_eq!(changes(&world), [(5 * MINUTE + 1_000, State::Firing)]);
    let firing = manager.look(|look| look.alerts().filter(|alert| !alert.is_resolved(look.now_ms)).count());
    assert_eq!(firing, 1);
    arrives(&manager, "a", None).await;
    until(&world, &manager, 31 * MINUTE).await;
    assert_eq!(changes(&world)[1..], [(30 * MINUTE + 1_000, State::Resolved)]);
    assert_eq!(world.told().iter().filter(|told| told.ends_with(" a")).count(), 1, "{:?}", world.told());
}

#[tokio::test]
async fn nobody_is_told_before_the_row_is_on_disk() {
    let world = world();
    let manager = world.start(plan());
    until(&world, &manager, 5 * MINUTE).await;
    world.is_full.store(true, Ordering::Relaxed);
    world.now_ms.fetch_add(MINUTE, Ordering::Relaxed);
    assert!(manager.step().await.is_err());
    let firing = manager.look(|look| look.alerts().count());
    assert_eq!((firing, manager.watches()[0].is_missing, manager.stepped_ms()), (0, false, 5 * MINUTE));
    world.is_full.store(false, Ordering::Relaxed);
    until(&world, &manager, 7 * MINUTE).await;
    assert_eq!(changes(&world).len(), 1);
}

#[tokio::test]
async fn one_that_stays_away_for_long_is_written_down_again() {
    let world = world();
    let manager = world.start(plan());
    for _ in 0..20 {
        world.now_ms.fetch_add(30 * MINUTE, Ordering::Relaxed);
        manager.step().await.unwrap();
    }
    let reasons: Vec<_> = world.disk.lock().alerts.iter().map(|row| row.reason.clone()).collect();
    assert_eq!(reasons, ["evaluated", "snapshot"]);
}
