//! What has gone on for longer than rows are read back is known after a start.

use std::{collections::BTreeMap, sync::Arc};

use alerting::schedule::Slot;
use storage::{Clock, Env};

use super::*;

const DAY_MS: i64 = 86_400_000;
const NOW_MS: i64 = 20_000 * DAY_MS;

fn alert(name: &str, source: &str, state: State, at_ms: i64) -> AlertRow {
    AlertRow {
        at_ms,
        state,
        reason: "posted".into(),
        source: source.into(),
        labels: [("alertname", name)].into_iter().collect(),
        annotations: Labels::default(),
        value: None,
        active_ms: Some(at_ms),
        starts_ms: Some(at_ms),
        ends_ms: None,
        keep_firing_ms: None,
        generator_url: Arc::default(),
        run: Arc::default(),
    }
}

fn step(group: &str, id: u128, (event, reason): (Event, &str), firing: &[u64], at_ms: i64) -> NotificationRow {
    NotificationRow {
        at_ms,
        key: Key { group: group.into(), receiver: "team".into(), kind: ReceiverKind::PagerDuty, integration: 0 },
        event,
        id,
        reason: reason.to_owned(),
        firing: firing.to_vec(),
        resolved: Vec::new(),
        held: Vec::new(),
        by: Vec::new(),
        group_labels: Labels::default(),
        attempt: 0,
        error: String::new(),
        took_ms: 0,
        answer: if event == Event::Sent { "answer".to_owned() } else { String::new() },
    }
}

/// A step of a scheduled query.
fn of_slot(group: &str, id: u128, event: Event, at_ms: i64) -> NotificationRow {
    let group_labels = Slot::of(group).unwrap().labels();
    NotificationRow { group_labels, ..step(group, id, (event, Reason::Scheduled.text()), &[], at_ms) }
}

/// Tables in a folder, and who answers queries over them.
async fn open(folder: &tempfile::TempDir) -> (Storage, Engine) {
    let registry = prometheus::Registry::new();
    let clock = Clock::new(|| NOW_MS * 1_000);
    let config = storage::Config {
        tables: storage::Tables::default(),
        data_dir: folder.path().to_owned(),
        tenant: "default".to_owned(),
        flush_bytes: 64 << 20,
        flush_age_ms: 600_000,
        head_bytes_max: 256 << 20,
        wal_segment_bytes: 4 << 20,
        upkeep: false,
        retention_days: BTreeMap::new(),
    };
    let env = Env { clock: clock.clone(), ..crate::app::env() };
    let storage = Storage::open(config, schemas::all(), env, &registry).await.unwrap();
    let engine = crate::app::engine(query::Config::default(), &storage, clock, &registry).unwrap();
    (storage, engine)
}

fn day(days: i64) -> i64 {
    NOW_MS - days * DAY_MS
}

#[tokio::test]
async fn the_last_slot_of_each_scheduled_query_is_known_however_long_ago_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (storage, engine) = open(&folder).await;
    let notifications = vec![
        of_slot("query/costs@2024-08-01T07:00:00Z", 20, Event::Intent, day(60)),
        of_slot("query/costs@2024-08-01T07:00:00Z", 20, Event::Sent, day(60) + 1),
        of_slot("query/costs@2024-09-01T07:00:00Z", 21, Event::Intent, day(30)),
        of_slot("query/costs@2024-09-01T07:00:00Z", 21, Event::Waits, day(30) + 1),
        of_slot("query/load@2024-09-15T00:00:00Z", 0, Event::Kept, day(20)),
    ];
    Recorder(storage.clone()).append(&Rows { notifications, ..Rows::default() }).await.unwrap();
    let since_us = day(8) * 1_000;
    let known = known(&engine, (since_us, since_us), NOW_MS * 1_000).await.unwrap();
    let mut slots: Vec<&str> = known.slots.iter().map(|row| &*row.key.group).collect();
    slots.sort_unstable();
    assert_eq!(slots, ["query/costs@2024-09-01T07:00:00Z", "query/load@2024-09-15T00:00:00Z"]);
    let owed: Vec<u128> = known.notifications.iter().map(|row| row.id).collect();
    assert_eq!(owed, [21, 21], "what was not told is owed, whatever it is");
    storage.close().await.unwrap();
}

#[tokio::test]
async fn what_goes_on_for_longer_than_rows_are_read_back_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let (storage, engine) = open(&folder).await;
    let first = (Event::Intent, Reason::First.text());
    let (repeat, end) = (Reason::Repeat.text(), Reason::AllResolved.text());
    let rows = Rows {
        alerts: vec![
            alert("goes on", rows::API, State::Firing, day(10)),
            alert("ended", rows::API, State::Firing, day(11)),
            alert("ended", rows::API, State::Resolved, day(10)),
            alert("of a rule that is gone", "rules.yml", State::Firing, day(10)),
            alert("new", "rules.yml", State::Firing, day(1)),
        ],
        notifications: vec![
            step("goes on", 1, first, &[1], day(12)),
            step("goes on", 1, (Event::Sent, first.1), &[1], day(12) + 1),
            step("goes on", 2, (Event::Intent, repeat), &[1], day(11)),
            step("goes on", 2, (Event::Sent, repeat), &[1], day(11) + 1),
            step("goes on", 3, (Event::Acknowledged, "at the receiver"), &[1], day(10)),
            step("goes on", 8, (Event::Intent, Reason::Silenced.text()), &[1], day(10) + 1),
            step("goes on", 8, (Event::Sent, Reason::Silenced.text()), &[1], day(10) + 2),
            step("goes on", 9, (Event::Intent, Reason::Acknowledged.text()), &[1], day(10) + 3),
            step("goes on", 9, (Event::Sent, Reason::Acknowledged.text()), &[1], day(10) + 4),
            step("ended", 4, first, &[1], day(12)),
            step("ended", 4, (Event::Sent, first.1), &[1], day(12) + 1),
            step("ended", 5, (Event::Intent, end), &[], day(11)),
            step("ended", 5, (Event::Sent, end), &[], day(11) + 1),
            step("its end is owed", 6, (Event::Intent, end), &[], day(9)),
            step("new", 7, first, &[1], day(1)),
        ],
        silences: Vec::new(),
    };
    Recorder(storage.clone()).append(&rows).await.unwrap();
    let since_us = day(8) * 1_000;
    let known = known(&engine, (since_us, since_us), NOW_MS * 1_000).await.unwrap();
    let names: Vec<&str> = known.alerts.iter().map(|row| row.labels.get("alertname")).collect();
    assert_eq!(names, ["goes on", "new"]);
    let mut ids: Vec<(u128, Event)> = known.notifications.iter().map(|row| (row.id, row.event)).collect();
    ids.sort_by_key(|(id, event)| (*id, event.text()));
    assert_eq!(
        ids,
        [
            (1, Event::Intent),
            (1, Event::Sent),
            (2, Event::Intent),
            (2, Event::Sent),
            (3, Event::Acknowledged),
            (6, Event::Intent),
            (7, Event::Intent),
            (8, Event::Intent),
            (8, Event::Sent),
            // The last answer, whatever it answered.
            (9, Event::Sent)
        ]
    );
    storage.close().await.unwrap();
}
