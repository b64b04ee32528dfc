//! The actions of a Delta log line, and how they map to files of a view.
//!
//! Called by the table (commits) and by checkpoints, which hold the same lines as rows. Actions we do not write are skipped.

use std::collections::BTreeMap;

use object_store::path::Path;
use schemas::Dataset;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::schema;
use crate::{DataFile, Lane, Result, commit::Kind, parquet_file::Encoded};

/// Level of a file that is a part of its partition's one sorted run.
pub(crate) const DAY_RUN: u8 = 9;

/// Tag of a file from which rows were left out by rules.
const TRIMMED: &str = "trimmed";

/// Key in the commit's information under which the checksum stands.
const CHECKSUM: &str = "crc32c";

/// One line of a commit: exactly one action is set.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_info: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta_data: Option<MetaData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub txn: Option<Txn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add: Option<Add>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove: Option<Remove>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Protocol {
    pub min_reader_version: i32,
    pub min_writer_version: i32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetaData {
    pub id: String,
    pub name: Option<String>,
    pub description: Option<String>,
    pub format: Format,
    pub schema_string: String,
    pub partition_columns: Vec<String>,
    pub configuration: BTreeMap<String, String>,
    pub created_time: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Format {
    pub provider: String,
    pub options: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Txn {
    pub app_id: String,
    pub version: i64,
    pub last_updated: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Add {
    pub path: String,
    pub partition_values: BTreeMap<String, Option<String>>,
    pub size: i64,
    pub modification_time: i64,
    pub data_change: bool,
    pub stats: Option<String>,
    pub tags: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Remove {
    pub path: String,
    pub deletion_timestamp: Option<i64>,
    pub data_change: bool,
    pub extended_file_metadata: Option<bool>,
    pub partition_values: Option<BTreeMap<String, Option<String>>>,
    pub size: Option<i64>,
}

/// What a file is, beside its bytes.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub path: String,
    pub partition: Option<String>,
    pub kind: Kind,
    pub now_ms: i64,
}

impl Line {
    pub(crate) fn commit_info(operation: &str, blind: bool, now_ms: i64, id: u128) -> Self {
        let info = json!({
            "timestamp": now_ms,
            "operation": operation,
            "operationParameters": {},
            "isBlindAppend": blind,
            "engineInfo": concat!("streamgauge/", env!("CARGO_PKG_VERSION")),
            // Makes the bytes of every commit unlike those of any other, so that comparing them tells whose it is.
            "txnId": format!("{id:032x}"),
        });
        Self { commit_info: Some(info), ..Self::default() }
    }

    pub(crate) fn engine_info(&self) -> Option<String> {
        self.commit_info.as_ref()?.get("engineInfo")?.as_str().map(str::to_owned)
    }
}

/// The bytes of a commit file. Its first line tells the checksum of the others.
pub(crate) fn encode(lines: &[Line]) -> serde_json::Result<Vec<u8>> {
    let mut rest = Vec::new();
    for line in lines.iter().skip(1) {
        serde_json::to_writer(&mut rest, line)?;
        rest.push(b'\n');
    }
    let mut first = lines.first().cloned().unwrap_or_default();
    if let Some(Value::Object(info)) = &mut first.commit_info {
        info.insert(CHECKSUM.to_owned(), crc32c::crc32c(&rest).into());
    }
    let mut out = serde_json::to_vec(&first)?;
    out.push(b'\n');
    out.extend_from_slice(&rest);
    Ok(out)
}

/// Are these the bytes that were written, as far as they say?
pub(crate) fn intact(bytes: &[u8], lines: &[Line]) -> bool {
    let sum = lines.first().and_then(|line| line.commit_info.as_ref()?.get(CHECKSUM)?.as_u64());
    let rest = bytes.iter().position(|byte| *byte == b'\n').map_or(&[][..], |end| &bytes[end + 1..]);
    sum.is_none_or(|sum| sum == u64::from(crc32c::crc32c(rest)))
}

/// The lines of a commit file.
pub(crate) fn parse(bytes: &[u8]) -> serde_json::Result<Vec<Line>> {
    serde_json::Deserializer::from_slice(bytes).into_iter::<Line>().collect()
}

impl Add {
    pub(crate) fn new(dataset: &Dataset, encoded: &Encoded, place: Place) -> Self {
        let mut lows = Map::new();
        let mut highs = Map::new();
        for (name, (low, high)) in &encoded.bounds {
            if let Ok(field) = dataset.schema.field_with_name(name) {
                lows.insert(name.clone(), schema::stat_value(field.data_type(), low));
                highs.insert(name.clone(), schema::stat_value(field.data_type(), high));
            }
        }
        let stats = json!({
            "numRecords": encoded.rows,
            "minValues": lows,
            "maxValues": highs,
            "nullCount": encoded.null_counts,
        });
        let Kind { lane, seq, level, trimmed } = place.kind;
        let lane = if lane == Lane::Late { "late" } else { "in_order" };
        let tags = [
            ("lane", lane.to_owned()),
            ("level", level.to_string()),
            ("seq", seq.to_string()),
            ("sorted", "true".to_owned()),
        ];
        let trimmed = trimmed.map(|mark| (TRIMMED, format!("{mark:016x}")));
        let partition = partition_values(dataset, place.partition.as_deref());
        Self {
            path: place.path,
            partition_values: partition,
            size: i64::try_from(encoded.bytes.len()).unwrap_or(i64::MAX),
            modification_time: place.now_ms,
            data_change: true,
            stats: Some(stats.to_string()),
            tags: Some(tags.into_iter().chain(trimmed).map(|(key, value)| (key.to_owned(), Some(value))).collect()),
        }
    }

    /// The same file with a mark of rules; its rows stay.
    pub(crate) fn marked(&self, mark: u64) -> Self {
        let mut tags = self.tags.clone().unwrap_or_default();
        tags.insert(TRIMMED.to_owned(), Some(format!("{mark:016x}")));
        Self { tags: Some(tags), data_change: false, ..self.clone() }
    }

    /// The same file as a commit writes it that numbers its rows so.
    pub(crate) fn written_as(&self, seq: i64) -> Self {
        let mut tags = self.tags.clone().unwrap_or_default();
        tags.insert("seq".to_owned(), Some(seq.to_string()));
        Self { tags: Some(tags), ..self.clone() }
    }

    /// Size of the file.
    pub(crate) fn bytes(&self) -> u64 {
        u64::try_from(self.size).unwrap_or(0)
    }

    /// The file of a view, at `path` below the store's root.
    pub(crate) fn to_file(&self, dataset: &Dataset, path: Path, version: i64) -> Result<DataFile> {
        let stats: Stats = match &self.stats {
            Some(text) => serde_json::from_str(text).unwrap_or_default(),
            None => Stats::default(),
        };
        let tag = |name: &str| self.tags.as_ref()?.get(name)?.as_deref();
        let bounds = stats.min_values.iter().filter_map(|(name, low)| {
            let data_type = dataset.schema.field_with_name(name).ok()?.data_type();
            let high = stats.max_values.get(name)?;
            Some((name.clone(), (schema::bound(data_type, low)?, schema::bound(data_type, high)?)))
        });
        let values = dataset.partition_columns().map(|column| self.partition_values.get(column)?.as_deref());
        let partition = values.collect::<Option<Vec<_>>>().filter(|values| !values.is_empty());
        Ok(DataFile {
            path,
            size: self.bytes(),
            rows: stats.num_records,
            partition: partition.map(|values| values.join("/").into()),
            bounds: bounds.collect(),
            // What another engine wrote may repeat a key, if rows have one.
            lane: if dataset.key == 0 || tag("lane") == Some("in_order") { Lane::InOrder } else { Lane::Late },
            seq: tag("seq").and_then(|seq| seq.parse().ok()).unwrap_or(version * 2 + 1),
            sorted: tag("sorted") == Some("true"),
            level: tag("level").and_then(|level| level.parse().ok()).unwrap_or(0),
            trimmed: tag(TRIMMED).and_then(|mark| u64::from_str_radix(mark, 16).ok()),
            written_ms: self.modification_time,
            known_at: version - i64::from(!self.data_change),
        })
    }
}

/// Partition columns and their values, as the log has them.
pub(crate) fn partition_values(dataset: &Dataset, partition: Option<&str>) -> BTreeMap<String, Option<String>> {
    let values = partition.map(|partition| dataset.partition_values(partition)).unwrap_or_default();
    values.into_iter().map(|(column, value)| (column.to_owned(), Some(value.to_owned()))).collect()
}

impl Remove {
    pub(crate) fn of(add: &Add, data_change: bool, now_ms: i64) -> Self {
        Self {
            path: add.path.clone(),
            deletion_timestamp: Some(now_ms),
            data_change,
            extended_file_metadata: Some(true),
            partition_values: Some(add.partition_values.clone()),
            size: Some(add.size),
        }
    }
}

/// A file without readable statistics is never pruned.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Stats {
    num_records: u64,
    min_values: Map<String, Value>,
    max_values: Map<String, Value>,
}
