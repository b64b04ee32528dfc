//! Series that both servers get: counters with resets, gauges, histograms, gaps, ends and returns, pods that come and
//! go, odd numbers.
//!
//! Two properties make answers comparable. Values are multiples of 1/1024 and small, so that sums of them are exact in
//! any order. And no counter is near zero where its first sample in a window may be far from the window's begin: how
//! far Prometheus extrapolates there, 3.x decides in another order than 2.42.

use crate::support::{random::Random, wire::STALE_BITS};

/// How many samples a series without gaps has.
pub const STEPS: usize = 460;
/// Time between samples.
pub const STEP_S: i64 = 15;

/// Labels in the order of their names, and values by the number of their step.
pub struct Series {
    pub labels: Vec<(&'static str, String)>,
    pub samples: Vec<(usize, f64)>,
}

const INSTANCES: [&str; 3] = ["a:1", "b:1", "c:2"];
const BOUNDS: [&str; 8] = ["0.005", "0.01", "0.05", "0.1", "0.5", "1", "2.5", "+Inf"];
const TEXTS: [&str; 10] = ["é", "日本語", " ", "0", ".", "a\"b", "a\\b", "ÀÉ", "z|y", "(x)"];
const ODD: [f64; 10] =
    [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e-300, f64::MAX, -1e300, 1e-9, 0.0, -3.5, 9_007_199_254_740_992.0];
/// Where a counter begins.
const HIGH: f64 = 100_000.0;

/// All of them.
pub fn series(random: &mut Random) -> Vec<Series> {
    let mut all = Made { random, series: Vec::new() };
    for job in ["api", "web", "db"] {
        for instance in INSTANCES {
            all.of_instance(job, instance);
        }
    }
    all.gauges();
    all.broken();
    all.pods();
    all.series
}

struct Made<'a> {
    random: &'a mut Random,
    series: Vec<Series>,
}

impl Made<'_> {
    fn add(&mut self, labels: &[(&'static str, &str)], samples: Vec<(usize, f64)>) {
        let mut labels: Vec<_> = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        labels.sort();
        self.series.push(Series { labels, samples });
    }

    /// A number below `end`.
    fn below(&mut self, end: u32) -> f64 {
        f64::from(u32::try_from(self.random.below(end.into())).expect("it is below a small number"))
    }

    fn counter(&mut self, unit: f64) -> Vec<(usize, f64)> {
        let mut value = HIGH + self.below(1000);
        let mut samples = vec![(0, value)];
        for step in 1..STEPS {
            value = if self.random.below(90) == 0 { 0.0 } else { value } + self.below(12) * unit;
            samples.push((step, value));
        }
        samples
    }

    /// What a server tells of itself.
    fn of_instance(&mut self, job: &'static str, instance: &'static str) {
        let by = [("job", job), ("instance", instance)];
        let labels =
            |name: &'static str, more: &[(&'static str, &'static str)]| [&[("__name__", name)], &by[..], more].concat();
        for code in ["200", "404", "500"] {
            let unit = if code == "404" { 0.375 } else { 1.0 };
            for method in ["GET", "POST"] {
                let samples = self.counter(unit);
                self.add(&labels("requests_total", &[("code", code), ("method", method)]), samples);
            }
            if job != "db" {
                let samples = self.counter(1.0);
                self.add(&labels("failures_total", &[("code", code), ("method", "GET")]), samples);
            }
        }
        let up = (0..STEPS).map(|step| (step, f64::from(u8::from(self.random.below(20) != 0)))).collect();
        self.add(&labels("up", &[]), up);
        // Another version from some time on: the old series ends as a scraper ends it.
        let change = STEPS / 4 + usize::try_from(self.random.below(200)).expect("small");
        let go = if self.random.below(2) == 0 { "go1.19" } else { "go1.21" };
        let old = (0..change).map(|step| (step, 1.0)).chain([(change, f64::from_bits(STALE_BITS))]).collect();
        self.add(&labels("build_info", &[("version", "1.0"), ("goversion", go)]), old);
        let new = (change..STEPS).map(|step| (step, 1.0)).collect();
        self.add(&labels("build_info", &[("version", "1.1"), ("goversion", "go1.21")]), new);
        if job != "db" {
            self.histogram(job, instance);
        }
    }

    fn histogram(&mut self, job: &'static str, instance: &'static str) {
        let mut buckets = [0.0; BOUNDS.len()].map(|_| HIGH);
        let mut sum = HIGH + self.below(1024) / 1024.0;
        let mut samples = vec![Vec::new(); BOUNDS.len() + 1];
        for step in 0..STEPS {
            if step > 0 && self.random.below(150) == 0 {
                (buckets, sum) = ([0.0; BOUNDS.len()], 0.0);
            }
            for _ in 0..self.random.below(20) {
                // Most in the middle.
                let bound = (self.random.below(4) + self.random.below(5) + self.random.below(2)).min(7);
                let first = usize::try_from(bound).expect("small");
                buckets[first..].iter_mut().for_each(|count| *count += 1.0);
                sum += self.below(2048) / 1024.0;
            }
            for (of, value) in samples.iter_mut().zip(buckets.iter().chain([&sum])) {
                of.push((step, *value));
            }
        }
        let by = [("job", job), ("instance", instance)];
        let sums = samples.pop().expect("the last is the sum's");
        self.add(&[&[("__name__", "latency_seconds_count")], &by[..]].concat(), samples[BOUNDS.len() - 1].clone());
        self.add(&[&[("__name__", "latency_seconds_sum")], &by[..]].concat(), sums);
        for (bound, samples) in BOUNDS.into_iter().zip(samples) {
            self.add(&[&[("__name__", "latency_seconds_bucket"), ("le", bound)], &by[..]].concat(), samples);
        }
    }

    fn gauges(&mut self) {
        for room in ["north", "süd", "東", "hall 1"] {
            for kind in ["min", "now", "max"] {
                let samples = (0..STEPS).map(|step| (step, (self.below(2560) - 1280.0) / 64.0)).collect();
                self.add(&[("__name__", "temperature_celsius"), ("room", room), ("kind", kind)], samples);
            }
        }
        for text in TEXTS {
            let samples = (0..STEPS).map(|step| (step, 1.0)).collect();
            self.add(&[("__name__", "text_info"), ("text", text), ("job", "api")], samples);
        }
        for n in 0..8 {
            let samples = (0..STEPS).map(|step| {
                let at = if n < 5 { n } else { usize::try_from(self.random.below(10)).expect("small") };
                (step, ODD[at])
            });
            let samples = samples.collect();
            self.add(&[("__name__", "odd"), ("kind", &n.to_string())], samples);
        }
        for n in 0..5_u8 {
            let samples = (0..STEPS).map(|step| (step, f64::from(n) * 0.125)).collect();
            self.add(&[("__name__", "constant"), ("n", &n.to_string())], samples);
            let one = vec![(60 + usize::from(n) * 85, f64::from(n))];
            self.add(&[("__name__", "single"), ("n", &n.to_string())], one);
        }
    }

    /// Series that are not there all the time: some just miss samples, some end and come back.
    fn broken(&mut self) {
        for n in 0..10 {
            let (mut missing, mut stale) = (Vec::new(), Vec::new());
            let (mut sent, mut alive) = (true, true);
            for step in 0..STEPS {
                sent ^= self.random.below(12) == 0;
                if sent {
                    missing.push((step, (self.below(1600) - 800.0) / 8.0));
                }
                if self.random.below(25) == 0 {
                    if alive {
                        stale.push((step, f64::from_bits(STALE_BITS)));
                    }
                    alive = !alive;
                } else if alive {
                    stale.push((step, f64::from(n) * 100.0 + self.below(50)));
                }
            }
            let half = if n % 2 == 0 { "even" } else { "odd" };
            self.add(&[("__name__", "gaps"), ("n", &n.to_string()), ("half", half)], missing);
            self.add(&[("__name__", "stale"), ("n", &n.to_string())], stale);
        }
    }

    fn pods(&mut self) {
        for n in 0..50_usize {
            let first = usize::try_from(self.random.below(STEPS as u64 + 20)).expect("small").saturating_sub(40);
            let last = (first + 30 + usize::try_from(self.random.below(90)).expect("small")).min(STEPS);
            let mut value = HIGH * 10.0;
            let mut cpu = Vec::new();
            for step in first..last {
                cpu.push((step, value));
                value += self.below(1024) / 1024.0;
            }
            if last < STEPS && n % 3 != 0 {
                cpu.push((last, f64::from_bits(STALE_BITS)));
            }
            let (pod, node) = (format!("pod-{n}"), format!("n{}", n % 4));
            self.add(&[("__name__", "pod_cpu_seconds_total"), ("pod", &pod), ("node", &node)], cpu);
            if n % 2 == 1 {
                let memory = (first..last).map(|step| (step, self.below(1 << 30))).collect();
                self.add(&[("__name__", "pod_memory_bytes"), ("pod", &pod), ("node", &node)], memory);
            }
        }
    }
}
