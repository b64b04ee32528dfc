//! Functions that clients of PostgreSQL call, most of them about the system catalog.
//!
//! Invariant: what a function tells is true of this server (it has no roles to tell apart, no indexes, no sizes of relations), or null.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, ListBuilder, StringArray, StringBuilder},
    compute::cast,
    datatypes::{DataType, Field, Int64Type},
};
use datafusion::{
    common::{Result, ScalarValue, cast::as_list_array},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

use crate::{types, views};

/// What a function gives for a row of arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Gives {
    Null,
    Yes,
    No,
    Zero,
    Text(&'static str),
    /// One of those below.
    Row(usize),
    Schemas,
}

/// A function: its name, its type, and what it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Function {
    name: &'static str,
    gives: Gives,
}

const fn of(name: &'static str, gives: Gives) -> Function {
    Function { name, gives }
}

/// What is computed of texts: of each argument as text, the result.
type OfTexts = fn(&[Option<&str>]) -> Option<String>;
const OF_TEXTS: [OfTexts; 7] = [quote_ident, format_type, current_setting, encoding, owner, size_pretty, type_number];

const VERSION: &str = "PostgreSQL 15.0 (Streamgauge), read-only";

static FUNCTIONS: [Function; 57] = [
    of("_pg_expandarray", Gives::Null),
    of("col_description", Gives::Null),
    of("current_catalog", Gives::Text(views::CATALOG)),
    of("current_database", Gives::Text(views::CATALOG)),
    of("current_role", Gives::Text("streamgauge")),
    of("current_schema", Gives::Text(views::SCHEMA)),
    of("current_schemas", Gives::Schemas),
    of("current_setting", Gives::Row(2)),
    of("current_user", Gives::Text("streamgauge")),
    of("format_type", Gives::Row(1)),
    of("has_any_column_privilege", Gives::Yes),
    of("has_column_privilege", Gives::Yes),
    of("has_database_privilege", Gives::Yes),
    of("has_function_privilege", Gives::Yes),
    of("has_schema_privilege", Gives::Yes),
    of("has_sequence_privilege", Gives::Yes),
    of("has_table_privilege", Gives::Yes),
    of("inet_server_addr", Gives::Null),
    of("inet_server_port", Gives::Null),
    of("obj_description", Gives::Null),
    of("pg_backend_pid", Gives::Zero),
    of("pg_client_encoding", Gives::Text("UTF8")),
    of("pg_encoding_to_char", Gives::Row(3)),
    of("pg_function_is_visible", Gives::Yes),
    of("pg_get_constraintdef", Gives::Null),
    of("pg_get_expr", Gives::Null),
    of("pg_get_function_arguments", Gives::Null),
    of("pg_get_function_identity_arguments", Gives::Null),
    of("pg_get_function_result", Gives::Null),
    of("pg_get_indexdef", Gives::Null),
    of("pg_get_partkeydef", Gives::Null),
    of("pg_get_ruledef", Gives::Null),
    of("pg_get_statisticsobjdef_columns", Gives::Null),
    of("pg_get_triggerdef", Gives::Null),
    of("pg_get_userbyid", Gives::Row(4)),
    of("pg_get_viewdef", Gives::Null),
    of("pg_has_role", Gives::Yes),
    of("pg_indexes_size", Gives::Zero),
    of("pg_is_in_recovery", Gives::No),
    of("pg_is_other_temp_schema", Gives::No),
    of("pg_my_temp_schema", Gives::Zero),
    of("pg_partition_ancestors", Gives::Zero),
    of("pg_relation_is_publishable", Gives::No),
    of("pg_relation_size", Gives::Null),
    of("pg_size_pretty", Gives::Row(5)),
    of("pg_stat_get_numscans", Gives::Zero),
    of("pg_table_is_visible", Gives::Yes),
    of("pg_table_size", Gives::Null),
    of("pg_tablespace_location", Gives::Text("")),
    of("pg_total_relation_size", Gives::Null),
    of("pg_type_is_visible", Gives::Yes),
    of("quote_ident", Gives::Row(0)),
    of("session_user", Gives::Text("streamgauge")),
    of("shobj_description", Gives::Null),
    of("to_regtype", Gives::Row(6)),
    of("txid_current", Gives::Zero),
    of("version", Gives::Text(VERSION)),
];

/// Every function.
pub(crate) fn all() -> impl Iterator<Item = Arc<ScalarUDF>> {
    let simple = FUNCTIONS.iter().map(|function| {
        let signature = Signature::variadic_any(Volatility::Stable);
        let any = signature_or_none(signature);
        Arc::new(ScalarUDF::from(Told { function: *function, signature: any }))
    });
    let lists = [Lists::Identifiers, Lists::Upper, Lists::Lower].map(|lists| {
        Arc::new(ScalarUDF::from(OfLists { lists, signature: Signature::variadic_any(Volatility::Immutable) }))
    });
    simple.chain(lists)
}

/// With any arguments, or none.
fn signature_or_none(any: Signature) -> Signature {
    use datafusion::logical_expr::TypeSignature;
    Signature::one_of(vec![any.type_signature, TypeSignature::Nullary], Volatility::Stable)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Told {
    function: Function,
    signature: Signature,
}

fn texts_type() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))
}

fn texts<'a>(items: impl IntoIterator<Item = &'a str>) -> ListArray {
    let mut list = ListBuilder::new(StringBuilder::new());
    list.append_value(items.into_iter().map(Some));
    list.finish()
}

impl ScalarUDFImpl for Told {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.function.gives {
            Gives::Yes | Gives::No => DataType::Boolean,
            Gives::Zero => DataType::Int64,
            Gives::Schemas => texts_type(),
            Gives::Null if self.function.name.ends_with("_size") => DataType::Int64,
            // A column of a key, and its place in it.
            Gives::Null if self.function.name == "_pg_expandarray" => {
                let fields = [("x", DataType::Int16), ("n", DataType::Int32)];
                DataType::Struct(fields.map(|(name, of)| Field::new(name, of, true)).to_vec().into())
            }
            Gives::Null | Gives::Text(_) | Gives::Row(_) => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let value = match self.function.gives {
            Gives::Null => ScalarValue::try_from(self.return_type(&[])?)?,
            Gives::Yes => ScalarValue::Boolean(Some(!self.writes(&args))),
            Gives::No => ScalarValue::Boolean(Some(false)),
            Gives::Zero => ScalarValue::Int64(Some(0)),
            Gives::Text(text) => ScalarValue::Utf8(Some(text.to_owned())),
            Gives::Schemas => {
                let implied =
                    matches!(args.args.first(), Some(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true)))));
                let schemas = if implied { vec!["pg_catalog", views::SCHEMA] } else { vec![views::SCHEMA] };
                ScalarValue::List(Arc::new(texts(schemas)))
            }
            Gives::Row(at) => return rows(OF_TEXTS[at], &args),
        };
        Ok(ColumnarValue::Scalar(value))
    }
}

impl Told {
    /// Nobody may do what writes.
    fn writes(&self, args: &ScalarFunctionArgs) -> bool {
        let Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(what)))) = args.args.last() else { return false };
        self.function.name.starts_with("has_")
            && ["insert", "update", "delete", "truncate", "create"].contains(&&*what.to_ascii_lowercase())
    }
}

fn rows(compute: OfTexts, args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let count = if is_scalar { 1 } else { args.number_rows };
    let columns = args.args.iter().map(|arg| {
        let array = arg.to_array(count)?;
        Ok(cast(&array, &DataType::Utf8)?)
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
    let columns: Vec<&StringArray> = columns.iter().map(|column| column.as_string::<i32>()).collect();
    let row = |at: usize| {
        let values: Vec<Option<&str>> =
            columns.iter().map(|column| (!column.is_null(at)).then(|| column.value(at))).collect();
        compute(&values)
    };
    let texts: StringArray = (0..count).map(row).collect();
    if is_scalar {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&texts, 0)?));
    }
    Ok(ColumnarValue::Array(Arc::new(texts)))
}

fn quote_ident(args: &[Option<&str>]) -> Option<String> {
    let name = args.first().copied().flatten()?;
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.chars().all(is_plain) && name.starts_with(|c: char| !c.is_ascii_digit()) {
        return Some(name.to_owned());
    }
    Some(format!("\"{}\"", name.replace('"', "\"\"")))
}

fn format_type(args: &[Option<&str>]) -> Option<String> {
    let number = args.first().copied().flatten()?.parse().ok()?;
    let modifier = args.get(1).copied().flatten().and_then(|modifier| modifier.parse().ok()).unwrap_or(-1);
    Some(types::shown(number, modifier).unwrap_or_else(|| if number == 0 { "-" } else { "???" }.to_owned()))
}

fn current_setting(args: &[Option<&str>]) -> Option<String> {
    let value = match args.first().copied().flatten()?.to_ascii_lowercase().as_str() {
        "search_path" => views::SCHEMA,
        "server_version" => "15.0",
        "server_version_num" => "150000",
        "server_encoding" | "client_encoding" => "UTF8",
        "timezone" => "UTC",
        "standard_conforming_strings" | "transaction_read_only" | "default_transaction_read_only" => "on",
        "datestyle" => "ISO, MDY",
        _ => return None,
    };
    Some(value.to_owned())
}

fn encoding(args: &[Option<&str>]) -> Option<String> {
    args.first().copied().flatten().map(|number| if number == "6" { "UTF8" } else { "" }.to_owned())
}

fn owner(args: &[Option<&str>]) -> Option<String> {
    args.first().copied().flatten().map(|_| "streamgauge".to_owned())
}

/// The number of a type by its name; null if there is none, as drivers ask of extensions.
fn type_number(args: &[Option<&str>]) -> Option<String> {
    let name = args.first().copied().flatten()?.to_lowercase();
    let name = name.rsplit('.').next().unwrap_or(&name);
    types::NAMES.iter().find(|(_, short, long)| *short == name || *long == name).map(|(number, ..)| number.to_string())
}

fn size_pretty(args: &[Option<&str>]) -> Option<String> {
    args.first().copied().flatten().map(|bytes| format!("{bytes} bytes"))
}

/// Functions of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Lists {
    /// The parts of a name.
    Identifiers,
    /// The place of the last item.
    Upper,
    /// The place of the first item.
    Lower,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfLists {
    lists: Lists,
    signature: Signature,
}

impl ScalarUDFImpl for OfLists {
    fn name(&self) -> &str {
        match self.lists {
            Lists::Identifiers => "parse_ident",
            Lists::Upper => "array_upper",
            Lists::Lower => "array_lower",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(if self.lists == Lists::Identifiers { texts_type() } else { DataType::Int64 })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(first) = args.args.first() else { return Ok(ColumnarValue::Scalar(ScalarValue::Null)) };
        let array = first.to_array(args.number_rows)?;
        if self.lists == Lists::Identifiers {
            let names = cast(&array, &DataType::Utf8)?;
            let mut lists = ListBuilder::new(StringBuilder::new());
            for name in names.as_string::<i32>() {
                lists.append_option(name.map(|name| parts(name).into_iter().map(Some)));
            }
            return Ok(ColumnarValue::Array(Arc::new(lists.finish())));
        }
        let Ok(lists) = as_list_array(&array) else { return Ok(ColumnarValue::Scalar(ScalarValue::Int64(None))) };
        let bound = |list: Option<ArrayRef>| {
            let length = i64::try_from(list?.len()).ok().filter(|length| *length > 0)?;
            Some(if self.lists == Lists::Upper { length } else { 1 })
        };
        let bounds = lists.iter().map(bound).collect::<arrow::array::PrimitiveArray<Int64Type>>();
        Ok(ColumnarValue::Array(Arc::new(bounds)))
    }
}

/// The parts of a name, each as it is meant: what is not in quotes is lower case.
fn parts(name: &str) -> Vec<String> {
    let (mut parts, mut part, mut within) = (Vec::new(), String::new(), false);
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if within && chars.next_if_eq(&'"').is_some() => part.push('"'),
            '"' => within = !within,
            '.' if !within => parts.push(std::mem::take(&mut part)),
            c if within => part.push(c),
            c => part.extend(c.to_lowercase()),
        }
    }
    parts.push(part);
    parts
}
