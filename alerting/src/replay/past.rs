//! What rules of a replay ask and write.
//!
//! An expression that reads nothing that rules of the replay write is asked for many slots at once; more of them the less it finds. One
//! that does is evaluated slot by slot in memory, over stored samples of many slots that are read at once, and what was written since.

use std::collections::{BTreeMap, HashMap};

use promql::{Matcher, Symbols, Want};

use super::{
    Ahead, Replayed, Series, Settings, Stored, Times, looks_for_data,
    made::{Kept, Made, Reach},
};
use crate::{
    Error, Labels, Result, memory,
    query::{Found, Query, Sample, Sink},
    rules::{Condition, Sql},
};

/// Slots that are asked at once, at first.
const SLOTS: i64 = 64;
/// And at most: a range of more is hardly cheaper.
const SLOTS_MAX: i64 = 1_024;
/// Samples of answers ahead, of all groups: some 25 MB.
const AHEAD_MAX: usize = 1_000_000;
/// Stored samples that expressions are evaluated over here, of all of them: some 100 MB.
const STORED_MAX: usize = 4_000_000;
/// Bytes of labels' texts after which they are gathered anew: series come and go.
const SYMBOLS_BYTES_MAX: usize = 64 << 20;
/// How often what was written is looked through for what nobody reads any more, milliseconds of the time that is replayed.
const SETTLE_MS: i64 = 3_600_000;

/// How an expression is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Many slots at once.
    Ahead,
    /// Slot by slot: its value depends on more than its time.
    Alone,
    /// Over what rules of the replay write.
    Over,
}

/// An expression of a group.
struct Asked {
    query: promql::Query,
    way: Way,
    looks_for_data: bool,
}

/// What is known of a group.
struct OfGroup {
    asked: Vec<Asked>,
    interval_ms: i64,
    offset_ms: i64,
    /// How many slots are asked at once.
    slots: i64,
    /// Answers up to which slot there are, and which, by expression.
    until_ms: Option<i64>,
    ahead: HashMap<String, Ahead>,
}

/// Stored samples of the wants of an expression.
#[derive(Default)]
struct Chunk {
    wants: Vec<(Want, BTreeMap<Labels, Kept>)>,
    samples: usize,
}

/// What all groups of a replay ask and write.
pub(super) struct Past {
    groups: Vec<OfGroup>,
    made: Made,
    /// Of expressions that read what is made, by their text.
    chunks: HashMap<String, Chunk>,
    stored: usize,
    chunk_slots: i64,
    symbols: Symbols,
    memory: memory::Settings,
    from_ms: i64,
    settled_ms: i64,
}

/// What one group asks and writes at a slot.
pub(super) struct World<'w> {
    past: &'w mut Past,
    stored: &'w mut dyn Stored,
    group: usize,
}

impl Past {
    pub fn new(groups: &[Replayed], settings: &Settings<'_>) -> Self {
        let mut made = Made::new(groups, settings.memory.lookback_ms);
        let mut of_groups = Vec::new();
        for of in groups {
            let mut asked: Vec<Asked> = Vec::new();
            for rule in &of.group.rules {
                let Condition::Promql(query) = &rule.condition else { continue };
                let looks_for_data = looks_for_data(rule);
                if let Some(known) = asked.iter_mut().find(|known| known.query.text() == query.text()) {
                    known.looks_for_data |= looks_for_data;
                    continue;
                }
                let planned = query.plan(settings.memory.at(settings.to_ms));
                let way = match &planned {
                    _ if made.may_be_read(query) => Way::Over,
                    Ok(planned) if planned.lag_ms().is_some() && query.has_steps() => Way::Ahead,
                    _ => Way::Alone,
                };
                if let (Way::Over, Ok(planned)) = (way, &planned) {
                    let reach = |want: &Want| Reach {
                        matchers: want.matchers.to_vec(),
                        back_ms: settings.to_ms.saturating_sub(want.after_ms).max(0),
                    };
                    made.reach(planned.wants().iter().map(reach).collect());
                }
                asked.push(Asked { query: query.clone(), way, looks_for_data });
            }
            of_groups.push(OfGroup {
                asked,
                interval_ms: of.interval_ms.max(1),
                offset_ms: of.group.query_offset_ms.unwrap_or(settings.query_offset_ms),
                slots: SLOTS,
                until_ms: None,
                ahead: HashMap::new(),
            });
        }
        Self {
            groups: of_groups,
            made,
            chunks: HashMap::new(),
            stored: 0,
            chunk_slots: SLOTS,
            symbols: Symbols::default(),
            memory: settings.memory,
            from_ms: settings.from_ms,
            settled_ms: settings.from_ms,
        }
    }

    /// For a group at a slot, of which the last is before a time.
    pub fn at<'w>(&'w mut self, stored: &'w mut dyn Stored, group: usize, (at_ms, to_ms): (i64, i64)) -> World<'w> {
        self.look_ahead(stored, group, (at_ms, to_ms));
        World { past: self, stored, group }
    }

    /// Asks what can be asked for many slots, if that was not done for this one.
    fn look_ahead(&mut self, stored: &mut dyn Stored, group: usize, (at_ms, to_ms): (i64, i64)) {
        let held: usize = self.groups.iter().map(OfGroup::held).sum();
        let Some(of) = self.groups.get_mut(group) else { return };
        if of.until_ms.is_some_and(|until_ms| at_ms <= until_ms) {
            return;
        }
        let held = held - of.held();
        of.ahead.clear();
        let last_slot = (to_ms - 1 - at_ms).max(0) / of.interval_ms;
        let until_ms = at_ms + of.interval_ms * last_slot.min(of.slots - 1);
        let times = Times { first_ms: at_ms - of.offset_ms, last_ms: until_ms - of.offset_ms, step_ms: of.interval_ms };
        of.until_ms = Some(until_ms);
        if until_ms == at_ms {
            of.slots = (of.slots * 2).min(SLOTS_MAX);
            return;
        }
        let mut is_too_much = false;
        for asked in of.asked.iter().filter(|asked| asked.way == Way::Ahead) {
            let most = AHEAD_MAX.saturating_sub(held + of.ahead.values().map(Ahead::held).sum::<usize>());
            // One that fails is asked again at its slot, and fails there if it does.
            match stored.range(&asked.query, times, (asked.looks_for_data, most)) {
                Ok(Some(ahead)) => drop(of.ahead.insert(asked.query.text().to_owned(), ahead)),
                Ok(None) => is_too_much = true,
                Err(_) => {}
            }
        }
        let is_little = of.held() * 4 < AHEAD_MAX.saturating_sub(held);
        of.slots = match (is_too_much, is_little) {
            (true, _) => (of.slots / 2).max(1),
            (false, true) => (of.slots * 2).min(SLOTS_MAX),
            (false, false) => of.slots,
        };
    }

    /// Forgets what nobody needs after a slot.
    pub fn settle(&mut self, at_ms: i64) -> Result<()> {
        let is_time = at_ms - self.settled_ms >= SETTLE_MS;
        if is_time {
            self.settled_ms = at_ms;
            // What was too much may have passed.
            self.chunk_slots = (self.chunk_slots * 2).min(SLOTS);
        }
        if self.symbols.bytes() > SYMBOLS_BYTES_MAX {
            self.symbols = Symbols::default();
            self.made.number(&mut self.symbols);
            self.forget_all();
        }
        self.made.settle(at_ms, is_time)
    }

    /// Evaluates a query over what is stored and what was made.
    fn over(&mut self, stored: &mut dyn Stored, query: &promql::Query, (at_ms, step_ms): (i64, i64)) -> Result<Found> {
        self.fill(stored, query, (at_ms, step_ms))?;
        let Self { chunks, made, symbols, memory, .. } = self;
        let Some(chunk) = chunks.get(query.text()) else { return Ok(Found::default()) };
        let none = BTreeMap::new();
        memory::instant(query, memory.at(at_ms), symbols, |want, _| {
            made.gather(chunk.of(want).unwrap_or(&none), want).finish()
        })
    }

    /// Reads what is stored of the wants of a query, for this slot and some to come.
    fn fill(&mut self, stored: &mut dyn Stored, query: &promql::Query, (at_ms, step_ms): (i64, i64)) -> Result<()> {
        let memory = self.memory;
        let wants = |at_ms: i64| -> Result<Vec<Want>> {
            let wrong = |error: promql::Error| Error::invalid(error.to_string()).caused_by(error);
            let planned = query.plan(memory.at(at_ms)).map_err(wrong)?;
            Ok(planned.wants().iter().map(|want| Want { presence: false, ..want.clone() }).collect())
        };
        let now = wants(at_ms)?;
        if self.chunks.get(query.text()).is_some_and(|chunk| now.iter().all(|want| chunk.of(want).is_some())) {
            return Ok(());
        }
        self.forget(query.text());
        loop {
            let last = wants(at_ms.saturating_add(step_ms.saturating_mul(self.chunk_slots - 1)))?;
            let mut all: Vec<Want> = Vec::new();
            for want in now.iter().chain(&last) {
                match all.iter_mut().find(|known| known.matchers == want.matchers) {
                    Some(known) => {
                        known.after_ms = known.after_ms.min(want.after_ms);
                        known.to_ms = known.to_ms.max(want.to_ms);
                    }
                    None => all.push(want.clone()),
                }
            }
            if let Some(chunk) = self.read(stored, all)? {
                self.stored += chunk.samples;
                self.chunks.insert(query.text().to_owned(), chunk);
                return Ok(());
            }
            if !self.chunks.is_empty() {
                // Others are read again when they are needed.
                self.forget_all();
            } else if self.chunk_slots > 1 {
                self.chunk_slots /= 2;
            } else {
                return Err(Error::invalid(format!("too many samples are read at once: samples_max={STORED_MAX}")));
            }
        }
    }

    /// What is stored of wants, without what rules of the replay write themselves; `None` if it is too much.
    fn read(&mut self, stored: &mut dyn Stored, wants: Vec<Want>) -> Result<Option<Chunk>> {
        let mut chunk = Chunk::default();
        for want in wants {
            let most = STORED_MAX.saturating_sub(self.stored + chunk.samples);
            let Some(series) = stored.samples(&want, most)? else { return Ok(None) };
            let mut kept = BTreeMap::new();
            for (labels, mut samples) in series {
                if self.made.writes(&labels) {
                    samples.retain(|(time, _)| *time < self.from_ms);
                }
                if !samples.is_empty() {
                    chunk.samples += samples.len();
                    let of = promql::Labels::of(labels.iter(), &mut self.symbols);
                    kept.insert(labels, Kept { of, samples, back_ms: 0 });
                }
            }
            chunk.wants.push((want, kept));
        }
        Ok(Some(chunk))
    }

    fn forget_all(&mut self) {
        self.chunks.clear();
        self.stored = 0;
    }

    fn forget(&mut self, text: &str) {
        if let Some(chunk) = self.chunks.remove(text) {
            self.stored -= chunk.samples;
        }
    }
}

impl OfGroup {
    fn held(&self) -> usize {
        self.ahead.values().map(Ahead::held).sum()
    }
}

impl Ahead {
    fn held(&self) -> usize {
        self.series.iter().map(|(_, samples)| samples.len()).sum::<usize>() + self.fresh.len()
    }

    /// What is there of a time.
    fn at(&self, at_ms: i64) -> Found {
        let sample = |(labels, samples): &Series| {
            let at = samples.binary_search_by_key(&at_ms, |(time, _)| *time).ok()?;
            Some(Sample { labels: labels.clone(), value: samples.get(at)?.1.clone() })
        };
        Found {
            samples: self.series.iter().filter_map(sample).collect(),
            warnings: self.warnings.clone(),
            fresh: self.fresh.get(&at_ms).copied(),
        }
    }
}

impl Chunk {
    /// The samples of a want, if they were read.
    fn of(&self, want: &Want) -> Option<&BTreeMap<Labels, Kept>> {
        let covers = |known: &Want| {
            let same = |left: &[Matcher], right: &[Matcher]| left == right;
            same(&known.matchers, &want.matchers) && known.after_ms <= want.after_ms && known.to_ms >= want.to_ms
        };
        self.wants.iter().find(|(known, _)| covers(known)).map(|(_, series)| series)
    }
}

impl Query for World<'_> {
    fn instant(&mut self, query: &promql::Query, at_ms: i64) -> Result<Found> {
        let Self { past, stored, group } = self;
        let Some(of) = past.groups.get(*group) else { return Ok(Found::default()) };
        let asked = of.asked.iter().find(|asked| asked.query.text() == query.text());
        let is_over = asked.map_or_else(|| past.made.may_be_read(query), |asked| asked.way == Way::Over);
        let looks_for_data = asked.is_some_and(|asked| asked.looks_for_data);
        if is_over {
            let step_ms = of.interval_ms;
            let found = past.over(*stored, query, (at_ms, step_ms));
            if asked_by_template(past.groups.get(*group), query) {
                past.forget(query.text());
            }
            return found;
        }
        let times = of.until_ms.map(|until_ms| until_ms - of.offset_ms);
        match of.ahead.get(query.text()) {
            Some(ahead) if times.is_some_and(|last_ms| at_ms <= last_ms && (last_ms - at_ms) % of.interval_ms == 0) => {
                Ok(ahead.at(at_ms))
            }
            _ => stored.instant(query, at_ms, looks_for_data),
        }
    }

    fn sql(&mut self, sql: &Sql, at_ms: i64) -> Result<Found> {
        self.stored.sql(sql, at_ms)
    }
}

/// Is a query none of the group's own, and not asked again?
fn asked_by_template(of: Option<&OfGroup>, query: &promql::Query) -> bool {
    of.is_some_and(|of| of.asked.iter().all(|asked| asked.query.text() != query.text()))
}

impl Sink for World<'_> {
    fn write(&mut self, samples: &[Sample], at_ms: i64) -> Result<()> {
        let Past { made, symbols, .. } = &mut *self.past;
        made.write(samples, at_ms, symbols);
        Ok(())
    }
}
