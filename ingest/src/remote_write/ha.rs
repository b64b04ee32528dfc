//! Pairs of Prometheus servers that scrape the same targets: of each cluster one replica is elected, what the others send is
//! acknowledged and not stored.
//!
//! Called by [`RemoteWrite`](super::RemoteWrite) for each request before its series are looked up. The first replica that
//! is heard is elected; when it has been silent for [`SILENCE_MS`], the next that sends is. What two replicas sent
//! overlapping around that moment becomes one series, since the replica label is taken off ([`Rules`](super::Rules)), and
//! admission stores each moment of it once or by the late lane.
//!
//! A request is decided by the labels of its first series: senders put one replica's series into a request. A proxy that
//! merges senders does not, and must lose nothing by that. A request that is to be left out is therefore looked through
//! first, and one that is taken is looked through when it has new series or known ones of another origin
//! ([`SeriesIndex::find_all`](super::series_index::SeriesIndex)); if it is mixed, each series is decided by its own labels.
//! An origin is 16 bits: two that share them are taken for one in requests that mix them, which stores too much and loses
//! nothing. Series without both labels are always taken, unchanged.
//!
//! Invariants: bounded; a cluster is never without an elected replica, so nothing is left out that nobody else sends. Lost
//! at a restart on purpose: the first that is heard is elected again, and what a file would save is one fail-over.

use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    admit::Request,
    decoded::{Labels, Series},
    reject::quoted,
    series_index::Origin,
};

/// Silence of the elected replica after which another is elected. Senders send something every few seconds (each scrape of
/// each target), so this is no pause but an absence; with the next request of the other replica, at most a scrape interval
/// of 10 s later, the fail-over is done within 30 s. Pairs that scrape all their targets less often than every 20 s at the
/// same moment need a target that is scraped more often.
pub(crate) const SILENCE_MS: i64 = 20_000;
/// Clusters remembered. At some 200 bytes each, names made up by a broken sender take 2 MB; beyond, the one that was heard
/// the longest ago is forgotten.
const CLUSTERS_MAX: usize = 10_000;

/// Labels that name an HA pair and, in it, the replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaLabels {
    /// Names the pair.
    pub cluster: String,
    /// Names the replica; taken off before the series is stored.
    pub replica: String,
}

impl Default for ReplicaLabels {
    fn default() -> Self {
        Self { cluster: "cluster".into(), replica: "__replica__".into() }
    }
}

/// Who sent a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sender<'a> {
    cluster: &'a [u8],
    replica: &'a [u8],
}

impl ReplicaLabels {
    /// Who sent a series; nobody if a label is missing or empty.
    fn sender<'a>(&self, request: Request<'a>, labels: Labels) -> Option<Sender<'a>> {
        let (mut cluster, mut replica): (&[u8], &[u8]) = (&[], &[]);
        let read = request.decoded.each_label(request.body, labels, |name, value| {
            if name == self.cluster.as_bytes() {
                cluster = value;
            } else if name == self.replica.as_bytes() {
                replica = value;
            }
            Ok(())
        });
        (read.is_ok() && !cluster.is_empty() && !replica.is_empty()).then_some(Sender { cluster, replica })
    }

    /// Origin of a series.
    pub(crate) fn origin(&self, request: Request<'_>, labels: Labels) -> Origin {
        origin(self.sender(request, labels))
    }
}

fn origin(sender: Option<Sender<'_>>) -> Origin {
    let Some(Sender { cluster, replica }) = sender else { return 0 };
    let hash = xxh3_64(cluster) ^ xxh3_64(replica).rotate_left(1);
    let [low, high, ..] = hash.to_le_bytes();
    Origin::from_le_bytes([low, high]).max(1)
}

/// What becomes of a request by its first series.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It is taken.
    Taken(Origin),
    /// It is another replica's turn; says whose.
    Left(String),
}

/// The replicas that are elected.
#[derive(Debug)]
pub(crate) struct Elections {
    labels: ReplicaLabels,
    /// Longest value of a label; a longer one names nobody, since its series is refused.
    value_bytes_max: usize,
    clusters: HashMap<Box<[u8]>, Elected>,
    /// Fail-overs that were not counted yet.
    pub(crate) failovers: u64,
}

#[derive(Debug)]
struct Elected {
    replica: Box<[u8]>,
    heard_ms: i64,
}

impl Elections {
    pub(crate) fn new(labels: ReplicaLabels, value_bytes_max: usize) -> Self {
        Self { labels, value_bytes_max, clusters: HashMap::new(), failovers: 0 }
    }

    /// Number of clusters heard of.
    pub(crate) fn clusters(&self) -> usize {
        self.clusters.len()
    }

    /// Hears a request: who sent its first series, and is it their turn?
    pub(crate) fn hear(&mut self, request: Request<'_>, now_ms: i64) -> Heard {
        let sender = request.decoded.series.first().and_then(|first| self.sender(request, first));
        match sender.map_or(Ok(()), |sender| self.elect(sender, now_ms)) {
            Ok(()) => Heard::Taken(origin(sender)),
            Err(text) => Heard::Left(text),
        }
    }

    /// Series of a mixed request, by their place, that are left to other replicas.
    pub(crate) fn left_out(&mut self, request: Request<'_>, now_ms: i64) -> Vec<usize> {
        let (mut last, mut taken) = (None, true);
        let mut left = Vec::new();
        for (at, series) in request.decoded.series.iter().enumerate() {
            let sender = self.sender(request, series);
            if sender != last || at == 0 {
                taken = sender.is_none_or(|sender| self.elect(sender, now_ms).is_ok());
                last = sender;
            }
            if !taken {
                left.push(at);
            }
        }
        left
    }

    fn sender<'a>(&self, request: Request<'a>, series: &Series) -> Option<Sender<'a>> {
        let sender = self.labels.sender(request, series.labels)?;
        (sender.cluster.len().max(sender.replica.len()) <= self.value_bytes_max).then_some(sender)
    }

    /// Is it this replica's turn? If not, whose is it, in words.
    fn elect(&mut self, sender: Sender<'_>, now_ms: i64) -> Result<(), String> {
        let Some(elected) = self.clusters.get_mut(sender.cluster) else {
            self.make_room();
            let elected = Elected { replica: sender.replica.into(), heard_ms: now_ms };
            self.clusters.insert(sender.cluster.into(), elected);
            return Ok(());
        };
        // A clock that was set back must not make the elected one look alive for longer.
        elected.heard_ms = elected.heard_ms.min(now_ms);
        if *elected.replica == *sender.replica {
            elected.heard_ms = now_ms;
            return Ok(());
        }
        let silent_ms = now_ms.saturating_sub(elected.heard_ms);
        let text = |bytes: &[u8]| quoted(&String::from_utf8_lossy(bytes));
        let (cluster, from, to) = (text(sender.cluster), text(&elected.replica), text(sender.replica));
        if silent_ms < SILENCE_MS {
            return Err(format!("left to the elected replica: cluster={cluster} replica={to} elected={from}"));
        }
        tracing::info!(cluster, from, to, silent_ms, "another replica is elected");
        *elected = Elected { replica: sender.replica.into(), heard_ms: now_ms };
        self.failovers += 1;
        Ok(())
    }

    fn make_room(&mut self) {
        if self.clusters.len() < CLUSTERS_MAX {
            return;
        }
        let oldest = self.clusters.iter().min_by_key(|(_, elected)| elected.heard_ms);
        if let Some(cluster) = oldest.map(|(cluster, _)| cluster.clone()) {
            self.clusters.remove(&cluster);
        }
    }
}

/// Do the series of a request come from more than one sender?
pub(crate) fn is_mixed(labels: &ReplicaLabels, request: Request<'_>) -> bool {
    let mut senders = request.decoded.series.iter().map(|series| labels.sender(request, series.labels));
    let first = senders.next();
    senders.any(|sender| Some(sender) != first)
}
