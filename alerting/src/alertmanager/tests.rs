//! What is owed is told, whatever ends in between.
//!
//! In a world of one receiver; a crash is the end of everything but the disk.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use proptest::prelude::*;

use super::{
    world::{Message, World},
    *,
};
use crate::{Labels, dispatch::Integration, outbox::Rate};

const SECOND: i64 = 1_000;

/// One route to one receiver, by `alertname`.
struct Ways {
    sends_resolved: bool,
    wait_ms: i64,
    interval_ms: i64,
}

impl Ways {
    fn plan(&self) -> Plan {
        let Self { sends_resolved, wait_ms, interval_ms } = *self;
        let text = format!(
            "route: {{receiver: team, group_by: [alertname], group_wait: {wait_ms}ms, group_interval: {interval_ms}ms, repeat_interval: 1h}}\n\
             receivers: [{{name: team, fallback: boss}}, {{name: boss}}]"
        );
        let rate = Rate { every_ms: 0, burst: 1, takes_summaries: false };
        let integration =
            |destination: &str| Integration { kind: "webhook", destination: destination.into(), sends_resolved, rate };
        let receivers = [("team", "hook"), ("boss", "boss")]
            .map(|(name, destination)| (name.into(), Arc::from([integration(destination)])));
        Plan {
            config: Arc::new(crate::Config::parse(&text, std::path::Path::new(".")).unwrap()),
            receivers: receivers.into_iter().collect(),
        }
    }
}

fn ways() -> Ways {
    Ways { sends_resolved: true, wait_ms: SECOND, interval_ms: 6 * SECOND }
}

async fn post(manager: &Alertmanager, instance: &str, starts_ms: i64, ends_ms: Option<i64>) {
    let posted = Posted {
        labels: [("alertname", "a"), ("instance", instance)].into_iter().collect(),
        starts_ms: Some(starts_ms),
        ends_ms,
        ..Posted::default()
    };
    assert!(manager.post(vec![posted]).await.unwrap().is_empty());
}

/// Does what is to be done now, and what follows from it at once; gives the time until something is again, or none if the process is gone.
async fn settle(manager: &Alertmanager) -> Option<Option<Duration>> {
    let mut pause = None;
    for _ in 0..3 {
        let step = tokio::spawn({
            let manager = manager.clone();
            async move { manager.step().await }
        });
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        if !step.is_finished() {
            // It waits for a disk that is gone.
            step.abort();
            return None;
        }
        pause = step.await.unwrap().unwrap_or(Some(AGAIN));
    }
    Some(pause)
}

/// Lets time pass up to a moment, or the end of the process.
async fn until(world: &Arc<World>, manager: &Alertmanager, end_ms: i64) {
    while let Some(pause) = settle(manager).await {
        if world.has_ended.load(Ordering::Relaxed) {
            return;
        }
        let pause_ms = pause.map_or(i64::MAX, |pause| i64::try_from(pause.as_millis()).unwrap());
        let next_ms = world.now().saturating_add(pause_ms);
        if next_ms >= end_ms {
            return world.now_ms.store(end_ms, Ordering::Relaxed);
        }
        world.now_ms.store(next_ms, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn an_alert_of_four_seconds_is_told_though_its_first_message_was_limited() {
    let world = Arc::new(World::default());
    let manager = world.start(Ways { sends_resolved: false, ..ways() }.plan());
    world.verdicts.lock().push(Verdict::Limited(SECOND, "rate_limited".into()));
    post(&manager, "1", 0, Some(4 * SECOND)).await;
    until(&world, &manager, 60 * SECOND).await;
    assert_eq!(world.told(), ["2000 1", "7000 -1"]);
    let events: Vec<&str> = world.disk.lock().notifications.iter().map(|row| row.event.text()).collect();
    assert_eq!(events, ["intent", "waits", "sent", "intent", "sent"]);
}

#[tokio::test]
async fn what_was_told_before_a_kill_is_not_told_again() {
    let world = Arc::new(World::default());
    let manager = world.start(ways().plan());
    post(&manager, "1", 0, None).await;
    until(&world, &manager, 2 * SECOND).await;
    assert_eq!(world.told(), ["1000 1"]);
    let manager = world.start(ways().plan());
    post(&manager, "1", 0, None).await;
    until(&world, &manager, 30 * SECOND).await;
    assert_eq!(world.told(), ["1000 1"]);
}

#[tokio::test]
async fn an_end_while_nothing_ran_is_told() {
    for is_posted in [true, false] {
        let world = Arc::new(World::default());
        let manager = world.start(ways().plan());
        post(&manager, "1", 0, None).await;
        until(&world, &manager, 2 * SECOND).await;
        world.now_ms.store(100 * SECOND, Ordering::Relaxed);
        let manager = world.start(ways().plan());
        if is_posted {
            post(&manager, "1", 0, Some(50 * SECOND)).await;
        }
        until(&world, &manager, 600 * SECOND).await;
        let told = world.told();
        // Posted at once; or, when nobody reports it any more, after the time that whoever does has.
        let at = if is_posted { "100000" } else { "400000" };
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[1].starts_with(at) && told[1].ends_with(" -1"), "{told:?}");
    }
}

#[tokio::test]
async fn nobody_is_told_before_it_is_on_disk() {
    let world = Arc::new(World::default());
    let manager = world.start(ways().plan());
    post(&manager, "1", 0, None).await;
    world.is_full.store(true, Ordering::Relaxed);
    let posted = Posted { labels: [("alertname", "b")].into_iter().collect(), ..Posted::default() };
    assert!(manager.post(vec![posted]).await.is_err(), "whoever posts tries again");
    until(&world, &manager, 5 * SECOND).await;
    assert_eq!(world.told(), [""; 0]);
    world.is_full.store(false, Ordering::Relaxed);
    until(&world, &manager, 7 * SECOND).await;
    assert_eq!(world.told(), ["5000 1"]);
}

#[tokio::test]
async fn who_cannot_be_told_has_somebody_who_is() {
    let world = Arc::new(World::default());
    let manager = world.start(ways().plan());
    world.verdicts.lock().push(Verdict::Refused("404 no_service".into()));
    post(&manager, "1", 0, None).await;
    until(&world, &manager, 5 * SECOND).await;
    let disk = world.disk.lock().clone();
    let rows: Vec<String> = disk
        .notifications
        .iter()
        .map(|row| format!("{} {} {} {}", row.key.receiver, row.event.text(), row.reason, row.error))
        .collect();
    assert_eq!(
        rows,
        [
            "team intent first notification ",
            "team dead first notification 404 no_service",
            "boss intent fallback: 404 no_service ",
            "boss sent first notification ",
        ]
    );
}

#[tokio::test]
async fn silences_are_on_disk_before_they_count() {
    let world = Arc::new(World::default());
    let manager = world.start(ways().plan());
    let asked = Silence {
        id: String::new(),
        matchers: crate::matcher::Matchers::parse("alertname=a", crate::matcher::Mode::Fallback).unwrap(),
        starts_ms: 0,
        ends_ms: 20 * SECOND,
        updated_ms: 0,
        created_by: "ann".to_owned(),
        comment: "disk is replaced".to_owned(),
    };
    let id = manager.silence(asked).await.unwrap().unwrap();
    let manager = world.start(ways().plan());
    post(&manager, "1", 0, None).await;
    until(&world, &manager, 15 * SECOND).await;
    assert_eq!(world.told(), [""; 0]);
    let kept = world.disk.lock().notifications.clone();
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].reason.as_str(), &kept[0].by), ("silenced", &vec![id.clone()]));
    assert!(manager.expire(&id).await.unwrap() && !manager.expire("nobody").await.unwrap());
    until(&world, &manager, 30 * SECOND).await;
    assert_eq!(world.told(), ["19000 1"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Alerts fire and end; the process is killed again and again, before and after each write and message. At the end the receiver knows
    /// how every alert is, and no message came more often than the process was killed.
    #[test]
    fn every_owed_change_is_told_however_often_the_process_is_killed(
        kills in proptest::collection::vec(0_u64..12, 0..6),
        ends in proptest::collection::vec(proptest::option::of(2_i64..40), 1..5),
        failures in 0_usize..4,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let world = Arc::new(World::default());
            *world.verdicts.lock() = vec![Verdict::Failed("503".into()); failures];
            let mut kills = kills.into_iter();
            let mut killed = 0;
            let mut manager = world.start(ways().plan());
            *world.ends_after.lock() = kills.next();
            // Whoever watches reports every ten seconds how things are, and twice that one ended.
            for report in 0..30_i64 {
                let now_ms = report * 10 * SECOND;
                world.now_ms.store(world.now().max(now_ms), Ordering::Relaxed);
                for (nth, end) in ends.iter().enumerate() {
                    let ends_ms = end.map(|end| end * SECOND).filter(|end| *end <= now_ms);
                    let task = tokio::spawn({
                        let manager = manager.clone();
                        async move { post(&manager, &nth.to_string(), 0, ends_ms).await }
                    });
                    for _ in 0..5 {
                        tokio::task::yield_now().await;
                    }
                    task.abort();
                }
                until(&world, &manager, now_ms + 10 * SECOND).await;
                if world.has_ended.load(Ordering::Relaxed) {
                    killed += 1;
                    manager = world.start(ways().plan());
                    *world.ends_after.lock() = kills.next();
                }
            }
            let (mut knows, mut seen, mut twice) = (BTreeSet::new(), Vec::<Message>::new(), 0);
            for message in world.told.lock().iter() {
                let again = |before: &Message| before.firing == message.firing && before.resolved == message.resolved;
                twice += usize::from(seen.last().is_some_and(again));
                seen.push(message.clone());
                knows.extend(message.firing.iter().cloned());
                for name in &message.resolved {
                    knows.remove(name);
                }
            }
            let fires: BTreeSet<String> =
                ends.iter().enumerate().filter(|(_, end)| end.is_none()).map(|(nth, _)| nth.to_string()).collect();
            prop_assert_eq!(&knows, &fires, "killed {} times: {:?}", killed, world.told());
            prop_assert!(twice <= killed, "{twice} messages came twice, killed {killed} times: {:?}", world.told());
            Ok(())
        })?;
    }
}

#[test]
fn a_rehearsal_says_who_would_have_been_told_and_keeps_what_is_silenced() {
    let minute = 60 * SECOND;
    let alert = |instance: &str, at_ms: i64, ends_ms: i64| crate::alerts::Alert {
        labels: [("alertname", "a"), ("instance", instance)].into_iter().collect(),
        annotations: Labels::default(),
        starts_ms: 0,
        ends_ms,
        generator_url: String::new(),
        updated_ms: at_ms,
        is_timeout: false,
        once: false,
    };
    let silence = crate::silence::Silence {
        id: "1".to_owned(),
        matchers: crate::Matchers::parse("instance=\"quiet\"", crate::Mode::Fallback).unwrap(),
        starts_ms: 0,
        ends_ms: i64::MAX,
        updated_ms: 0,
        created_by: String::new(),
        comment: String::new(),
    };
    let mut rehearsal = Rehearsal::new(ways().plan(), vec![silence], 0);
    let mut told = Vec::new();
    for at_ms in (0..150 * minute).step_by(60 * 1_000) {
        let is_over = at_ms >= 130 * minute;
        let ends_ms = if is_over { 130 * minute } else { at_ms + 4 * minute };
        told.extend(rehearsal.until(at_ms - 1));
        rehearsal.tell(vec![alert("1", at_ms, ends_ms), alert("quiet", at_ms, ends_ms)], at_ms);
    }
    let told: Vec<(i64, &str, usize, usize)> = told
        .iter()
        .map(|message| (message.at_ms / minute, message.reason.text(), message.firing, message.resolved))
        .collect();
    // Once, twice again after an hour each, and its end.
    assert_eq!(told.len(), 4, "{told:?}");
    assert_eq!(
        (told[0], told[3].1, told[3].3),
        ((0, "first notification", 1, 0), "all alerts resolved", 1),
        "{told:?}"
    );
    assert!(told[1..3].iter().all(|message| message.1 == "repeat interval elapsed"), "{told:?}");
}
