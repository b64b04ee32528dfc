//! The same comes of a replay as of evaluating at each slot, however much is asked at once.

use std::cell::Cell;

use promql::{Gather, Symbols};

use super::*;
use crate::{
    Error,
    alert::Phase,
    memory::{gather, instant},
    query::{About, Ask, Sample, Sink as _},
    rules::{Options, parse},
    testing::{Store, read_values},
};

const SETTINGS: memory::Settings = memory::Settings {
    lookback_ms: 300_000,
    subquery_step_ms: 60_000,
    features: promql::Features {
        experimental_functions: false,
        fill: false,
        delayed_name_removal: false,
        start_timestamps: false,
        type_and_unit: false,
    },
};
const MINUTE: i64 = 60_000;

/// Replaces nothing, and asks what a template in brackets asks.
struct Plain;

impl Expand for Plain {
    fn expand(&self, template: &str, about: &About<'_>, ask: Ask<'_>) -> Result<String> {
        match template.strip_prefix("query ") {
            Some(text) => Ok(ask(text)?.samples.len().to_string()),
            None => Ok(template.replace("VALUE", &about.value.number().to_string())),
        }
    }
}

/// Stored series.
#[derive(Default)]
struct Fake {
    series: Vec<Series>,
    ranges: Cell<u64>,
    instants: Cell<u64>,
    reads: Cell<u64>,
    /// Samples that are handed out at once, at most.
    most: usize,
}

impl Fake {
    fn new(most: usize, series: &[(&str, &str)]) -> Self {
        let series = series.iter().map(|(labels, values)| {
            let labels = crate::testing::read_labels(labels).unwrap();
            let values = read_values(values).unwrap().zip(0_i64..);
            (labels, values.filter_map(|(value, at)| Some((at * MINUTE, value?))).collect())
        });
        Self { series: series.collect(), most, ..Self::default() }
    }
}

impl Stored for Fake {
    fn range(&mut self, query: &promql::Query, times: Times, (looks, most): (bool, usize)) -> Result<Option<Ahead>> {
        self.ranges.set(self.ranges.get() + 1);
        let mut ahead = Ahead::default();
        let mut series: BTreeMap<Labels, Vec<(i64, Value)>> = BTreeMap::new();
        let (mut at_ms, mut count) = (times.first_ms, 0);
        while at_ms <= times.last_ms {
            let found = self.instant(query, at_ms, looks)?;
            self.instants.set(self.instants.get() - 1);
            count += found.samples.len();
            found.samples.into_iter().for_each(|of| series.entry(of.labels).or_default().push((at_ms, of.value)));
            ahead.fresh.extend(found.fresh.map(|fresh| (at_ms, fresh)));
            at_ms += times.step_ms;
        }
        ahead.series = series.into_iter().collect();
        Ok((count <= most.min(self.most)).then_some(ahead))
    }

    fn instant(&mut self, query: &promql::Query, at_ms: i64, _: bool) -> Result<Found> {
        self.instants.set(self.instants.get() + 1);
        instant(query, SETTINGS.at(at_ms), &mut Symbols::default(), |want, symbols| {
            let mut out = Gather::default();
            for (labels, samples) in &self.series {
                if want.matchers.iter().all(|matcher| matcher.matches(labels.get(matcher.label()))) {
                    gather(&mut out, &promql::Labels::of(labels.iter(), symbols), samples, want);
                }
            }
            out.finish()
        })
    }

    fn sql(&mut self, _: &Sql, _: i64) -> Result<Found> {
        Err(Error::invalid("no SQL here"))
    }

    fn samples(&mut self, want: &Want, most: usize) -> Result<Option<Vec<Series>>> {
        self.reads.set(self.reads.get() + 1);
        let mut out = Vec::new();
        for (labels, samples) in &self.series {
            if want.matchers.iter().all(|matcher| matcher.matches(labels.get(matcher.label()))) {
                let of = samples.iter().filter(|(at, _)| *at > want.after_ms && *at <= want.to_ms).cloned().collect();
                out.push((labels.clone(), of));
            }
        }
        let count: usize = out.iter().map(|(_, samples): &Series| samples.len()).sum();
        Ok((count <= most.min(self.most)).then_some(out))
    }
}

fn groups(text: &str) -> Vec<Replayed> {
    let groups = parse(text, &Options { ignores_unknown_fields: false, template: &|_| Ok(()) }).unwrap();
    let of = |group: Group| Replayed { file: "f".to_owned(), interval_ms: group.interval_ms.unwrap(), group };
    groups.into_iter().map(of).collect()
}

fn settings<'a>(none: &'a Labels, from_ms: i64, to_ms: i64) -> Settings<'a> {
    Settings {
        from_ms,
        to_ms,
        expand: &Plain,
        external_labels: none,
        external_url: "http://test",
        query_offset_ms: 0,
        resend_ms: MINUTE,
        memory: SETTINGS,
    }
}

type Changes = Vec<(i64, String, Option<Phase>, String)>;

fn change(rule: &Rule, change: &Transition, instance: Option<&Instance>) -> (i64, String, Option<Phase>, String) {
    let about = instance.map(|instance| format!("{:?} {}", instance.annotations, instance.value)).unwrap_or_default();
    (change.at_ms, format!("{} {:?}", rule.name(), change.labels), change.to, about)
}

fn replayed(fake: &mut Fake, groups: &[Replayed], from_ms: i64, to_ms: i64) -> (Changes, Vec<(Tally, Vec<Firing>)>) {
    let none = Labels::default();
    let mut replay = Replay::new(groups, settings(&none, from_ms, to_ms));
    let (mut changes, mut steps) = (Vec::new(), replay.left());
    while let Some(step) = replay.step(fake).unwrap() {
        steps -= 1;
        assert_eq!(replay.left(), steps);
        for (nth, of, instance) in &step.changes {
            changes.push(change(&groups[step.group].group.rules[*nth], of, instance.as_ref()));
        }
    }
    assert_eq!(steps, 0);
    (changes, replay.end())
}

/// Slot by slot over a store that is written to.
fn evaluated(fake: &Fake, groups: &[Replayed], from_ms: i64, to_ms: i64) -> Changes {
    let mut store = Store::new(SETTINGS);
    let none = Labels::default();
    let mut times: Vec<(i64, usize)> = Vec::new();
    for (nth, of) in groups.iter().enumerate() {
        let slots = Slots::new(&of.file, &of.group.name, of.interval_ms);
        let mut at_ms = slots.after(from_ms - 1);
        while at_ms < to_ms {
            times.push((at_ms, nth));
            at_ms = slots.after(at_ms);
        }
    }
    times.sort_unstable();
    let mut states: Vec<State> = groups.iter().map(|of| State::new(&of.group)).collect();
    let (mut changes, mut written_ms) = (Vec::new(), -1);
    for (at_ms, nth) in times {
        for (labels, samples) in &fake.series {
            for (time, value) in samples.iter().filter(|(time, _)| *time > written_ms && *time <= at_ms) {
                store.write(&[Sample { labels: labels.clone(), value: value.clone() }], *time).unwrap();
            }
        }
        written_ms = at_ms;
        let group = &groups[nth].group;
        let run = Run {
            group,
            steps: &group.steps(),
            expand: &Plain,
            external_labels: &none,
            external_url: "http://test",
            query_offset_ms: 0,
        };
        let done = run.evaluate(&mut states[nth], at_ms, true, &mut store);
        for ((rule, state), done) in group.rules.iter().zip(&states[nth].rules).zip(done) {
            let instances: BTreeMap<&Labels, &Instance> = state.alerts.instances().collect();
            let Ok(done) = done else { continue };
            changes.extend(done.transitions.iter().map(|of| change(rule, of, instances.get(&of.labels).copied())));
        }
    }
    changes
}

const RULES: &str = r#"
groups:
- name: early
  interval: 1m
  rules:
  - {alert: ReadsLater, expr: 'job:x:sum > 40'}
  - {record: 'job:x:sum', expr: sum by (job) (x), labels: {made: here}}
  - {alert: High, expr: 'job:x:sum > 20', for: 3m, keep_firing_for: 2m, annotations: {a: VALUE, b: 'query job:x:sum'}}
  - {alert: Raw, expr: 'x > 15', for: 1m, labels: {severity: page}}
  - {alert: Twice, expr: 'x{job="a"} * on(job) group_left(made) job:x:sum > 150', annotations: {a: VALUE}}
- name: late
  interval: 2m
  query_offset: 1m
  rules:
  - {alert: Mean, expr: 'avg_over_time(job:x:sum[10m]) > 18', annotations: {a: VALUE}}
  - {alert: Many, expr: 'count(ALERTS{alertstate="firing"}) > 3'}
  - {alert: Began, expr: 'x > on() group_left() (x{job="a"} @ start()) * 1.5'}
  - {alert: Unnamed, expr: 'max({job="b"}) > 30'}
  - {alert: Quiet, expr: 'y > 0', no_data: keep}
  - {alert: Text, expr: '"a"'}
"#;

/// Numbers that wander, as the notation of tests writes them.
fn wandering(mut seed: u64, count: usize) -> String {
    let mut value: i64 = 10;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let step = i64::try_from(seed >> 60).unwrap() - 7;
        value = (value + step).clamp(0, 40);
        if seed.is_multiple_of(11) { "_".to_owned() } else { value.to_string() }
    };
    (0..count).map(|_| next()).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_same_comes_of_it_as_of_evaluating_at_each_slot() {
    let groups = groups(RULES);
    for (seed, most) in [(1, usize::MAX), (2, 100), (3, 12), (4, usize::MAX)] {
        let values: Vec<String> = (0..5).map(|nth| wandering(seed * 10 + nth, 300)).collect();
        let mut fake = Fake::new(
            most,
            &[
                ("x{job=\"a\",i=\"1\"}", &values[0]),
                ("x{job=\"a\",i=\"2\"}", &values[1]),
                ("x{job=\"b\",i=\"1\"}", &values[2]),
                ("x{job=\"b\",i=\"2\"}", &format!("{} stale", &values[3][..200])),
                ("y{job=\"c\"}", "1x50 _x40 0x10 1x100"),
            ],
        );
        let (from_ms, to_ms) = (20 * MINUTE, 300 * MINUTE);
        let expected = evaluated(&fake, &groups, from_ms, to_ms);
        let (changes, ended) = replayed(&mut fake, &groups, from_ms, to_ms);
        assert!(expected.len() > 50, "{}", expected.len());
        for (nth, (left, right)) in expected.iter().zip(&changes).enumerate() {
            assert_eq!(left, right, "change {nth}, seed {seed}, most {most}");
        }
        assert_eq!(expected.len(), changes.len());
        let text = ended.iter().find(|(tally, _)| tally.rule == "Text").unwrap();
        assert_eq!((text.0.failures, text.0.evaluations), (140, 140));
    }
}

#[test]
fn what_reads_nothing_of_the_replay_is_asked_for_many_slots_at_once() {
    let text = "groups: [{name: g, interval: 1m, rules: [{alert: A, expr: 'x > 5'}, {record: r, expr: 'x * 2'}]}]";
    let mut fake = Fake::new(usize::MAX, &[("x", "0x99 9x900")]);
    let (changes, ended) = replayed(&mut fake, &groups(text), 0, 1_000 * MINUTE);
    // 64, 128, 256, 512 and the rest, of two rules.
    assert_eq!((fake.ranges.get(), fake.instants.get(), fake.reads.get()), (10, 0, 0));
    assert_eq!(changes.len(), 1);
    let (tally, open) = &ended[0];
    assert_eq!((tally.firings, tally.evaluations, tally.at_once, tally.failures), (1, 1_000, 1, 0));
    assert!(open[0].goes_on && open[0].to_ms == 1_000 * MINUTE);
    assert_eq!(ended[1].0.written, 1_000);
    // What is asked alone costs as many questions as slots.
    let mut small = Fake::new(0, &[("x", "0x99 9x900")]);
    let (same, _) = replayed(&mut small, &groups(text), 0, 1_000 * MINUTE);
    assert_eq!(same, changes);
    assert!(small.instants.get() > 1_500, "{}", small.instants.get());
}

#[test]
fn firings_are_counted_with_how_long_they_were() {
    let text = "groups: [{name: g, interval: 1m, rules: [{alert: A, expr: 'x > 5', for: 1m}]}]";
    let mut fake = Fake::new(usize::MAX, &[("x{i=\"1\"}", "0x9 9x9 0x9 9 0x9 9x19"), ("x{i=\"2\"}", "0x12 9x4 0x50")]);
    let none = Labels::default();
    let groups = groups(text);
    let mut replay = Replay::new(&groups, settings(&none, 0, 50 * MINUTE));
    let mut firings = Vec::new();
    while let Some(step) = replay.step(&mut fake).unwrap() {
        firings.extend(step.ended.into_iter().map(|(_, firing)| firing));
    }
    let (tally, open) = replay.end().remove(0);
    firings.extend(open);
    let lengths: Vec<i64> = firings.iter().map(|firing| (firing.to_ms - firing.from_ms) / MINUTE).collect();
    assert_eq!(lengths[..2], [4, 9], "{firings:?}");
    assert_eq!((tally.firings, tally.alerts, tally.at_once, tally.lapsed), (3, 2, 2, 1));
    assert_eq!(tally.firing_ms, firings.iter().map(|firing| firing.to_ms - firing.from_ms).sum::<i64>());
    assert!(tally.any_firing_ms < tally.firing_ms && firings[2].goes_on && !firings[0].goes_on);
}

#[test]
fn stored_samples_of_a_series_that_is_recorded_count_before_the_replay_only() {
    let text = "groups: [{name: g, interval: 1m, rules: [{record: r, expr: x * 0}, {alert: A, expr: 'max_over_time(r[5m]) > 0'}]}]";
    let mut fake = Fake::new(usize::MAX, &[("x", "1x99"), ("r", "7x99")]);
    let (changes, _) = replayed(&mut fake, &groups(text), 20 * MINUTE, 60 * MINUTE);
    let (first, last) = (&changes[0], &changes[1]);
    assert_eq!((first.2, last.2, changes.len()), (Some(Phase::Firing), Some(Phase::Resolved), 2));
    assert!(last.0 - first.0 <= 5 * MINUTE && first.0 < 21 * MINUTE, "{changes:?}");
}

#[test]
fn a_limit_in_prometheus_way_ends_what_fired() {
    let text =
        "groups: [{name: g, interval: 1m, limit: 1, limit_mode: prometheus, rules: [{alert: A, expr: 'x > 5'}]}]";
    let mut fake = Fake::new(usize::MAX, &[("x{i=\"1\"}", "9x40"), ("x{i=\"2\"}", "0x20 9x20")]);
    let (_, ended) = replayed(&mut fake, &groups(text), 0, 40 * MINUTE);
    let (tally, open) = &ended[0];
    assert!(open.is_empty() && tally.failures > 15 && tally.firings == 1, "{tally:?}");
    assert!(tally.firing_ms <= 21 * MINUTE && tally.last_failure.as_ref().unwrap().1.contains("limit of 1"));
}
