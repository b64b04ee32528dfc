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
    logical_expr::{ColumnarValue, LogicalPlanBuilder, ScalarUDF, Volatility, col, create_udf, lit},
};

use crate::{
    Error, ErrorKind, metrics,
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

/// A table of `information_schema` with a column of comments at its end; as it is, if it lists neither tables nor columns.
pub(crate) fn with_comments(name: &str, table: Arc<dyn TableProvider>) -> DataFusionResult<Arc<dyn TableProvider>> {
    let column = match name {
        "tables" => lit(ScalarValue::Utf8(None)),
        "columns" => col("column_name"),
        _ => return Ok(table),
    };
    let schema = table.schema();
    let all = schema.fields().iter().map(|field| col(field.name().as_str()));
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
