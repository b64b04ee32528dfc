//! What is in the tables of the system catalog.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, Int16Array, Int32Array, Int64Array, ListBuilder, RecordBatch, StringArray,
        StringBuilder, UInt32Array,
    },
    datatypes::{Field, Schema, SchemaRef},
};
use datafusion::{catalog::SchemaProvider, common::Result, datasource::TableType};

use crate::{
    comments::comment,
    types::{self, Oid},
    views::{self, Tables},
};

/// The number of the first relation; below are those of PostgreSQL itself.
const FIRST: Oid = 16_384;
const CATALOG_OID: Oid = 11;
const PUBLIC_OID: Oid = 2_200;
const INFORMATION_OID: Oid = 13_000;
const OWNER: Oid = 10;
/// Numbers of catalog tables that others refer to.
const PG_CLASS: Oid = 1_259;

/// The tables, and their columns with types: `o` a number of an object, `i` 4 bytes, `h` 2 bytes, `l` 8 bytes, `b` yes or no, `t` text, `a` a
/// list of texts.
const COLUMNS: [(&str, &str); 37] = [
    ("pg_am", "oid:o amname:t amhandler:t amtype:t"),
    ("pg_attrdef", "oid:o adrelid:o adnum:h adbin:t"),
    (
        "pg_attribute",
        "attrelid:o attname:t atttypid:o attstattarget:i attlen:h attnum:h attndims:i attcacheoff:i atttypmod:i attbyval:b \
         attalign:t attstorage:t attcompression:t attnotnull:b atthasdef:b atthasmissing:b attidentity:t attgenerated:t \
         attisdropped:b attislocal:b attinhcount:i attcollation:o attacl:a attoptions:a attfdwoptions:a attmissingval:t",
    ),
    (
        "pg_authid",
        "oid:o rolname:t rolsuper:b rolinherit:b rolcreaterole:b rolcreatedb:b rolcanlogin:b rolreplication:b rolconnlimit:i \
         rolbypassrls:b",
    ),
    (
        "pg_class",
        "oid:o relname:t relnamespace:o reltype:o reloftype:o relowner:o relam:o relfilenode:o reltablespace:o relpages:i \
         reltuples:l relallvisible:i reltoastrelid:o relhasindex:b relisshared:b relpersistence:t relkind:t relnatts:h \
         relchecks:h relhasrules:b relhastriggers:b relhassubclass:b relrowsecurity:b relforcerowsecurity:b relispopulated:b \
         relreplident:t relispartition:b relrewrite:o relfrozenxid:l relminmxid:l relacl:a reloptions:a relpartbound:t",
    ),
    (
        "pg_collation",
        "oid:o collname:t collnamespace:o collowner:o collprovider:t collencoding:i collcollate:t collctype:t",
    ),
    (
        "pg_constraint",
        "oid:o conname:t connamespace:o contype:t condeferrable:b condeferred:b convalidated:b conrelid:o contypid:o conindid:o \
         conparentid:o confrelid:o confupdtype:t confdeltype:t confmatchtype:t conislocal:b coninhcount:i connoinherit:b \
         conkey:a confkey:a conbin:t",
    ),
    (
        "pg_database",
        "oid:o datname:t datdba:o encoding:i datlocprovider:t datistemplate:b datallowconn:b datconnlimit:i datfrozenxid:l \
         datminmxid:l dattablespace:o datcollate:t datctype:t daticulocale:t daticurules:t datcollversion:t datacl:a",
    ),
    ("pg_depend", "classid:o objid:o objsubid:i refclassid:o refobjid:o refobjsubid:i deptype:t"),
    ("pg_description", "objoid:o classoid:o objsubid:i description:t"),
    ("pg_enum", "oid:o enumtypid:o enumsortorder:l enumlabel:t"),
    ("pg_extension", "oid:o extname:t extowner:o extnamespace:o extrelocatable:b extversion:t"),
    ("pg_get_keywords", "word:t catcode:t barelabel:b catdesc:t baredesc:t"),
    (
        "pg_index",
        "indexrelid:o indrelid:o indnatts:h indnkeyatts:h indisunique:b indisprimary:b indisexclusion:b indimmediate:b \
         indisclustered:b indisvalid:b indisready:b indislive:b indisreplident:b indkey:a indoption:a indexprs:t indpred:t",
    ),
    ("pg_inherits", "inhrelid:o inhparent:o inhseqno:i inhdetachpending:b"),
    ("pg_language", "oid:o lanname:t lanowner:o"),
    ("pg_matviews", "schemaname:t matviewname:t matviewowner:t ispopulated:b definition:t"),
    ("pg_namespace", "oid:o nspname:t nspowner:o nspacl:a"),
    ("pg_policy", "oid:o polname:t polrelid:o polcmd:t polpermissive:b polroles:t polqual:t polwithcheck:t"),
    (
        "pg_proc",
        "oid:o proname:t pronamespace:o proowner:o prolang:o prokind:t prosecdef:b proretset:b provolatile:t pronargs:h \
         prorettype:o proargtypes:a proallargtypes:a proargmodes:a proargnames:a proargdefaults:t prosrc:t",
    ),
    ("pg_publication", "oid:o pubname:t pubowner:o puballtables:b pubinsert:b pubupdate:b pubdelete:b"),
    ("pg_publication_namespace", "oid:o pnpubid:o pnnspid:o"),
    ("pg_publication_rel", "oid:o prpubid:o prrelid:o prqual:t prattrs:a"),
    ("pg_range", "rngtypid:o rngsubtype:o"),
    ("pg_replication_slots", "slot_name:t plugin:t slot_type:t database:t active:b"),
    (
        "pg_roles",
        "oid:o rolname:t rolsuper:b rolinherit:b rolcreaterole:b rolcreatedb:b rolcanlogin:b rolreplication:b rolconnlimit:i \
         rolbypassrls:b",
    ),
    ("pg_sequence", "seqrelid:o seqtypid:o seqstart:l seqincrement:l seqmax:l seqmin:l seqcache:l seqcycle:b"),
    ("pg_settings", "name:t setting:t unit:t category:t short_desc:t context:t vartype:t source:t"),
    ("pg_shdescription", "objoid:o classoid:o description:t"),
    ("pg_stat_user_tables", "relid:o schemaname:t relname:t seq_scan:l n_live_tup:l n_dead_tup:l"),
    ("pg_statistic_ext", "oid:o stxrelid:o stxname:t stxnamespace:o stxowner:o stxstattarget:i stxkeys:a stxkind:a"),
    (
        "pg_tables",
        "schemaname:t tablename:t tableowner:t tablespace:t hasindexes:b hasrules:b hastriggers:b rowsecurity:b",
    ),
    ("pg_tablespace", "oid:o spcname:t spcowner:o"),
    ("pg_trigger", "oid:o tgrelid:o tgname:t tgfoid:o tgenabled:t tgisinternal:b"),
    (
        "pg_type",
        "oid:o typname:t typnamespace:o typowner:o typlen:h typbyval:b typtype:t typcategory:t typispreferred:b typisdefined:b \
         typdelim:t typrelid:o typelem:o typarray:o typinput:t typnotnull:b typbasetype:o typtypmod:i typndims:i typcollation:o \
         typdefault:t",
    ),
    ("pg_user", "usename:t usesysid:o usecreatedb:b usesuper:b"),
    ("pg_views", "schemaname:t viewname:t viewowner:t definition:t"),
];

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
enum Cell {
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

fn text(text: impl Into<String>) -> Cell {
    Text(text.into())
}

fn oid(oid: Oid) -> Cell {
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
        "pg_roles" | "pg_authid" => vec![role()],
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
        "pg_type" => all_types(),
        "pg_views" => {
            let views = relations.iter().filter(|relation| relation.is_view);
            let of =
                |name: &str| views::VIEWS.iter().find(|view| view.name == name).map_or(Null, |view| text(view.sql));
            views.map(|view| vec![text("public"), text(&view.name), text("streamgauge"), of(&view.name)]).collect()
        }
        "pg_user" => vec![vec![text("streamgauge"), oid(OWNER), Bool(false), Bool(false)]],
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
            "b" => Arc::new(
                rows.iter()
                    .map(|row| match row.get(at) {
                        Some(Bool(value)) => Some(*value),
                        _ => None,
                    })
                    .collect::<BooleanArray>(),
            ),
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
            let collation = if kind == types::TEXT { 100 } else { 0 };
            let (no, is_list) = (Bool(false), types::element(kind).is_some());
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
                text("i"),
                text(if length > 0 { "p" } else { "x" }),
                text(""),
                Bool(!field.is_nullable()),
                no.clone(),
                no.clone(),
                text(""),
                text(""),
                no.clone(),
                Bool(true),
                Number(0),
                Number(collation),
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

fn role() -> Vec<Cell> {
    let no = Bool(false);
    let mut role =
        vec![oid(OWNER), text("streamgauge"), no.clone(), Bool(true), no.clone(), no.clone(), Bool(true), no.clone()];
    role.extend([Number(-1), no]);
    role
}

fn descriptions(relations: &[Relation]) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
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
    let row = |(at, relation): (usize, &Relation)| {
        vec![oid(number(at)), text("public"), text(&relation.name), Number(0), Null, Null]
    };
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
        let fixed = ["Preset Options", "", "internal", "string", "default"].map(text);
        [vec![text(name), text(value), Null], fixed.to_vec()].concat()
    };
    known.into_iter().map(row).collect()
}

fn all_types() -> Vec<Vec<Cell>> {
    let row = |number: Oid, name: &str, item: Option<Oid>, list: Option<Oid>| {
        let size = if item.is_some() { -1 } else { types::size(number) };
        let category = match number {
            _ if item.is_some() => "A",
            types::BOOL => "B",
            types::TEXT | types::VARCHAR | types::BPCHAR | types::NAME => "S",
            types::DATE | types::TIME | types::TIMESTAMP | types::TIMESTAMPTZ => "D",
            types::INTERVAL => "T",
            types::INT2 | types::INT4 | types::INT8 | types::FLOAT4 | types::FLOAT8 | types::NUMERIC | types::OID => {
                "N"
            }
            types::UNKNOWN => "X",
            _ => "U",
        };
        vec![
            oid(number),
            text(name),
            oid(CATALOG_OID),
            oid(OWNER),
            Number(i64::from(size)),
            Bool((1..=8).contains(&size)),
            text(if number == 2_249 { "p" } else { "b" }),
            text(category),
            Bool(false),
            Bool(true),
            text(","),
            oid(0),
            oid(item.unwrap_or(0)),
            oid(list.unwrap_or(0)),
            text(if item.is_some() { "array_in".to_owned() } else { format!("{name}in") }),
            Bool(false),
            oid(0),
            Number(-1),
            Number(0),
            oid(if category == "S" { 100 } else { 0 }),
            Null,
        ]
    };
    let single = types::NAMES.iter().map(|(number, name, _)| row(*number, name, None, types::array(*number)));
    let lists = types::NAMES.iter().filter_map(|(item, name, _)| {
        types::array(*item).map(|list| row(list, &format!("_{name}"), Some(*item), None))
    });
    single.chain(lists).collect()
}
