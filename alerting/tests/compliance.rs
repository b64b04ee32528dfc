//! What Prometheus' specification of alert generators (1.0) says that must be so, on a clock that the test moves.
//!
//! Each test names the requirement. Not here: what is sent over the wire and shown by the API, which the program does.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use alerting::{
    Labels,
    alert::{Due, Phase},
    group::{Done, Run, Slots, State},
    query::Query,
    rules::{self, Group},
    template,
    testing::{Settings, Store, read_labels, read_values},
};

const MINUTE: i64 = 60_000;

/// A group, evaluated minute after minute.
struct World {
    group: Group,
    state: State,
    store: Store<'static>,
    minute: i64,
}

fn group(rules: &str) -> Group {
    let options = rules::Options { ignores_unknown_fields: false, template: &|_| Ok(()) };
    let text = format!("groups:\n- name: g\n  rules:\n{rules}");
    rules::parse(&text, &options).unwrap_or_else(|errors| panic!("{errors:?}\n{text}")).remove(0)
}

impl World {
    /// Series have a value each minute.
    fn new(rules: &str, series: &[(&str, &str)]) -> Self {
        let settings =
            Settings { lookback_ms: 5 * MINUTE, subquery_step_ms: MINUTE, features: promql::Features::default() };
        let mut store = Store::new(settings);
        for (labels, values) in series {
            store.load(read_labels(labels).unwrap(), read_values(values).unwrap(), 0, MINUTE);
        }
        let group = group(rules);
        Self { state: State::new(&group), group, store, minute: -1 }
    }

    /// The next minute: what came of each rule.
    fn step(&mut self) -> Vec<alerting::Result<Done>> {
        self.minute += 1;
        let now = self.minute * MINUTE;
        self.store.advance(now).unwrap();
        let external_labels = Labels::default();
        let steps = self.group.steps();
        let run = Run {
            steps: &steps,
            group: &self.group,
            expand: &template::Templates,
            external_labels: &external_labels,
            external_url: "",
            query_offset_ms: 0,
        };
        run.evaluate(&mut self.state, now, true, &mut self.store)
    }

    fn minutes(&mut self, count: usize) {
        for _ in 0..count {
            self.step().into_iter().for_each(|done| assert!(done.unwrap().write_error.is_none()));
        }
    }

    /// What a query gives now.
    fn ask(&mut self, query: &str) -> Vec<String> {
        let query = promql::Query::parse(query).unwrap();
        let found = self.store.instant(&query, self.minute * MINUTE).unwrap();
        let shown = found.samples.iter().map(|sample| format!("{:?} {}", sample.labels, sample.value.number()));
        let mut shown: Vec<String> = shown.collect();
        shown.sort();
        shown
    }

    /// Phases of the alerts of a rule.
    fn phases(&self, rule: usize) -> Vec<Phase> {
        self.state.rules[rule].alerts.instances().map(|(_, instance)| instance.phase).collect()
    }

    fn due(&mut self, rule: usize, resend_ms: i64) -> Vec<Due> {
        self.state.rules[rule].alerts.due(self.minute * MINUTE, resend_ms, MINUTE)
    }
}

const SIMPLE: &str = "  - alert: A\n    expr: x > 1\n    for: 2m\n    labels: {severity: page, drop: '{{ $labels.none }}'}\n    \
                      annotations: {text: 'is {{ $value }} on {{ $labels.host }}'}\n";

#[test]
fn results_of_a_rule_are_there_for_the_rules_after_it_and_not_for_those_before() {
    let rules = "  - alert: Early\n    expr: y > 0\n  - record: y\n    expr: x * 2\n  - record: z\n    expr: y + 1\n  - alert: Late\n    \
                 expr: z > 0 and on () ALERTS{alertname=\"Early\"}\n";
    let mut world = World::new(rules, &[("x", "1x9")]);
    world.minutes(1);
    assert_eq!((world.phases(0), world.phases(3)), (vec![], vec![]));
    assert_eq!(world.ask("z"), [r#"{"__name__": "z"} 3"#]);
    world.minutes(1);
    assert_eq!((world.phases(0), world.phases(3)), (vec![Phase::Firing], vec![Phase::Firing]));
}

#[test]
fn the_interval_is_a_minute_unless_the_group_says_otherwise() {
    assert_eq!(group(SIMPLE).interval_ms, None, "and the program has a minute for that");
    let slots = Slots::new("f", "g", MINUTE);
    assert_eq!(slots.after(slots.at_or_before(0)) - slots.at_or_before(0), MINUTE);
}

#[test]
fn two_alerts_with_the_same_labels_fail_the_rule_and_nothing_is_written_or_told() {
    let rules = "  - alert: A\n    expr: x\n    labels: {host: same}\n  - record: r\n    expr: x\n    labels: {host: same}\n  - record: y\n    \
                 expr: x\n";
    let mut world = World::new(rules, &[("x{host=\"a\"}", "1x9"), ("x{host=\"b\"}", "_ 1x9")]);
    world.minutes(1);
    assert_eq!(world.phases(0), [Phase::Firing]);
    let before = world.state.rules[0].alerts.clone();
    let done = world.step();
    let error = done[0].as_ref().unwrap_err().to_string();
    assert!(error.starts_with("vector contains metrics with the same labelset after applying alert labels"), "{error}");
    assert_eq!(world.state.rules[0].error.as_deref(), Some(error.as_str()), "the API shows it");
    assert_eq!(world.state.rules[0].alerts, before);
    assert_eq!(world.ask("timestamp(ALERTS)"), [r#"{"alertname": "A", "alertstate": "firing", "host": "same"} 0"#]);
    let error = done[1].as_ref().unwrap_err().to_string();
    assert!(error.starts_with("vector contains metrics with the same labelset after applying rule labels"), "{error}");
    assert!(done[2].is_ok(), "the other rules go on");
}

#[test]
fn without_for_an_alert_fires_at_once_and_with_a_short_one_at_the_next_evaluation() {
    let rules = "  - alert: Zero\n    expr: x\n  - alert: Short\n    expr: x\n    for: 13s\n  - alert: Long\n    expr: x\n    for: 61s\n";
    let mut world = World::new(rules, &[("x", "1x9")]);
    let phases = |world: &World| [0, 1, 2].map(|rule| world.phases(rule)[0]);
    world.minutes(1);
    assert_eq!(phases(&world), [Phase::Firing, Phase::Pending, Phase::Pending]);
    world.minutes(1);
    assert_eq!(phases(&world), [Phase::Firing, Phase::Firing, Phase::Pending]);
    world.minutes(1);
    assert_eq!(phases(&world), [Phase::Firing; 3]);
}

#[test]
fn a_pending_alert_whose_condition_ends_is_never_told() {
    let mut world = World::new(SIMPLE, &[("x{host=\"a\"}", "2 2 0x9")]);
    for _ in 0..6 {
        world.minutes(1);
        assert_eq!(world.due(0, MINUTE), []);
    }
    assert_eq!(world.phases(0), []);
}

#[test]
fn annotations_are_those_of_the_last_evaluation_and_labels_have_the_rules_laid_over_the_samples() {
    let mut world = World::new(SIMPLE, &[("x{host=\"a\", severity=\"none\"}", "2 3 4 5")]);
    for value in 2..6 {
        world.minutes(1);
        let (labels, instance) = world.state.rules[0].alerts.instances().next().unwrap();
        assert_eq!(instance.annotations.get("text"), format!("is {value} on a"));
        assert_eq!(format!("{labels:?}"), r#"{"alertname": "A", "host": "a", "severity": "page"}"#);
    }
}

#[test]
fn alerts_is_one_at_the_time_of_evaluation_while_pending_or_firing_and_has_the_last_word_on_its_labels() {
    let rules = "  - alert: A\n    expr: x > 1\n    for: 1m\n    labels: {alertstate: mine, alertname: other}\n";
    let mut world = World::new(rules, &[("x", "2 2 0x9")]);
    let mut states = Vec::new();
    for _ in 0..4 {
        world.minutes(1);
        states.push(world.ask("ALERTS").join(""));
        let times = world.ask("timestamp(ALERTS)");
        assert!(times.iter().all(|shown| shown.ends_with(&format!(" {}", world.minute * 60))), "{times:?}");
    }
    let shown = |state: &str| format!(r#"{{"__name__": "ALERTS", "alertname": "A", "alertstate": "{state}"}} 1"#);
    assert_eq!(states, [shown("pending"), shown("firing"), String::new(), String::new()]);
    world.minute = 1;
    assert_eq!(
        world.ask("ALERTS_FOR_STATE"),
        [r#"{"__name__": "ALERTS_FOR_STATE", "alertname": "A", "alertstate": "mine"} 0"#]
    );
}

#[test]
fn people_are_told_of_what_fires_again_and_again_and_of_its_end_for_a_quarter_of_an_hour() {
    let mut world = World::new(SIMPLE, &[("x{host=\"a\"}", "2x5 0x40")]);
    let mut told = Vec::new();
    for _ in 0..26 {
        world.minutes(1);
        told.extend(
            world
                .due(0, 2 * MINUTE)
                .into_iter()
                .map(|due| (world.minute, due.starts_at_ms / MINUTE, due.ends_at_ms / MINUTE, due.is_resolved)),
        );
    }
    // Fires from minute 2 to 5; ends count from when it is told, four times the longer of the interval and the delay.
    assert_eq!(told[..2], [(2, 2, 10, false), (4, 2, 12, false)]);
    // The end is told at once, and again until fifteen minutes later.
    let ends: Vec<_> = (6..=20).step_by(2).map(|minute| (minute, 2, 6, true)).collect();
    assert_eq!(told[2..], ends[..]);
    assert_eq!(told.last().map(|told| told.0), Some(20));
}

#[test]
fn the_end_is_told_no_longer_once_the_same_alert_begins_anew() {
    let mut world = World::new(SIMPLE, &[("x{host=\"a\"}", "2x2 0 2x9")]);
    world.minutes(4);
    assert_eq!(world.due(0, MINUTE).iter().map(|due| due.is_resolved).collect::<Vec<_>>(), [true]);
    world.minutes(1);
    assert_eq!((world.phases(0), world.due(0, MINUTE)), (vec![Phase::Pending], vec![]));
    world.minutes(2);
    let due = world.due(0, MINUTE);
    assert_eq!((due[0].is_resolved, due[0].starts_at_ms), (false, 6 * MINUTE));
}

#[test]
fn what_is_told_again_is_told_at_the_first_evaluation_that_is_late_enough() {
    let rules = "  - alert: A\n    expr: x\n";
    for (resend_s, minutes) in [(60, vec![0, 1, 2, 3, 4, 5]), (61, vec![0, 2, 4]), (150, vec![0, 3])] {
        let mut world = World::new(rules, &[("x", "1x9")]);
        let mut told = Vec::new();
        for _ in 0..6 {
            world.minutes(1);
            told.extend(world.due(0, resend_s * 1000).iter().map(|_| world.minute));
        }
        assert_eq!(told, minutes, "{resend_s}");
    }
}

#[test]
fn a_series_that_a_rule_writes_no_more_ends_at_once() {
    let mut world =
        World::new("  - record: y\n    expr: x > 1\n", &[("x{host=\"a\"}", "2 2 0"), ("x{host=\"b\"}", "2x9")]);
    world.minutes(2);
    assert_eq!(world.ask("count(y)"), ["{} 2"]);
    let done = world.step().remove(0).unwrap();
    assert_eq!((done.written, done.ended), (1, 1));
    assert_eq!(world.ask("y"), [r#"{"__name__": "y", "host": "b"} 2"#]);
    assert_eq!((world.step().remove(0).unwrap().ended, world.step().remove(0).unwrap().ended), (0, 0));
}

#[test]
fn a_query_is_asked_as_far_back_as_the_group_says_and_what_is_written_has_that_time() {
    let mut world = World::new("  - record: y\n    expr: x\n", &[("x", "0+1x9")]);
    world.group.query_offset_ms = Some(2 * MINUTE);
    world.minutes(2);
    assert_eq!(world.ask("y"), [] as [&str; 0]);
    world.minutes(3);
    assert_eq!(world.ask("timestamp(y)"), ["{} 120"]);
    assert_eq!(world.ask("y"), [r#"{"__name__": "y"} 2"#]);
}

#[test]
fn labels_of_a_group_are_laid_under_those_of_its_rules() {
    let mut world =
        World::new("  - record: y\n    expr: x\n    labels: {team: b, gone: ''}\n", &[("x{gone=\"1\"}", "1")]);
    world.group.labels = [("team", "a"), ("site", "s")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    world.minutes(1);
    assert_eq!(world.ask("y"), [r#"{"__name__": "y", "site": "s", "team": "b"} 1"#]);
}

#[test]
fn a_query_that_fails_leaves_alerts_as_they_are() {
    let rules = "  - alert: A\n    expr: x and on (host) (x * on (host) y)\n";
    let series =
        [("x{host=\"a\"}", "1x9"), ("y{host=\"a\", n=\"1\"}", "1x9"), ("y{host=\"a\", n=\"2\"}", "_ _ 1 stale")];
    let mut world = World::new(rules, &series);
    world.minutes(2);
    let before = world.state.rules[0].alerts.clone();
    assert!(world.step()[0].is_err());
    assert_eq!(world.state.rules[0].alerts, before);
    assert!(world.state.rules[0].error.is_some());
    world.minutes(1);
    assert!(world.state.rules[0].error.is_none());
}

#[test]
fn a_template_that_fails_does_not_fail_its_rule() {
    let rules = "  - alert: A\n    expr: x\n    annotations: {text: '{{ $labels.host | nonsense }}'}\n";
    let mut world = World::new(rules, &[("x", "1")]);
    world.minutes(1);
    let (_, instance) = world.state.rules[0].alerts.instances().next().unwrap();
    assert!(instance.annotations.get("text").starts_with("<error expanding template: "));
}

#[test]
fn without_a_recent_sample_alerts_do_as_their_rule_says() {
    let rules = "  - alert: A\n    expr: x > 1\n    no_data: keep\n  - alert: B\n    expr: x > 1\n";
    let mut world = World::new(rules, &[("x", "2 2 stale"), ("other", "1x20")]);
    world.minutes(3);
    assert_eq!((world.phases(0), world.phases(1)), (vec![Phase::Firing], vec![Phase::Resolved]));
    // What is there and too small ends an alert all the same.
    let mut world = World::new(rules, &[("x", "2 2 0")]);
    world.minutes(3);
    assert_eq!((world.phases(0), world.phases(1)), (vec![Phase::Resolved], vec![Phase::Resolved]));
}

#[test]
fn a_state_made_of_its_alerts_goes_on_as_if_it_had_not_been_away() {
    let mut world = World::new(SIMPLE, &[("x{host=\"a\"}", "2x9")]);
    world.minutes(2);
    let known = |(labels, instance): (&Labels, &alerting::alert::Instance)| (labels.clone(), instance.clone());
    let alerts = world.state.rules[0].alerts.instances().map(known).collect();
    world.state = State::new(&world.group);
    world.state.rules[0].alerts = alerts;
    world.minutes(1);
    let (_, instance) = world.state.rules[0].alerts.instances().next().unwrap();
    assert_eq!((instance.phase, instance.active_at_ms, instance.fired_at_ms), (Phase::Firing, 0, Some(2 * MINUTE)));
}

#[test]
fn rules_take_over_from_those_with_the_same_name_and_labels_when_files_are_read_anew() {
    let rules = "  - alert: A\n    expr: x > 1\n  - alert: A\n    expr: x > 2\n  - record: y\n    expr: x\n";
    let mut world = World::new(rules, &[("x", "9x9")]);
    world.minutes(1);
    let other = "  - alert: B\n    expr: x\n  - alert: A\n    expr: x > 3\n    for: 1h\n  - record: A\n    expr: x\n  - alert: A\n    expr: x > 2\n";
    let new = group(other);
    let old = world.state.clone();
    let (state, ended) = world.state.clone().taken_over(&world.group, &new);
    let taken = |rule: usize| state.rules[rule].alerts.active();
    assert_eq!([0, 1, 2, 3].map(taken), [0, 1, 0, 1]);
    assert_eq!(state.rules[1], old.rules[0]);
    assert_eq!(ended.iter().map(|labels| labels.get("__name__")).collect::<Vec<_>>(), ["y"]);
    // A longer `for` makes what fires pending again.
    (world.group, world.state) = (new, state);
    // Two alerts with the same labels tell of different times, which is refused, and said of the second.
    assert!(world.step().iter().filter(|done| done.as_ref().unwrap().write_error.is_some()).count() == 1);
    assert_eq!((world.phases(1), world.phases(3)), (vec![Phase::Pending], vec![Phase::Firing]));
}

#[test]
fn a_limit_on_series_fails_a_recording_rule() {
    let mut world = World::new("  - record: y\n    expr: x\n", &[("x{host=\"a\"}", "1"), ("x{host=\"b\"}", "1")]);
    world.group.limit = 1;
    assert_eq!(world.step()[0].as_ref().unwrap_err().to_string(), "exceeded limit of 1 with 2 series");
    assert_eq!(world.ask("y"), [] as [&str; 0]);
}
