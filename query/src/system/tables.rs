//! What is in the tables of the system catalog.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, Float32Array, Int16Array, Int16Builder, Int32Array, Int64Array, ListBuilder,
        RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray, UInt32Array,
    },
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use datafusion::{catalog::SchemaProvider, common::Result, datasource::TableType};

use super::{columns::COLUMNS, type_rows};
use crate::{
    comments::comment,
    types::{self, Oid},
    views::{self, Tables},
};

/// The number of the first relation; below are those of PostgreSQL itself.
const FIRST: Oid = 16_384;
pub(super) const CATALOG_OID: Oid = 11;
const PUBLIC_OID: Oid = 2_200;
const INFORMATION_OID: Oid = 13_000;
pub(super) const OWNER: Oid = 10;
/// Numbers of catalog tables that others refer to.
const PG_CLASS: Oid = 1_259;
const PG_NAMESPACE: Oid = 2_615;

/// Words that must be in quotes as names, beside those of the standard, which clients know.
const KEYWORDS: [&str; 12] = [
    "analyse",
    "analyze",
    "describe",
    "except",
    "explain",
    "ilike",
    "limit",
    "offset",
    "qualify",
    "returning",
    "show",
    "unpivot",
];

/// A table of ours, or a view.
pub(super) struct Relation {
    name: String,
    is_view: bool,
    schema: SchemaRef,
}

/// A value of a row.
#[derive(Clone)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    Number(i64),
    Text(String),
}

use Cell::{Bool, Null, Number, Text};

impl Relation {
    /// All of them, by name.
    pub async fn all(tables: &Tables) -> Result<Vec<Self>> {
        let mut names = tables.table_names();
        names.sort_unstable();
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            let Some(table) = tables.table(&name).await? else { continue };
            let is_view = tables.table_type(&name).await? == Some(TableType::View);
            all.push(Self { is_view, schema: table.schema(), name });
        }
        Ok(all)
    }
}

pub(super) fn text(text: impl Into<String>) -> Cell {
    Text(text.into())
}

pub(super) fn oid(oid: Oid) -> Cell {
    Number(i64::from(oid))
}

fn number(at: usize) -> Oid {
    FIRST.saturating_add(Oid::try_from(at).unwrap_or(Oid::MAX))
}

fn columns(name: &str) -> Option<&'static str> {
    COLUMNS.iter().find(|(known, _)| *known == name).map(|(_, columns)| *columns)
}

/// Is there a table of this name?
pub(super) fn has(name: &str) -> bool {
    columns(name).is_some()
}

/// Is it a table of what there is none of here? It has no rows, whatever tables and views there are.
pub(super) fn is_empty(name: &str) -> bool {
    let schema = Arc::new(Schema::new(vec![Field::new("value", DataType::Float64, true)]));
    let of = |name: &str, is_view| Relation { name: name.to_owned(), is_view, schema: Arc::clone(&schema) };
    let some = [of(schemas::costs().name, false), of(views::VIEWS[0].name, true)];
    matches!(named(name, &some), Ok(Some(batch)) if batch.num_rows() == 0)
}

/// Does a table have lists under this name? They are NULL, all of them.
pub(super) fn has_lists(column: &str) -> bool {
    COLUMNS
        .iter()
        .flat_map(|(_, columns)| columns.split_whitespace())
        .any(|known| known.strip_suffix(":a") == Some(column))
}

/// The rows of a table; none if there is no such table.
pub(super) fn named(name: &str, relations: &[Relation]) -> Result<Option<RecordBatch>> {
    let rows = match name {
        "pg_am" => vec![vec![oid(2), text("heap"), text("heap_tableam_handler"), text("t")]],
        "pg_attribute" => attributes(relations),
        "pg_class" => classes(relations),
        "pg_database" => vec![database()],
        "pg_description" => descriptions(relations),
        "pg_get_keywords" => {
            KEYWORDS.iter().map(|word| vec![text(*word), text("R"), Bool(true), text("reserved"), Null]).collect()
        }
        "pg_namespace" => {
            [(CATALOG_OID, "pg_catalog"), (PUBLIC_OID, "public"), (INFORMATION_OID, "information_schema")]
                .map(|(number, name)| vec![oid(number), text(name), oid(OWNER), Null])
                .to_vec()
        }
        "pg_authid" => vec![[vec![oid(OWNER)], role(), vec![Bool(false), Number(-1)]].concat()],
        "pg_roles" => vec![[role(), vec![Number(-1), Null, Null, Bool(false), Null, oid(OWNER)]].concat()],
        "pg_settings" => settings(),
        "pg_stat_user_tables" => counted(relations),
        "pg_tables" => relations
            .iter()
            .filter(|relation| !relation.is_view)
            .map(|relation| {
                let no = Bool(false);
                vec![
                    text("public"),
                    text(&relation.name),
                    text("streamgauge"),
                    Null,
                    no.clone(),
                    no.clone(),
                    no.clone(),
                    no,
                ]
            })
            .collect(),
        "pg_type" => type_rows::all(),
        "pg_views" => {
            let views = relations.iter().filter(|relation| relation.is_view);
            let of =
                |name: &str| views::VIEWS.iter().find(|view| view.name == name).map_or(Null, |view| text(view.sql));
            views.map(|view| vec![text("public"), text(&view.name), text("streamgauge"), of(&view.name)]).collect()
        }
        "pg_user" => {
            let no = Bool(false);
            vec![vec![text("streamgauge"), oid(OWNER), no.clone(), no.clone(), no.clone(), no, text("********")]]
        }
        name if has(name) => Vec::new(),
        _ => return Ok(None),
    };
    batch(columns(name).unwrap_or_default(), &rows).map(Some)
}

fn batch(columns: &str, rows: &[Vec<Cell>]) -> Result<RecordBatch> {
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for (at, column) in columns.split_whitespace().enumerate() {
        let (name, kind) = column.split_once(':').unwrap_or((column, "t"));
        let numbers = rows.iter().map(|row| match row.get(at) {
            Some(Number(number)) => Some(*number),
            _ => None,
        });
        let texts = rows.iter().map(|row| match row.get(at) {
            Some(Text(text)) => Some(text.as_str()),
            _ => None,
        });
        let array: ArrayRef = match kind {
            "o" => Arc::new(numbers.map(|n| n.and_then(|n| u32::try_from(n).ok())).collect::<UInt32Array>()),
            "i" => Arc::new(numbers.map(|n| n.and_then(|n| i32::try_from(n).ok())).collect::<Int32Array>()),
            "h" => Arc::new(numbers.map(|n| n.and_then(|n| i16::try_from(n).ok())).collect::<Int16Array>()),
            "l" => Arc::new(numbers.collect::<Int64Array>()),
            // None of these floats has a fraction.
            "f" => Arc::new(numbers.map(|n| n.map(|n| n as f32)).collect::<Float32Array>()),
            "z" => Arc::new(numbers.collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
            "b" => Arc::new(
                rows.iter()
                    .map(|row| match row.get(at) {
                        Some(Bool(value)) => Some(*value),
                        _ => None,
                    })
                    .collect::<BooleanArray>(),
            ),
            "v" => {
                let mut lists = ListBuilder::new(Int16Builder::new());
                rows.iter().for_each(|_| lists.append_null());
                Arc::new(lists.finish())
            }
            "a" => {
                let mut lists = ListBuilder::new(StringBuilder::new());
                rows.iter().for_each(|_| lists.append_null());
                Arc::new(lists.finish())
            }
            _ => Arc::new(texts.collect::<StringArray>()),
        };
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

fn attributes(relations: &[Relation]) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for (at, relation) in relations.iter().enumerate() {
        for (column, field) in (1_i64..).zip(relation.schema.fields()) {
            let kind = types::of(field.data_type());
            let length = types::size(kind);
            let (no, is_list) = (Bool(false), types::element(kind).is_some());
            let single = types::element(kind).unwrap_or(kind);
            rows.push(vec![
                oid(number(at)),
                text(field.name()),
                oid(kind),
                Number(-1),
                Number(i64::from(length)),
                Number(column),
                Number(i64::from(is_list)),
                Number(-1),
                Number(i64::from(types::modifier(field.data_type()))),
                Bool(length > 0 && length <= 8),
                text(type_rows::alignment(single, is_list)),
                text(type_rows::storage(kind)),
                text(""),
                Bool(!field.is_nullable()),
                no.clone(),
                no.clone(),
                text(""),
                text(""),
                no.clone(),
                Bool(true),
                Number(0),
                oid(type_rows::collation(single)),
                Null,
                Null,
                Null,
                Null,
            ]);
        }
    }
    rows
}

fn classes(relations: &[Relation]) -> Vec<Vec<Cell>> {
    let rows = relations.iter().enumerate().map(|(at, relation)| {
        let no = Bool(false);
        let columns = i64::try_from(relation.schema.fields().len()).unwrap_or(0);
        vec![
            oid(number(at)),
            text(&relation.name),
            oid(PUBLIC_OID),
            oid(0),
            oid(0),
            oid(OWNER),
            oid(if relation.is_view { 0 } else { 2 }),
            oid(0),
            oid(0),
            Number(0),
            // Not counted: that takes reading.
            Number(-1),
            Number(0),
            oid(0),
            no.clone(),
            no.clone(),
            text("p"),
            text(if relation.is_view { "v" } else { "r" }),
            Number(columns),
            Number(0),
            no.clone(),
            no.clone(),
            no.clone(),
            no.clone(),
            no.clone(),
            Bool(true),
            text(if relation.is_view { "n" } else { "d" }),
            no,
            oid(0),
            Number(0),
            Number(0),
            Null,
            Null,
            Null,
        ]
    });
    rows.collect()
}

fn database() -> Vec<Cell> {
    vec![
        oid(16_000),
        text(views::CATALOG),
        oid(OWNER),
        // UTF8
        Number(6),
        text("c"),
        Bool(false),
        Bool(true),
        Number(-1),
        Number(0),
        Number(0),
        oid(1_663),
        text("C.UTF-8"),
        text("C.UTF-8"),
        Null,
        Null,
        Null,
        Null,
    ]
}

/// The only one, with what it may: inherit and log in.
fn role() -> Vec<Cell> {
    [vec![text("streamgauge")], [false, true, false, false, true, false].map(Bool).to_vec()].concat()
}

fn descriptions(relations: &[Relation]) -> Vec<Vec<Cell>> {
    let schemas = [(CATALOG_OID, "system catalog schema"), (PUBLIC_OID, "standard public schema")];
    let mut rows = schemas.map(|(schema, about)| vec![oid(schema), oid(PG_NAMESPACE), Number(0), text(about)]).to_vec();
    for (at, relation) in relations.iter().enumerate() {
        let mut say = |column: i64, about: &str| {
            rows.push(vec![oid(number(at)), oid(PG_CLASS), Number(column), text(about)]);
        };
        comment(&relation.name, None).into_iter().for_each(|about| say(0, about));
        for (column, field) in (1..).zip(relation.schema.fields()) {
            comment(&relation.name, Some(field.name())).into_iter().for_each(|about| say(column, about));
        }
    }
    rows
}

fn counted(relations: &[Relation]) -> Vec<Vec<Cell>> {
    let tables = relations.iter().enumerate().filter(|(_, relation)| !relation.is_view);
    let row =
        |(at, relation): (usize, &Relation)| vec![oid(number(at)), text("public"), text(&relation.name), Number(0)];
    tables.map(row).collect()
}

/// Those that clients look for here; the others they ask with `SHOW`.
fn settings() -> Vec<Vec<Cell>> {
    let known = [
        ("max_index_keys", "32"),
        ("max_identifier_length", "63"),
        ("search_path", "public"),
        ("server_encoding", "UTF8"),
        ("server_version", "15.0"),
        ("server_version_num", "150000"),
        ("standard_conforming_strings", "on"),
        ("transaction_read_only", "on"),
    ];
    let row = |(name, value): (&str, &str)| {
        let fixed = [text("internal"), text("string"), text("default"), Null, Null, Null];
        [
            vec![text(name), text(value), Null, text("Preset Options"), text(""), Null],
            fixed.to_vec(),
            vec![text(value), text(value), Null, Null, Bool(false)],
        ]
        .concat()
    };
    known.into_iter().map(row).collect()
}
