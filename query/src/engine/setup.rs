//! What all sessions of an engine have in common: memory, functions, rules, and no way to a file.
//!
//! Called by the engine when it is made.

use std::{num::NonZeroUsize, sync::Arc};

use datafusion::{
    execution::{
        SessionState, SessionStateBuilder, SessionStateDefaults,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::{FairSpillPool, GreedyMemoryPool, MemoryPool, TrackConsumersPool},
        object_store::ObjectStoreUrl,
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    optimizer::{Analyzer, Optimizer},
    prelude::SessionConfig,
};

use super::{Config, run::YieldInJoins};
use crate::{Result, asof, decimal, functions, system, table::IN_LIST_MAX, views};

/// Functions that make a value of any size out of a number, before the memory pool is asked. The table functions
/// `generate_series` and `range` stream, and stay.
const UNBOUNDED: [&str; 7] = ["array_repeat", "array_resize", "generate_series", "lpad", "range", "repeat", "rpad"];

pub(super) fn runtime(config: &Config) -> Result<Arc<RuntimeEnv>> {
    const TOP: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2);
    let (pool, disk): (Arc<dyn MemoryPool>, _) = match &config.spill_dir {
        Some(dir) => (
            Arc::new(TrackConsumersPool::new(FairSpillPool::new(config.memory_bytes), TOP)),
            DiskManagerMode::Directories(vec![dir.clone()]),
        ),
        None => (
            Arc::new(TrackConsumersPool::new(GreedyMemoryPool::new(config.memory_bytes), TOP)),
            DiskManagerMode::Disabled,
        ),
    };
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(pool)
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(disk))
        .with_metadata_cache_limit(config.footers_cache_bytes())
        .build_arc()?;
    // DataFusion brings the local file system along.
    runtime.deregister_object_store(ObjectStoreUrl::local_filesystem().as_ref())?;
    Ok(runtime)
}

pub(super) fn template(runtime: Arc<RuntimeEnv>) -> SessionState {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(views::CATALOG, views::SCHEMA)
        // The tables of each query bring an `information_schema` along.
        .with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    options.sql_parser.collect_spans = true;
    options.sql_parser.parse_float_as_decimal = true;
    options.execution.time_zone = Some("UTC".to_owned());
    // Of each sort, for the end of its merge. Plans of dashboards have dozens of sorts of a few rows, each in every partition; DataFusion's
    // 10 MB for each would be all memory there is before a row is read.
    options.execution.sort_spill_reservation_bytes = 1 << 20;
    options.execution.parquet.max_in_list_size = IN_LIST_MAX;
    // Each scan decides for itself; see `table`.
    options.execution.parquet.pushdown_filters = false;
    // No file formats and no table factories: nothing a statement could open a file with.
    let table_functions = SessionStateDefaults::default_table_functions().into_iter();
    let scalar_functions = SessionStateDefaults::default_scalar_functions()
        .into_iter()
        .chain(functions::all())
        .chain(system::all())
        .chain([asof::mark()]);
    let mut planners = SessionStateDefaults::default_expr_planners();
    planners.insert(0, Arc::new(decimal::Planner));
    // Later ones take the place of those of the same name.
    let mut aggregates = SessionStateDefaults::default_aggregate_functions();
    aggregates.extend(decimal::aggregates());
    let mut windows = SessionStateDefaults::default_window_functions();
    windows.extend(functions::windows());
    let mut rules = Analyzer::new().rules;
    rules.insert(0, Arc::new(decimal::Rule));
    rules.push(Arc::new(asof::Rule));
    // Before what would put columns that are left out between a condition and its join.
    let mut optimizers = Optimizer::new().rules;
    optimizers.insert(0, Arc::new(asof::PushDown));
    SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_expr_planners(planners)
        .with_analyzer_rules(rules)
        .with_optimizer_rules(optimizers)
        .with_query_planner(Arc::new(asof::Planner))
        .with_scalar_functions(scalar_functions.filter(|f| !UNBOUNDED.contains(&f.name())).collect())
        .with_physical_optimizer_rule(Arc::new(YieldInJoins))
        .with_aggregate_functions(aggregates)
        .with_window_functions(windows)
        .with_higher_order_functions(SessionStateDefaults::default_higher_order_functions())
        .with_table_functions(table_functions.map(|f| (f.name().to_owned(), f)).collect())
        .build()
}
