//! Groups through time, with a clock that jumps from one thing that happens to the next.

use super::*;
use crate::{
    alerts::{Alerts, Posted},
    dedup::Reason,
    outbox::{Attempt, Outbox, Verdict},
};

const SECOND: i64 = 1_000;
const FREE: Rate = Rate { every_ms: 0, burst: 1, takes_summaries: false };

type Quieten = Box<dyn Fn(&Alert, i64) -> Option<Quiet>>;

/// One receiver that notes what it is told, and a dispatcher with everything around it.
struct World {
    now_ms: i64,
    route: Arc<Route>,
    group_by: &'static [&'static str],
    alerts: Alerts,
    dispatcher: Dispatcher,
    outbox: Outbox,
    quiet: Quieten,
    /// Answers that are given before `Sent`.
    verdicts: Vec<Verdict>,
    told: Vec<String>,
    kept: Vec<Kept>,
    ids: u128,
}

struct Ask<'a>(&'a dyn Fn(&Alert, i64) -> Option<Quiet>);

impl Hush for Ask<'_> {
    fn quiet(&self, alert: &Alert, _: &Route, now_ms: i64) -> Option<Quiet> {
        self.0(alert, now_ms)
    }
}

/// The one route, with its times in milliseconds.
fn route(group_wait_ms: i64, group_interval_ms: i64, repeat_interval_ms: i64) -> Arc<Route> {
    let config = crate::Config::parse(
        &format!(
            "route: {{receiver: team, group_wait: {group_wait_ms}ms, group_interval: {group_interval_ms}ms, \
             repeat_interval: {repeat_interval_ms}ms}}\nreceivers: [{{name: team}}]"
        ),
        std::path::Path::new("."),
    );
    Arc::clone(config.unwrap().routes.iter().next().unwrap())
}

impl World {
    fn new(sends_resolved: bool) -> Self {
        let route = route(SECOND, SECOND, SECOND);
        let integration = Integration {
            kind: ReceiverKind::Webhook,
            destination: "hook".into(),
            sends_resolved,
            rate: FREE,
            digest: None,
            hears_of_silence: false,
        };
        let receivers = BTreeMap::from([(Arc::from("team"), Arc::from([integration]))]);
        Self {
            now_ms: 0,
            route,
            group_by: &["alertname"],
            alerts: Alerts::default(),
            dispatcher: Dispatcher::new(receivers, Memory::default()),
            outbox: Outbox::default(),
            quiet: Box::new(|_, _| None),
            verdicts: Vec::new(),
            told: Vec::new(),
            kept: Vec::new(),
            ids: 0,
        }
    }

    fn times(mut self, group_wait_ms: i64, group_interval_ms: i64, repeat_interval_ms: i64) -> Self {
        self.route = route(group_wait_ms, group_interval_ms, repeat_interval_ms);
        self
    }

    /// Posts an alert, `name` or `name/instance`, that started and ended at times, milliseconds.
    fn post(&mut self, name: &str, starts_ms: i64, ends_ms: Option<i64>) {
        let (alertname, instance) = name.split_once('/').unwrap_or((name, ""));
        let posted = Posted {
            labels: [("alertname", alertname), ("instance", instance)].into_iter().collect(),
            starts_ms: Some(starts_ms),
            ends_ms,
            ..Posted::default()
        };
        let alert = posted.alert(self.now_ms, 300 * SECOND).unwrap();
        let (alert, _) = self.alerts.put(alert, self.now_ms);
        let (route, group_by) = (&self.route, self.group_by);
        let ways = |labels: &Labels| {
            let group = labels.iter().filter(|(name, _)| group_by.contains(name)).collect();
            vec![(Arc::clone(route), group)]
        };
        self.dispatcher.take(&alert, &ways, self.now_ms);
    }

    /// Lets time pass, up to and without a time.
    fn until(&mut self, end_ms: i64) {
        loop {
            let wakes = [self.dispatcher.wakes_ms(), self.outbox.wakes_ms()].into_iter().flatten().min();
            let Some(wakes_ms) = wakes.filter(|wakes_ms| *wakes_ms < end_ms) else { break };
            self.now_ms = self.now_ms.max(wakes_ms);
            let mut due = self.dispatcher.due(&Ask(&*self.quiet), self.now_ms, || {
                self.ids += 1;
                self.ids
            });
            self.kept.append(&mut due.kept.clone());
            for (owed, rate) in std::mem::take(&mut due.owed) {
                self.outbox.owe(owed, rate);
            }
            self.dispatcher.went(due, self.now_ms);
            for attempt in self.outbox.take(self.now_ms) {
                let verdict = self.verdicts.pop().unwrap_or(Verdict::Sent);
                self.note(&attempt, &verdict);
                self.outbox.ended(attempt, &verdict, self.now_ms, 1.0);
            }
        }
        self.now_ms = end_ms;
    }

    fn note(&mut self, attempt: &Attempt, verdict: &Verdict) {
        let Attempt::One(owed) = attempt else { panic!("a storm: {attempt:?}") };
        let mut alerts: Vec<String> = owed
            .alerts
            .values()
            .map(|alert| {
                let name = format!("{}{}", alert.labels.get("alertname"), alert.labels.get("instance"));
                let ends = if alert.is_resolved(self.now_ms) { format!("-{}", alert.ends_ms) } else { String::new() };
                format!("{name}@{}{ends}", alert.starts_ms)
            })
            .collect();
        alerts.sort();
        let failed = if *verdict == Verdict::Sent { "" } else { " failed" };
        self.told.push(format!("{} {}{failed}", self.now_ms, alerts.join(" ")));
    }
}

#[test]
fn alerts_of_a_group_are_told_together_and_again_when_one_is_new() {
    let mut world = World::new(true).times(SECOND, 2 * SECOND, 60 * SECOND);
    world.post("a/1", 0, None);
    world.until(500);
    world.post("a/2", 500, None);
    world.post("b/1", 500, None);
    world.until(2_000);
    world.post("a/3", 2_000, None);
    world.until(10 * SECOND);
    assert_eq!(world.told, ["1000 a1@0 a2@500", "1500 b1@500", "3000 a1@0 a2@500 a3@2000"]);
}

#[test]
fn the_same_is_told_again_on_the_first_flush_after_the_repeat_interval() {
    let mut world = World::new(true).times(SECOND, SECOND, 2_500);
    world.post("a", 0, None);
    world.until(8 * SECOND);
    assert_eq!(world.told, ["1000 a@0", "4000 a@0", "7000 a@0"]);
}

#[test]
fn ends_are_told_to_who_asks_for_them_and_a_new_begin_to_everybody() {
    for (sends_resolved, expected) in [
        (true, &["1000 a1@0 a2@0", "3000 a1@0 a2@0-2500", "5000 a1@0-4500", "7000 a1@6500"][..]),
        // The last end is told so that the group is known to have ended.
        (false, &["1000 a1@0 a2@0", "5000 a1@0-4500", "7000 a1@6500"]),
    ] {
        let mut world = World::new(sends_resolved).times(SECOND, 2 * SECOND, 60 * SECOND);
        world.post("a/1", 0, None);
        world.post("a/2", 0, None);
        world.until(2_500);
        world.post("a/2", 0, Some(2_500));
        world.until(4_500);
        world.post("a/1", 0, Some(4_500));
        world.until(6_500);
        world.post("a/1", 6_500, None);
        world.until(8 * SECOND);
        // Fires since 6.5 s; the group was gone, so it waits a second.
        let told: Vec<String> = world.told.iter().map(|told| told.replace("7500 ", "7000 ")).collect();
        assert_eq!(told, expected, "sends_resolved={sends_resolved}");
    }
}

#[test]
fn an_alert_that_nobody_reports_any_more_ends_at_its_time() {
    let mut world = World::new(true).times(SECOND, SECOND, 60 * SECOND);
    world.post("a", 0, Some(3_500));
    world.until(10 * SECOND);
    assert_eq!(world.told, ["1000 a@0", "4000 a@0-3500"]);
    assert_eq!(world.dispatcher.groups().count(), 0, "a group without alerts is gone");
}

#[test]
fn an_alert_that_ended_before_it_was_told_is_not_told() {
    let mut world = World::new(true);
    world.post("a", 0, Some(800));
    world.until(5 * SECOND);
    assert_eq!(world.told, [""; 0]);
}

#[test]
fn one_that_is_limited_is_told_later_though_it_lived_for_four_seconds() {
    let mut world = World::new(false).times(SECOND, 6 * SECOND, 60 * SECOND);
    world.verdicts = vec![Verdict::Limited(SECOND, "rate_limited".into())];
    world.post("a", 0, Some(4 * SECOND));
    world.until(30 * SECOND);
    assert_eq!(world.told, ["1000 a@0 failed", "2000 a@0", "7000 a@0-4000"]);
    // And when it ends before it can be told: once, with both times.
    let mut world = World::new(false).times(SECOND, 6 * SECOND, 60 * SECOND);
    world.verdicts = vec![Verdict::Limited(5 * SECOND, "rate_limited".into())];
    world.post("a", 0, Some(4 * SECOND));
    world.until(7 * SECOND);
    assert_eq!(world.told, ["1000 a@0 failed", "6000 a@0-4000"]);
}

#[test]
fn what_is_silenced_is_not_told_and_has_a_reason() {
    let mut world = World::new(true).times(SECOND, SECOND, 3 * SECOND);
    world.quiet = Box::new(|_, now_ms| (now_ms < 5 * SECOND).then(|| Quiet::Silenced(vec!["s1".into()])));
    world.post("a", 0, None);
    world.until(5_500);
    assert_eq!(world.told, ["5000 a@0"]);
    assert_eq!(world.kept.len(), 1, "written down once: {:?}", world.kept);
    let reasons: Vec<_> = world.kept[0].alerts.values().collect();
    assert_eq!(reasons, [&Some(Quiet::Silenced(vec!["s1".into()]))]);
}

#[test]
fn an_alert_that_was_told_and_silenced_then_has_its_end_told() {
    let mut world = World::new(true).times(SECOND, SECOND, 2 * SECOND);
    world.quiet = Box::new(|_, now_ms| (now_ms >= 2 * SECOND).then(|| Quiet::Inhibited(vec![7])));
    world.post("a", 0, None);
    // Neither again nor as ended, while it is quiet and fires.
    world.until(6_500);
    assert_eq!(world.told, ["1000 a@0"]);
    world.post("a", 0, Some(6_500));
    world.until(10 * SECOND);
    assert_eq!(world.told, ["1000 a@0", "7000 a@0-6500"]);
}

#[test]
fn a_group_has_not_ended_while_one_of_its_alerts_is_silenced() {
    let mut world = World::new(true).times(SECOND, SECOND, 60 * SECOND);
    world.quiet = Box::new(|alert, now_ms| {
        (now_ms >= 2 * SECOND && alert.labels.get("instance") == "1").then(|| Quiet::Muted(vec!["night".into()]))
    });
    world.post("a/1", 0, None);
    world.post("a/2", 0, None);
    world.until(2_500);
    world.post("a/2", 0, Some(2_500));
    let due = {
        world.until(3_000);
        world.now_ms = 3_000;
        world.dispatcher.due(&Ask(&*world.quiet), 3_000, || 9)
    };
    let (owed, _) = &due.owed[0];
    assert_eq!((owed.reason, owed.held.len(), owed.alerts.len()), (Reason::SomeResolved, 1, 1));
}

#[test]
fn after_a_restart_only_what_is_new_is_told() {
    let mut world = World::new(true).times(SECOND, SECOND, 60 * SECOND);
    world.post("a", 0, None);
    world.until(1_500);
    assert_eq!(world.told, ["1000 a@0"]);
    // What is on disk: what receivers know, and alerts.
    let receivers = world.dispatcher.receivers.clone();
    world.dispatcher = Dispatcher::new(receivers.clone(), world.dispatcher.memory.clone());
    world.post("a", 0, None);
    world.until(5 * SECOND);
    assert_eq!(world.told.len(), 1, "{:?}", world.told);
    // It ended while nothing ran.
    world.dispatcher = Dispatcher::new(receivers, world.dispatcher.memory.clone());
    world.post("a", 0, Some(4_900));
    world.until(8 * SECOND);
    assert_eq!(world.told[1..], ["5000 a@0-4900"]);
}

#[test]
fn rules_that_notify_once_are_not_repeated() {
    let mut world = World::new(true).times(SECOND, SECOND, 2 * SECOND);
    world.post("a", 0, None);
    let alert = Arc::new(Alert { once: true, ..Alert::clone(world.alerts.iter().next().unwrap()) });
    let route = Arc::clone(&world.route);
    let ways =
        |labels: &Labels| vec![(Arc::clone(&route), [("alertname", labels.get("alertname"))].into_iter().collect())];
    world.dispatcher.take(&alert, &ways, 0);
    world.until(20 * SECOND);
    assert_eq!(world.told, ["1000 a@0"]);
}

#[test]
fn what_was_refused_is_owed_anew_by_the_next_flush() {
    let mut world = World::new(true).times(SECOND, SECOND, 60 * SECOND);
    world.post("a", 0, None);
    world.until(1_500);
    let key = world.dispatcher.memory.told.keys().next().unwrap().clone();
    world.dispatcher.failed(&key);
    world.until(2_500);
    assert_eq!(world.told, ["1000 a@0", "2000 a@0"]);
    world.dispatcher.sweep(100 * SECOND, 10 * SECOND);
    assert_eq!(world.dispatcher.memory.told.len(), 1, "as long as the group is there");
}

#[test]
fn routes_with_the_same_matchers_have_groups_of_their_own() {
    let text = "route: {receiver: a, group_by: [alertname], routes: [\
        {receiver: a, matchers: ['x=y'], continue: true}, {receiver: b, matchers: ['x=y']}]}\n\
        receivers: [{name: a}, {name: b}]";
    let routes = crate::Config::parse(text, std::path::Path::new(".")).unwrap().routes;
    let alert = Posted { labels: [("alertname", "n"), ("x", "y")].into_iter().collect(), ..Posted::default() };
    let mut dispatcher = Dispatcher::default();
    let ways = |labels: &Labels| {
        routes.matching(labels).into_iter().map(|route| (Arc::clone(route), route.group_labels(labels))).collect()
    };
    dispatcher.take(&Arc::new(alert.alert(0, SECOND).unwrap()), &ways, 0);
    let mut receivers: Vec<&str> = dispatcher.groups().map(|group| group.route.receiver()).collect();
    receivers.sort_unstable();
    assert_eq!(receivers, ["a", "b"]);
}
