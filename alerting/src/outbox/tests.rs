//! What is owed is told, in order, no faster than allowed.

use super::*;
use crate::{Labels, config::receiver::ReceiverKind};

const SLACK: Rate = Rate { every_ms: 1_000, burst: 1, takes_summaries: true };
const FREE: Rate = Rate { every_ms: 0, burst: 1, takes_summaries: false };

fn alert(name: &str, ends_ms: i64) -> (u64, Arc<Alert>) {
    let labels: Labels = [("alertname", name)].into_iter().collect();
    let alert = Alert {
        annotations: Labels::default(),
        starts_ms: 0,
        ends_ms,
        generator_url: "".into(),
        updated_ms: 0,
        is_timeout: false,
        once: false,
        labels,
    };
    (alert.labels.fingerprint(), Arc::new(alert))
}

fn owed(id: u128, group: &str, since_ms: i64, alerts: &[(&str, i64)]) -> Owed {
    Owed {
        id,
        key: Key { group: group.into(), receiver: "team".into(), kind: ReceiverKind::Webhook, integration: 0 },
        destination: "slack".into(),
        group_labels: Labels::default(),
        route_labels: Labels::default(),
        merged: Vec::new(),
        reason: Reason::First,
        by: None,
        alerts: alerts.iter().map(|(name, ends_ms)| alert(name, *ends_ms)).collect(),
        untold: alerts.iter().map(|(name, ends_ms)| alert(name, *ends_ms).0).collect(),
        held: BTreeSet::new(),
        past: BTreeMap::new(),
        since_ms,
        is_digest: false,
        failures: 0,
        fell_back: false,
        fallback_of: None,
    }
}

fn one(attempts: Vec<Attempt>) -> Owed {
    match <[Attempt; 1]>::try_from(attempts) {
        Ok([Attempt::One(owed)]) => owed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_channel_that_asks_for_a_pause_has_it_and_is_told_then() {
    let mut outbox = Outbox::default();
    outbox.owe(owed(1, "a", 0, &[("x", i64::MAX)]), SLACK);
    outbox.owe(owed(2, "b", 0, &[("y", i64::MAX)]), SLACK);
    let first = one(outbox.take(0));
    assert_eq!((first.id, outbox.take(5_000).len(), outbox.wakes_ms()), (1, 0, None), "one at a time");
    let ended = outbox.ended(Attempt::One(first), &Verdict::Limited(7_000, "rate_limited".into()), 5_000, 0.5);
    assert_eq!(ended.fates[0].1, Fate::Waits(12_000, "rate_limited".into()));
    assert!(ended.fallbacks.is_empty());
    // All of the channel waits, not that message alone.
    assert_eq!((outbox.take(11_999).len(), outbox.wakes_ms()), (0, Some(12_000)));
    let next = one(outbox.take(12_000));
    assert_eq!((next.id, next.failures), (2, 0));
    outbox.ended(Attempt::One(next), &Verdict::Sent, 12_100, 0.5);
    assert_eq!((outbox.take(12_999).len(), outbox.wakes_ms()), (0, Some(13_000)), "no more than one a second");
    let last = one(outbox.take(13_000));
    outbox.ended(Attempt::One(last), &Verdict::Sent, 13_100, 0.5);
    assert!(outbox.is_empty() && outbox.wakes_ms().is_none());
}

#[test]
fn what_ended_while_it_waited_is_told_once_with_both_times() {
    let mut outbox = Outbox::default();
    outbox.owe(owed(1, "a", 0, &[("x", i64::MAX), ("y", i64::MAX)]), FREE);
    let first = one(outbox.take(0));
    // Under way, so it comes after it; and then all of it fails.
    outbox.owe(Owed { reason: Reason::SomeResolved, ..owed(2, "a", 10, &[("x", 10)]) }, FREE);
    outbox.ended(Attempt::One(first), &Verdict::Failed("503".into()), 20, 1.0);
    outbox.owe(Owed { reason: Reason::AllResolved, ..owed(3, "a", 30, &[("y", 30)]) }, FREE);
    assert_eq!(outbox.wakes_ms(), Some(1_020));
    let second = one(outbox.take(1_020));
    let ends: Vec<i64> = second.alerts.values().map(|alert| alert.ends_ms).collect();
    assert_eq!((second.id, second.reason, second.failures), (1, Reason::First, 1));
    assert_eq!(second.merged, [2, 3]);
    assert_eq!(ends.iter().sum::<i64>(), 40, "{ends:?}");
    outbox.ended(Attempt::One(second), &Verdict::Sent, 1_030, 0.0);
    assert!(outbox.is_empty());
}

#[test]
fn pauses_grow_and_somebody_else_is_told_after_ten_minutes() {
    let mut outbox = Outbox::default();
    outbox.owe(owed(1, "a", 0, &[("x", i64::MAX)]), FREE);
    let (mut now_ms, mut fallbacks, mut attempts) = (0, Vec::new(), 0);
    let dead = loop {
        let attempt = one(outbox.take(now_ms));
        let since_ms = attempt.since_ms;
        attempts += 1;
        let ended = outbox.ended(Attempt::One(attempt), &Verdict::Failed("connection refused".into()), now_ms, 1.0);
        fallbacks.extend(ended.fallbacks.iter().map(|(owed, why)| (now_ms - owed.since_ms, why.clone())));
        match &ended.fates[0].1 {
            Fate::Waits(next_ms, _) => now_ms = *next_ms,
            Fate::Dead(why) => break (now_ms - since_ms, why.clone()),
            Fate::Sent => panic!("it was not"),
        }
    };
    assert!(dead.0 >= TRIED_MS_MAX && dead.0 < TRIED_MS_MAX + PAUSE_MS_MAX, "{dead:?}");
    assert!(dead.1.contains("given up after a day: connection refused"));
    let [(after_ms, why)] = fallbacks.as_slice() else { panic!("{fallbacks:?}") };
    assert!((FALLBACK_AFTER_MS..FALLBACK_AFTER_MS + PAUSE_MS_MAX).contains(after_ms) && why == "connection refused");
    assert!((280..310).contains(&attempts), "{attempts}");
    assert!(outbox.is_empty());
}

#[test]
fn what_is_refused_is_dead_at_once_and_the_fallback_is_told() {
    let mut outbox = Outbox::default();
    outbox.owe(owed(1, "a", 0, &[("x", i64::MAX)]), FREE);
    let attempt = one(outbox.take(0));
    outbox.owe(owed(2, "a", 5, &[("y", i64::MAX)]), FREE);
    let ended = outbox.ended(Attempt::One(attempt), &Verdict::Refused("channel_not_found".into()), 10, 0.0);
    assert_eq!(ended.fates[0].1, Fate::Dead("channel_not_found".into()));
    assert_eq!(ended.fallbacks.len(), 1);
    assert_eq!(one(outbox.take(10)).id, 2, "what came later has its own chance");
}

#[test]
fn a_thousand_groups_through_one_channel_are_told_within_two_minutes() {
    let mut outbox = Outbox::default();
    for group in 0..1_000 {
        outbox.owe(owed(group, &format!("group-{group}"), 0, &[("x", i64::MAX)]), SLACK);
    }
    let (mut told, mut now_ms, mut messages) = (BTreeSet::new(), 0, 0);
    while let Some(wakes_ms) = outbox.wakes_ms() {
        now_ms = wakes_ms.max(now_ms);
        for attempt in outbox.take(now_ms) {
            messages += 1;
            let all = match &attempt {
                Attempt::One(owed) => vec![owed.clone()],
                Attempt::Summary(all) => all.clone(),
            };
            assert!(all.len() <= SUMMARY_GROUPS_MAX);
            told.extend(all.into_iter().map(|owed| owed.key.group));
            outbox.ended(attempt, &Verdict::Sent, now_ms + 50, 0.0);
        }
    }
    assert_eq!(told.len(), 1_000);
    assert!(now_ms <= 60_000 && messages <= 41, "{messages} messages in {now_ms} ms");
}

#[test]
fn what_waits_for_a_place_that_is_configured_anew_goes_to_the_new_one() {
    let mut outbox = Outbox::default();
    outbox.owe(owed(1, "a", 0, &[("x", 99)]), SLACK);
    outbox.owe(owed(2, "b", 0, &[("x", 99)]), SLACK);
    outbox.owe(owed(3, "c", 0, &[("x", 99)]), SLACK);
    let first = one(outbox.take(0));
    outbox.ended(Attempt::One(first), &Verdict::Failed("503".into()), 10, 1.0);
    // The first has failed and waits, the second waits for its turn: both are owed elsewhere now.
    let elsewhere = |id, group| Owed { destination: "other".into(), ..owed(id, group, 20, &[("y", 99)]) };
    outbox.owe(elsewhere(4, "a"), FREE);
    outbox.owe(elsewhere(5, "b"), FREE);
    let mut groups: Vec<_> = outbox.take(20).into_iter().collect();
    assert_eq!(groups.len(), 2, "{groups:?}");
    for attempt in groups.drain(..) {
        let Attempt::One(owed) = &attempt else { panic!("{attempt:?}") };
        assert_eq!((&*owed.destination, owed.alerts.len()), ("other", 2));
        outbox.ended(attempt, &Verdict::Sent, 30, 0.5);
    }
    // The old place goes on with what is its own.
    let third = one(outbox.take(1_000));
    assert_eq!((&*third.key.group, &*third.destination), ("c", "slack"));
    outbox.ended(Attempt::One(third), &Verdict::Sent, 1_010, 0.5);
    assert!(outbox.is_empty());
}

#[test]
fn what_is_one_with_a_remark_has_its_own_time_and_its_fallback() {
    let mut outbox = Outbox::default();
    let remark = Owed { reason: Reason::Acknowledged, fell_back: true, ..owed(1, "a", 0, &[]) };
    outbox.owe(remark, FREE);
    let attempt = one(outbox.take(0));
    outbox.ended(Attempt::One(attempt), &Verdict::Failed("503".into()), 10, 1.0);
    outbox.owe(Owed { reason: Reason::NewAlerts, ..owed(2, "a", TRIED_MS_MAX, &[("x", i64::MAX)]) }, FREE);
    let attempt = one(outbox.take(TRIED_MS_MAX));
    assert_eq!((attempt.reason, attempt.failures, attempt.since_ms), (Reason::NewAlerts, 0, TRIED_MS_MAX));
    let ended = outbox.ended(Attempt::One(attempt), &Verdict::Failed("503".into()), TRIED_MS_MAX + 10, 1.0);
    assert!(matches!(ended.fates[0].1, Fate::Waits(..)), "{:?}", ended.fates[0].1);
    let next_ms = outbox.wakes_ms().unwrap();
    let attempt = one(outbox.take(next_ms));
    let ended = outbox.ended(Attempt::One(attempt), &Verdict::Refused("404".into()), next_ms, 1.0);
    assert_eq!(ended.fallbacks.len(), 1);
}

#[test]
fn what_comes_after_a_message_that_died_tells_what_that_did_not() {
    let mut outbox = Outbox::default();
    outbox.owe(owed(1, "a", 0, &[("x", i64::MAX)]), FREE);
    let attempt = one(outbox.take(0));
    let end = Owed { reason: Reason::AllResolved, untold: BTreeSet::new(), ..owed(2, "a", 5, &[("x", 5)]) };
    outbox.owe(end, FREE);
    outbox.ended(Attempt::One(attempt.clone()), &Verdict::Refused("404".into()), 10, 0.0);
    let after = one(outbox.take(10));
    assert_eq!((after.id, after.reason, &after.untold), (2, Reason::First, &attempt.untold));
}

#[test]
fn destinations_that_hang_leave_room_for_others() {
    let mut outbox = Outbox::default();
    let to =
        |id: u128, destination: String| Owed { destination: destination.into(), ..owed(id, &format!("{id}"), 0, &[]) };
    (0..200).for_each(|id| outbox.owe(to(id, format!("hangs {}", id % 20)), FREE));
    let mut under_way = outbox.take(0);
    assert_eq!(under_way.len(), ALL_UNDER_WAY_MAX);
    outbox.owe(to(1_000, "works".to_owned()), FREE);
    assert_eq!((outbox.take(1).len(), outbox.wakes_ms()), (0, None), "it waits for an answer");
    outbox.ended(under_way.pop().unwrap(), &Verdict::Failed("timed out".into()), 30_000, 1.0);
    let next = one(outbox.take(30_000));
    assert_eq!(&*next.destination, "works", "before what waits for those that hang");
}

#[test]
fn questions_wait_for_questions_and_hold_up_no_alert() {
    let mut outbox = Outbox::default();
    for id in 1..=5 {
        let reason = Reason::Scheduled;
        let destination = format!("answers {id}").into();
        outbox.owe(Owed { reason, destination, ..owed(id, &format!("query/{id}"), 0, &[]) }, FREE);
    }
    outbox.owe(owed(9, "a", 0, &[("x", 1)]), FREE);
    let attempts = outbox.take(0);
    assert_eq!(attempts.len(), QUESTIONS_UNDER_WAY_MAX + 1);
    assert!(outbox.take(0).is_empty());
    assert_eq!(outbox.wakes_ms(), None, "all that waits does so for an answer");
    let is_question = |attempt: &Attempt| matches!(attempt, Attempt::One(owed) if owed.reason == Reason::Scheduled);
    let question = attempts.into_iter().find(is_question).unwrap();
    outbox.ended(question, &Verdict::Sent, 5, 0.5);
    assert_eq!(outbox.wakes_ms(), Some(0));
    assert_eq!(outbox.take(5).len(), 1);
}
