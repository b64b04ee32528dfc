//! Alertmanager itself beside us: both get the same configuration and the same alerts at the same times, and tell the same.
//!
//! The scenarios are upstream's acceptance tests as data (`alerting/tests/data/acceptance`), which `alerting` plays with a clock that
//! jumps. Here each is played in real time by `streamgauge serve` and Debian's `alertmanager` 0.25 on loopback, all at once. Both must tell
//! what is expected, when it is expected; of each message the whole body is compared, and the whole answer to each question. Where we mean
//! to differ the scenario says how, and why. Without `alertmanager` we play alone.
//!
//! Not here, of upstream's tests: two of clusters, as there are none; names of labels that are refused in its classic mode; the pause at a
//! start until alerts have been sent again, which who keeps alerts does not need; a prefix of all paths.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    process::{self, Process, free_port},
    receiver::{Receiver, Script},
    server::{binary, now_ms},
};

#[path = "../alerting/tests/support/scenario.rs"]
mod scenario;
mod stated;

use scenario::{Clock, Otherwise, Scenario, Seen, Side, Step, Told};

const FILES: [&str; 3] = [
    include_str!("../alerting/tests/data/acceptance/send.yaml"),
    include_str!("../alerting/tests/data/acceptance/quiet.yaml"),
    include_str!("../alerting/tests/data/acceptance/api.yaml"),
];
/// A unit of time. On a machine that has much else to do some of what is a unit apart may be late.
const UNIT_MS: i64 = 1_000;
/// What went wrong is played once more, alone and slowly: only what is wrong then is.
const SLOW_UNIT_MS: i64 = 2_500;
/// Time between the start of processes and the beginning.
const STARTS_MS: i64 = 500;
/// Scenarios at a time: they wait, mostly, but each has two processes of some 100 MiB.
const AT_ONCE: usize = 14;

/// A running server with somebody who is told by it.
struct Player {
    side: Side,
    folder: TempDir,
    port: u16,
    receiver: Receiver,
    process: Option<Process>,
    ids: BTreeMap<String, String>,
    /// Of each question, what was answered.
    answers: Vec<(String, Value)>,
    wrong: Vec<String>,
}

/// What came of a scenario: messages in order, answers.
struct Played {
    seen: Vec<Seen>,
    answers: Vec<(String, Value)>,
    wrong: Vec<String>,
}

impl Player {
    fn start(side: Side, scenario: &Scenario, unit_ms: i64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let receiver = Receiver::start();
        let (ids, answers, wrong) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut player = Self { side, folder, port: free_port(), receiver, process: None, ids, answers, wrong };
        for (name, text) in &scenario.files {
            fs::write(player.path(name), text).unwrap();
        }
        let settings = format!(
            "alerting:\n  config: {}\n  allowed_networks: [127.0.0.0/8]\n  external_url: http://gauge.test\n",
            player.path("alertmanager.yml").display()
        );
        fs::write(player.path("streamgauge.yaml"), settings).unwrap();
        player.configure(&scenario.config, Clock { begin_ms: 0, unit_ms });
        player.run();
        player
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn configure(&self, config: &str, clock: Clock) {
        let config = clock.config(config, &self.receiver.url(""), &self.folder.path().display().to_string());
        fs::write(self.path("alertmanager.yml"), config).unwrap();
    }

    fn run(&mut self) {
        let (data, address) = (self.path("data"), format!("127.0.0.1:{}", self.port));
        let mut command = match self.side {
            Side::Ours => binary(),
            Side::Theirs => Command::new("prometheus-alertmanager"),
        };
        match self.side {
            Side::Ours => command
                .args(["serve", "--pg-listen", "off", "--flight-listen", "off", "--listen", &address, "--data-dir"])
                .arg(data)
                .arg("--config")
                .arg(self.path("streamgauge.yaml")),
            Side::Theirs => command
                .args(["--cluster.listen-address=", "--web.external-url=http://gauge.test", "--web.route-prefix=/"])
                .arg(format!("--web.listen-address={address}"))
                .arg(format!("--storage.path={}", data.display()))
                .arg(format!("--config.file={}", self.path("alertmanager.yml").display())),
        };
        let mut process = Process::start("server", &mut command, self.folder.path());
        if process.ready(&self.url("/-/ready")).is_err() {
            self.wrong.push(format!("{:?} does not start: {}", self.side, process.log_tail()));
        }
        self.process = Some(process);
    }

    fn play(mut self, scenario: &Scenario, clock: Clock) -> Played {
        let side = self.side;
        for step in scenario.steps.iter().filter(|step| step.only.is_none_or(|only| only == side)) {
            wait_until(clock.ms(step.at));
            self.step(step, clock);
        }
        wait_until(clock.ms(scenario.ends()));
        let taken = self.receiver.told().into_iter().filter(|told| told.is_taken);
        let seen = taken.map(|told| Seen { at: clock.units(told.at_ms), to: told.path, body: told.body }).collect();
        Played { seen, answers: self.answers, wrong: self.wrong }
    }

    fn step(&mut self, step: &Step, clock: Clock) {
        step.down.iter().for_each(|path| self.receiver.down(path, true));
        step.up.iter().for_each(|path| self.receiver.down(path, false));
        let limited = Script::Answer(429, "Retry-After: 1\r\n", "slow down");
        self.receiver.script(std::iter::repeat_n(limited, step.limited));
        self.receiver.script(std::iter::repeat_n(Script::Late(Duration::from_secs(1)), step.slow));
        if let Some(config) = &step.reload {
            self.configure(config, clock);
            let answer = process::agent(Duration::from_secs(20)).post(self.url("/-/reload")).send_empty().unwrap();
            assert_eq!(answer.status(), 200);
        }
        if step.kill
            && let Some(process) = self.process.take()
        {
            process.kill();
            self.run();
        }
        let Some((method, path, body)) = step.request(clock, &self.ids) else { return };
        let (status, mut answer) = self.ask(&method, &path, &body);
        self.wrong.extend(step.wrong(status, &answer).map(|wrong| format!("  {:?}: {wrong}", self.side)));
        if let (Some(silence), Some(id)) = (&step.silence, answer["silenceID"].as_str()) {
            self.ids.insert(silence.name.clone(), id.to_owned());
        }
        if let Some(asked) = &step.ask {
            // Ids are random: the names that the scenario has for them are compared.
            let named = |text: String, (name, id): (&String, &String)| text.replace(id, name);
            answer = serde_json::from_str(&self.ids.iter().fold(answer.to_string(), named)).unwrap();
            self.answers.push((format!("{} {asked}", step.at), answer));
        }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let request = ureq::http::Request::builder().method(method).uri(self.url(path));
        let request = request.header("Content-Type", "application/json");
        let agent = process::agent(Duration::from_secs(20));
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let mut answer = agent.run(request.body(body).unwrap()).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or_default())
    }
}

fn wait_until(at_ms: i64) {
    thread::sleep(Duration::from_millis(u64::try_from(at_ms - now_ms()).unwrap_or(0)));
}

/// Plays a scenario on one or both sides; what is wrong, if something is.
fn play(scenario: &Scenario, with_them: bool, unit_ms: i64) -> Vec<String> {
    let theirs = match &scenario.alertmanager {
        _ if !with_them => None,
        None => Some(&scenario.told),
        Some(Otherwise { told, .. }) => told.as_ref(),
    };
    let sides = if theirs.is_some() { &[Side::Ours, Side::Theirs][..] } else { &[Side::Ours] };
    let players: Vec<Player> = thread::scope(|scope| {
        let starting: Vec<_> =
            sides.iter().map(|side| scope.spawn(|| Player::start(*side, scenario, unit_ms))).collect();
        starting.into_iter().map(|starting| starting.join().unwrap()).collect()
    });
    let clock = Clock { begin_ms: now_ms() + STARTS_MS, unit_ms };
    let mut played: Vec<Played> = thread::scope(|scope| {
        let playing: Vec<_> =
            players.into_iter().map(|player| scope.spawn(move || player.play(scenario, clock))).collect();
        playing.into_iter().map(|playing| playing.join().unwrap()).collect()
    });
    let them = theirs.map(|expected| (expected, played.pop().unwrap()));
    judge(scenario, played.remove(0), them, clock)
}

/// What is wrong with what was told, and where we say something else than they do though we should not.
fn judge(scenario: &Scenario, ours: Played, theirs: Option<(&Vec<Told>, Played)>, clock: Clock) -> Vec<String> {
    let mut wrong = ours.wrong;
    let mut matched = |expected: &[Told], played: &[Seen], who: &str| match scenario::matched(expected, played, clock) {
        Ok(seen) => Some(seen),
        Err(why) => {
            wrong.push(format!("  {who}:\n{why}"));
            None
        }
    };
    let our_messages = matched(&scenario.told, &ours.seen, "ours");
    let Some((expected, theirs)) = theirs else { return wrong };
    let their_messages = matched(expected, &theirs.seen, "theirs");
    wrong.extend(theirs.wrong);
    if let (None, Some(our), Some(their)) = (&scenario.alertmanager, our_messages, their_messages) {
        for (our, their) in our.iter().zip(&their) {
            let differs = stated::differences(&our.body, &their.body, clock);
            wrong.extend(differs.into_iter().map(|differs| format!("  {:.2} {}{differs}", our.at, our.to)));
        }
    }
    for ((asked, our), (_, their)) in ours.answers.iter().zip(&theirs.answers) {
        let differs = stated::differences(our, their, clock);
        wrong.extend(differs.into_iter().map(|differs| format!("  {asked}{differs}")));
    }
    wrong
}

/// Plays many at the same time. What is wrong, by name.
fn play_all<'a>(scenarios: &[&'a Scenario], with_them: bool, unit_ms: i64) -> Vec<(&'a Scenario, String)> {
    let some = |scenarios: &[&'a Scenario]| {
        thread::scope(|scope| {
            let start = |scenario: &&'a Scenario| {
                let scenario = *scenario;
                (scenario, scope.spawn(move || play(scenario, with_them, unit_ms)))
            };
            let playing: Vec<_> = scenarios.iter().map(start).collect();
            let wrong = playing.into_iter().map(|(scenario, playing)| (scenario, playing.join().unwrap().join("\n")));
            wrong.filter(|(_, wrong)| !wrong.is_empty()).collect::<Vec<_>>()
        })
    };
    scenarios.chunks(AT_ONCE).flat_map(some).collect()
}

#[test]
#[allow(clippy::disallowed_methods, reason = "it says how long it took")]
fn alertmanager_and_we_tell_the_same_except_where_it_is_stated() {
    let with_them = process::installed("prometheus-alertmanager");
    if !with_them {
        process::skipped(
            "prometheus-alertmanager is not installed, so that only we are asked",
            "apt-get install -y prometheus-alertmanager",
        );
    }
    let begun = Instant::now();
    let scenarios: Vec<Scenario> = FILES.into_iter().flat_map(scenario::read).collect();
    let wrong = play_all(&scenarios.iter().collect::<Vec<_>>(), with_them, UNIT_MS);
    for (scenario, why) in &wrong {
        println!("{}, at first:\n{why}", scenario.name);
    }
    let again: Vec<&Scenario> = wrong.into_iter().map(|(scenario, _)| scenario).collect();
    let wrong = play_all(&again, with_them, SLOW_UNIT_MS);
    let wrong: Vec<String> = wrong.iter().map(|(scenario, why)| format!("{}:\n{why}", scenario.name)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for scenario in &scenarios {
        if let Some(otherwise) = &scenario.alertmanager {
            println!("stated: {}: {}", scenario.name, otherwise.why);
        }
    }
    println!("{} scenarios, {} of them twice, in {:.0?}", scenarios.len(), again.len(), begun.elapsed());
}
