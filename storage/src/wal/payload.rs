//! The payload of a log record: the batches of one append.
//!
//! Called by the log thread (encode) and by recovery (decode). Layout: count, then per batch the dataset's name, the verb,
//! a fingerprint of the schema, for a delete its time range and number of key columns, the number of rows, and the columns in
//! the form of [`super::codec`]. A replacement has its scope and its files, as they will stand in the table's log, in the place of all
//! that follows the verb.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use schemas::Dataset;

use super::codec::{self, BadPayload, Input};
use crate::{Batch, Delete, Lane, Replacement, Write, delta::action::Add};

const IN_ORDER: u8 = 0;
const LATE: u8 = 1;
const DELETE: u8 = 2;
const REPLACE: u8 = 3;

/// Appends the payload of one append to `out`.
pub(crate) fn encode(batches: &[Batch], out: &mut Vec<u8>) {
    varint(batches.len(), out);
    for batch in batches {
        varint(batch.dataset.name.len(), out);
        out.extend_from_slice(batch.dataset.name.as_bytes());
        let rows = match &batch.write {
            Write::Append(rows, lane) => {
                out.push(if *lane == Lane::InOrder { IN_ORDER } else { LATE });
                rows
            }
            Write::Delete(delete) => {
                out.push(DELETE);
                out.extend_from_slice(&delete.start_us.to_le_bytes());
                out.extend_from_slice(&delete.end_us.to_le_bytes());
                varint(delete.keys.num_columns(), out);
                &delete.keys
            }
            Write::Replace(replacement) => {
                out.push(REPLACE);
                encode_replacement(replacement, out);
                continue;
            }
        };
        out.extend_from_slice(&codec::fingerprint(rows.schema_ref()).to_le_bytes());
        varint(rows.num_rows(), out);
        codec::encode(rows, out);
    }
}

/// Reads a payload; `datasets` are those this build knows.
pub(crate) fn decode(payload: &[u8], datasets: &[&'static Dataset]) -> Result<Vec<Batch>, BadPayload> {
    let mut input = Input::new(payload);
    let batches = input.count()?;
    let mut out = Vec::with_capacity(batches.min(64));
    for _ in 0..batches {
        out.push(decode_batch(&mut input, datasets)?);
    }
    if input.is_empty() { Ok(out) } else { input.bad("bytes after the last batch") }
}

fn decode_batch(input: &mut Input<'_>, datasets: &[&'static Dataset]) -> Result<Batch, BadPayload> {
    let name_len = input.count()?;
    let name = input.take(name_len)?;
    let Some(dataset) = datasets.iter().find(|dataset| dataset.name.as_bytes() == name) else {
        return input.bad("rows of a dataset this version does not know");
    };
    let verb = input.byte()?;
    let (schema, range) = match verb {
        IN_ORDER | LATE => (Arc::clone(&dataset.schema), None),
        DELETE => {
            let range = (i64::from_le_bytes(input.array()?), i64::from_le_bytes(input.array()?));
            let columns = input.count()?;
            (delete_schema(dataset, columns), Some(range))
        }
        REPLACE => return Ok(Batch { dataset, write: Write::Replace(decode_replacement(input)?) }),
        _ => return input.bad("unknown verb"),
    };
    if u32::from_le_bytes(input.array()?) != codec::fingerprint(&schema) {
        return input.bad("rows were written with other columns than this version has");
    }
    let rows = input.count()?;
    let rows = codec::decode(&schema, rows, input)?;
    let write = match range {
        Some((start_us, end_us)) => Write::Delete(Delete { keys: rows, start_us, end_us }),
        None => Write::Append(rows, if verb == IN_ORDER { Lane::InOrder } else { Lane::Late }),
    };
    Ok(Batch { dataset, write })
}

fn encode_replacement(Replacement { scope, files }: &Replacement, out: &mut Vec<u8>) {
    text(scope.as_bytes(), out);
    varint(files.len(), out);
    for file in files.iter() {
        // Its fields are texts and numbers, which JSON can always hold.
        text(&serde_json::to_vec(file).unwrap_or_default(), out);
    }
}

fn decode_replacement(input: &mut Input<'_>) -> Result<Replacement, BadPayload> {
    let Ok(scope) = std::str::from_utf8(bytes(input)?) else { return input.bad("scope is not UTF-8") };
    let scope = scope.into();
    let count = input.count()?;
    let mut files = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        match serde_json::from_slice::<Add>(bytes(input)?) {
            Ok(file) => files.push(file),
            Err(_) => return input.bad("file of a replacement cannot be read"),
        }
    }
    Ok(Replacement { scope, files: files.into() })
}

fn text(bytes: &[u8], out: &mut Vec<u8>) {
    varint(bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn bytes<'a>(input: &mut Input<'a>) -> Result<&'a [u8], BadPayload> {
    let len = input.count()?;
    input.take(len)
}

/// Schema of a delete's keys: the first `columns` sort columns.
pub(crate) fn delete_schema(dataset: &Dataset, columns: usize) -> SchemaRef {
    let fields = dataset.sort.iter().take(columns).filter_map(|name| dataset.schema.field_with_name(name).ok());
    Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()))
}

fn varint(value: usize, out: &mut Vec<u8>) {
    codec::varint(value as u64, out);
}
