//! Series and values like those of a fleet of machines that each run `node_exporter`.
//!
//! Called by the load generator. Every machine has 500 series: about 78 % with integral values (a third of those
//! counters idle, as on real machines), 18 % with at most four decimals, 4 % in full precision; 7 to 10 labels each.
//! All of it follows from the seed. Not here: encoding and sending.

/// What a series' values look like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Integral and growing; one in three is idle.
    Counter,
    /// Seconds spent, growing, in the given number of decimals.
    Seconds(u32),
    /// Bytes in whole pages, wandering.
    Pages,
    /// A small number of things, rarely changing.
    Count,
    /// The same all the time.
    Constant,
    /// A bucket of a classic histogram: growing, by its bound.
    Bucket,
    /// Wandering, in the given number of decimals.
    Decimal(u32),
    /// Measured durations: every bit of the value is noise.
    Precise,
}

/// Precision classes, for saying what mix was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Whole numbers.
    Integral,
    /// At most four decimals.
    Decimal,
    /// All bits of a double.
    Full,
}

/// One series: labels sorted by name, and the values it yields.
pub struct Series {
    /// Labels, `__name__` among them.
    pub labels: Vec<(String, String)>,
    /// Milliseconds by which its machine is scraped after the scrape interval begins.
    pub offset_ms: i64,
    kind: Kind,
    level: f64,
    pace: f64,
    random: Random,
}

/// Families that share their dimensions and their kind of values.
struct Family {
    prefix: &'static str,
    names: &'static str,
    kind: Kind,
    dims: &'static [(&'static str, &'static str)],
}

/// Deterministic random numbers (splitmix64); good enough for noise.
pub struct Random(u64);

const CPUS: &str = "0 1 2 3 4 5 6 7";
const NICS: &str = "cni0 docker0 eth0 eth1 lo";
const DISKS: &str = "dm-0 nvme0n1 nvme1n1 sda";
const COLLECTORS: &str = "arp bonding cpu conntrack diskstats edac filefd filesystem hwmon loadavg meminfo netclass \
    netdev netstat sockstat stat textfile vmstat";
/// Device, file system and mount point of a file system go together; written `device|fstype|mountpoint`.
const MOUNTS: &str = "/dev/nvme0n1p1|vfat|/boot/efi /dev/nvme0n1p2|ext4|/ /dev/nvme1n1|xfs|/var/lib/containerd \
    /dev/sda1|xfs|/var/lib/kubelet tmpfs|tmpfs|/run tmpfs|tmpfs|/run/lock tmpfs|tmpfs|/run/user/1000";

const FAMILIES: &[Family] = &[
    Family {
        prefix: "node_cpu_",
        names: "seconds_total",
        kind: Kind::Seconds(2),
        dims: &[("cpu", CPUS), ("mode", "idle iowait irq nice softirq steal system user")],
    },
    Family {
        prefix: "node_cpu_",
        names: "guest_seconds_total",
        kind: Kind::Constant,
        dims: &[("cpu", CPUS), ("mode", "nice user")],
    },
    Family {
        prefix: "node_softirqs_",
        names: "functions_total",
        kind: Kind::Counter,
        dims: &[("cpu", CPUS), ("type", "BLOCK HI HRTIMER IRQ_POLL NET_RX NET_TX RCU SCHED TASKLET TIMER")],
    },
    Family {
        prefix: "node_memory_",
        names: "Active_anon_bytes Active_bytes Active_file_bytes AnonHugePages_bytes AnonPages_bytes Bounce_bytes \
            Buffers_bytes Cached_bytes CommitLimit_bytes Committed_AS_bytes DirectMap1G_bytes DirectMap2M_bytes \
            DirectMap4k_bytes Dirty_bytes FileHugePages_bytes FilePmdMapped_bytes Inactive_anon_bytes Inactive_bytes \
            Inactive_file_bytes KReclaimable_bytes KernelStack_bytes Mapped_bytes MemAvailable_bytes MemFree_bytes \
            MemTotal_bytes Mlocked_bytes NFS_Unstable_bytes PageTables_bytes Percpu_bytes SReclaimable_bytes \
            SUnreclaim_bytes SecPageTables_bytes ShmemHugePages_bytes ShmemPmdMapped_bytes Shmem_bytes Slab_bytes \
            SwapCached_bytes SwapFree_bytes SwapTotal_bytes Unaccepted_bytes Unevictable_bytes VmallocChunk_bytes \
            VmallocTotal_bytes VmallocUsed_bytes WritebackTmp_bytes Writeback_bytes Zswap_bytes Zswapped_bytes",
        kind: Kind::Pages,
        dims: &[],
    },
    Family {
        prefix: "node_disk_",
        names: "read_bytes_total reads_completed_total reads_merged_total writes_completed_total writes_merged_total \
            written_bytes_total",
        kind: Kind::Counter,
        dims: &[("device", DISKS)],
    },
    Family {
        prefix: "node_disk_",
        names: "discard_time_seconds_total io_time_seconds_total io_time_weighted_seconds_total \
            read_time_seconds_total write_time_seconds_total",
        kind: Kind::Seconds(3),
        dims: &[("device", DISKS)],
    },
    Family {
        prefix: "node_network_",
        names: "receive_bytes_total receive_compressed_total receive_drop_total receive_errs_total receive_fifo_total \
            receive_frame_total receive_multicast_total receive_packets_total transmit_bytes_total \
            transmit_carrier_total transmit_colls_total transmit_compressed_total transmit_drop_total \
            transmit_errs_total transmit_fifo_total transmit_packets_total",
        kind: Kind::Counter,
        dims: &[("device", NICS)],
    },
    Family {
        prefix: "node_filesystem_",
        names: "avail_bytes files files_free free_bytes readonly size_bytes",
        kind: Kind::Pages,
        dims: &[("mount", MOUNTS)],
    },
    Family {
        prefix: "node_netstat_",
        names: "Icmp6_InErrors Icmp6_InMsgs Icmp6_OutMsgs Icmp_InErrors Icmp_InMsgs Icmp_OutMsgs Ip6_InOctets \
            Ip6_OutOctets IpExt_InOctets IpExt_OutOctets Ip_Forwarding TcpExt_ListenDrops TcpExt_ListenOverflows \
            TcpExt_SyncookiesFailed TcpExt_SyncookiesRecv TcpExt_SyncookiesSent TcpExt_TCPOFOQueue \
            TcpExt_TCPRcvQDrop TcpExt_TCPSynRetrans TcpExt_TCPTimeouts Tcp_ActiveOpens Tcp_CurrEstab Tcp_InErrs \
            Tcp_InSegs Tcp_OutRsts Tcp_OutSegs Tcp_PassiveOpens Tcp_RetransSegs Udp6_InDatagrams Udp6_InErrors \
            Udp6_NoPorts Udp6_OutDatagrams Udp6_RcvbufErrors UdpLite_InErrors Udp_InDatagrams Udp_InErrors \
            Udp_NoPorts Udp_OutDatagrams Udp_RcvbufErrors Udp_SndbufErrors",
        kind: Kind::Counter,
        dims: &[],
    },
    Family {
        prefix: "node_vmstat_",
        names: "oom_kill pgfault pgmajfault pgpgin pgpgout pswpin pswpout",
        kind: Kind::Counter,
        dims: &[],
    },
    Family {
        prefix: "node_sockstat_",
        names: "FRAG6_inuse FRAG6_memory FRAG_inuse FRAG_memory RAW6_inuse RAW_inuse TCP6_inuse TCP_alloc TCP_inuse \
            TCP_mem TCP_orphan TCP_tw UDP6_inuse UDPLITE6_inuse UDPLITE_inuse UDP_inuse UDP_mem sockets_used",
        kind: Kind::Count,
        dims: &[],
    },
    Family {
        prefix: "node_scrape_collector_",
        names: "success",
        kind: Kind::Constant,
        dims: &[("collector", COLLECTORS)],
    },
    Family {
        prefix: "node_scrape_collector_",
        names: "duration_seconds",
        kind: Kind::Precise,
        dims: &[("collector", COLLECTORS)],
    },
    Family { prefix: "node_", names: "time_seconds timex_offset_seconds", kind: Kind::Precise, dims: &[] },
    Family { prefix: "node_", names: "load1 load15 load5", kind: Kind::Decimal(2), dims: &[] },
    Family {
        prefix: "node_hwmon_",
        names: "temp_celsius",
        kind: Kind::Decimal(3),
        dims: &[("sensor", "temp1 temp2 temp3")],
    },
    Family { prefix: "node_", names: "arp_entries", kind: Kind::Count, dims: &[("device", NICS)] },
    Family {
        prefix: "node_",
        names: "boot_time_seconds filefd_maximum timex_tick_seconds",
        kind: Kind::Constant,
        dims: &[],
    },
    Family { prefix: "node_", names: "context_switches_total forks_total intr_total", kind: Kind::Counter, dims: &[] },
    Family {
        prefix: "",
        names: "go_goroutines go_threads node_entropy_available_bits node_filefd_allocated node_procs_blocked \
            node_procs_running",
        kind: Kind::Count,
        dims: &[],
    },
];

/// What machines that serve requests have instead of soft interrupts: as many series.
const REQUESTS: Family = Family {
    prefix: "http_",
    names: "request_duration_seconds_bucket",
    kind: Kind::Bucket,
    dims: &[
        ("handler", "/ /api/cart /api/items /api/login /api/orders /api/search /api/users /healthz"),
        ("le", "0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 +Inf"),
    ],
};
const JOBS: [&str; 4] = ["node-exporter", "node-exporter-batch", "node-exporter-db", "node-exporter-edge"];
const TEAMS: [&str; 7] = ["billing", "checkout", "data", "identity", "platform", "search", "web"];

/// The first `count` series of the fleet, machine after machine. With `requests`, machines serve requests, and have one of several
/// jobs and a team.
pub fn series(count: usize, interval_ms: i64, seed: u64, requests: bool) -> Vec<Series> {
    let mut all = Vec::with_capacity(count + 500);
    let mut machine = 0;
    while all.len() < count {
        add_machine(&mut all, machine, interval_ms, (seed, requests));
        machine += 1;
    }
    all.truncate(count);
    all
}

fn add_machine(all: &mut Vec<Series>, machine: u64, interval_ms: i64, (seed, requests): (u64, bool)) {
    let mut random = Random::new(seed ^ machine.wrapping_mul(0x9e37_79b9));
    let pod = format!("node-exporter-{}", random.name(5));
    let instance = format!("10.{}.{}.{}:9100", 16 + machine / 65_536, machine / 256 % 256, machine % 256);
    let offset_ms = random.below(interval_ms.unsigned_abs()).cast_signed();
    let choose = |of: &[&'static str]| of[usize::try_from(machine).unwrap_or(0) % of.len()];
    let mut common = vec![
        ("cluster", "production-eu-west-1"),
        ("endpoint", "metrics"),
        ("instance", &instance),
        ("job", if requests { choose(&JOBS) } else { JOBS[0] }),
        ("namespace", "monitoring"),
        ("pod", &pod),
    ];
    if requests {
        common.push(("team", choose(&TEAMS)));
    }
    for family in FAMILIES {
        let family = if requests && family.prefix == "node_softirqs_" { &REQUESTS } else { family };
        for name in family.names.split_whitespace() {
            for own in combinations(family.dims) {
                let mut labels: Vec<(String, String)> =
                    common.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
                labels.push(("__name__".to_owned(), format!("{}{name}", family.prefix)));
                labels.extend(own);
                labels.sort();
                all.push(Series::new(labels, offset_ms, family.kind, random.next()));
            }
        }
    }
}

/// Every combination of values of the dimensions, as labels.
fn combinations(dims: &[(&str, &str)]) -> Vec<Vec<(String, String)>> {
    dims.iter().fold(vec![Vec::new()], |partial, (dim, values)| {
        let extend = |labels: &Vec<(String, String)>| {
            let labels = labels.clone();
            values.split_whitespace().map(move |value| {
                let mut labels = labels.clone();
                match value.split('|').collect::<Vec<_>>()[..] {
                    [device, fstype, mountpoint] => {
                        for (name, value) in [("device", device), ("fstype", fstype), ("mountpoint", mountpoint)] {
                            labels.push((name.to_owned(), value.to_owned()));
                        }
                    }
                    _ => labels.push(((*dim).to_owned(), value.to_owned())),
                }
                labels
            })
        };
        partial.iter().flat_map(extend).collect()
    })
}

impl Series {
    fn new(labels: Vec<(String, String)>, offset_ms: i64, kind: Kind, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let magnitude = 10_f64.powf(random.unit() * 5.0);
        let (level, pace) = match kind {
            Kind::Counter if random.below(3) == 0 => (magnitude.floor(), 0.0),
            Kind::Counter => ((magnitude * 1e5).floor(), magnitude),
            Kind::Seconds(_) => (random.unit() * 1e6, random.unit() * 15.0),
            Kind::Pages => ((magnitude * 1e4).floor(), if random.below(3) == 0 { 0.0 } else { magnitude }),
            Kind::Count => ((magnitude / 100.0).floor(), 1.0),
            Kind::Constant | Kind::Bucket => (1.0, 0.0),
            Kind::Decimal(_) => (random.unit() * 80.0, 2.0),
            Kind::Precise => (random.unit() * 0.1, 0.0),
        };
        let (level, pace) = match labels.iter().find(|(name, _)| kind == Kind::Bucket && name == "le") {
            // Of a thousand requests an interval, those that took no longer.
            Some((_, bound)) => {
                let seconds: f64 = bound.parse().unwrap_or(f64::INFINITY);
                let pace = if seconds.is_infinite() { 1000.0 } else { 990.0 * (1.0 - (-seconds / 0.1).exp()) };
                ((pace * 1e3).floor(), pace)
            }
            None => (level, pace),
        };
        Self { labels, offset_ms, kind, level, pace, random }
    }

    /// From now on the series is that of another pod: a new series to whoever stores it.
    pub fn roll_out(&mut self, generation: usize) {
        let pod = ("pod".to_owned(), format!("node-exporter-{generation:05}"));
        match self.labels.iter_mut().find(|(name, _)| name == "pod") {
            Some(label) => *label = pod,
            None => {
                self.labels.push(pod);
                self.labels.sort();
            }
        }
    }

    /// Value of the next scrape.
    pub fn sample(&mut self) -> f64 {
        let noise = self.random.unit();
        match self.kind {
            Kind::Counter => self.level += (self.pace * 2.0 * noise).floor(),
            Kind::Bucket => self.level += (self.pace * (0.99 + 0.02 * noise)).floor(),
            Kind::Seconds(_) => self.level += self.pace * (0.5 + noise),
            Kind::Pages => self.level = (self.level + (self.pace * (noise - 0.5)).trunc()).max(0.0),
            Kind::Count if noise < 0.1 => self.level = (self.level + (noise * 60.0).floor() - 3.0).max(0.0),
            Kind::Decimal(_) => self.level = (self.level + self.pace * (noise - 0.5)).max(0.0),
            Kind::Count | Kind::Constant | Kind::Precise => {}
        }
        match self.kind {
            Kind::Seconds(places) | Kind::Decimal(places) => {
                let scale = f64::from(10_u32.pow(places));
                (self.level * scale).round() / scale
            }
            Kind::Pages => self.level * 4096.0,
            Kind::Precise => self.level * (0.5 + noise),
            Kind::Bucket | Kind::Counter | Kind::Count | Kind::Constant => self.level,
        }
    }

    /// How precise the values are.
    pub fn precision(&self) -> Precision {
        match self.kind {
            Kind::Seconds(_) | Kind::Decimal(_) => Precision::Decimal,
            Kind::Precise => Precision::Full,
            _ => Precision::Integral,
        }
    }
}

impl Random {
    /// Numbers that follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// A number from 0 to below 1, with 53 random bits.
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn name(&mut self, length: usize) -> String {
        let letters = b"bcdfghjklmnpqrstvwxz2456789";
        let letter = |at: u64| char::from(letters[usize::try_from(at).unwrap_or(0)]);
        (0..length).map(|_| letter(self.below(letters.len() as u64))).collect()
    }
}
