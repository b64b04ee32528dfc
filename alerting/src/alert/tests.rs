//! What becomes of alerts, step by step and against a model.

use proptest::prelude::*;

use super::*;

const MINUTE: i64 = 60_000;

fn labels(name: &str) -> Labels {
    [("alertname", "A"), ("i", name)].into_iter().collect()
}

fn element(name: &str, value: f64) -> Element {
    let text = value.to_string();
    Element { labels: labels(name), annotations: [("v", text.as_str())].into_iter().collect(), value }
}

fn found(names: &[&str]) -> Input {
    Input { elements: names.iter().map(|name| element(name, 1.0)).collect(), has_data: true, has_caught_up: true }
}

fn phase(state: &State, name: &str) -> Option<Phase> {
    state.instances.get(&labels(name)).map(|instance| instance.phase)
}

/// Steps minute after minute, and what the alert `a` is after each.
fn phases(params: &Params, steps: &[Input]) -> Vec<Option<Phase>> {
    let mut state = State::default();
    let mut all = Vec::new();
    for (at, input) in steps.iter().enumerate() {
        let _ = state.step(i64::try_from(at).unwrap() * MINUTE, input, params);
        all.push(phase(&state, "a"));
    }
    all
}

/// As a start makes it again of rows.
fn restarted(state: &State) -> State {
    state.instances().map(|(labels, instance)| (labels.clone(), instance.clone())).collect()
}

const P: Option<Phase> = Some(Phase::Pending);
const F: Option<Phase> = Some(Phase::Firing);
const R: Option<Phase> = Some(Phase::Resolved);

#[test]
fn an_alert_is_pending_fires_is_kept_firing_and_is_resolved() {
    let params = Params { for_ms: 2 * MINUTE, keep_firing_for_ms: 2 * MINUTE, ..Params::default() };
    let (yes, no) = (found(&["a"]), found(&[]));
    let steps = [&yes, &yes, &yes, &no, &no, &yes, &no, &no, &no, &no].map(Clone::clone);
    assert_eq!(phases(&params, &steps), [P, P, F, F, F, F, F, F, R, R]);
    assert_eq!(phases(&params, &[yes.clone(), no.clone(), yes.clone()]), [P, None, P]);
    assert_eq!(phases(&Params::default(), &[yes.clone(), no.clone(), yes]), [F, R, F]);
}

#[test]
fn what_is_resolved_is_kept_for_a_quarter_of_an_hour() {
    let mut state = State::default();
    state.step(0, &found(&["a"]), &Params::default()).unwrap();
    for minute in 1..=16 {
        state.step(minute * MINUTE, &found(&[]), &Params::default()).unwrap();
        assert_eq!(phase(&state, "a"), R, "{minute}");
    }
    assert_eq!(state.step(17 * MINUTE, &found(&[]), &Params::default()).unwrap(), []);
    assert_eq!(phase(&state, "a"), None);
}

#[test]
fn two_elements_with_the_same_labels_change_nothing() {
    let mut state = State::default();
    state.step(0, &found(&["a"]), &Params::default()).unwrap();
    let before = state.clone();
    let error = state.step(MINUTE, &found(&["b", "b"]), &Params::default()).unwrap_err();
    assert!(
        error.to_string().starts_with("vector contains metrics with the same labelset after applying alert labels")
    );
    assert_eq!(state, before);
}

#[test]
fn beyond_the_limit_what_is_there_goes_on_and_what_is_new_is_refused() {
    let params = Params { limit: 2, ..Params::default() };
    let mut state = State::default();
    state.step(0, &found(&["b", "c"]), &params).unwrap();
    let changes = state.step(MINUTE, &found(&["a", "b", "c"]), &params).unwrap();
    assert_eq!((changes, phase(&state, "a"), phase(&state, "b"), state.refused), (vec![], None, F, 1));
    // As soon as there is room, it begins.
    state.step(2 * MINUTE, &found(&["a", "c"]), &params).unwrap();
    assert_eq!((phase(&state, "a"), phase(&state, "b"), state.refused), (F, R, 1));
}

#[test]
fn beyond_the_limit_all_is_forgotten_in_the_way_of_prometheus() {
    let params = Params { limit: 2, limit_mode: LimitMode::Prometheus, ..Params::default() };
    let mut state = State::default();
    state.step(0, &found(&["b", "c"]), &params).unwrap();
    let error = state.step(MINUTE, &found(&["a", "b", "c"]), &params).unwrap_err();
    assert_eq!(error.to_string(), "exceeded limit of 2 with 3 alerts");
    assert_eq!(state.instances.len(), 0);
}

#[test]
fn without_data_alerts_do_as_their_rule_says() {
    let none = Input { has_data: false, ..found(&[]) };
    let (yes, no) = (found(&["a"]), found(&[]));
    let params = |no_data| Params { for_ms: MINUTE, no_data, ..Params::default() };
    let steps = [yes.clone(), none.clone(), none.clone(), yes.clone(), yes, none, no];
    assert_eq!(phases(&params(NoData::Resolve), &steps), [P, None, None, P, F, R, R]);
    assert_eq!(phases(&params(NoData::Keep), &steps), [P, P, P, F, F, F, R]);
    assert_eq!(phases(&params(NoData::Alert), &steps), [P, F, F, F, F, F, R]);
}

#[test]
fn nothing_ends_or_fires_until_ingest_has_caught_up_and_time_away_counts() {
    let params = Params { for_ms: 10 * MINUTE, ..Params::default() };
    let mut state = State::default();
    state.step(0, &found(&["a", "b"]), &params).unwrap();
    let mut state = restarted(&state);
    let early = Input { has_caught_up: false, ..found(&["a"]) };
    state.step(30 * MINUTE, &early, &params).unwrap();
    assert_eq!((phase(&state, "a"), phase(&state, "b")), (P, P));
    let at_once = Params::default();
    let missing = Input { has_caught_up: false, ..found(&["absent"]) };
    let mut others = State::default();
    others.step(30 * MINUTE, &missing, &at_once).unwrap();
    assert_eq!(phase(&others, "absent"), P, "what it misses may be on its way");
    state.step(31 * MINUTE, &found(&["a"]), &params).unwrap();
    assert_eq!((phase(&state, "a"), phase(&state, "b")), (F, None));
    others.step(31 * MINUTE, &found(&[]), &at_once).unwrap();
    assert_eq!(phase(&others, "absent"), None);
    others.step(32 * MINUTE, &found(&["absent"]), &at_once).unwrap();
    let lost = Input { has_caught_up: false, ..found(&[]) };
    others.step(33 * MINUTE, &lost, &at_once).unwrap();
    assert_eq!(phase(&others, "absent"), F, "what fires goes on");
}

#[test]
fn a_longer_for_makes_what_fires_pending_again() {
    let mut state = State::default();
    state.step(0, &found(&["a"]), &Params::default()).unwrap();
    let longer = Params { for_ms: 5 * MINUTE, ..Params::default() };
    let changes = state.step(MINUTE, &found(&["a"]), &longer).unwrap();
    assert_eq!((changes[0].from, changes[0].to), (F, P));
    state.step(5 * MINUTE, &found(&["a"]), &longer).unwrap();
    assert_eq!(phase(&state, "a"), F);
}

#[test]
fn values_and_annotations_are_those_of_the_last_evaluation() {
    let mut state = State::default();
    state.step(0, &found(&["a"]), &Params::default()).unwrap();
    let input = Input { elements: vec![element("a", f64::INFINITY)], ..found(&[]) };
    state.step(MINUTE, &input, &Params::default()).unwrap();
    let instance = &state.instances[&labels("a")];
    assert_eq!((instance.value, instance.annotations.get("v"), instance.active_at_ms), (f64::INFINITY, "inf", 0));
}

#[test]
fn series_tell_of_pending_and_firing_alerts() {
    let mut state = State::default();
    let params = Params { for_ms: MINUTE, ..Params::default() };
    let shown = |state: &mut State, changes: &[Transition]| {
        let series = state.series(changes);
        series.map(|(labels, value)| format!("{labels:?} {value}")).collect::<Vec<_>>().join("\n")
    };
    let changes = state.step(90_500, &found(&["a"]), &params).unwrap();
    let pending = r#"{"__name__": "ALERTS", "alertname": "A", "alertstate": "pending", "i": "a"} 1
{"__name__": "ALERTS_FOR_STATE", "alertname": "A", "i": "a"} 90"#;
    assert_eq!(shown(&mut state, &changes), pending);
    // It ends as one, and begins as the other.
    let changes = state.step(150_500, &found(&["a"]), &params).unwrap();
    let firing = r#"{"__name__": "ALERTS", "alertname": "A", "alertstate": "firing", "i": "a"} 1
{"__name__": "ALERTS_FOR_STATE", "alertname": "A", "i": "a"} 90
{"__name__": "ALERTS", "alertname": "A", "alertstate": "pending", "i": "a"} NaN"#;
    assert_eq!(shown(&mut state, &changes), firing);
    // After a start, too.
    let mut state = restarted(&state);
    let changes = state.step(210_500, &found(&[]), &params).unwrap();
    let over = r#"{"__name__": "ALERTS", "alertname": "A", "alertstate": "firing", "i": "a"} NaN
{"__name__": "ALERTS_FOR_STATE", "alertname": "A", "i": "a"} NaN"#;
    assert_eq!(shown(&mut state, &changes), over);
    assert_eq!(shown(&mut state, &[]), "");
}

#[test]
fn series_of_alerts_that_a_limit_made_go_end_with_the_next_evaluation() {
    let mut state = State::default();
    let params = Params { limit: 1, limit_mode: LimitMode::Prometheus, ..Params::default() };
    state.step(0, &found(&["a"]), &params).unwrap();
    state.step(MINUTE, &found(&["a", "b"]), &params).unwrap_err();
    assert_eq!(state.written().count(), 2, "those of a; b was never told of");
    let changes = state.step(2 * MINUTE, &found(&[]), &params).unwrap();
    assert_eq!(state.series(&changes).filter(|(_, value)| value.is_nan()).count(), 2);
    assert_eq!(state.written().count(), 0);
}

/// What an alert is after some evaluations, told from all of them: each is its time and whether the condition held.
fn model(history: &[(i64, bool)], params: &Params) -> Option<Phase> {
    let (&(now, holds), earlier) = history.split_last()?;
    let before = model(earlier, params);
    // When the condition began to hold without an end of the alert in between.
    let is_active = |until: usize| matches!(model(&history[..until], params), P | F);
    let began = || {
        let from = (0..history.len() - 1).rev().take_while(|at| is_active(at + 1)).last();
        from.map_or(now, |at| history[at].0)
    };
    let lapsed = || earlier.iter().rev().take_while(|(_, holds)| !holds).last().map_or(now, |(at, _)| *at);
    match (before, holds) {
        (_, true) => Some(if before == F || now - began() >= params.for_ms { Phase::Firing } else { Phase::Pending }),
        (None | P, false) => None,
        (F, false) => Some(if now - lapsed() < params.keep_firing_for_ms { Phase::Firing } else { Phase::Resolved }),
        (R, false) => {
            let resolved = (0..history.len()).rev().take_while(|at| model(&history[..*at], params) == R).last()?;
            (now - history[resolved - 1].0 <= RESOLVED_KEPT_MS).then_some(Phase::Resolved)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn each_alert_is_what_its_history_says(
        steps in prop::collection::vec((1..7_i64, any::<[bool; 3]>(), any::<bool>()), 1..13),
        for_minutes in 0..8_i64,
        keep_minutes in 0..8_i64,
    ) {
        let params =
            Params { for_ms: for_minutes * MINUTE, keep_firing_for_ms: keep_minutes * MINUTE, ..Params::default() };
        let (mut state, mut now) = (State::default(), 0);
        let mut histories = vec![Vec::new(); 3];
        for (minutes, present, restarts) in steps {
            now += minutes * MINUTE;
            let names = ["a", "b", "c"];
            let there: Vec<&str> = names.iter().zip(present).filter(|(_, is)| *is).map(|(name, _)| *name).collect();
            if restarts {
                state = restarted(&state);
            }
            let before = state.clone();
            let changes = state.step(now, &found(&there), &params).unwrap();
            for (at, name) in names.iter().enumerate() {
                histories[at].push((now, present[at]));
                prop_assert_eq!(phase(&state, name), model(&histories[at], &params), "{} {:?}", name, histories[at]);
                let change = changes.iter().find(|change| change.labels == labels(name));
                let (from, to) = (phase(&before, name), phase(&state, name));
                // The end of telling is no change, and an alert after one that is told no longer is new.
                let is_news = from != to && !(from == R && to.is_none());
                prop_assert_eq!(change.map(|change| change.to), is_news.then_some(to));
                prop_assert!(change.is_none_or(|change| change.from == from || (from == R && change.from.is_none())));
            }
        }
    }

    #[test]
    fn a_limit_holds_and_ends_nothing(
        steps in prop::collection::vec((any::<[bool; 6]>(), any::<bool>(), any::<bool>()), 1..20),
        limit in 1..5_usize,
    ) {
        let params = Params { limit, for_ms: MINUTE, ..Params::default() };
        let (mut state, names) = (State::default(), ["a", "b", "c", "d", "e", "f"]);
        for (at, (present, has_data, has_caught_up)) in steps.into_iter().enumerate() {
            let there: Vec<&str> = names.iter().zip(present).filter(|(_, is)| *is).map(|(name, _)| *name).collect();
            let before = state.clone();
            let input = Input { has_data, has_caught_up, ..found(&there) };
            let mut backwards = input.clone();
            backwards.elements.reverse();
            let mut other = state.clone();
            let now = i64::try_from(at).unwrap() * MINUTE;
            let changes = state.step(now, &input, &params).unwrap();
            prop_assert_eq!(other.step(now, &backwards, &params).unwrap(), changes);
            prop_assert_eq!(&other, &state);
            prop_assert!(state.active() <= limit);
            for (labels, instance) in before.instances() {
                let holds = input.elements.iter().any(|element| &element.labels == labels);
                if instance.is_active() && (holds || !has_caught_up) {
                    prop_assert!(state.instances[labels].is_active());
                }
            }
        }
    }
}
