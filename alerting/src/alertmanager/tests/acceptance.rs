//! Upstream's acceptance tests, as scenarios, with a clock that jumps: what takes them minutes takes a moment.
//!
//! The same scenarios run against the program and Debian's Alertmanager in `tests/alertmanager_peers.rs` of the program.

use std::collections::BTreeMap;

use axum::{Router, body::Body, http::Request};
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;
use crate::http;

#[path = "../../../tests/support/scenario.rs"]
mod scenario;

use scenario::{Clock, Scenario, Seen, Side, Step};

/// A Wednesday of 2026.
const CLOCK: Clock = Clock { begin_ms: 1_773_230_000_000, unit_ms: SECOND };
const HOOK: &str = "http://hook.test";

/// A running service, and silences by name.
struct Service {
    world: Arc<World>,
    manager: Alertmanager,
    config: String,
    ids: BTreeMap<String, String>,
    wrong: Vec<String>,
}

fn plan(text: &str) -> Plan {
    world::plan_of(&CLOCK.config(text, HOOK, "."))
}

impl Service {
    async fn ask(&self, step: &Step) -> Option<(u16, Value)> {
        let (method, path, body) = step.request(CLOCK, &self.ids)?;
        let request = Request::builder().method(&*method).uri(path).header("Content-Type", "application/json");
        let request = request.body(Body::from(body.to_string())).unwrap();
        let router: Router = http::router(self.manager.clone(), http::About::default());
        let response = router.oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Some((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    async fn step(&mut self, step: &Step) {
        let world = &self.world;
        let url = |path: &String| format!("{HOOK}{path}");
        world.down.lock().extend(step.down.iter().map(url));
        world.down.lock().retain(|down| !step.up.iter().any(|up| url(up) == *down));
        let limited = Verdict::Limited(SECOND, "429".into());
        world.verdicts.lock().extend(std::iter::repeat_n(limited, step.limited));
        world.verdicts.lock().extend(std::iter::repeat_n(Verdict::Failed("no answer".into()), step.slow));
        if let Some(config) = &step.reload {
            self.config.clone_from(config);
            let plan = plan(config);
            *world.config.lock() = Some(Arc::clone(&plan.config));
            self.manager.reload(plan);
        }
        if step.kill {
            self.manager = world.start(plan(&self.config));
        }
        let Some((status, answer)) = self.ask(step).await else { return };
        self.wrong.extend(step.wrong(status, &answer));
        if let (Some(silence), Some(id)) = (&step.silence, answer["silenceID"].as_str()) {
            self.ids.insert(silence.name.clone(), id.to_owned());
        }
    }

    fn seen(&self) -> Vec<Seen> {
        let seen = |(at_ms, (url, body)): (i64, (String, Value))| Seen {
            at: CLOCK.units(at_ms),
            to: url.replace(HOOK, ""),
            body,
        };
        let told = self.world.told.lock().clone();
        told.into_iter().filter_map(|message| Some((message.at_ms, message.sent?))).map(seen).collect()
    }
}

/// What is wrong, if something is.
async fn play(scenario: &Scenario) -> Vec<String> {
    let world = Arc::new(World::default());
    world.now_ms.store(CLOCK.ms(0.0), Ordering::Relaxed);
    let manager = world.start(plan(&scenario.config));
    let (config, ids) = (scenario.config.clone(), BTreeMap::new());
    let mut service = Service { world, manager, config, ids, wrong: Vec::new() };
    for step in scenario.steps.iter().filter(|step| step.only != Some(Side::Theirs)) {
        until(&service.world, &service.manager, CLOCK.ms(step.at)).await;
        service.step(step).await;
    }
    until(&service.world, &service.manager, CLOCK.ms(scenario.ends())).await;
    let unmatched = scenario::matched(&scenario.told, &service.seen(), CLOCK).err();
    service.wrong.into_iter().chain(unmatched).collect()
}

#[tokio::test]
async fn upstreams_acceptance_tests_hold() {
    let files = [
        include_str!("../../../tests/data/acceptance/send.yaml"),
        include_str!("../../../tests/data/acceptance/quiet.yaml"),
        include_str!("../../../tests/data/acceptance/api.yaml"),
    ];
    let mut wrong = Vec::new();
    for scenario in files.into_iter().flat_map(scenario::read).filter(|scenario| !scenario.needs_program) {
        for why in play(&scenario).await {
            wrong.push(format!("{}:\n{why}", scenario.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_route_is_quiet_at_its_times_and_only_then() {
    // It begins at 11:53:20.
    let minute = "
- name: a minute
  config: |
    route:
      receiver: muted
      group_by: [alertname]
      group_wait: 1u
      group_interval: 20u
      repeat_interval: 1ms
      routes:
        - {receiver: muted, mute_time_intervals: [minute], continue: true, matchers: [alertname=a]}
        - {receiver: active, active_time_intervals: [minute], matchers: [alertname=a]}
    time_intervals: [{name: minute, time_intervals: [{times: [{start_time: '11:54', end_time: '11:55'}]}]}]
    receivers:
      - {name: muted, webhook_configs: [{url: '{hook}/muted'}]}
      - {name: active, webhook_configs: [{url: '{hook}/active'}]}
  steps: [{at: 1, post: [{of: {alertname: a}}]}]
  ends: 125
  told:
    - {at: 2, to: /muted}
    - {at: 22, to: /muted}
    - {at: 42, to: /active}
    - {at: 62, to: /active}
    - {at: 82, to: /active}
    - {at: 102, to: /muted}
    - {at: 122, to: /muted}
";
    let wrong = play(&scenario::read(minute)[0]).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
