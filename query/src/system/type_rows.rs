//! Rows of `pg_type`: as PostgreSQL 15 has them, of the types that values or columns of the catalog can have.

use super::tables::{
    CATALOG_OID,
    Cell::{self, Bool, Null, Number},
    OWNER, oid, text,
};
use crate::types::{self, Oid};

const CHAR: Oid = 18;
const REGPROC: Oid = 24;
const REGCLASS: Oid = 2_205;
const REGTYPE: Oid = 2_206;
const RECORD: Oid = 2_249;
/// Lists that no value is here, since such are JSON.
const OTHER_LISTS: [(Oid, Oid); 7] = [
    (CHAR, 1_002),
    (REGPROC, 1_008),
    (types::JSON, 199),
    (types::BPCHAR, 1_014),
    (types::TIME, 1_183),
    (REGCLASS, 2_210),
    (REGTYPE, 2_211),
];

/// Every row.
pub(super) fn all() -> Vec<Vec<Cell>> {
    let single = types::NAMES.iter().map(|(number, name, _)| row(*number, name, None));
    let lists = types::NAMES.iter().filter(|(item, ..)| list(*item) != 0 && *item != RECORD);
    single.chain(lists.map(|(item, name, _)| row(list(*item), name, Some(*item)))).collect()
}

/// The list of values of a type; zero if there is none.
fn list(item: Oid) -> Oid {
    let other = || OTHER_LISTS.iter().find(|(known, _)| *known == item).map(|(_, list)| *list);
    let known = types::array(item).or_else(other);
    known.unwrap_or(if item == RECORD { 2_287 } else { 0 })
}

/// Of a type of this name, or of a list of items of the type of this name.
fn row(number: Oid, name: &str, item: Option<Oid>) -> Vec<Cell> {
    let is_list = item.is_some();
    let single = item.unwrap_or(number);
    let size = if is_list { -1 } else { types::size(number) };
    let function = |of: &str| {
        let name = if is_list { "array" } else { name };
        text(format!("{name}{}{of}", if is_list || has_underscore(single) { "_" } else { "" }))
    };
    let modified = |way: &str| match single {
        types::BPCHAR | types::VARCHAR | types::TIME | types::TIMESTAMP | types::TIMESTAMPTZ => {
            text(format!("{name}typmod{way}"))
        }
        types::INTERVAL | types::NUMERIC => text(format!("{name}typmod{way}")),
        _ => text("-"),
    };
    let category = if is_list { "A" } else { category(number) };
    let is_preferred =
        [types::BOOL, types::TEXT, types::OID, types::FLOAT8, types::TIMESTAMPTZ, types::INTERVAL].contains(&number);
    let item_shown = if number == types::NAME { CHAR } else { item.unwrap_or(0) };
    vec![
        oid(number),
        text(if is_list { format!("_{name}") } else { name.to_owned() }),
        oid(CATALOG_OID),
        oid(OWNER),
        Number(i64::from(size)),
        Bool((1..=8).contains(&size)),
        text(if [types::UNKNOWN, RECORD].contains(&number) { "p" } else { "b" }),
        text(category),
        Bool(is_preferred),
        Bool(true),
        text(","),
        oid(0),
        text(subscripts(number, is_list)),
        oid(item_shown),
        oid(if is_list { 0 } else { list(number) }),
        function("in"),
        function("out"),
        function("recv"),
        function("send"),
        modified("in"),
        modified("out"),
        text(if is_list { "array_typanalyze" } else { "-" }),
        text(alignment(single, is_list)),
        text(storage(number)),
        Bool(false),
        oid(0),
        Number(-1),
        Number(0),
        oid(collation(single)),
        Null,
        Null,
        Null,
    ]
}

/// Are its functions called `json_in`, not `jsonin`?
fn has_underscore(number: Oid) -> bool {
    matches!(
        number,
        types::JSON
            | types::JSONB
            | types::DATE
            | types::TIME
            | types::TIMESTAMP
            | types::TIMESTAMPTZ
            | types::INTERVAL
            | types::NUMERIC
            | types::UUID
            | RECORD
    )
}

fn category(number: Oid) -> &'static str {
    match number {
        types::BOOL => "B",
        types::TEXT | types::VARCHAR | types::BPCHAR | types::NAME => "S",
        types::DATE | types::TIME | types::TIMESTAMP | types::TIMESTAMPTZ => "D",
        types::INTERVAL => "T",
        types::INT2 | types::INT4 | types::INT8 | types::FLOAT4 | types::FLOAT8 | types::NUMERIC | types::OID => "N",
        REGPROC | REGCLASS | REGTYPE => "N",
        types::UNKNOWN => "X",
        CHAR => "Z",
        RECORD => "P",
        _ => "U",
    }
}

fn subscripts(number: Oid, is_list: bool) -> &'static str {
    match number {
        _ if is_list => "array_subscript_handler",
        types::NAME => "raw_array_subscript_handler",
        types::JSONB => "jsonb_subscript_handler",
        _ => "-",
    }
}

/// How values of a type, or of lists of it, are placed.
pub(super) fn alignment(single: Oid, is_list: bool) -> &'static str {
    match single {
        types::INT8 | types::FLOAT8 | types::TIME | types::TIMESTAMP | types::TIMESTAMPTZ => "d",
        types::INTERVAL | RECORD => "d",
        _ if is_list => "i",
        types::BOOL | CHAR | types::NAME | types::UNKNOWN | types::UUID => "c",
        types::INT2 => "s",
        _ => "i",
    }
}

/// How values of a type are kept.
pub(super) fn storage(number: Oid) -> &'static str {
    match number {
        types::NUMERIC => "m",
        types::UNKNOWN => "p",
        _ if types::size(number) > 0 => "p",
        _ => "x",
    }
}

/// The order of values of a type, or of lists of it.
pub(super) fn collation(single: Oid) -> Oid {
    match single {
        types::NAME => 950,
        single if category(single) == "S" => 100,
        _ => 0,
    }
}
