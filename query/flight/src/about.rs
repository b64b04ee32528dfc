//! What clients ask about the server and its types of SQL, as lists that Flight SQL gives numbers to.

use std::collections::BTreeSet;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use arrow_flight::{
    error::Result,
    sql::{
        Nullable, Searchable, SqlInfo, SqlNullOrdering, SqlOuterJoinsSupportLevel, SqlSupportedCaseSensitivity,
        SqlSupportedTransaction, XdbcDataType,
        metadata::{SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder},
    },
};

/// Name of the server.
const NAME: &str = "Streamgauge";
/// Version of Arrow whose format is spoken.
const ARROW: &str = "59";
/// Greater than the number of anything that is told.
const NUMBER_MAX: u32 = 1_000;

/// What the server is and can, of the numbers that are asked for, or all of it.
pub(crate) fn info(numbers: &[u32]) -> Result<RecordBatch> {
    // Each once, and those that nobody knows as one that nobody knows: a list may be as long as a message.
    let numbers: BTreeSet<u32> = numbers.iter().map(|number| (*number).min(NUMBER_MAX)).collect();
    known()?.record_batch(numbers)
}

/// Columns of it.
pub(crate) fn info_schema() -> SchemaRef {
    SqlInfoDataBuilder::schema().clone().into()
}

fn known() -> Result<SqlInfoData> {
    let mut info = SqlInfoDataBuilder::new();
    info.append(SqlInfo::FlightSqlServerName, NAME);
    info.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    info.append(SqlInfo::FlightSqlServerArrowVersion, ARROW);
    for (what, is_so) in [
        (SqlInfo::FlightSqlServerReadOnly, true),
        (SqlInfo::FlightSqlServerSql, true),
        (SqlInfo::FlightSqlServerSubstrait, false),
        (SqlInfo::FlightSqlServerCancel, true),
        (SqlInfo::FlightSqlServerBulkIngestion, false),
        (SqlInfo::FlightSqlServerIngestTransactionsSupported, false),
        (SqlInfo::SqlDdlCatalog, false),
        (SqlInfo::SqlDdlSchema, false),
        (SqlInfo::SqlDdlTable, false),
        (SqlInfo::SqlAllTablesAreSelectable, true),
        (SqlInfo::SqlSupportsColumnAliasing, true),
        (SqlInfo::SqlNullPlusNullIsNull, true),
        (SqlInfo::SqlSupportsTableCorrelationNames, true),
        (SqlInfo::SqlSupportsDifferentTableCorrelationNames, false),
        (SqlInfo::SqlSupportsExpressionsInOrderBy, true),
        (SqlInfo::SqlSupportsOrderByUnrelated, true),
        (SqlInfo::SqlCorrelatedSubqueriesSupported, true),
        (SqlInfo::SqlTransactionsSupported, false),
        (SqlInfo::SqlSavepointsSupported, false),
        (SqlInfo::SqlBatchUpdatesSupported, false),
        (SqlInfo::SqlNamedParametersSupported, false),
        (SqlInfo::SqlStoredProceduresSupported, false),
        (SqlInfo::SqlSelectForUpdateSupported, false),
    ] {
        info.append(what, is_so);
    }
    for (what, number) in [
        (SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32),
        // Those of a client: the server's limit of time is for all queries.
        (SqlInfo::FlightSqlServerStatementTimeout, 0),
        (SqlInfo::FlightSqlServerTransactionTimeout, 0),
        (SqlInfo::SqlIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityCaseInsensitive as i32),
        (SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedHigh as i32),
        (SqlInfo::SqlOuterJoinsSupportLevel, SqlOuterJoinsSupportLevel::SqlFullOuterJoins as i32),
    ] {
        info.append(what, number);
    }
    for (what, text) in [
        (SqlInfo::SqlIdentifierQuoteChar, "\""),
        (SqlInfo::SqlSearchStringEscape, "\\"),
        (SqlInfo::SqlSchemaTerm, "schema"),
        (SqlInfo::SqlCatalogTerm, "catalog"),
    ] {
        info.append(what, text);
    }
    info.build()
}

/// The types of SQL, or the one of a number.
pub(crate) fn types(number: Option<i32>) -> Result<RecordBatch> {
    all_types()?.record_batch(number)
}

/// Columns of them.
pub(crate) fn types_schema() -> Result<SchemaRef> {
    Ok(all_types()?.schema())
}

fn all_types() -> Result<XdbcTypeInfoData> {
    let mut types = XdbcTypeInfoDataBuilder::new();
    for (name, data_type, size, quotes) in [
        ("BOOLEAN", XdbcDataType::XdbcBit, 1, ["", ""]),
        ("SMALLINT", XdbcDataType::XdbcSmallint, 5, ["", ""]),
        ("INT", XdbcDataType::XdbcInteger, 10, ["", ""]),
        ("BIGINT", XdbcDataType::XdbcBigint, 19, ["", ""]),
        ("REAL", XdbcDataType::XdbcReal, 7, ["", ""]),
        ("DOUBLE", XdbcDataType::XdbcDouble, 15, ["", ""]),
        ("DECIMAL", XdbcDataType::XdbcDecimal, 38, ["", ""]),
        ("VARCHAR", XdbcDataType::XdbcVarchar, i32::MAX, ["'", "'"]),
        ("BYTEA", XdbcDataType::XdbcVarbinary, i32::MAX, ["X'", "'"]),
        ("DATE", XdbcDataType::XdbcDate, 10, ["DATE '", "'"]),
        ("TIME", XdbcDataType::XdbcTime, 15, ["TIME '", "'"]),
        ("TIMESTAMP", XdbcDataType::XdbcTimestamp, 32, ["TIMESTAMP '", "'"]),
    ] {
        let is_number = quotes[0].is_empty() && name != "BOOLEAN";
        let is_decimal = name == "DECIMAL";
        let quote = |at: usize| Some(quotes[at].to_owned()).filter(|quote| !quote.is_empty());
        types.append(XdbcTypeInfo {
            type_name: name.to_owned(),
            data_type,
            column_size: Some(size),
            literal_prefix: quote(0),
            literal_suffix: quote(1),
            create_params: is_decimal.then(|| vec!["precision".to_owned(), "scale".to_owned()]),
            nullable: Nullable::NullabilityNullable,
            case_sensitive: name == "VARCHAR",
            searchable: Searchable::Full,
            unsigned_attribute: is_number.then_some(false),
            fixed_prec_scale: false,
            auto_increment: None,
            local_type_name: Some(name.to_owned()),
            minimum_scale: is_decimal.then_some(0),
            maximum_scale: is_decimal.then_some(38),
            sql_data_type: data_type,
            datetime_subcode: None,
            num_prec_radix: is_number.then_some(10),
            interval_precision: None,
        });
    }
    types.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_told_once_and_nothing_else() {
        let all = info(&[]).unwrap().num_rows();
        assert!(all > 30, "{all}");
        let [name, read_only] = [SqlInfo::FlightSqlServerName as u32, SqlInfo::FlightSqlServerReadOnly as u32];
        let some = info(&[name, read_only, name, 60_000]).unwrap();
        assert_eq!(some.num_rows(), 2);
        assert_eq!(some.schema(), info_schema());
        assert_eq!(info(&[60_000]).unwrap().num_rows(), 0);
    }

    #[test]
    fn a_type_is_found_by_its_number() {
        assert_eq!(types(None).unwrap().num_rows(), 12);
        let one = types(Some(XdbcDataType::XdbcDecimal as i32)).unwrap();
        assert_eq!((one.num_rows(), one.schema()), (1, types_schema().unwrap()));
    }
}
