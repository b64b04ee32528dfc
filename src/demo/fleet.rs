//! The demo's metrics: nodes, containers, services and a shop, as their exporters name them, a value of each at a time.
//!
//! Called with times in order, a day of them for the history and one for now; hands series to `import`'s sink, which sends them. Counters go on
//! from where they were, so one fleet makes both. Names and labels are those that `dashboards/` ask for. Invariants: what is said of one
//! place agrees, since all of its series share their chance; values have few digits, as those of real exporters have.

use std::ops::Range;

use anyhow::Result;
use ingest::samples::{Sample, Samples};

use super::calendar::{Calendar, Moment, STEP_MS, chance, key};
use crate::{
    import::{
        Sink,
        encode::{About, Series as Sent},
    },
    times::{DAY_MS, length, slices},
};

const COUNTER: u32 = 1;
const GAUGE: u32 = 2;
/// Bytes of what is counted in these.
const MIB: f64 = 1_048_576.0;

/// What the alert of the incident is called, by the rule and by who told of it then.
pub(super) const INCIDENT_ALERT: &str = "CheckoutErrors";
/// What fails in the incident.
pub(super) const INCIDENT_SERVICE: &str = "checkout-api";

/// A value from how things stand and a number from -1 to 1.
type Shape = Box<dyn Fn(&Moment, f64) -> f64 + Send>;

/// A series, and where it is.
struct Series {
    labels: Vec<(&'static str, String)>,
    about: About,
    /// Chance of its place.
    key: u64,
    /// Parts of one that values have.
    parts: f64,
    /// Of a counter, what it grows by in a second.
    shape: Shape,
    /// What a counter has.
    total: f64,
}

/// All series.
pub(super) struct Fleet {
    calendar: Calendar,
    series: Vec<Series>,
    /// Time of the last samples.
    last_ms: Option<i64>,
}

/// A metric: what it is called, its type, parts of one that its values have, and what it means.
struct Metric(&'static str, u32, f64, &'static str);

const UP: Metric = Metric("up", GAUGE, 1.0, "Could the target be scraped?");
const UNAME: Metric =
    Metric("node_uname_info", GAUGE, 1.0, "Labeled system information as provided by the uname system call.");
const CPU: Metric = Metric("node_cpu_seconds_total", COUNTER, 100.0, "Seconds the CPUs spent in each mode.");
const LOAD: Metric = Metric("node_load5", GAUGE, 100.0, "5m load average.");
const MEMORY_FREE: Metric = Metric("node_memory_MemAvailable_bytes", GAUGE, 1.0 / MIB, "Memory that can be had.");
const MEMORY: Metric = Metric("node_memory_MemTotal_bytes", GAUGE, 1.0 / MIB, "Memory there is.");
const DISK_FREE: Metric =
    Metric("node_filesystem_avail_bytes", GAUGE, 1.0 / MIB, "Filesystem space available to users.");
const DISK: Metric = Metric("node_filesystem_size_bytes", GAUGE, 1.0 / MIB, "Filesystem size.");
const RECEIVED: Metric =
    Metric("node_network_receive_bytes_total", COUNTER, 1.0 / 1024.0, "Bytes received by a device.");
const SENT: Metric = Metric("node_network_transmit_bytes_total", COUNTER, 1.0 / 1024.0, "Bytes sent by a device.");
const POD: Metric = Metric("kube_pod_info", GAUGE, 1.0, "Information about a pod.");
const PHASE: Metric = Metric("kube_pod_status_phase", GAUGE, 1.0, "The phase a pod is in.");
const RESTARTS: Metric = Metric("kube_pod_container_status_restarts_total", COUNTER, 1.0, "Restarts of a container.");
const LIMIT: Metric = Metric("kube_pod_container_resource_limits", GAUGE, 1.0, "What a container may use.");
const WANTED: Metric = Metric("kube_deployment_spec_replicas", GAUGE, 1.0, "Pods that a deployment is to have.");
const AVAILABLE: Metric =
    Metric("kube_deployment_status_replicas_available", GAUGE, 1.0, "Pods of a deployment that work.");
const POD_CPU: Metric = Metric("container_cpu_usage_seconds_total", COUNTER, 100.0, "Seconds of CPU a container used.");
const POD_MEMORY: Metric =
    Metric("container_memory_working_set_bytes", GAUGE, 1.0 / MIB, "Memory a container works with.");
const PERIODS: Metric =
    Metric("container_cpu_cfs_periods_total", COUNTER, 1.0, "Periods in which a container wanted CPU.");
const THROTTLED: Metric = Metric(
    "container_cpu_cfs_throttled_periods_total",
    COUNTER,
    1.0,
    "Periods in which it did not get what it wanted.",
);
const REQUESTS: Metric = Metric("http_requests_total", COUNTER, 1.0, "Requests answered, by code.");
const BUCKET: Metric = Metric("http_request_duration_seconds_bucket", COUNTER, 1.0, "Requests that took no longer.");
const COUNT: Metric = Metric("http_request_duration_seconds_count", COUNTER, 1.0, "Requests that were timed.");
const SUM: Metric = Metric("http_request_duration_seconds_sum", COUNTER, 1000.0, "Seconds they took in all.");
const USERS: Metric = Metric("shop_active_users", GAUGE, 1.0, "People in the shop.");
const ORDERS: Metric = Metric("shop_orders_total", COUNTER, 1.0, "Orders.");
const REVENUE: Metric = Metric("shop_revenue_total", COUNTER, 100.0, "What orders were worth, USD.");

/// Nodes, and what they are for.
const NODES: [(&str, Role); 6] = [
    ("web-1:9100", Role::Web),
    ("web-2:9100", Role::Web),
    ("web-3:9100", Role::Web),
    ("jobs-1:9100", Role::Jobs),
    ("db-1:9100", Role::Database),
    ("db-2:9100", Role::Database),
];
/// A node that is down for the last days, and that somebody knows of.
pub(super) const DOWN: &str = "legacy-1:9100";
/// The database whose disk is almost full by now.
const FULL: &str = "db-2:9100";
/// Namespaces, deployments, how many pods, and the CPUs of one by day.
const DEPLOYMENTS: [(&str, &str, u32, f64); 8] = [
    ("shop", "cart", 2, 0.4),
    ("shop", "checkout", 3, 0.5),
    ("shop", "catalog", 2, 0.8),
    ("shop", "web", 2, 0.3),
    ("platform", "build", 1, 1.2),
    ("platform", "ingress", 2, 0.3),
    ("data", "warehouse", 1, 1.5),
    ("data", "reports", 1, 0.2),
];
/// Services, requests of an instance in a second by day, and how long half of them take, seconds.
const SERVICES: [(&str, f64, f64); 3] =
    [("shop-api", 40.0, 0.04), (INCIDENT_SERVICE, 8.0, 0.06), ("catalog-api", 55.0, 0.02)];
/// Bounds of histograms, seconds, as labels have them.
const BOUNDS: [(&str, f64); 7] =
    [("0.05", 0.05), ("0.1", 0.1), ("0.25", 0.25), ("0.5", 0.5), ("1", 1.0), ("2.5", 2.5), ("+Inf", f64::INFINITY)];

/// Series of `deploy/rules/slo.yaml`, the share of minutes that were bad, and how bad those were.
const RECORDED: [(&str, f64, f64); 2] =
    [("job:streamgauge_api_errors:ratio_rate5m", 0.02, 0.004), ("job:streamgauge_api_slow:bool", 0.003, 1.0)];

#[derive(Debug, Clone, Copy)]
enum Role {
    Web,
    Jobs,
    Database,
}

impl Role {
    /// Share of the CPUs in use.
    fn busy(self, now: &Moment, chance: f64) -> f64 {
        let busy = match self {
            Self::Web => 0.12 + 0.42 * now.traffic + 0.25 * now.incident,
            Self::Jobs => 0.08 + 0.75 * now.jobs,
            Self::Database => 0.15 + 0.3 * now.traffic + 0.15 * now.incident + 0.2 * now.jobs,
        };
        (busy + 0.04 * chance).clamp(0.02, 0.98)
    }
}

impl Fleet {
    /// All series, before their first samples.
    pub(super) fn new(calendar: Calendar) -> Self {
        let mut fleet = Self { calendar, series: Vec::new(), last_ms: None };
        for (instance, role) in NODES {
            fleet.node(instance, role);
        }
        let down = fleet.calendar.history_ms.end - 2 * DAY_MS + STEP_MS;
        fleet.add(&UP, &[("instance", DOWN), ("job", "node")], move |now, _| if now.at_ms < down { 1.0 } else { 0.0 });
        for (namespace, deployment, pods, cpus) in DEPLOYMENTS {
            fleet.deployment((namespace, deployment), pods, cpus);
        }
        for (job, rate, half) in SERVICES {
            for instance in 1..=2 {
                fleet.service(job, &format!("{job}-{instance}:8080"), (rate, half));
            }
        }
        fleet.shop("eu", 0.6);
        fleet.shop("us", 0.4);
        fleet
    }

    /// How many series there are.
    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    /// Hands the values of all series at these times over, which are later than those before; with the first ones, what is known of
    /// the metrics.
    ///
    /// # Errors
    /// Those of the sink.
    pub(super) fn send(&mut self, times_ms: &[i64], sink: &mut Sink) -> Result<()> {
        let moments: Vec<Moment> = times_ms.iter().map(|at_ms| self.calendar.at(*at_ms)).collect();
        let Some(first) = moments.first() else { return Ok(()) };
        let last_ms = self.last_ms.unwrap_or(first.at_ms - STEP_MS);
        let mut samples = Samples::default();
        for series in &mut self.series {
            samples.floats.clear();
            let mut last_ms = last_ms;
            samples.floats.extend(moments.iter().map(|now| {
                let seconds = length(&(last_ms..now.at_ms)) / 1000.0;
                last_ms = now.at_ms;
                Sample { ts_ms: now.at_ms, bits: series.next(now, seconds).to_bits(), start_ms: 0 }
            }));
            let labels: Vec<_> = series.labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let about = self.last_ms.is_none().then_some(&series.about);
            sink.series(&Sent { labels: &labels, samples: &samples, exemplars: &[], about })?;
        }
        self.last_ms = moments.last().map(|now| now.at_ms);
        Ok(())
    }

    fn add(
        &mut self,
        metric: &Metric,
        labels: &[(&'static str, &str)],
        shape: impl Fn(&Moment, f64) -> f64 + Send + 'static,
    ) {
        let Metric(name, kind, parts, help) = *metric;
        // What a place is called: its node, pod or deployment.
        let place = labels.iter().find(|(name, _)| ["instance", "pod", "deployment"].contains(name));
        let key = key(self.calendar.seed, place.map_or(name, |(_, place)| place));
        let about = About { kind, help: help.to_owned(), unit: String::new() };
        let mut labels: Vec<_> = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        labels.push(("__name__", name.to_owned()));
        self.series.push(Series { labels, about, key, parts, shape: Box::new(shape), total: 0.0 });
    }

    fn node(&mut self, instance: &str, role: Role) {
        let node = [("instance", instance), ("job", "node")];
        self.add(&UP, &node, |_, _| 1.0);
        let name = instance.split(':').next().unwrap_or(instance);
        self.add(&UNAME, &[&node[..], &[("nodename", name), ("machine", "x86_64")]].concat(), |_, _| 1.0);
        self.add(&LOAD, &node, move |now, chance| 2.0 * role.busy(now, chance));
        let total = 16384.0 * MIB;
        self.add(&MEMORY, &node, move |_, _| total);
        self.add(&MEMORY_FREE, &node, move |now, chance| {
            let used = if matches!(role, Role::Database) { 0.72 } else { 0.4 + 0.4 * role.busy(now, chance) };
            total * (1.0 - used + 0.01 * chance)
        });
        self.disk(&[&node[..], &[("mountpoint", "/"), ("fstype", "ext4")]].concat(), 100_000.0, |age| 0.4 + 0.05 * age);
        if matches!(role, Role::Database) {
            let disk = [&node[..], &[("mountpoint", "/var/lib/postgresql"), ("fstype", "xfs")]].concat();
            let grows = if instance == FULL { 0.33 } else { 0.05 };
            self.disk(&disk, 500_000.0, move |age| (0.6 + grows * age).min(0.99));
        }
        for cpu in ["0", "1"] {
            for (mode, share) in [("user", 0.75), ("system", 0.2), ("iowait", 0.05)] {
                let labels = [&node[..], &[("cpu", cpu), ("mode", mode)]].concat();
                self.add(&CPU, &labels, move |now, chance| share * role.busy(now, chance));
            }
            let idle = [&node[..], &[("cpu", cpu), ("mode", "idle")]].concat();
            self.add(&CPU, &idle, move |now, chance| 1.0 - role.busy(now, chance));
        }
        let device = [&node[..], &[("device", "eth0")]].concat();
        self.add(&RECEIVED, &device, move |now, chance| 4e6 * role.busy(now, chance));
        self.add(&SENT, &device, move |now, chance| 9e6 * role.busy(now, chance));
    }

    /// A file system of so many MiB, and how much of it is used.
    fn disk(&mut self, labels: &[(&'static str, &str)], mib: f64, used: impl Fn(f64) -> f64 + Send + 'static) {
        self.add(&DISK, labels, move |_, _| mib * MIB);
        self.add(&DISK_FREE, labels, move |now, chance| mib * MIB * (1.0 - used(now.age) + 0.001 * chance));
    }

    fn deployment(&mut self, (namespace, deployment): (&str, &str), pods: u32, cpus: f64) {
        let fails = if deployment == "checkout" { 1.0 } else { 0.0 };
        let is_build = deployment == "build";
        let wanted = f64::from(pods) + if is_build { 1.0 } else { 0.0 };
        let labels = [("namespace", namespace), ("deployment", deployment)];
        self.add(&WANTED, &labels, move |_, _| wanted);
        self.add(&AVAILABLE, &labels, move |now, _| f64::from(pods) - (fails * now.incident).floor());
        if is_build {
            let labels = [("namespace", namespace), ("pod", "build-2"), ("phase", "Pending")];
            self.add(&PHASE, &labels, |_, _| 1.0);
        }
        for pod in 1..=pods {
            let pod = format!("{deployment}-{pod}");
            let of = [("namespace", namespace), ("pod", pod.as_str())];
            self.add(&POD, &[&of[..], &[("node", "web-1")]].concat(), |_, _| 1.0);
            self.add(&PHASE, &[&of[..], &[("phase", "Running")]].concat(), |_, _| 1.0);
            let main = [&of[..], &[("container", deployment)]].concat();
            let limit = 768.0 * MIB;
            let limits = [&main[..], &[("resource", "memory"), ("unit", "byte")]].concat();
            self.add(&LIMIT, &limits, move |_, _| limit);
            self.add(&POD_MEMORY, &main, move |now, chance| {
                limit * (0.5 + 0.15 * now.traffic + 0.3 * fails * now.incident + 0.02 * chance)
            });
            let is_nightly = namespace == "data";
            self.add(&POD_CPU, &main, move |now, chance| {
                let busy = if is_nightly { now.jobs } else { now.traffic * (1.0 + 1.2 * fails * now.incident) };
                cpus * (0.1 + busy * (1.0 + 0.1 * chance))
            });
            self.add(&PERIODS, &main, |_, _| 10.0);
            self.add(&THROTTLED, &main, move |now, _| 0.1 + 6.0 * fails * now.incident + 0.5 * now.traffic);
            // Something that nobody looks after fails every three hours; checkout did in the incident.
            let weary = if deployment == "reports" { 1.0 / 10_800.0 } else { 0.0 };
            self.add(&RESTARTS, &main, move |now, _| weary + fails * now.incident / 1200.0);
        }
    }

    fn service(&mut self, job: &'static str, instance: &str, (rate, half): (f64, f64)) {
        let of = [("instance", instance), ("job", job)];
        let fails = if job == INCIDENT_SERVICE { 1.0 } else { 0.0 };
        let requests = move |now: &Moment, chance: f64| {
            rate * now.traffic * (1.0 + 0.3 * fails * now.incident) * (1.0 + 0.06 * chance)
        };
        let failed = move |now: &Moment| 0.0004 + 0.11 * fails * now.incident;
        self.add(&UP, &of, |_, _| 1.0);
        for (code, share) in [("200", 0.99), ("404", 0.01)] {
            self.add(&REQUESTS, &[&of[..], &[("code", code)]].concat(), move |now, chance| {
                requests(now, chance) * share * (1.0 - failed(now))
            });
        }
        let labels = [&of[..], &[("code", "500")]].concat();
        self.add(&REQUESTS, &labels, move |now, chance| requests(now, chance) * failed(now));
        // Times are spread exponentially, and are eight times as long in the incident.
        let mean = move |now: &Moment| half / std::f64::consts::LN_2 * (1.0 + 7.0 * fails * now.incident);
        for (le, bound) in BOUNDS {
            self.add(&BUCKET, &[&of[..], &[("le", le)]].concat(), move |now, chance| {
                requests(now, chance) * (1.0 - (-bound / mean(now)).exp())
            });
        }
        self.add(&COUNT, &of, requests);
        self.add(&SUM, &of, move |now, chance| requests(now, chance) * mean(now));
    }

    /// A region of the shop, with its share of the people.
    fn shop(&mut self, region: &str, share: f64) {
        let of = [("instance", "shop-api-1:8080"), ("job", "shop-api"), ("region", region)];
        let users = move |now: &Moment, chance: f64| {
            900.0 * share * now.traffic * (1.0 - 0.3 * now.incident) * (1.0 + 0.03 * chance)
        };
        // They come again and again, and cannot pay in the incident.
        let orders = move |now: &Moment, chance: f64| users(now, chance) / 18_000.0 * (1.0 - 0.6 * now.incident);
        self.add(&USERS, &of, users);
        self.add(&ORDERS, &of, orders);
        self.add(&REVENUE, &of, move |now, chance| 38.4 * orders(now, chance));
    }
}

impl Series {
    /// The value at a time, so many seconds after the last one.
    fn next(&mut self, now: &Moment, seconds: f64) -> f64 {
        let value = (self.shape)(now, 2.0 * chance(self.key, now.at_ms) - 1.0);
        if self.about.kind == GAUGE {
            return (value * self.parts).round() / self.parts;
        }
        self.total += value * seconds;
        (self.total * self.parts).floor() / self.parts
    }
}

/// What rules wrote before there was this server: the alert of the incident, and how well a server did. Rules go on with the latter, whose
/// objectives are of 30 days; without them, the minutes of loading all this would be most of what is known.
///
/// # Errors
/// Those of the sink.
pub(super) fn send_recorded(calendar: &Calendar, sink: &mut Sink) -> Result<()> {
    let mut send = |labels: &[(&str, &str)], times: Range<i64>, value: &dyn Fn(i64) -> f64| {
        let times = slices(times, STEP_MS).map(|minute| minute.start);
        let mut samples = Samples::default();
        samples.floats.extend(times.map(|ts_ms| Sample { ts_ms, bits: value(ts_ms).to_bits(), start_ms: 0 }));
        sink.series(&Sent { labels, samples: &samples, exemplars: &[], about: None })
    };
    let alert = [
        ("__name__", "ALERTS"),
        ("alertname", INCIDENT_ALERT),
        ("alertstate", "firing"),
        ("job", INCIDENT_SERVICE),
        ("severity", "critical"),
    ];
    send(&alert, calendar.alert_ms(), &|_| 1.0)?;
    for (name, share, bad) in RECORDED {
        let key = key(calendar.seed, name);
        let value = move |at_ms| if chance(key, at_ms) < share { bad } else { 0.0 };
        send(&[("__name__", name), ("job", "streamgauge")], calendar.history_ms.clone(), &value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn fleet() -> Fleet {
        Fleet::new(Calendar::new(1, 1_795_901_412_000, 30))
    }

    #[test]
    fn there_are_three_hundred_series_of_which_no_two_are_alike() {
        let fleet = fleet();
        assert!((300..400).contains(&fleet.len()), "{}", fleet.len());
        let labels = fleet.series.iter().map(|series| {
            let mut labels = series.labels.clone();
            labels.sort();
            labels
        });
        assert_eq!(labels.collect::<HashSet<_>>().len(), fleet.len());
    }

    #[test]
    fn counters_never_fall_and_histograms_add_up() {
        let mut fleet = fleet();
        let moments: Vec<_> = around_the_incident().map(|at_ms| fleet.calendar.at(at_ms)).collect();
        let mut last = vec![0.0; fleet.len()];
        for now in &moments {
            let values: Vec<f64> = fleet.series.iter_mut().map(|series| series.next(now, 60.0)).collect();
            for (series, (value, last)) in fleet.series.iter().zip(values.iter().zip(&last)) {
                assert!(value.is_finite() && *value >= 0.0, "{:?}: {value}", series.labels);
                assert!(series.about.kind == GAUGE || value >= last, "{:?}: {value} after {last}", series.labels);
            }
            let of = |name: &str, label: &str| {
                let has = |series: &&Series, wanted: &str| series.labels.iter().any(|(_, value)| value == wanted);
                let mut all =
                    fleet.series.iter().filter(|series| has(series, name) && has(series, "checkout-api-1:8080"));
                let one = all.find(|series| label.is_empty() || has(series, label)).expect("a series");
                let at = fleet.series.iter().position(|series| std::ptr::eq(series, one)).expect("its place");
                values[at]
            };
            let buckets = BOUNDS.map(|(le, _)| of(BUCKET.0, le));
            assert!(buckets.is_sorted(), "{buckets:?}");
            assert_eq!(buckets[6], of(COUNT.0, ""));
            last = values;
        }
    }

    /// An hour before the incident up to an hour after it.
    fn around_the_incident() -> impl Iterator<Item = i64> {
        let incident = Calendar::new(1, 1_795_901_412_000, 30).incident_ms;
        slices(incident.start - 3_600_000..incident.end + 3_600_000, STEP_MS).map(|minute| minute.start)
    }
}
