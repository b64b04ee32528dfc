//! What tables and columns mean, for whoever lists them.
//!
//! The sentences are those of datasets (`schemas`) and of views (`views`), which are also in the pages about them. Asked by SQL, in
//! `information_schema`, and by what speaks a protocol in which columns have comments.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, StringArray},
    datatypes::DataType,
};
use datafusion::{
    catalog::view::ViewTable,
    common::{Result as DataFusionResult, ScalarValue},
    datasource::{TableProvider, provider_as_source},
    functions::core::expr_fn::coalesce,
    logical_expr::{ColumnarValue, Expr, LogicalPlanBuilder, ScalarUDF, Volatility, cast, col, create_udf, lit},
};

use crate::{
    Error, ErrorKind, metrics, types,
    views::{SCHEMA, VIEWS},
};

/// Column of `information_schema` that has the comments.
const COMMENT: &str = "comment";
/// The engine's settings, which are not shown to queries.
pub(crate) const SETTINGS: &str = "df_settings";
/// Column of the day of a row, in tables that are cut by it.
const DAY: &str = "Day of the row in UTC; a filter on it, or on the time it is made of, skips files.";

/// What a table's rows are, or what is in a column of it; none if there is no such table or column.
#[must_use]
pub fn comment(table: &str, column: Option<&str>) -> Option<&'static str> {
    if table == metrics::NAME {
        let Some(column) = column else { return Some(metrics::ABOUT) };
        return metrics::COLUMNS.iter().find(|(name, _)| *name == column).map(|(_, sentence)| *sentence);
    }
    if let Some(view) = VIEWS.iter().find(|view| view.name == table) {
        return column.map_or(Some(view.about), |column| view.meaning(column));
    }
    let dataset = schemas::all().into_iter().find(|dataset| dataset.name == table)?;
    let Some(column) = column else { return Some(dataset.about) };
    let known = dataset.columns.iter().find(|known| known.name == column).map(|known| known.about);
    known.or_else(|| dataset.partition_columns().any(|day| day == column).then_some(DAY))
}

/// A table of `information_schema` with a column of comments at its end, and with the names that types have in SQL; as it is, if it
/// lists neither tables nor columns.
pub(crate) fn with_comments(name: &str, table: Arc<dyn TableProvider>) -> DataFusionResult<Arc<dyn TableProvider>> {
    let column = match name {
        "tables" => lit(ScalarValue::Utf8(None)),
        "columns" => col("column_name"),
        _ => return Ok(table),
    };
    let schema = table.schema();
    let all = schema.fields().iter().map(|field| match field.name().as_str() {
        "data_type" => listed(vec![col("data_type")]).alias("data_type"),
        // DataFusion counts from zero.
        "ordinal_position" => cast(col("ordinal_position") + lit(1_u64), DataType::Int32).alias("ordinal_position"),
        other if *field.data_type() == DataType::UInt64 => {
            let digits = listed(vec![col("data_type"), lit(other)]);
            coalesce(vec![cast(digits, DataType::Int32), cast(col(other), DataType::Int32)]).alias(other)
        }
        other => col(other),
    });
    let comment = function().call(vec![col("table_schema"), col("table_name"), column]).alias(COMMENT);
    let mut plan = LogicalPlanBuilder::scan(name, provider_as_source(table), None)?;
    if name == "tables" {
        plan = plan.filter(col("table_name").not_eq(lit(SETTINGS)))?;
    }
    let plan = plan.project(all.chain([comment]))?.build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

/// `comment_of(schema, table, column)`, which only the tables above call.
fn function() -> ScalarUDF {
    let text = || DataType::Utf8;
    let body = |args: &[ColumnarValue]| {
        let [schemas, tables, columns] = <[ArrayRef; 3]>::try_from(ColumnarValue::values_to_arrays(args)?)
            .map_err(|_| Error::new(ErrorKind::Internal, "comments are asked for with three arguments"))?;
        let (schemas, tables) = (schemas.as_string::<i32>(), tables.as_string::<i32>());
        let columns = columns.as_string::<i32>();
        let of = |row: usize| {
            let column = columns.is_valid(row).then(|| columns.value(row));
            (schemas.value(row) == SCHEMA).then(|| comment(tables.value(row), column)).flatten()
        };
        Ok(ColumnarValue::Array(Arc::new((0..tables.len()).map(of).collect::<StringArray>())))
    };
    create_udf("comment_of", vec![text(), text(), text()], text(), Volatility::Immutable, Arc::new(body))
}

/// Of DataFusion's name of a type that of SQL; with the name of a column of `information_schema`, what is there of such a type.
fn listed(args: Vec<Expr>) -> Expr {
    let body = |args: &[ColumnarValue]| {
        let args = ColumnarValue::values_to_arrays(args)?;
        let lacks = || Error::new(ErrorKind::Internal, "the name of a type is asked for without one");
        let types = args.first().ok_or_else(lacks)?.as_string::<i32>();
        let columns = args.get(1).map(|columns| columns.as_string::<i32>());
        let told = |row: usize| {
            let name = types::listed(types.value(row));
            columns.map_or(Some(name), |columns| types::digits(name, columns.value(row)))
        };
        Ok(ColumnarValue::Array(Arc::new((0..types.len()).map(told).collect::<StringArray>())))
    };
    let texts = vec![DataType::Utf8; args.len()];
    create_udf("type_listed", texts, DataType::Utf8, Volatility::Immutable, Arc::new(body)).call(args)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::books::{ask, books};

    #[tokio::test]
    async fn every_table_and_column_has_a_comment() {
        let bench = books(&[]);
        let tables = "SELECT table_name FROM information_schema.tables \
                      WHERE table_schema = 'public' AND comment IS NULL";
        assert_eq!(ask(&bench, tables).await, [""; 0]);
        let columns = "SELECT table_name, column_name FROM information_schema.columns \
                       WHERE table_schema = 'public' AND comment IS NULL";
        assert_eq!(ask(&bench, columns).await, [""; 0]);
        let value =
            "SELECT comment FROM information_schema.columns WHERE table_name = 'metrics' AND column_name = 'value'";
        assert_eq!(ask(&bench, value).await, [comment("metrics", Some("value")).unwrap()]);
        let view = comment("savings", Some("total_savings")).unwrap();
        assert_eq!(view, "Both together.");
    }

    #[tokio::test]
    async fn types_of_columns_have_the_names_of_sql() {
        let bench = books(&[]);
        let types = "SELECT DISTINCT data_type FROM information_schema.columns WHERE table_name IN ('costs', 'metrics') ORDER BY 1";
        let known = ["date", "double precision", "jsonb", "numeric", "text", "timestamp with time zone"];
        let found = ask(&bench, types).await;
        assert!(known.iter().all(|name| found.contains(&(*name).to_owned())), "{found:?}");
        let odd = found.iter().find(|name| name.contains('('));
        assert_eq!(odd, None, "{found:?}");
        let places = "SELECT column_name, ordinal_position, numeric_precision, numeric_scale FROM information_schema.columns \
                      WHERE table_name = 'metrics' ORDER BY ordinal_position";
        let found = ask(&bench, places).await;
        assert_eq!((found[0].as_str(), found[3].as_str()), ("timestamp 1 - -", "value 4 53 -"), "{found:?}");
        assert_eq!(types::listed("Dictionary(Int32, Utf8)"), "text");
        assert_eq!(types::listed("List(Utf8)"), "ARRAY");
        assert_eq!(types::listed("List(Struct(\"of\": Utf8))"), "jsonb");
        assert_eq!(types::listed("Timestamp(Microsecond, None)"), "timestamp without time zone");
    }

    #[tokio::test]
    async fn what_lists_tables_still_does() {
        let bench = books(&[]);
        let shown = ask(&bench, "SHOW TABLES").await;
        assert!(shown.iter().any(|row| row.contains("costs_spread") && row.contains("cut at midnight")), "{shown:?}");
        let columns = ask(&bench, "SHOW COLUMNS FROM metrics").await;
        assert_eq!(columns.len(), 4, "{columns:?}");
        assert!(!ask(&bench, "DESCRIBE samples").await.is_empty());
        let functions = "SELECT count(*) FROM information_schema.routines \
                         WHERE routine_name IN ('promql', 'promql_instant', 'time_bucket')";
        assert_eq!(ask(&bench, functions).await, ["3"]);
        // Nobody else's tables have our comments.
        let of_others = "SELECT count(comment) FROM information_schema.tables WHERE table_schema <> 'public'";
        assert_eq!(ask(&bench, of_others).await, ["0"]);
    }
}
