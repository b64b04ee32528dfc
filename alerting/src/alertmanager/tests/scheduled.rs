//! Questions that are asked at their times: each slot is told once, whatever ends in between, and what is not told has a row.

use super::*;
use crate::schedule::{Schedule, Times};

const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 24 * 60 * MINUTE;
/// Of each day.
const SLOT: i64 = 10 * MINUTE;

fn plan() -> Plan {
    world::plan_of(
        "route: {receiver: finance}\n\
         receivers:\n\
         - {name: finance, fallback: ops, slack_configs: [{api_url: 'http://finance/', username: u, icon_emoji: e, icon_url: i}]}\n\
         - {name: ops, webhook_configs: [{url: 'http://hook/'}], slack_configs: [{api_url: 'http://ops/', username: u, icon_emoji: e, icon_url: i}]}\n",
    )
}

fn scheduled(at: &str) -> Vec<Schedule> {
    vec![Schedule { query: "costs".into(), receiver: "finance".into(), times: Times::new(at, "").unwrap() }]
}

/// A process that has seen its schedule, and its world.
async fn begun() -> (Arc<World>, Alertmanager) {
    let world = Arc::new(World { schedules: Mutex::new(scheduled("00:10")), ..World::default() });
    let manager = world.start(plan());
    until(&world, &manager, SECOND).await;
    (world, manager)
}

/// Each message: its time, whom it went to, its first line.
fn told(world: &World) -> Vec<(i64, String, String)> {
    let text = |message: &Message| {
        let (url, body) = message.sent.clone().unwrap();
        (message.at_ms, url, body["text"].as_str().unwrap().lines().next().unwrap().to_owned())
    };
    world.told.lock().iter().map(text).collect()
}

fn message(at_ms: i64, to: &str, text: &str) -> (i64, String, String) {
    (at_ms, format!("http://{to}/"), format!("*{text}*"))
}

/// Steps that were written down: event, slot, what went wrong.
fn steps(world: &World) -> Vec<(&'static str, String, String)> {
    let step = |row: &NotificationRow| {
        assert_eq!(row.group_labels.get("query"), "costs");
        (row.event.text(), row.group_labels.get("slot").to_owned(), row.error.clone())
    };
    world.disk.lock().notifications.iter().map(step).collect()
}

#[tokio::test]
async fn a_slot_is_one_message_and_its_steps_are_rows() {
    let (world, manager) = begun().await;
    until(&world, &manager, 2 * DAY).await;
    let expected = [
        message(SLOT, "finance", "costs, as of 1970-01-01T00:10:00Z"),
        message(DAY + SLOT, "finance", "costs, as of 1970-01-02T00:10:00Z"),
    ];
    assert_eq!(told(&world), expected);
    let [first, second] = ["1970-01-01T00:10:00Z", "1970-01-02T00:10:00Z"];
    let step = |event, slot: &str, error: &str| (event, slot.to_owned(), error.to_owned());
    let expected = [
        step("kept", "1970-01-01T00:00:00Z", "the schedule begins first=1970-01-01T00:10:00Z"),
        step("intent", first, ""),
        step("sent", first, ""),
        step("intent", second, ""),
        step("sent", second, ""),
    ];
    assert_eq!(steps(&world), expected);
    assert!(world.disk.lock().notifications.iter().all(|row| row.reason == "scheduled query"));
}

#[tokio::test]
async fn a_slot_is_told_though_the_process_was_killed_and_never_twice_once_that_is_written_down() {
    for steps in 0..=6 {
        let (world, manager) = begun().await;
        *world.ends_after.lock() = Some(steps);
        until(&world, &manager, SLOT + SECOND).await;
        let manager = world.start(plan());
        until(&world, &manager, SLOT + 5 * MINUTE).await;
        let told = told(&world);
        // A message that went out and of which nothing is written down goes out again.
        let times = if (3..=4).contains(&steps) { 2 } else { 1 };
        assert_eq!(told.len(), times, "killed after {steps}: {told:?}");
        assert!(told.iter().all(|(_, _, text)| text == "*costs, as of 1970-01-01T00:10:00Z*"), "{told:?}");
        let manager = world.start(plan());
        until(&world, &manager, SLOT + 60 * MINUTE).await;
        assert_eq!(self::told(&world).len(), times, "killed after {steps}, and started once more");
    }
}

#[tokio::test]
async fn of_slots_that_were_missed_the_last_is_told_and_the_others_are_written_down() {
    let (world, _) = begun().await;
    let start = async |at_ms: i64| {
        world.now_ms.store(at_ms, Ordering::Relaxed);
        let manager = world.start(plan());
        until(&world, &manager, at_ms + MINUTE).await;
    };
    start(SLOT + 300 * MINUTE).await;
    let mut expected = vec![message(SLOT + 300 * MINUTE, "finance", "costs, as of 1970-01-01T00:10:00Z")];
    assert_eq!(told(&world), expected);
    start(3 * DAY + DAY / 2).await;
    expected.push(message(3 * DAY + DAY / 2, "finance", "costs, as of 1970-01-04T00:10:00Z"));
    assert_eq!(told(&world), expected);
    let missed = "missed: a later one is told slots=2".to_owned();
    assert!(steps(&world).contains(&("kept", "1970-01-03T00:10:00Z".to_owned(), missed)), "{:?}", steps(&world));
    let rows = steps(&world).len();
    start(3 * DAY + DAY / 2 + 5 * MINUTE).await;
    assert_eq!((told(&world), steps(&world).len()), (expected, rows), "nothing is new");
}

#[tokio::test]
async fn a_month_is_told_however_late_it_is() {
    let world = Arc::new(World::default());
    let first = Times::new("00:10", "").unwrap().on_days_of_month("1").unwrap();
    *world.schedules.lock() = vec![Schedule { times: first, ..scheduled("00:10").remove(0) }];
    let manager = world.start(plan());
    until(&world, &manager, 2 * DAY).await;
    let at_ms = 45 * DAY;
    world.now_ms.store(at_ms, Ordering::Relaxed);
    let manager = world.start(plan());
    until(&world, &manager, at_ms + DAY).await;
    let first = message(SLOT, "finance", "costs, as of 1970-01-01T00:10:00Z");
    assert_eq!(told(&world), [first, message(at_ms, "finance", "costs, as of 1970-02-01T00:10:00Z")]);
    assert!(steps(&world).iter().filter(|(event, ..)| *event == "kept").count() == 1, "{:?}", steps(&world));
}

#[tokio::test]
async fn a_schedule_of_other_times_begins_when_it_is_seen() {
    let (world, manager) = begun().await;
    until(&world, &manager, SLOT + MINUTE).await;
    // It would have been due before the start.
    *world.schedules.lock() = scheduled("00:20");
    world.now_ms.store(SLOT + 30 * MINUTE, Ordering::Relaxed);
    let manager = world.start(plan());
    until(&world, &manager, DAY + SLOT + 15 * MINUTE).await;
    let times: Vec<i64> = told(&world).into_iter().map(|(at_ms, ..)| at_ms).collect();
    assert_eq!(times, [SLOT, DAY + SLOT + 10 * MINUTE]);
}

#[tokio::test]
async fn a_slot_that_fails_is_tried_again_told_to_the_fallback_and_given_up_after_a_day() {
    let (world, manager) = begun().await;
    world.down.lock().insert("http://finance/".to_owned());
    until(&world, &manager, SLOT + 20 * MINUTE).await;
    let all = told(&world);
    assert_eq!(all.len(), 1, "a webhook is told no table: {all:?}");
    assert_eq!(all[0].1, "http://ops/");
    assert_eq!(all[0].2, "*[finance could not be told] costs, as of 1970-01-01T00:10:00Z*");
    until(&world, &manager, DAY + SLOT + 400 * SECOND).await;
    world.down.lock().clear();
    until(&world, &manager, DAY + SLOT + 20 * MINUTE).await;
    let all = told(&world);
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!((all[1].1.as_str(), all[1].2.as_str()), ("http://finance/", "*costs, as of 1970-01-02T00:10:00Z*"));
    let dead: Vec<_> = steps(&world).into_iter().filter(|(event, ..)| *event == "dead").collect();
    assert_eq!(dead, [("dead", "1970-01-01T00:10:00Z".to_owned(), "given up after a day: 503".to_owned())]);
}

#[tokio::test]
async fn what_a_fallback_is_owed_is_an_answer_after_a_kill_too() {
    let (world, manager) = begun().await;
    world.down.lock().extend(["http://finance/", "http://ops/"].map(str::to_owned));
    until(&world, &manager, SLOT + 20 * MINUTE).await;
    assert!(told(&world).is_empty());
    let manager = world.start(plan());
    world.down.lock().remove("http://ops/");
    until(&world, &manager, SLOT + 40 * MINUTE).await;
    let all = told(&world);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!((all[0].1.as_str(), all[0].2.as_str()), ("http://ops/", "*costs, as of 1970-01-01T00:10:00Z*"));
}

#[tokio::test]
async fn what_was_answered_to_a_part_that_was_told_is_known_to_the_next_attempt() {
    for is_killed in [false, true] {
        let (world, mut manager) = begun().await;
        let destination = format!("answers: {}", plan().receivers["finance"][0].destination);
        world.answers.lock().insert(destination, "{\"ts\":\"1.2\"}".to_owned());
        world.verdicts.lock().push(Verdict::Limited(10 * MINUTE, "429".into()));
        until(&world, &manager, SLOT + 5 * MINUTE).await;
        assert_eq!(*world.given.lock(), [None]);
        if is_killed {
            manager = world.start(plan());
            until(&world, &manager, SLOT + 6 * MINUTE).await;
        } else {
            until(&world, &manager, SLOT + 20 * MINUTE).await;
        }
        assert_eq!(*world.given.lock(), [None, Some("{\"ts\":\"1.2\"}".to_owned())], "killed {is_killed}");
    }
}
