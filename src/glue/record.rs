//! Rows of alerting as rows of its datasets, and back.
//!
//! Writing waits until rows are durable and visible. Reading asks the engine at start: changes of alerts since a time, notifications since a
//! time, of both what has gone on since before, and all silences.

use std::sync::Arc;

use alerting::{
    Error, ErrorKind, Labels, Result,
    config::receiver::ReceiverKind,
    dedup::Reason,
    matcher::{Matchers, Mode},
    outbox::Key,
    rows::{self, AlertRow, Event, NotificationRow, Promise, Record, Rows, State},
    silence::Silence,
};
use arrow::{
    array::{
        Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
        TimestampMicrosecondArray,
    },
    buffer::OffsetBuffer,
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType},
};
use query::Engine;
use schemas::Dataset;
use storage::{Batch, Lane, Storage};

/// Writes through storage.
pub struct Recorder(pub Storage);

impl Record for Recorder {
    fn append<'a>(&'a self, rows: &'a Rows) -> Promise<'a, Result<()>> {
        Box::pin(async move {
            if rows.is_empty() {
                return Ok(());
            }
            let broken = |error: arrow::error::ArrowError| {
                Error::new(ErrorKind::Internal, "rows of alerting cannot be built").caused_by(error)
            };
            let batches = [
                (schemas::alerts(), of_alerts(&rows.alerts).map_err(broken)?),
                (schemas::notifications(), of_notifications(&rows.notifications).map_err(broken)?),
                (schemas::silences(), of_silences(&rows.silences).map_err(broken)?),
            ];
            let bytes = batches.iter().map(|(_, batch)| batch.get_array_memory_size()).sum();
            let batches = batches.into_iter().filter(|(_, batch)| batch.num_rows() > 0);
            let batches = batches.map(|(dataset, batch)| Batch::append(dataset, batch, Lane::InOrder)).collect();
            let refused = |error: storage::Error| {
                Error::new(ErrorKind::Unavailable, "nothing can be written down now").caused_by(error)
            };
            let room = self.0.reserve(bytes).await.map_err(refused)?;
            self.0.append(room, batches).done().await.map_err(refused)
        })
    }
}

type Built<T> = std::result::Result<T, arrow::error::ArrowError>;

fn batch(dataset: &Dataset, columns: Vec<ArrayRef>) -> Built<RecordBatch> {
    RecordBatch::try_new(Arc::clone(&dataset.schema), columns)
}

fn of_alerts(rows: &[AlertRow]) -> Built<RecordBatch> {
    let maps = |of: &dyn Fn(&AlertRow) -> &Labels| maps(rows.iter().map(of));
    batch(
        schemas::alerts(),
        vec![
            times(rows.iter().map(|row| Some(row.at_ms))),
            texts(rows.iter().map(|row| row.labels.get(alerting::ALERTNAME)))?,
            texts(rows.iter().map(|row| hex(row.labels.fingerprint())))?,
            texts(rows.iter().map(|row| row.state.text()))?,
            texts(rows.iter().map(|row| &row.reason))?,
            texts(rows.iter().map(|row| &row.source))?,
            maps(&|row| &row.labels)?,
            maps(&|row| &row.annotations)?,
            Arc::new(rows.iter().map(|row| row.value).collect::<Float64Array>()),
            times(rows.iter().map(|row| row.active_ms)),
            times(rows.iter().map(|row| row.starts_ms)),
            times(rows.iter().map(|row| row.ends_ms)),
            times(rows.iter().map(|row| row.keep_firing_ms)),
            texts(rows.iter().map(|row| &row.generator_url))?,
            texts(rows.iter().map(|row| &row.run))?,
        ],
    )
}

fn of_notifications(rows: &[NotificationRow]) -> Built<RecordBatch> {
    let lists = |of: &dyn Fn(&NotificationRow) -> Vec<String>| list(rows.iter().map(of));
    let alerts = |of: &dyn Fn(&NotificationRow) -> &[u64]| {
        list(rows.iter().map(|row| of(row).iter().copied().map(hex).collect()))
    };
    let numbers =
        |of: &dyn Fn(&NotificationRow) -> i64| Arc::new(rows.iter().map(of).collect::<Int64Array>()) as ArrayRef;
    let plain = |of: &dyn Fn(&NotificationRow) -> &str| {
        Arc::new(StringArray::from_iter_values(rows.iter().map(of))) as ArrayRef
    };
    batch(
        schemas::notifications(),
        vec![
            times(rows.iter().map(|row| Some(row.at_ms))),
            texts(rows.iter().map(|row| &row.key.receiver))?,
            texts(rows.iter().map(|row| format!("{}[{}]", row.key.kind, row.key.integration)))?,
            texts(rows.iter().map(|row| &row.key.group))?,
            texts(rows.iter().map(|row| row.event.text()))?,
            texts(rows.iter().map(|row| if row.id == 0 { String::new() } else { format!("{:032x}", row.id) }))?,
            texts(rows.iter().map(|row| &row.reason))?,
            alerts(&|row| &row.firing)?,
            alerts(&|row| &row.resolved)?,
            alerts(&|row| &row.held)?,
            lists(&|row| row.by.clone())?,
            maps(rows.iter().map(|row| &row.group_labels))?,
            numbers(&|row| i64::from(row.attempt)),
            plain(&|row| &row.error),
            numbers(&|row| row.took_ms),
            plain(&|row| &row.answer),
        ],
    )
}

fn of_silences(rows: &[Silence]) -> Built<RecordBatch> {
    batch(
        schemas::silences(),
        vec![
            times(rows.iter().map(|row| Some(row.updated_ms))),
            texts(rows.iter().map(|row| &row.id))?,
            texts(rows.iter().map(|row| row.matchers.to_string()))?,
            times(rows.iter().map(|row| Some(row.starts_ms))),
            times(rows.iter().map(|row| Some(row.ends_ms))),
            texts(rows.iter().map(|row| &row.created_by))?,
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.comment))),
        ],
    )
}

fn hex(fingerprint: u64) -> String {
    format!("{fingerprint:016x}")
}

fn times(ms: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    let times: TimestampMicrosecondArray = ms.map(|ms| ms.map(|ms| ms.saturating_mul(1000))).collect();
    Arc::new(times.with_timezone("UTC"))
}

fn texts(texts: impl Iterator<Item = impl AsRef<str>>) -> Built<ArrayRef> {
    cast(&StringArray::from_iter_values(texts), &schemas::dictionary())
}

fn maps<'a>(rows: impl Iterator<Item = &'a Labels> + Clone) -> Built<ArrayRef> {
    Ok(Arc::new(schemas::string_maps(rows.map(Labels::iter))?))
}

fn list(rows: impl Iterator<Item = Vec<String>>) -> Built<ArrayRef> {
    let (mut all, mut lengths) = (Vec::new(), Vec::new());
    for mut row in rows {
        lengths.push(row.len());
        all.append(&mut row);
    }
    let DataType::List(item) = schemas::list(DataType::Utf8) else { return Err(unexpected()) };
    let values = Arc::new(StringArray::from_iter_values(all));
    Ok(Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), values, None)?))
}

fn unexpected() -> arrow::error::ArrowError {
    arrow::error::ArrowError::SchemaError("a dataset of alerting has another type".to_owned())
}

/// What is known of before.
#[derive(Debug, Default)]
pub struct Known {
    /// The last change of each alert and rule, oldest first.
    pub alerts: Vec<AlertRow>,
    /// Ends of alerts for as long as a digest may be owed, oldest first.
    pub ends: Vec<AlertRow>,
    /// Steps of notifications, oldest first, without what was kept.
    pub notifications: Vec<NotificationRow>,
    /// Silences as they are.
    pub silences: Vec<Silence>,
    /// The last row of each scheduled query that names a slot.
    pub slots: Vec<NotificationRow>,
}

/// For so long a digest may be owed, microseconds: a day until it is due, and another one of trying.
const DIGEST_US_MAX: i64 = 2 * 86_400_000_000;

/// Last changes of alerts since a time; and of those before that were posted and fire still, as nobody writes down again what goes on.
fn alerts_sql(since: &str) -> String {
    format!(
        "WITH ours AS (SELECT * FROM alerts WHERE run = ''), \
         posted AS (SELECT fingerprint FROM ours WHERE source = '{}' GROUP BY fingerprint \
                    HAVING last_value(state ORDER BY at) = 'firing'), \
         wanted AS (SELECT * FROM ours WHERE at >= {since} UNION ALL \
                    SELECT ours.* FROM ours LEFT SEMI JOIN posted ON ours.fingerprint = posted.fingerprint \
                    WHERE ours.source = '{}' AND ours.at < {since}) \
         SELECT * EXCEPT (place) FROM \
         (SELECT *, row_number() OVER (PARTITION BY fingerprint, source ORDER BY at DESC) AS place FROM wanted) \
         WHERE place = 1 ORDER BY at",
        rows::API,
        rows::API
    )
}

/// Steps of notifications since a time, and before that, all steps of: what has no end; and of groups that went on, the first and the last
/// intent, the last answer and the last step of the incident.
fn notifications_sql(since: &str) -> String {
    let key = "receiver, integration, group_key";
    let [first, silenced] = [Reason::First, Reason::Silenced].map(Reason::text);
    // Of what was remarked a receiver knows only that all was silenced.
    let said = Reason::REMARKS.iter().filter(|reason| **reason != Reason::Silenced).map(|reason| reason.text());
    let said = said.map(|text| format!("'{text}'")).collect::<Vec<_>>().join(", ");
    format!(
        "WITH steps AS (SELECT * FROM notifications WHERE event <> 'kept'), \
         before AS (SELECT * FROM steps WHERE at < {since} AND NOT (event = 'intent' AND reason IN ({said}))), \
         live AS (SELECT {key} FROM before WHERE event = 'intent' GROUP BY {key} \
                  HAVING last_value(cardinality(firing) + cardinality(held) ORDER BY at) > 0), \
         of_live AS (SELECT before.* FROM before LEFT SEMI JOIN live ON before.receiver = live.receiver \
                     AND before.integration = live.integration AND before.group_key = live.group_key), \
         named AS (SELECT id, at, {key}, CASE \
                     WHEN event = 'intent' AND reason = '{first}' THEN 'first' \
                     WHEN event = 'intent' AND reason = '{silenced}' THEN 'silenced' \
                     WHEN event = 'intent' THEN 'intent' \
                     WHEN event = 'sent' AND answer <> '' THEN 'answer' \
                     WHEN event IN ('acknowledged', 'unacknowledged', 'closed') THEN 'step' END AS place FROM of_live), \
         wanted AS (SELECT last_value(id ORDER BY at) AS id FROM named WHERE place IS NOT NULL GROUP BY {key}, place \
                    UNION SELECT id FROM before WHERE event = 'intent' \
                    AND id NOT IN (SELECT id FROM steps WHERE event IN ('sent', 'dead'))) \
         SELECT * FROM (SELECT * FROM steps WHERE at >= {since} UNION ALL \
         SELECT before.* FROM before LEFT SEMI JOIN wanted ON before.id = wanted.id) ORDER BY at"
    )
}

/// The last slot of each scheduled query: a monthly one was told a month ago. Groups name the slot, and its time in a form that sorts.
fn slots_sql() -> String {
    format!(
        "SELECT * EXCEPT (place) FROM \
         (SELECT *, row_number() OVER (PARTITION BY group_labels['query'] ORDER BY group_key DESC, at DESC) AS place \
          FROM notifications WHERE reason = '{}' AND event IN ('intent', 'kept')) WHERE place = 1",
        Reason::Scheduled.text()
    )
}

/// Reads what was written down since times, microseconds, as of now: changes of alerts, and steps of notifications. What has gone on since
/// before is among it.
///
/// # Errors
/// `Unavailable` if it cannot be read.
pub async fn known(engine: &Engine, (alerts_us, notifications_us): (i64, i64), now_us: i64) -> Result<Known> {
    let since = |us: i64| format!("to_timestamp_micros({us})");
    let rows = ask(engine, &alerts_sql(&since(alerts_us))).await?;
    let alerts = rows.iter().map(to_alerts).collect::<Built<Vec<_>>>().map_err(unread)?.concat();
    let rows = ask(
        engine,
        &format!(
            "SELECT * FROM alerts WHERE run = '' AND state = 'resolved' AND at >= {} ORDER BY at",
            since(notifications_us.max(now_us - DIGEST_US_MAX))
        ),
    )
    .await?;
    let ends = rows.iter().map(to_alerts).collect::<Built<Vec<_>>>().map_err(unread)?.concat();
    let rows = ask(engine, &notifications_sql(&since(notifications_us))).await?;
    let notifications = rows.iter().map(to_notifications).collect::<Built<Vec<_>>>().map_err(unread)?.concat();
    let rows = ask(
        engine,
        "SELECT * EXCEPT (place) FROM (SELECT *, row_number() OVER (PARTITION BY id ORDER BY at DESC) AS place FROM silences) \
         WHERE place = 1",
    )
    .await?;
    let silences = rows.iter().map(to_silences).collect::<Result<Vec<_>>>()?.concat();
    let rows = ask(engine, &slots_sql()).await?;
    let slots = rows.iter().map(to_notifications).collect::<Built<Vec<_>>>().map_err(unread)?.concat();
    Ok(Known { alerts, ends, notifications, silences, slots })
}

async fn ask(engine: &Engine, sql: &str) -> Result<Vec<RecordBatch>> {
    let refused = |error: query::Error| {
        Error::new(ErrorKind::Unavailable, "what was written down before cannot be read").caused_by(error)
    };
    engine.sql(sql).await.map_err(refused)?.collect().await.map_err(refused)
}

fn unread(error: arrow::error::ArrowError) -> Error {
    Error::new(ErrorKind::Internal, "rows of alerting cannot be read back").caused_by(error)
}

/// Columns of rows by name, in the types that rows are made of.
struct Columns<'a>(&'a RecordBatch);

impl Columns<'_> {
    fn column(&self, name: &str, data_type: &DataType) -> Built<ArrayRef> {
        let lacks = || arrow::error::ArrowError::SchemaError(format!("rows lack a column column={name}"));
        cast(self.0.column_by_name(name).ok_or_else(lacks)?, data_type)
    }

    fn texts(&self, name: &str) -> Built<StringArray> {
        Ok(self.column(name, &DataType::Utf8)?.as_string::<i32>().clone())
    }

    fn times(&self, name: &str) -> Built<impl Fn(usize) -> Option<i64> + use<>> {
        let times = self.column(name, &schemas::timestamp())?.as_primitive::<TimestampMicrosecondType>().clone();
        Ok(move |row: usize| times.is_valid(row).then(|| times.value(row).div_euclid(1000)))
    }

    fn numbers(&self, name: &str) -> Built<impl Fn(usize) -> i64 + use<>> {
        let numbers = self.column(name, &DataType::Int64)?.as_primitive::<Int64Type>().clone();
        Ok(move |row: usize| numbers.value(row))
    }

    fn maps(&self, name: &str) -> Built<impl Fn(usize) -> Labels + use<>> {
        let maps = self.column(name, &schemas::string_map())?.as_map().clone();
        Ok(move |row: usize| {
            let entries = maps.value(row);
            let (names, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
            (0..entries.len()).map(|at| (names.value(at), values.value(at))).collect()
        })
    }

    fn lists(&self, name: &str) -> Built<impl Fn(usize) -> Vec<String> + use<>> {
        let lists = self.column(name, &schemas::list(DataType::Utf8))?.as_list::<i32>().clone();
        Ok(move |row: usize| lists.value(row).as_string::<i32>().iter().flatten().map(str::to_owned).collect())
    }

    fn fingerprints(&self, name: &str) -> Built<impl Fn(usize) -> Vec<u64> + use<>> {
        let texts = self.lists(name)?;
        Ok(move |row: usize| texts(row).iter().filter_map(|text| u64::from_str_radix(text, 16).ok()).collect())
    }
}

fn to_alerts(rows: &RecordBatch) -> Built<Vec<AlertRow>> {
    let columns = Columns(rows);
    let (at, active, starts) = (columns.times("at")?, columns.times("active_at")?, columns.times("starts_at")?);
    let (ends, keep) = (columns.times("ends_at")?, columns.times("keep_firing_since")?);
    let (states, reasons, sources) = (columns.texts("state")?, columns.texts("reason")?, columns.texts("source")?);
    let (urls, runs) = (columns.texts("generator_url")?, columns.texts("run")?);
    let (labels, annotations) = (columns.maps("labels")?, columns.maps("annotations")?);
    let values = columns.column("value", &DataType::Float64)?.as_primitive::<Float64Type>().clone();
    let row = |row: usize| {
        Some(AlertRow {
            at_ms: at(row)?,
            state: State::of(states.value(row))?,
            reason: reasons.value(row).to_owned().into(),
            source: sources.value(row).into(),
            labels: labels(row),
            annotations: annotations(row),
            value: values.is_valid(row).then(|| values.value(row)),
            active_ms: active(row),
            starts_ms: starts(row),
            ends_ms: ends(row),
            keep_firing_ms: keep(row),
            generator_url: urls.value(row).into(),
            run: runs.value(row).into(),
        })
    };
    Ok((0..rows.num_rows()).filter_map(row).collect())
}

fn to_notifications(rows: &RecordBatch) -> Built<Vec<NotificationRow>> {
    let columns = Columns(rows);
    let at = columns.times("at")?;
    let [receivers, integrations, groups] = ["receiver", "integration", "group_key"].map(|name| columns.texts(name));
    let (receivers, integrations, groups) = (receivers?, integrations?, groups?);
    let [events, ids, reasons] = ["event", "id", "reason"].map(|name| columns.texts(name));
    let (events, ids, reasons) = (events?, ids?, reasons?);
    let (errors, answers) = (columns.texts("error")?, columns.texts("answer")?);
    let (firing, resolved) = (columns.fingerprints("firing")?, columns.fingerprints("resolved")?);
    let (held, by, labels) = (columns.fingerprints("held")?, columns.lists("by")?, columns.maps("group_labels")?);
    let (attempts, took) = (columns.numbers("attempt")?, columns.numbers("took_ms")?);
    let row = |row: usize| {
        let (kind, number) = integrations.value(row).strip_suffix(']')?.split_once('[')?;
        Some(NotificationRow {
            at_ms: at(row)?,
            key: Key {
                group: groups.value(row).into(),
                receiver: receivers.value(row).into(),
                kind: ReceiverKind::named(kind)?,
                integration: number.parse().ok()?,
            },
            event: Event::of(events.value(row))?,
            id: u128::from_str_radix(ids.value(row), 16).unwrap_or_default(),
            reason: reasons.value(row).to_owned(),
            firing: firing(row),
            resolved: resolved(row),
            held: held(row),
            by: by(row),
            group_labels: labels(row),
            attempt: u32::try_from(attempts(row)).unwrap_or_default(),
            error: errors.value(row).to_owned(),
            took_ms: took(row),
            answer: answers.value(row).to_owned(),
        })
    };
    Ok((0..rows.num_rows()).filter_map(row).collect())
}

fn to_silences(rows: &RecordBatch) -> Result<Vec<Silence>> {
    let columns = Columns(rows);
    let read = || -> Built<_> {
        let (at, starts, ends) = (columns.times("at")?, columns.times("starts_at")?, columns.times("ends_at")?);
        let [ids, matchers, created_by, comments] =
            ["id", "matchers", "created_by", "comment"].map(|name| columns.texts(name));
        Ok((at, starts, ends, ids?, matchers?, created_by?, comments?))
    };
    let (at, starts, ends, ids, matchers, created_by, comments) = read().map_err(unread)?;
    let row = |row: usize| {
        Ok(Silence {
            id: ids.value(row).to_owned(),
            matchers: Matchers::parse(matchers.value(row), Mode::Fallback)?,
            starts_ms: starts(row).unwrap_or_default(),
            ends_ms: ends(row).unwrap_or_default(),
            updated_ms: at(row).unwrap_or_default(),
            created_by: created_by.value(row).to_owned(),
            comment: comments.value(row).to_owned(),
        })
    };
    (0..rows.num_rows()).map(row).collect()
}

#[cfg(test)]
mod tests;
