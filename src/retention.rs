//! Rules by which some series are kept for a shorter time than the rest of their dataset.
//!
//! Made by whoever opens storage, from the settings, and handed to storage's upkeep, which asks which rules there are, and, once
//! a day is over by more than the time of one, which series of that day go. The engine finds them in table `series`, which
//! has a row for each series and day.
//!
//! Invariant: of the rules that select a series the first one decides. Not here: what was applied to which day, and taking rows
//! out (`storage`).

use std::{collections::BTreeMap, error::Error, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringDictionaryBuilder},
    datatypes::{Int32Type, Schema},
};
use chrono::{NaiveDate, NaiveTime};
use futures::future::BoxFuture;
use query::{Engine, Selector, Wanted};
use schemas::Dataset;
use storage::{Storage, Trim, TrimRule};

const DAY_US: i64 = 86_400_000_000;

/// Datasets whose rows belong to series and go by the rules; `series` itself stays as long as any of them may need it.
pub(crate) const DATASETS: [fn() -> &'static Dataset; 3] = [schemas::samples, schemas::histograms, schemas::exemplars];

/// For how long some series are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The selector as it was written.
    pub text: Arc<str>,
    /// Which series.
    pub selector: Selector,
    /// Days that are kept after the day of a row.
    pub days: u32,
}

/// The rules, and who finds what they select.
struct Rules {
    rules: Vec<Rule>,
    engine: Engine,
}

/// Has storage's upkeep follow these rules from now on.
pub(crate) fn apply(rules: &[Rule], engine: &Engine, storage: &Storage) {
    if !rules.is_empty() {
        storage.trim_by(Arc::new(Rules { rules: rules.to_vec(), engine: engine.clone() }));
    }
}

impl Trim for Rules {
    fn rules(&self, dataset: &'static Dataset) -> Vec<TrimRule> {
        if !DATASETS.iter().any(|of_series| of_series().name == dataset.name) {
            return Vec::new();
        }
        self.rules.iter().map(|rule| TrimRule { id: Arc::clone(&rule.text), days: rule.days }).collect()
    }

    fn keys<'a>(
        &'a self,
        dataset: &'static Dataset,
        partition: &'a str,
        due: &'a [usize],
    ) -> BoxFuture<'a, Result<RecordBatch, Box<dyn Error + Send + Sync>>> {
        Box::pin(async move {
            let day = NaiveDate::parse_from_str(partition, "%Y-%m-%d")?;
            let start_us = day.and_time(NaiveTime::MIN).and_utc().timestamp_micros();
            // By metric and id, in order: does it go?
            let mut decided: BTreeMap<String, BTreeMap<i64, bool>> = BTreeMap::new();
            let decisive = due.iter().max().map_or(0, |last| last + 1);
            for (at, rule) in self.rules.iter().enumerate().take(decisive) {
                let selectors = std::slice::from_ref(&rule.selector);
                let series = self.engine.series(selectors, start_us..start_us + DAY_US, Wanted::Ids).await?;
                let goes = due.contains(&at);
                for (metric, id) in series.iter() {
                    match decided.get_mut(metric) {
                        Some(ids) => {
                            ids.entry(id).or_insert(goes);
                        }
                        None => {
                            decided.insert(metric.to_owned(), [(id, goes)].into());
                        }
                    }
                }
            }
            keys(dataset, &decided)
        })
    }
}

/// The series that go as leading sort columns of the dataset, in its order.
fn keys(
    dataset: &Dataset,
    decided: &BTreeMap<String, BTreeMap<i64, bool>>,
) -> Result<RecordBatch, Box<dyn Error + Send + Sync>> {
    let fields = dataset.sort.iter().take(2).map(|name| dataset.schema.field_with_name(name).cloned());
    let (mut metrics, mut ids) = (StringDictionaryBuilder::<Int32Type>::new(), Vec::new());
    for (metric, series) in decided {
        for (id, _) in series.iter().filter(|(_, goes)| **goes) {
            metrics.append(metric)?;
            ids.push(*id);
        }
    }
    let columns: Vec<ArrayRef> = vec![Arc::new(metrics.finish()), Arc::new(Int64Array::from(ids))];
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Result<Vec<_>, _>>()?)), columns)?)
}
