//! The function `info`: adds labels of info series to the series of a vector.
//!
//! An info series belongs to a series if both have the same `instance` and `job`. At each step the newest sample of each info metric
//! counts; its value does not matter. Called by `call`; which info series there are to choose from is decided when planning, see
//! [`crate::info`].
//!
//! Invariants: labels that a series has are never changed; series that are info series themselves stay as they are.

use hashbrown::{HashMap, HashSet, hash_map::Entry};

use crate::{
    Error, Labels, Result,
    ast::Span,
    info::{data_matchers, name_matchers},
    labels::Symbol,
    plan::{Plan, Select, Step},
    value::{Matrix, Row, Times, is_present},
};

use super::{Evaluator, metric_name, same_labels, select::Wanted};

/// The labels by which an info series is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    instance: Symbol,
    job: Symbol,
}

/// The names of those labels.
#[derive(Debug, Clone, Copy)]
struct Identifying {
    instance: Symbol,
    job: Symbol,
}

/// Info series that may belong to a series.
#[derive(Debug, Default)]
struct Candidates {
    /// When the newest sample of each step was taken, seconds.
    times: Matrix,
    /// Metric and identity of each row.
    of: Vec<(Symbol, Identity)>,
}

/// What the query says about labels that are taken.
#[derive(Debug)]
struct Wish {
    /// Empty: all.
    labels: Vec<Symbol>,
    /// Does a series without any info series stay?
    keeps_others: bool,
}

/// What the row of a series has become, so that it is found out once for steps that are alike.
#[derive(Debug, Default)]
struct Known {
    /// Rows of info series.
    matched: Vec<usize>,
    row: Option<usize>,
}

impl Evaluator<'_> {
    /// `info(vector, {selector})`.
    pub(super) fn info(&mut self, args: &[Plan], _: Span, times: Times) -> Result<Matrix> {
        let [vector, selector] = args else { return Err(Error::execution("info takes a vector and a selector")) };
        let Step::Instant(select) = &selector.node else {
            return Err(Error::execution("the second argument of info is a selector"));
        };
        let base = self.vector(vector, times)?;
        let identifying = Identifying { instance: self.symbols.number("instance"), job: self.symbols.number("job") };
        let labels: Vec<Symbol> =
            data_matchers(&select.matchers).map(|matcher| self.symbols.number(matcher.label())).collect();
        let keeps_others = data_matchers(&select.matchers).all(|matcher| matcher.matches(""));
        let wish = Wish { labels, keeps_others };

        let names = name_matchers(&select.matchers);
        let is_info = |row: &Row| {
            let name = metric_name(&row.labels, self.symbols);
            names.iter().all(|matcher| matcher.matches(name))
        };
        let identities: Vec<Option<Identity>> =
            base.rows.iter().map(|row| (!is_info(row)).then(|| identifying.of(&row.labels))).collect();
        let candidates = self.candidates(select, &identities, identifying, times)?;
        self.combined(&base, &identities, &candidates, &wish)
    }

    /// The info series that may belong to a series.
    fn candidates(
        &mut self,
        select: &Select,
        identities: &[Option<Identity>],
        identifying: Identifying,
        times: Times,
    ) -> Result<Candidates> {
        let belongs = belonging(identities);
        let labels = &self.samples[select.want].labels;
        if !labels.iter().any(|labels| belongs(identifying.of(labels))) {
            return Ok(Candidates::default());
        }
        if !self.samples[select.want].histograms.is_empty() {
            let values = self.newest(select, times, Wanted::Value)?;
            for (row, series) in values.rows.iter().enumerate() {
                let has_histogram = values.row_histograms(row).iter().any(Option::is_some);
                if has_histogram && belongs(identifying.of(&series.labels)) {
                    let series = series.labels.display(self.symbols);
                    return Err(Error::execution(format!(
                        "this should be an info metric, with float samples: {series}"
                    )));
                }
            }
        }
        let info = self.newest(select, times, Wanted::Time)?;
        let order: Vec<usize> =
            (0..info.rows.len()).filter(|row| belongs(identifying.of(&info.rows[*row].labels))).collect();
        let times = info.reordered(&order);
        let of = times.rows.iter().map(|row| (row.labels.get(Symbol::NAME), identifying.of(&row.labels))).collect();
        Ok(Candidates { times, of })
    }

    /// The series with the labels of the info series that belong to them.
    fn combined(
        &mut self,
        base: &Matrix,
        identities: &[Option<Identity>],
        info: &Candidates,
        wish: &Wish,
    ) -> Result<Matrix> {
        let mut metrics: Vec<Symbol> = Vec::new();
        for (metric, _) in &info.of {
            if !metrics.contains(metric) {
                metrics.push(*metric);
            }
        }
        let mut out = Matrix { steps: base.steps, ..Matrix::default() };
        let mut rows: HashMap<Labels, usize> = HashMap::with_capacity(base.rows.len());
        let mut known: Vec<Known> = base.rows.iter().map(|_| Known::default()).collect();
        let mut matched = Vec::new();
        for step in 0..base.steps {
            if base.is_empty_at(step) {
                continue;
            }
            let newest = self.newest_info(info, step)?;
            for row in 0..base.rows.len() {
                let Some(cell) = base.cell(row, step) else { continue };
                matched.clear();
                if let Some(identity) = identities[row] {
                    matched.extend(metrics.iter().filter_map(|metric| newest.get(&(*metric, identity))));
                    if matched.is_empty() && !wish.keeps_others {
                        continue;
                    }
                }
                let to = match known[row].row {
                    Some(to) if known[row].matched == matched => to,
                    _ => {
                        let labels = self.with_info(&base.rows[row].labels, &matched, &info.times, wish)?;
                        let to = match rows.entry(labels) {
                            Entry::Occupied(to) => *to.get(),
                            Entry::Vacant(place) => {
                                self.hold(base.steps)?;
                                let row = Row { labels: place.key().clone(), drops_name: base.rows[row].drops_name };
                                *place.insert(out.push(row))
                            }
                        };
                        known[row] = Known { matched: matched.clone(), row: Some(to) };
                        to
                    }
                };
                if out.has(to, step) {
                    return Err(same_labels());
                }
                out.set(to, step, cell);
            }
        }
        Ok(out)
    }

    /// The newest info series of each metric and identity at a step.
    fn newest_info(&self, info: &Candidates, step: usize) -> Result<HashMap<(Symbol, Identity), usize>> {
        let mut newest: HashMap<(Symbol, Identity), usize> = HashMap::with_capacity(info.of.len());
        let time = |row: usize| info.times.row(row)[step];
        for (row, of) in info.of.iter().enumerate().filter(|(row, _)| is_present(time(*row))) {
            match newest.entry(*of) {
                Entry::Vacant(place) => {
                    place.insert(row);
                }
                Entry::Occupied(mut known) if time(*known.get()) < time(row) => {
                    known.insert(row);
                }
                Entry::Occupied(known) if time(*known.get()) == time(row) => {
                    let series = |row: usize| info.times.rows[row].labels.display(self.symbols);
                    let (known, new) = (series(*known.get()), series(row));
                    let time = (time(row) * 1000.0).round();
                    return Err(Error::execution(format!(
                        "found duplicate series for info metric: existing {known} @ {time}, new {new} @ {time}"
                    )));
                }
                Entry::Occupied(_) => {}
            }
        }
        Ok(newest)
    }

    /// Labels of a series with those of info series.
    fn with_info(&self, labels: &Labels, matched: &[usize], info: &Matrix, wish: &Wish) -> Result<Labels> {
        let mut pairs = labels.pairs().to_vec();
        let own = pairs.len();
        for row in matched {
            for (name, value) in info.rows[*row].labels.pairs() {
                if name.is_of_metric() || !(wish.labels.is_empty() || wish.labels.contains(name)) {
                    continue;
                }
                let taken = pairs[own..].iter().find(|(taken, _)| taken == name);
                if taken.is_some_and(|(_, taken)| taken != value) {
                    return Err(Error::execution(format!("conflicting label: {}", self.symbols.text(*name))));
                }
                if taken.is_none() && labels.get(*name) == Symbol::EMPTY {
                    pairs.push((*name, *value));
                }
            }
        }
        Ok(if pairs.len() == own { labels.clone() } else { Labels::new(pairs, self.symbols) })
    }
}

impl Identifying {
    fn of(self, labels: &Labels) -> Identity {
        Identity { instance: labels.get(self.instance), job: labels.get(self.job) }
    }
}

/// Says of an info series whether any series asks for it: whether series with the same of the identifying labels have its `instance`
/// and, be it others, its `job`. Prometheus selects them so, and what is wrong with one of those is an error.
fn belonging(identities: &[Option<Identity>]) -> impl Fn(Identity) -> bool {
    let pattern = |of: Identity| (of.instance == Symbol::EMPTY, of.job == Symbol::EMPTY);
    let (mut instances, mut jobs) = (HashSet::new(), HashSet::new());
    for identity in identities.iter().flatten().filter(|of| pattern(**of) != (true, true)) {
        instances.insert((pattern(*identity), identity.instance));
        jobs.insert((pattern(*identity), identity.job));
    }
    move |of| instances.contains(&(pattern(of), of.instance)) && jobs.contains(&(pattern(of), of.job))
}
