//! A small company: nodes, containers, a shop, bills of three clouds, rules that fire and somebody who is told.
//!
//! Everything goes the way of real data: samples by remote write, bills and accounts as files, alerts by rules and by the API of Alertmanager. What
//! the server says of itself is what its own /metrics has, sent back by remote write as a Prometheus does.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{
    form::form,
    process,
    receiver::Receiver,
    server::{Server, binary, eventually, now_ms, run},
    wire::{self, v1},
};

/// Minutes for which there is a sample of each.
const MINUTES: i64 = 90;
/// Days of the shop, before those a sample an hour.
const DAYS: i64 = 14;

/// The company's server.
pub struct Company {
    pub server: Server,
    folder: TempDir,
    /// Who is told; lives as long as the server.
    _receiver: Receiver,
}

/// Labels and the value by the seconds since the shop opened.
type Series = (Vec<(String, String)>, Box<dyn Fn(f64) -> f64>);

const RULES: &str = r#"
groups:
  - name: nodes
    interval: 1s
    rules:
      - alert: DiskAlmostFull
        expr: 1 - node_filesystem_avail_bytes / node_filesystem_size_bytes > 0.9
        labels: {severity: warning}
        annotations: {summary: "{{ $labels.mountpoint }} of {{ $labels.instance }} is almost full."}
"#;

impl Company {
    pub fn start() -> Self {
        let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
        let settings = settings(folder.path(), &receiver);
        let server = Server::start(folder.path(), &["--config", settings.to_str().unwrap()]);
        let company = Self { server, folder, _receiver: receiver };
        company.send(&fleet());
        company.send(&shop());
        company.bills();
        company.alerts();
        company.itself();
        company
    }

    /// Sends series, a few samples of all of them at a time.
    fn send(&self, all: &[Series]) {
        let now = now_ms() / 60_000 * 60;
        let opened = now - DAYS * 86_400;
        let hours = (0..DAYS * 24 - 2).map(|hour| opened + hour * 3600);
        let is_long = |series: &Series| series.0[0].1.starts_with("shop_");
        let agent = process::agent(std::time::Duration::from_secs(60));
        let minutes = (0..=MINUTES).map(|minute| now - (MINUTES - minute) * 60);
        let times: Vec<i64> = hours.chain(minutes).collect();
        for times in times.chunks(50) {
            let wanted = all.iter().filter(|series| is_long(series) || now - times[times.len() - 1] <= MINUTES * 60);
            let timeseries: Vec<_> = wanted
                .map(|(labels, value)| {
                    let labels: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                    let sample = |at: &i64| (at * 1000, value(exact(at - opened)));
                    v1::series(&labels, &times.iter().map(sample).collect::<Vec<_>>())
                })
                .collect();
            if timeseries.is_empty() {
                continue;
            }
            let body = wire::snappy(&v1::WriteRequest { timeseries, metadata: Vec::new() });
            let post = agent.post(self.server.url(wire::PATH)).header("Content-Encoding", "snappy");
            let post = wire::V1_HEADERS.iter().fold(post, |post, (name, value)| post.header(*name, *value));
            let answer = post.send(body).unwrap();
            assert_eq!(answer.status().as_u16(), 204, "{:?}", answer.into_body().read_to_string());
        }
    }

    /// Bills of four months up to today; what the last month had was told twice.
    fn bills(&self) {
        let today = DateTime::from_timestamp_millis(now_ms()).unwrap().date_naive();
        let first = today.with_day(1).unwrap();
        for back in (0..4).rev() {
            let month = first - Months::new(back);
            self.load("aws-main", month, 1.0, today);
            self.load("azure-ea", month, 0.5, today);
            self.load("gcp", month, 0.2, today);
        }
        self.load("aws-main", first - Months::new(1), 1.1, today);
        let accounts = "SubAccountId,Name,Path,Owner\n111,payments,Root/Shop,ann\n222,platform,Root/Platform,bob\n";
        let file = self.folder.path().join("accounts.csv");
        fs::write(&file, accounts).unwrap();
        let import = ["import", "accounts", file.to_str().unwrap(), "--url"];
        let (code, out, err) = run(binary().args(import).arg(self.server.url("")));
        assert_eq!(code, 0, "{out}{err}");
    }

    fn load(&self, export: &str, month: NaiveDate, price: f64, today: NaiveDate) {
        let place = format!("/api/v1/billing/{export}/{}", month.format("%Y-%m"));
        for (path, body) in [
            (format!("{place}?file=bill.csv"), bill(export, month, price, today)),
            (format!("{place}/commit"), "{}".into()),
        ] {
            let answer = self.server.call("POST", &path, None, body.as_bytes());
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        }
    }

    /// A rule fires; another alert is silenced, and a third one has ended.
    fn alerts(&self) {
        let time = |ms: i64| DateTime::from_timestamp_millis(ms).unwrap().to_rfc3339();
        let now = now_ms();
        let silence = json!({"matchers": [{"name": "alertname", "value": "Noisy", "isRegex": false, "isEqual": true}],
            "startsAt": time(now), "endsAt": time(now + 3_600_000), "createdBy": "ann", "comment": "known"});
        let alert = |name: &str, severity: &str| json!({"labels": {"alertname": name, "severity": severity}, "annotations": {"summary": name}});
        let mut ended = alert("Slow", "critical");
        ended["startsAt"] = time(now - 1_200_000).into();
        let alerts = json!([alert("Noisy", "info"), ended.clone()]);
        ended["endsAt"] = time(now - 600_000).into();
        let post = |path: &str, body: String| {
            let agent = process::agent(std::time::Duration::from_secs(20));
            let post = agent.post(self.server.url(path)).header("Content-Type", "application/json");
            assert_eq!(post.send(body.as_bytes()).unwrap().status().as_u16(), 200, "{path}");
        };
        post("/api/v2/silences", silence.to_string());
        post("/api/v2/alerts", alerts.to_string());
        let told = |sql: &str| {
            let is_told = eventually(|| {
                // After a start nothing begins to fire before samples have caught up, so they go on.
                assert_eq!(self.server.write("node_time_seconds", &[(now_ms(), 1.0)], None).status, 204);
                (!self.server.sql(sql).is_empty()).then_some(())
            });
            is_told.unwrap_or_else(|| panic!("{sql}"))
        };
        told("SELECT 1 FROM notifications WHERE event = 'sent'");
        told("SELECT 1 FROM notifications WHERE event = 'kept' AND reason = 'silenced'");
        post("/api/v2/alerts", json!([ended]).to_string());
        told("SELECT 1 FROM alerts WHERE alertname = 'Slow' AND state = 'resolved'");
        told("SELECT 1 FROM alerts WHERE alertname = 'DiskAlmostFull' AND state = 'firing'");
    }

    /// What /metrics has, as if it had grown evenly up to now; then what the rules of the objectives make of it.
    fn itself(&self) {
        self.server.call("POST", "/api/v1/admin/flush?wait=true", None, b"");
        for path in ["/api/v1/query?query=up", "/api/v1/labels", "/api/v1/rules"] {
            assert_eq!(self.server.get(path, None).status, 200);
        }
        let text = self.server.get("/metrics", None).body;
        let mut all: Vec<Series> = vec![series(&[("__name__", "up")], |_| 1.0)];
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let value: f64 = value.parse().unwrap();
            let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
            let labels = labels.trim_end_matches('}').split("\",").filter_map(|label| label.split_once("=\""));
            let labels = labels.map(|(name, value)| (name, value.trim_end_matches('"')));
            let labels: Vec<_> = std::iter::once(("__name__", name)).chain(labels).collect();
            let grows = ["_total", "_count", "_sum"].iter().any(|end| name.ends_with(end));
            all.push(series(&labels, move |at| if grows { value * at } else { value }));
        }
        for (labels, _) in &mut all {
            labels.extend(
                [("instance", "gauge:4090"), ("job", "streamgauge")].map(|(n, v)| (n.to_owned(), v.to_owned())),
            );
        }
        self.send(&all);
        let recorded = r#"count by (job) ({__name__=~"job:streamgauge_api_(slow:bool|errors:ratio_rate5m)"}) == 2"#;
        let path = format!("/api/v1/query?{}", form(&[("query", recorded)]));
        eventually(|| self.server.get(&path, None).body.contains("\"streamgauge\"").then_some(()))
            .expect("the rules of the objectives record something");
    }
}

/// Settings with the shipped rules of the objectives, faster.
fn settings(folder: &Path, receiver: &Receiver) -> PathBuf {
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let routes = format!(
        "route: {{receiver: team, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
         receivers:\n  - name: team\n    webhook_configs: [{{url: '{}', send_resolved: true}}]\n",
        receiver.url("/hook")
    );
    let slo = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/rules/slo.yaml")).unwrap();
    let rules = write("rules.yaml", RULES.to_owned());
    let slo = write("slo.yaml", slo.replace("interval: 1m", "interval: 1s"));
    let config = write("alertmanager.yml", routes);
    write(
        "streamgauge.yaml",
        format!(
            "alerting:\n  config: {}\n  rules: ['{}', '{}']\n  allowed_networks: [127.0.0.0/8]\n  external_url: http://gauge.test\n",
            config.display(),
            rules.display(),
            slo.display()
        ),
    )
}

fn series(labels: &[(&str, &str)], value: impl Fn(f64) -> f64 + 'static) -> Series {
    (labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(), Box::new(value))
}

/// Seconds as a float.
fn exact(seconds: i64) -> f64 {
    f64::from(i32::try_from(seconds).unwrap())
}

/// Two nodes, a cluster and an API.
fn fleet() -> Vec<Series> {
    let mut all = Vec::new();
    let mut gauge = |name: &str, labels: &[(&str, &str)], value: f64| {
        all.push(series(&[&[("__name__", name)], labels].concat(), move |_| value));
    };
    for (instance, used) in [("a:9100", 0.3), ("b:9100", 0.95)] {
        let node = [("instance", instance), ("job", "node")];
        gauge("up", &node, 1.0);
        gauge("node_uname_info", &node, 1.0);
        gauge("node_memory_MemAvailable_bytes", &node, 16e9 * (1.0 - used));
        gauge("node_memory_MemTotal_bytes", &node, 16e9);
        gauge("node_load5", &node, 2.0 * used);
        let disk = [&node[..], &[("mountpoint", "/"), ("fstype", "ext4")]].concat();
        gauge("node_filesystem_avail_bytes", &disk, 100e9 * (1.0 - used));
        gauge("node_filesystem_size_bytes", &disk, 100e9);
    }
    gauge("up", &[("instance", "c:9100"), ("job", "node")], 0.0);
    for (namespace, pod) in [("shop", "cart-1"), ("shop", "cart-2"), ("platform", "build-1")] {
        let pod = [("namespace", namespace), ("pod", pod)];
        let container = [&pod[..], &[("container", "main")]].concat();
        gauge("kube_pod_info", &pod, 1.0);
        gauge("container_memory_working_set_bytes", &container, 3e8);
        gauge("kube_pod_container_resource_limits", &[&container[..], &[("resource", "memory")]].concat(), 4e8);
    }
    gauge("kube_pod_status_phase", &[("namespace", "platform"), ("phase", "Pending"), ("pod", "build-2")], 1.0);
    let deployment = [("namespace", "platform"), ("deployment", "build")];
    gauge("kube_deployment_spec_replicas", &deployment, 2.0);
    gauge("kube_deployment_status_replicas_available", &deployment, 1.0);

    let mut counter = |name: &str, labels: &[(&str, &str)], rate: f64| {
        all.push(series(&[&[("__name__", name)], labels].concat(), move |at| at * rate));
    };
    for (instance, busy) in [("a:9100", 0.2), ("b:9100", 0.7)] {
        let node = [("instance", instance), ("job", "node")];
        for cpu in ["0", "1"] {
            counter("node_cpu_seconds_total", &[&node[..], &[("cpu", cpu), ("mode", "idle")]].concat(), 1.0 - busy);
            counter("node_cpu_seconds_total", &[&node[..], &[("cpu", cpu), ("mode", "user")]].concat(), busy);
        }
        counter("node_network_receive_bytes_total", &[&node[..], &[("device", "eth0")]].concat(), 1e6);
        counter("node_network_transmit_bytes_total", &[&node[..], &[("device", "eth0")]].concat(), 3e5);
    }
    for (namespace, pod) in [("shop", "cart-1"), ("shop", "cart-2"), ("platform", "build-1")] {
        let container = [("namespace", namespace), ("pod", pod), ("container", "main")];
        counter("container_cpu_usage_seconds_total", &container, 0.4);
        counter("container_cpu_cfs_periods_total", &container, 10.0);
        counter("container_cpu_cfs_throttled_periods_total", &container, 1.0);
        counter("kube_pod_container_status_restarts_total", &container, 0.001);
    }
    for (code, rate) in [("200", 99.95), ("500", 0.05)] {
        counter("http_requests_total", &[("job", "shop-api"), ("instance", "api:80"), ("code", code)], rate);
    }
    for (le, rate) in [("0.1", 90.0), ("0.5", 99.5), ("+Inf", 100.0)] {
        counter(
            "http_request_duration_seconds_bucket",
            &[("job", "shop-api"), ("instance", "api:80"), ("le", le)],
            rate,
        );
    }
    all
}

/// What users do: more by day than by night.
fn shop() -> Vec<Series> {
    let shop = |name: &'static str| [("__name__", name), ("instance", "api:80"), ("job", "shop-api")];
    vec![
        series(&shop("shop_active_users"), |at| 200.0 + 100.0 * (at / 86_400.0 * std::f64::consts::TAU).sin()),
        series(&shop("shop_orders_total"), |at| at * 0.02),
        series(&shop("shop_revenue_total"), |at| at * 0.9),
    ]
}

/// The bill of a month up to today, in the columns of FOCUS: usage with and without tags, support, VAT, and at AWS a savings plan.
fn bill(export: &str, month: NaiveDate, price: f64, today: NaiveDate) -> String {
    let (provider, account, compute, store) = match export {
        "aws-main" => ("AWS", "999", "Amazon EC2", "Amazon S3"),
        "azure-ea" => ("Microsoft", "888", "Virtual Machines", "Storage Accounts"),
        _ => ("Google Cloud", "777", "Compute Engine", "Cloud Storage"),
    };
    let end = month + Months::new(1);
    let mut csv = String::from(
        "BillingAccountId,BillingPeriodStart,BillingPeriodEnd,BillingCurrency,ProviderName,InvoiceIssuerName,RegionId,ChargePeriodStart,\
         ChargePeriodEnd,SubAccountId,ServiceName,ServiceCategory,ChargeCategory,PricingCategory,ResourceId,BilledCost,EffectiveCost,\
         ListCost,ContractedCost,CommitmentDiscountId,CommitmentDiscountName,CommitmentDiscountCategory,CommitmentDiscountType,\
         CommitmentDiscountStatus,Tags\n",
    );
    let mut line = |from: NaiveDate, to: NaiveDate, what: &str, costs: [f64; 4], rest: &str| {
        let [billed, effective, list, contracted] = costs.map(|cost| cost * price);
        writeln!(
            csv,
            "{account},{month}T00:00:00Z,{end}T00:00:00Z,USD,{provider},{provider},eu,{from}T00:00:00Z,{to}T00:00:00Z,{what},\
             {billed:.2},{effective:.2},{list:.2},{contracted:.2},{rest}"
        )
        .unwrap();
    };
    let tags = |team: &str| format!(r#""{{""Team"": ""{team}"", ""Environment"": ""prod""}}""#);
    let days = month.iter_days().take_while(|day| *day < end && *day <= today);
    for day in days {
        let next = day + Days::new(1);
        let compute = format!("{compute},Compute,Usage");
        let busy = 100.0 + f64::from(day.day());
        line(
            day,
            next,
            &format!("111,{compute},Standard,vm-1"),
            [busy, busy, 120.0, 110.0],
            &format!(",,,,,{}", tags("payments")),
        );
        line(day, next, &format!("222,{store},Storage,Usage,Standard,logs"), [20.0; 4], ",,,,,");
        if export == "aws-main" {
            let plan = "sp-1,compute-2026,Spend,Savings Plan";
            let used = format!("{plan},Used,{}", tags("platform"));
            line(day, next, &format!("222,{compute},Committed,vm-2"), [0.0, 60.0, 100.0, 90.0], &used);
            line(day, next, &format!("222,{compute},Committed,"), [0.0, 10.0, 0.0, 0.0], &format!("{plan},Unused,"));
        }
    }
    line(month, end, "111,Support,Other,Purchase,Standard,", [30.0; 4], ",,,,,");
    line(month, end, &format!("111,{compute},Compute,Tax,,"), [50.0; 4], ",,,,,");
    csv
}
