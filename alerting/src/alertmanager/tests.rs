//! What is owed is told, whatever ends in between.
//!
//! In a world of one receiver; a crash is the end of everything but the disk.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use proptest::prelude::*;

use super::{
    world::{Message, World},
    *,
};
use crate::{Labels, config::receiver::ReceiverKind, dispatch::Integration, outbox::Rate};

mod acceptance;
mod incidents;
mod owed;
mod scheduled;

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
        let integration = |destination: &str| Integration {
            kind: ReceiverKind::Webhook,
            destination: destination.into(),
            sends_resolved,
            rate,
            digest: None,
            hears_of_silence: false,
        };
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

/// A route to a receiver that is told each day, ten minutes after midnight.
fn daily() -> Plan {
    let text = "route: {receiver: team, group_by: [alertname], group_wait: 1s, group_interval: 6s, repeat_interval: 9d}\n\
                receivers: [{name: team, digest: {at: '00:10'}}]";
    let config = crate::Config::parse(text, std::path::Path::new(".")).unwrap();
    let digest = config.receiver("team").unwrap().digest;
    let rate = Rate { every_ms: 0, burst: 1, takes_summaries: true };
    let integration = Integration {
        kind: ReceiverKind::Slack,
        destination: "chat".into(),
        sends_resolved: true,
        rate,
        digest,
        hears_of_silence: false,
    };
    Plan { config: Arc::new(config), receivers: [("team".into(), Arc::from([integration]))].into_iter().collect() }
}

#[tokio::test]
async fn a_day_is_told_in_one_message_whatever_ends_in_between() {
    const DAY: i64 = 86_400 * SECOND;
    for (killed_at, is_up_when_due) in [(None, true), (Some(50), true), (Some(100), true), (Some(100), false)] {
        let world = Arc::new(World::default());
        let mut manager = world.start(daily());
        post(&manager, "1", 0, Some(20 * SECOND)).await;
        post(&manager, "2", 0, Some(2 * DAY)).await;
        until(&world, &manager, 50 * SECOND).await;
        if killed_at == Some(50) {
            manager = world.start(daily());
        }
        until(&world, &manager, 60 * SECOND).await;
        post(&manager, "1", 60 * SECOND, Some(90 * SECOND)).await;
        until(&world, &manager, 100 * SECOND).await;
        if killed_at == Some(100) {
            manager = world.start(daily());
        }
        if is_up_when_due {
            until(&world, &manager, 599 * SECOND).await;
            assert_eq!(*world.digests.lock(), [], "not before its time");
            until(&world, &manager, 601 * SECOND).await;
        } else {
            world.now_ms.store(600 * SECOND, Ordering::Relaxed);
            manager = world.start(daily());
            until(&world, &manager, 601 * SECOND).await;
        }
        // 20 s, 30 s, and ten minutes until now.
        let expected = "Daily digest: 1 groups of alerts fired 3 times, 1 of them fire still\n[FIRING:1] alertname=a: 3 times, 10m";
        assert_eq!(*world.digests.lock(), [(600 * SECOND, expected.to_owned())], "{killed_at:?}");
        // What fires still is in the next one; and of what is over there is no other.
        until(&world, &manager, DAY + 700 * SECOND).await;
        post(&manager, "2", 0, Some(DAY + 700 * SECOND)).await;
        until(&world, &manager, 4 * DAY).await;
        let digests = world.digests.lock().clone();
        assert_eq!(digests.len(), 3, "{digests:?}");
        assert_eq!((digests[1].0, digests[2].0), (DAY + 600 * SECOND, 2 * DAY + 600 * SECOND));
        assert!(digests[1].1.ends_with("[FIRING:1] alertname=a: once, 1d 0h"), "{digests:?}");
        assert!(digests[2].1.ends_with("[RESOLVED] alertname=a: once, 1d 0h"), "{digests:?}");
        assert!(world.told().is_empty());
    }
}

#[tokio::test]
async fn a_digest_that_was_not_taken_is_told_later_once() {
    let world = Arc::new(World::default());
    let manager = world.start(daily());
    world.verdicts.lock().extend([Verdict::Failed("down".into()), Verdict::Limited(30 * SECOND, "slow".into())]);
    post(&manager, "1", 0, Some(20 * SECOND)).await;
    until(&world, &manager, 700 * SECOND).await;
    let digests = world.digests.lock().clone();
    assert_eq!(digests.len(), 1, "{digests:?}");
    assert!(digests[0].0 > 630 * SECOND, "{digests:?}");
    let events: Vec<&str> = world.disk.lock().notifications.iter().map(|row| row.event.text()).collect();
    assert_eq!(events, ["intent", "kept", "intent", "waits", "waits", "sent", "sent"], "both changes are told with it");
}

fn silence(matchers: &str, ends_ms: i64) -> Silence {
    Silence {
        id: String::new(),
        matchers: crate::Matchers::parse(matchers, crate::Mode::Fallback).unwrap(),
        starts_ms: 0,
        ends_ms,
        updated_ms: 0,
        created_by: "Ann".to_owned(),
        comment: "a disk is on its way".to_owned(),
    }
}

#[tokio::test]
async fn somebody_is_reminded_once_of_a_silence_that_ends_while_something_fires() {
    const HOUR: i64 = 3_600 * SECOND;
    let world = Arc::new(World::default());
    let mut manager = world.start(ways().plan());
    let id = manager.silence(silence("alertname=a", HOUR)).await.unwrap().unwrap();
    manager.silence(silence("alertname=other", HOUR)).await.unwrap().unwrap();
    post(&manager, "1", 0, Some(3 * HOUR)).await;
    // Nobody reports these any more: the process minds their end.
    until(&world, &manager, HOUR - 901 * SECOND).await;
    manager.remind().await.unwrap();
    until(&world, &manager, HOUR - 899 * SECOND).await;
    assert!(world.told().is_empty(), "it is silenced, and not yet to be reminded of: {:?}", world.told());
    manager.remind().await.unwrap();
    manager.remind().await.unwrap();
    until(&world, &manager, HOUR - 800 * SECOND).await;
    // It has the labels that are shared, and its own silence does not silence it.
    let reminders = |world: &World| {
        let disk = world.disk.lock();
        let rows = disk.alerts.iter().filter(|row| row.labels.get("alertname") == "SilenceEnds");
        rows.map(|row| (row.state, row.labels.clone(), row.annotations.get("summary").to_owned())).collect::<Vec<_>>()
    };
    let [(_, labels, summary)] = &reminders(&world)[..] else { panic!("{:?}", reminders(&world)) };
    assert_eq!(
        *labels,
        [("alertname", "SilenceEnds"), ("instance", "1"), ("severity", "info"), ("silence", &id)].into_iter().collect()
    );
    assert_eq!(summary, "A silence of Ann ends at 1970-01-01T01:00:00Z, and an alert that it silences still fires");
    assert_eq!(world.told().len(), 1, "{:?}", world.told());
    // Once, also after a restart.
    manager = world.start(ways().plan());
    for _ in 0..3 {
        manager.remind().await.unwrap();
        let now_ms = world.now();
        until(&world, &manager, now_ms + 60 * SECOND).await;
    }
    assert_eq!(world.told().len(), 1, "{:?}", world.told());
    // It is made longer: the reminder has ended, and comes anew in time.
    let longer = Silence { id: id.clone(), ..silence("alertname=a", 2 * HOUR) };
    assert_eq!(manager.silence(longer).await.unwrap(), Some(id));
    manager.remind().await.unwrap();
    let now_ms = world.now();
    until(&world, &manager, now_ms + 60 * SECOND).await;
    assert_eq!(world.told().len(), 2, "{:?}", world.told());
    assert!(world.told()[1].ends_with(" -1"));
    until(&world, &manager, 2 * HOUR - 100 * SECOND).await;
    post(&manager, "1", 0, Some(3 * HOUR)).await;
    manager.remind().await.unwrap();
    until(&world, &manager, 2 * HOUR - 50 * SECOND).await;
    assert_eq!(world.told().len(), 3, "{:?}", world.told());
}

#[tokio::test]
async fn a_silence_of_too_many_alerts_is_refused() {
    let world = Arc::new(World::default());
    let manager = world.start(ways().plan());
    for instance in ["1", "2", "3", "4"] {
        post(&manager, instance, 0, None).await;
    }
    let refused = manager.silence(silence("alertname=a", 600 * SECOND)).await.unwrap_err();
    assert!(refused.message().contains("silences 4 alerts") && refused.message().contains("alerts_max=3"), "{refused}");
    assert!(world.disk.lock().silences.is_empty());
    let id = manager.silence(silence("alertname=a,instance!=4", 600 * SECOND)).await.unwrap();
    // What is silenced already may be so for longer.
    post(&manager, "5", 0, None).await;
    let longer = Silence { id: id.clone().unwrap(), ..silence("alertname=a,instance!=4", 900 * SECOND) };
    assert_eq!(manager.silence(longer).await.unwrap(), id);
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
        generator_url: Arc::default(),
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
