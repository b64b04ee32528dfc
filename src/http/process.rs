//! `process_*` metrics under the names every Prometheus client uses, read from `/proc` when somebody asks.
//!
//! Registered by `app`. Own code, because the `process` feature of crate `prometheus` counts CPU in whole seconds and brings
//! a second copy of rustix. Where there is no `/proc` nothing is shown.

use std::{fs, path::Path};

use prometheus::{
    Counter, Gauge,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// Ticks a second in `/proc`: part of Linux' interface to programs, whatever the kernel's own timer.
const TICKS: f64 = 100.0;

/// What a process uses.
pub struct Process {
    cpu: Counter,
    gauges: Vec<(Gauge, Field)>,
}

/// Takes a value out of a reading, if it is there.
type Field = fn(&Reading) -> Option<f64>;

/// One look at `/proc`.
struct Reading {
    stat: Vec<String>,
    status: String,
    limits: String,
    boot: String,
}

impl Process {
    /// Metrics of this process.
    ///
    /// # Errors
    /// None in practice: the names are constants.
    pub fn new() -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str, read: Field| Gauge::new(name, help).map(|gauge| (gauge, read));
        Ok(Self {
            cpu: Counter::new("process_cpu_seconds_total", "User and system CPU time spent.")?,
            gauges: vec![
                gauge("process_resident_memory_bytes", "Memory in RAM.", |r| r.kib("VmRSS:"))?,
                gauge("process_virtual_memory_bytes", "Address space in use.", |r| r.kib("VmSize:"))?,
                gauge("process_threads", "Threads.", |r| r.status_field("Threads:"))?,
                gauge("process_max_fds", "Most file descriptors that may be open.", Reading::fds_max)?,
                gauge("process_open_fds", "Open file descriptors.", |_| Reading::fds_open())?,
                gauge("process_start_time_seconds", "Start, in seconds since the epoch.", Reading::start)?,
            ],
        })
    }
}

/// How many threads the process has.
pub(super) fn threads() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("Threads:"))?.trim().parse().ok()
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        let gauges = self.gauges.iter().flat_map(|(gauge, _)| gauge.desc());
        self.cpu.desc().into_iter().chain(gauges).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(reading) = Reading::take(Path::new("/proc")) else { return Vec::new() };
        let mut families = Vec::with_capacity(1 + self.gauges.len());
        if let Some(seconds) = reading.cpu() {
            // Two scrapes at once may both see an old total; a counter never goes back.
            self.cpu.inc_by((seconds - self.cpu.get()).max(0.0));
            families.extend(self.cpu.collect());
        }
        for (gauge, read) in &self.gauges {
            if let Some(value) = read(&reading) {
                gauge.set(value);
                families.extend(gauge.collect());
            }
        }
        families
    }
}

impl Reading {
    fn take(proc: &Path) -> Option<Self> {
        let read = |file: &str| fs::read_to_string(proc.join(file)).ok();
        let stat = read("self/stat")?;
        // The second field is the program's name in brackets, which may hold anything.
        let stat = stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect();
        Some(Self { stat, status: read("self/status")?, limits: read("self/limits")?, boot: read("stat")? })
    }

    /// Field `number` of `/proc/self/stat` as its manual counts them.
    fn ticks(&self, number: usize) -> Option<f64> {
        self.stat.get(number - 3)?.parse::<f64>().ok().map(|ticks| ticks / TICKS)
    }

    fn cpu(&self) -> Option<f64> {
        Some(self.ticks(14)? + self.ticks(15)?)
    }

    fn start(&self) -> Option<f64> {
        let boot = self.boot.lines().find_map(|line| line.strip_prefix("btime "))?;
        Some(boot.trim().parse::<f64>().ok()? + self.ticks(22)?)
    }

    fn status_field(&self, key: &str) -> Option<f64> {
        self.status.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
    }

    fn kib(&self, key: &str) -> Option<f64> {
        self.status_field(key).map(|kib| kib * 1024.0)
    }

    fn fds_max(&self) -> Option<f64> {
        let line = self.limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        line.split_whitespace().next()?.parse().ok()
    }

    fn fds_open() -> Option<f64> {
        let count = u32::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()?;
        Some(f64::from(count))
    }
}
