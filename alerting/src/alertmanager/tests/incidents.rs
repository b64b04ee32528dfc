//! Whoever took an incident at its receiver is left alone with it, and with that one only.

use super::*;

/// A route to PagerDuty and Slack, repeated every 10 s.
fn on_call() -> Plan {
    repeated("10s")
}

/// The same, repeated as often as is said.
fn repeated(interval: &str) -> Plan {
    let text = format!(
        "route: {{receiver: team, group_wait: 1s, group_interval: 5s, repeat_interval: {interval}}}\nreceivers: [{{name: team}}]"
    );
    let rate = Rate { every_ms: 0, burst: 1, takes_summaries: false };
    let integration = |kind: ReceiverKind| Integration {
        kind,
        destination: kind.name().into(),
        sends_resolved: kind == ReceiverKind::PagerDuty,
        rate,
        digest: None,
        hears_of_silence: kind == ReceiverKind::PagerDuty,
    };
    let integrations: Arc<[Integration]> = Arc::from([ReceiverKind::PagerDuty, ReceiverKind::Slack].map(integration));
    Plan {
        config: Arc::new(crate::Config::parse(&text, std::path::Path::new(".")).unwrap()),
        receivers: [("team".into(), integrations)].into_iter().collect(),
    }
}

fn step(event: Event, at_ms: i64, id: u128) -> crate::incident::Step {
    crate::incident::Step { dedup_key: "k".to_owned(), event, at_ms, by: "Ann".to_owned(), is_person: true, id }
}

#[tokio::test]
async fn what_somebody_took_is_not_repeated_to_him_and_others_hear_of_it() {
    let world = Arc::new(World::default());
    let answers =
        [("pagerduty", crate::notify::pagerduty::answer("k")), ("slack", r#"{"ts":"1","channel":"C"}"#.into())];
    world.answers.lock().extend(answers.map(|(destination, answer)| (destination.to_owned(), answer)));
    let mut manager = world.start(on_call());
    post(&manager, "1", 0, Some(100 * SECOND)).await;
    until(&world, &manager, 2 * SECOND).await;
    assert_eq!(world.told().len(), 2, "PagerDuty and Slack");
    let acknowledged = step(Event::Acknowledged, 2 * SECOND, 1);
    let other = crate::incident::Step { dedup_key: "other".to_owned(), ..acknowledged.clone() };
    assert_eq!(manager.incident(&other).await.unwrap(), 0, "of no group of ours");
    assert_eq!(manager.incident(&acknowledged).await.unwrap(), 1);
    assert_eq!(manager.incident(&acknowledged).await.unwrap(), 0, "the same again");
    until(&world, &manager, 3 * SECOND).await;
    assert_eq!(*world.remarks.lock(), ["slack: incident acknowledged Ann"]);
    // Also after a restart, and another configuration.
    manager = world.start(on_call());
    manager.reload(on_call());
    post(&manager, "1", 0, Some(100 * SECOND)).await;
    assert_eq!(manager.incident(&acknowledged).await.unwrap(), 0, "the same again, after a restart");
    until(&world, &manager, 30 * SECOND).await;
    assert_eq!(world.told().len(), 4, "Slack alone is told again, twice: {:?}", world.told());
    assert_eq!(world.remarks.lock().len(), 1);
    let kept = |world: &World| {
        let disk = world.disk.lock();
        let kept = disk.notifications.iter().filter(|row| row.reason == "acknowledged");
        kept.map(|row| (row.key.kind, row.by.clone())).collect::<Vec<_>>()
    };
    assert_eq!(kept(&world).last(), Some(&(ReceiverKind::PagerDuty, vec!["Ann".to_owned()])));
    // Nobody has it any more: it is repeated.
    assert_eq!(manager.incident(&step(Event::Unacknowledged, 30 * SECOND, 2)).await.unwrap(), 1);
    assert_eq!(manager.incident(&step(Event::Acknowledged, 20 * SECOND, 3)).await.unwrap(), 0, "older");
    until(&world, &manager, 37 * SECOND).await;
    let repeated = world.told().len();
    assert!(repeated >= 5, "{:?}", world.told());
    assert_eq!(manager.incident(&step(Event::Acknowledged, 37 * SECOND, 4)).await.unwrap(), 1);
    // Its end is told though it is acknowledged, and what fires next is nobody's.
    until(&world, &manager, 110 * SECOND).await;
    assert!(world.told().last().unwrap().ends_with(" -1"), "{:?}", world.told());
    let told = world.told().len();
    post(&manager, "1", 110 * SECOND, Some(1_000 * SECOND)).await;
    until(&world, &manager, 135 * SECOND).await;
    assert!(world.told().len() >= told + 4, "both are told, and told again: {:?}", world.told());
}

#[tokio::test]
async fn a_step_of_the_incident_before_says_nothing_of_this_one() {
    let world = Arc::new(World::default());
    world.answers.lock().insert("pagerduty".to_owned(), crate::notify::pagerduty::answer("k"));
    let mut manager = world.start(on_call());
    post(&manager, "1", 0, Some(20 * SECOND)).await;
    until(&world, &manager, 3 * SECOND).await;
    let old = step(Event::Acknowledged, 2 * SECOND, 1);
    assert_eq!(manager.incident(&old).await.unwrap(), 1);
    until(&world, &manager, 200 * SECOND).await;
    // The group fires again, under the same name.
    post(&manager, "1", 200 * SECOND, Some(400 * SECOND)).await;
    until(&world, &manager, 202 * SECOND).await;
    assert_eq!(manager.incident(&old).await.unwrap(), 0, "somebody sent it again");
    manager = world.start(on_call());
    assert_eq!(manager.incident(&old).await.unwrap(), 0, "also after a restart");
    assert_eq!(manager.incident(&step(Event::Acknowledged, 203 * SECOND, 2)).await.unwrap(), 1);
}

#[tokio::test]
async fn an_incident_of_which_all_is_silenced_is_acknowledged_once_and_begins_anew_after_that() {
    let world = Arc::new(World::default());
    world.answers.lock().insert("pagerduty".to_owned(), crate::notify::pagerduty::answer("k"));
    // Nothing is told again because it was told long ago.
    let mut manager = world.start(repeated("9h"));
    post(&manager, "1", 0, Some(1_000 * SECOND)).await;
    post(&manager, "2", 0, Some(1_000 * SECOND)).await;
    // Nobody can be told for a while.
    let later = || Verdict::Limited(20 * SECOND, "later".into());
    world.verdicts.lock().extend([later(), later()]);
    until(&world, &manager, 3 * SECOND).await;
    manager.silence(silence("instance=1", 60 * SECOND)).await.unwrap();
    manager.silence(silence("instance=2", 60 * SECOND)).await.unwrap();
    until(&world, &manager, 20 * SECOND).await;
    assert!(world.remarks.lock().is_empty(), "what it is about is still to be told: {:?}", world.remarks.lock());
    until(&world, &manager, 40 * SECOND).await;
    assert_eq!(*world.remarks.lock(), ["pagerduty: all alerts silenced "]);
    let told = world.told().len();
    // That comes back, from no person, and is no news.
    let ours = |event, at_ms, id| crate::incident::Step { is_person: false, ..step(event, at_ms, id) };
    assert_eq!(manager.incident(&ours(Event::Acknowledged, 40 * SECOND, 1)).await.unwrap(), 0);
    manager = world.start(repeated("9h"));
    manager.reload(repeated("9h"));
    until(&world, &manager, 48 * SECOND).await;
    assert_eq!((world.remarks.lock().len(), world.told().len()), (1, told), "once, also after a restart");
    // There it waits for so long only.
    assert_eq!(manager.incident(&ours(Event::Unacknowledged, 48 * SECOND, 2)).await.unwrap(), 1);
    until(&world, &manager, 58 * SECOND).await;
    assert_eq!(world.remarks.lock().iter().filter(|remark| remark.starts_with("pagerduty")).count(), 2);
    until(&world, &manager, 80 * SECOND).await;
    assert_eq!(world.told().len(), told + 1, "PagerDuty is told again, once: {:?}", world.told());
    let reason = |world: &World| {
        let disk = world.disk.lock();
        disk.notifications.iter().rfind(|row| row.event == Event::Intent).map(|row| row.reason.clone())
    };
    assert_eq!(reason(&world).as_deref(), Some("silence ended"));
    // Late, it is still no news, and nobody is kept from what is told next.
    assert_eq!(manager.incident(&ours(Event::Acknowledged, 80 * SECOND, 3)).await.unwrap(), 0);
    // Somebody took it: there is nobody to be kept from it.
    assert_eq!(manager.incident(&step(Event::Acknowledged, 80 * SECOND, 4)).await.unwrap(), 1);
    manager.silence(silence("alertname=a", 200 * SECOND)).await.unwrap();
    until(&world, &manager, 100 * SECOND).await;
    let remarks = world.remarks.lock().clone();
    assert_eq!(remarks.iter().filter(|remark| remark.ends_with("silenced ")).count(), 2, "{remarks:?}");
}
