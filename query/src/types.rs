//! Types of columns and of parameters, as PostgreSQL numbers them.
//!
//! Used by the system catalog and by the protocol, so that both say the same of a column.

use arrow::datatypes::{DataType, Field};

/// A type by its number.
pub type Oid = u32;

/// `BOOL`
pub const BOOL: Oid = 16;
/// `BYTEA`
pub const BYTEA: Oid = 17;
/// `NAME`
pub const NAME: Oid = 19;
/// `INT8`
pub const INT8: Oid = 20;
/// `INT2`
pub const INT2: Oid = 21;
/// `INT4`
pub const INT4: Oid = 23;
/// `TEXT`
pub const TEXT: Oid = 25;
/// `OID`
pub const OID: Oid = 26;
/// `JSON`
pub const JSON: Oid = 114;
/// `FLOAT4`
pub const FLOAT4: Oid = 700;
/// `FLOAT8`
pub const FLOAT8: Oid = 701;
/// `UNKNOWN`
pub const UNKNOWN: Oid = 705;
/// `BPCHAR`
pub const BPCHAR: Oid = 1042;
/// `VARCHAR`
pub const VARCHAR: Oid = 1043;
/// `DATE`
pub const DATE: Oid = 1082;
/// `TIME`
pub const TIME: Oid = 1083;
/// `TIMESTAMP`
pub const TIMESTAMP: Oid = 1114;
/// `TIMESTAMPTZ`
pub const TIMESTAMPTZ: Oid = 1184;
/// `INTERVAL`
pub const INTERVAL: Oid = 1186;
/// `NUMERIC`
pub const NUMERIC: Oid = 1700;
/// `UUID`
pub const UUID: Oid = 2950;
/// `JSONB`
pub const JSONB: Oid = 3802;

/// Types with their names in the catalog and, where that is another, the name that is shown.
pub const NAMES: [(Oid, &str, &str); 27] = [
    (BOOL, "bool", "boolean"),
    (BYTEA, "bytea", ""),
    (18, "char", "\"char\""),
    (NAME, "name", ""),
    (INT8, "int8", "bigint"),
    (INT2, "int2", "smallint"),
    (INT4, "int4", "integer"),
    (TEXT, "text", ""),
    (OID, "oid", ""),
    (JSON, "json", ""),
    (FLOAT4, "float4", "real"),
    (FLOAT8, "float8", "double precision"),
    (UNKNOWN, "unknown", ""),
    (BPCHAR, "bpchar", "character"),
    (VARCHAR, "varchar", "character varying"),
    (DATE, "date", ""),
    (TIME, "time", "time without time zone"),
    (TIMESTAMP, "timestamp", "timestamp without time zone"),
    (TIMESTAMPTZ, "timestamptz", "timestamp with time zone"),
    (INTERVAL, "interval", ""),
    (NUMERIC, "numeric", ""),
    (UUID, "uuid", ""),
    (JSONB, "jsonb", ""),
    (2205, "regclass", ""),
    (2206, "regtype", ""),
    (24, "regproc", ""),
    (2249, "record", ""),
];

/// Types and those of lists of them.
const ARRAYS: [(Oid, Oid); 18] = [
    (BOOL, 1000),
    (BYTEA, 1001),
    (NAME, 1003),
    (INT2, 1005),
    (INT4, 1007),
    (TEXT, 1009),
    (VARCHAR, 1015),
    (INT8, 1016),
    (FLOAT4, 1021),
    (FLOAT8, 1022),
    (OID, 1028),
    (TIMESTAMP, 1115),
    (DATE, 1182),
    (TIMESTAMPTZ, 1185),
    (INTERVAL, 1187),
    (NUMERIC, 1231),
    (UUID, 2951),
    (JSONB, 3807),
];

/// The type of a column of an answer.
#[must_use]
pub fn of(data_type: &DataType) -> Oid {
    match data_type {
        DataType::Boolean => BOOL,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => INT2,
        DataType::Int32 | DataType::UInt16 => INT4,
        DataType::Int64 => INT8,
        // No data has 32 bits without a sign; numbers of the system catalog do.
        DataType::UInt32 => OID,
        DataType::Float16 | DataType::Float32 => FLOAT4,
        DataType::Float64 => FLOAT8,
        // Above the greatest signed number too.
        DataType::UInt64
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => NUMERIC,
        DataType::Timestamp(_, Some(_)) => TIMESTAMPTZ,
        DataType::Timestamp(_, None) => TIMESTAMP,
        DataType::Date32 | DataType::Date64 => DATE,
        DataType::Time32(_) | DataType::Time64(_) => TIME,
        DataType::Interval(_) | DataType::Duration(_) => INTERVAL,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => BYTEA,
        DataType::Map(..) | DataType::Struct(_) | DataType::Union(..) => JSONB,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => list(item),
        DataType::Dictionary(_, values) => of(values),
        _ => TEXT,
    }
}

fn list(item: &Field) -> Oid {
    let item = of(item.data_type());
    // Lists of lists need not be of one length here, as arrays are there.
    if item == JSONB || element(item).is_some() { JSONB } else { array(item).unwrap_or(JSONB) }
}

/// The type of a list.
#[must_use]
pub fn array(item: Oid) -> Option<Oid> {
    ARRAYS.iter().find(|(known, _)| *known == item).map(|(_, array)| *array)
}

/// The type of what is in a list.
#[must_use]
pub fn element(array: Oid) -> Option<Oid> {
    ARRAYS.iter().find(|(_, known)| *known == array).map(|(item, _)| *item)
}

/// Its name as PostgreSQL shows it, with the digits of `modifier`.
#[must_use]
pub fn shown(oid: Oid, modifier: i32) -> Option<String> {
    if let Some(item) = element(oid) {
        return shown(item, modifier).map(|name| format!("{name}[]"));
    }
    let (_, short, long) = NAMES.iter().find(|(known, ..)| *known == oid)?;
    let name = if long.is_empty() { short } else { long };
    if oid == NUMERIC && modifier >= 4 {
        let digits = modifier - 4;
        return Some(format!("numeric({},{})", digits >> 16, digits & 0x7ff));
    }
    Some((*name).to_owned())
}

/// The name in `information_schema` of a type that is written as DataFusion lists it, such as `Decimal128(38, 22)`.
pub(crate) fn listed(written: &str) -> &str {
    let bare = written.split('(').next().unwrap_or(written);
    match bare {
        "Boolean" => "boolean",
        "Int8" | "UInt8" | "Int16" => "smallint",
        "UInt16" | "Int32" => "integer",
        "Int64" => "bigint",
        "UInt32" => "oid",
        "UInt64" | "Decimal32" | "Decimal64" | "Decimal128" | "Decimal256" => "numeric",
        "Float16" | "Float32" => "real",
        "Float64" => "double precision",
        "Utf8" | "LargeUtf8" | "Utf8View" => "text",
        "Binary" | "LargeBinary" | "BinaryView" | "FixedSizeBinary" => "bytea",
        "Date32" | "Date64" => "date",
        "Time32" | "Time64" => "time without time zone",
        // With a zone, which is in quotes.
        "Timestamp" if written.contains('"') => "timestamp with time zone",
        "Timestamp" => "timestamp without time zone",
        "Interval" | "Duration" => "interval",
        // As `list` has it.
        "List" | "LargeList" | "FixedSizeList" | "ListView" | "LargeListView" => {
            let is_nested = ["Map(", "Struct(", "Union(", "List("].iter().any(|of| written[bare.len()..].contains(of));
            if is_nested { "jsonb" } else { "ARRAY" }
        }
        "Map" | "Struct" | "Union" => "jsonb",
        "Dictionary" => written.split_once(", ").map_or(written, |(_, values)| listed(values.trim_end_matches(')'))),
        _ => written,
    }
}

/// What a column of numbers of `information_schema` has for a type that is listed; none if the type does not say.
pub(crate) fn digits(listed: &str, column: &str) -> Option<&'static str> {
    Some(match (column, listed) {
        ("numeric_precision", "smallint") => "16",
        ("numeric_precision", "integer") => "32",
        ("numeric_precision", "bigint") => "64",
        ("numeric_precision", "real") => "24",
        ("numeric_precision", "double precision") => "53",
        ("numeric_precision_radix", "smallint" | "integer" | "bigint" | "real" | "double precision") => "2",
        ("numeric_scale", "smallint" | "integer" | "bigint") => "0",
        ("datetime_precision", "date") => "0",
        ("datetime_precision", "timestamp with time zone" | "timestamp without time zone") => "6",
        // 1 GiB, which no text is longer than there.
        ("character_octet_length", "text") => "1073741824",
        _ => return None,
    })
}

/// Bytes of a value; negative if they vary.
#[must_use]
pub fn size(oid: Oid) -> i16 {
    match oid {
        // The catalog's "char", and its numbers of functions, relations and types.
        BOOL | 18 => 1,
        INT2 => 2,
        INT4 | FLOAT4 | OID | DATE | 24 | 2205 | 2206 => 4,
        INT8 | FLOAT8 | TIME | TIMESTAMP | TIMESTAMPTZ => 8,
        INTERVAL | UUID => 16,
        NAME => 64,
        UNKNOWN => -2,
        _ => -1,
    }
}

/// Digits before and behind the point, in one number; none is -1.
#[must_use]
pub fn modifier(data_type: &DataType) -> i32 {
    match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => ((i32::from(*precision) << 16) | (i32::from(*scale) & 0x7ff)) + 4,
        DataType::Dictionary(_, values) => modifier(values),
        _ => -1,
    }
}

/// The name in SQL of what a parameter of a type is.
#[must_use]
pub fn sql(oid: Oid) -> Option<&'static str> {
    Some(match oid {
        BOOL => "BOOLEAN",
        INT2 => "SMALLINT",
        INT4 => "INT",
        INT8 | OID => "BIGINT",
        FLOAT4 => "REAL",
        FLOAT8 => "DOUBLE",
        DATE => "DATE",
        TIME => "TIME",
        TIMESTAMP => "TIMESTAMP",
        TIMESTAMPTZ => "TIMESTAMP WITH TIME ZONE",
        INTERVAL => "INTERVAL",
        TEXT | VARCHAR | BPCHAR | NAME | UUID | JSON | JSONB => "VARCHAR",
        _ => return None,
    })
}
