//! Runs queries: on threads of its own, with limits, and reading only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::error::DataFusionError;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SendableRecordBatchStream, SessionState, SessionStateBuilder, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use futures::StreamExt;
use object_store::ObjectStore;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::functions::functions;
use super::message::{explain, too_long};
use super::narrow::{self, CATALOG, Narrow, RECORDS, SCHEMA};
use super::readers::Readers;
use super::records::{QueryView, RecordsTable, partitioned_file, store_url};
use super::result::QueryResult;
use super::views::VIEWS;
use crate::background::give_way;
use crate::error::{Error, Result};
use crate::lake::{Lake, LakeOptions};
use crate::search::table::SearchFunction;
use crate::storage;
use crate::table::DataFile;
use crate::wide::rows_at_once;

/// Queries give way to the gateway, and background work gives way to queries.
const NICE: i32 = 10;
/// Rows of a batch, if they are not large. Fewer than DataFusion's 8,192, since a row has two bodies of some KB each.
const BATCH_ROWS: usize = 2048;
/// Memory for the footers of data files, in bytes.
const FOOTER_CACHE: usize = 96 << 20;

/// What a query may take.
#[derive(Debug, Clone)]
pub struct QueryLimits {
    /// Rows that it may give. If there are more, they are left out and the result says so.
    pub rows: usize,
    /// Memory for sorting, grouping and joining, in bytes. What does not fit goes to the disk if
    /// [`LakeOptions::spill`](crate::LakeOptions::spill) names a folder.
    pub memory_bytes: usize,
    /// How long it may take, its reader included.
    pub time: Duration,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self { rows: 100_000, memory_bytes: 256 << 20, time: Duration::from_mins(1) }
    }
}

impl Lake {
    /// Runs a statement that reads the table `records` or a view, and sees everything that is committed now. It may not
    /// change anything, nor read anything else.
    ///
    /// An [`Error::Query`] is the statement's fault and says what is wrong with it.
    pub async fn query(&self, statement: &str, limits: QueryLimits) -> Result<QueryResult> {
        self.query_with(statement, Vec::new(), limits).await
    }

    /// The same with values for the parameters `$1`, `$2`, … of the statement.
    pub async fn query_with(
        &self,
        statement: &str,
        values: Vec<ScalarValue>,
        limits: QueryLimits,
    ) -> Result<QueryResult> {
        let query = Query::Text { statement: statement.to_owned(), values };
        self.inner.engine.run(&self.inner.engine.base, query, limits, QueryView::now(self)).await
    }

    /// What every query's session begins with: the table, the views and the functions. Another language than plain SQL
    /// over HTTP can add to it and plan with it.
    pub fn session(&self) -> SessionState {
        self.inner.engine.base.clone()
    }

    /// Plans a statement in a session that began as [`session`](Self::session), if it only reads.
    pub async fn plan(&self, session: SessionState, statement: Statement, limits: QueryLimits) -> Result<LogicalPlan> {
        let time = limits.time;
        let plan = async move {
            let plan = plan_statement(&session, statement).await;
            plan.map_err(|error| explain(error, &limits))
        };
        self.inner.engine.spawn_within(plan, time).await
    }

    /// Runs such a plan, with values for its parameters, as [`query`](Self::query) runs a statement.
    pub async fn run(
        &self,
        session: &SessionState,
        plan: LogicalPlan,
        values: ParamValues,
        limits: QueryLimits,
    ) -> Result<QueryResult> {
        let query = Query::Plan { plan: Box::new(plan), values };
        self.inner.engine.run(session, query, limits, QueryView::now(self)).await
    }
}

/// Plans and runs queries.
pub(crate) struct Engine {
    /// `None` only while it is dropped.
    threads: Option<Runtime>,
    /// What reads the table's files.
    readers: Readers,
    /// What every query's session begins with.
    base: SessionState,
}

impl Engine {
    pub(crate) async fn new(options: &LakeOptions, store: Arc<dyn ObjectStore>) -> Result<Self> {
        let context = SessionContext::new_with_state(base_state(options)?);
        context.runtime_env().register_object_store(&store_url()?, Arc::clone(&store));
        let footers = context.runtime_env().cache_manager.get_file_metadata_cache();
        let readers = Readers::new(Arc::clone(&store), footers);
        context.register_table(RECORDS, Arc::new(RecordsTable::new(store)))?;
        context.register_udtf("search", Arc::new(SearchFunction));
        for view in VIEWS {
            context.sql(&view.statement()).await?;
        }
        // Last, since a runtime must not be dropped where others work, which an error before this would do.
        let io = |source| Error::Io { path: "the threads for queries".into(), source };
        let threads = Builder::new_multi_thread()
            .worker_threads(options.threads.max(1))
            .thread_name("lake-query")
            .on_thread_start(|| give_way(NICE))
            .enable_all()
            .build()
            .map_err(io)?;
        Ok(Self { threads: Some(threads), readers, base: context.state() })
    }

    /// Opens a data file; its footer is kept for the next time.
    pub(crate) fn open(&self, file: &DataFile) -> Result<Box<dyn AsyncFileReader>> {
        Ok(self.readers.create_reader(0, partitioned_file(file)?, None, &ExecutionPlanMetricsSet::new())?)
    }

    /// Runs other work of low priority on the threads for queries. It goes on if nobody waits for it any more.
    pub(crate) async fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let Some(threads) = &self.threads else { return Err(Error::corrupt("the lake", "it is closed")) };
        threads.spawn(work).await.unwrap_or_else(|stopped| Err(Error::stopped(&stopped)))
    }

    /// The same, as long as somebody waits for it.
    pub(crate) async fn spawn_while_awaited<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let mut tasks = JoinSet::new();
        if let Some(threads) = &self.threads {
            tasks.spawn_on(work, threads.handle());
        }
        match tasks.join_next().await {
            Some(Ok(done)) => done,
            Some(Err(stopped)) => Err(Error::stopped(&stopped)),
            None => Err(Error::corrupt("the lake", "it is closed")),
        }
    }

    /// Runs work on the threads for queries; it ends when the time is up or the caller goes.
    pub(crate) async fn spawn_within<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
        time: Duration,
    ) -> Result<T> {
        let work = async move { timeout(time, work).await.unwrap_or_else(|_| Err(too_long(time))) };
        self.spawn_while_awaited(Box::pin(work)).await
    }

    /// Plans and runs the query as one task, which ends when the result is dropped.
    async fn run(
        &self,
        base: &SessionState,
        query: Query,
        limits: QueryLimits,
        view: QueryView,
    ) -> Result<QueryResult> {
        // A plan without hot rows would not hold on to it, and the files that it reads could be removed under it.
        let snapshot = Arc::clone(&view.snapshot);
        let session = session(base, &limits, view)?;
        let (begun, schema) = oneshot::channel();
        let (batches, received) = channel(2);
        let truncated = Arc::new(AtomicBool::new(false));
        let time = limits.time;
        let flag = Arc::clone(&truncated);
        let task = async move {
            let run = async move {
                let stream = plan(session, query, &limits).await?;
                // The other side may be gone; then so is this task in a moment.
                let _ = begun.send(stream.schema());
                pump(stream, batches, &limits, &flag).await
            };
            let done = timeout(time, run).await.unwrap_or_else(|_| Err(too_long(time)));
            drop(snapshot);
            done
        };
        let mut work = JoinSet::new();
        if let Some(threads) = &self.threads {
            work.spawn_on(task, threads.handle());
        }
        match schema.await {
            Ok(schema) => Ok(QueryResult::new(schema, received, truncated, work)),
            Err(_) => Err(ended(&mut work).await),
        }
    }
}

impl Drop for Engine {
    /// Without waiting for queries, which a runtime does that is dropped, and may not do inside of another.
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

/// Why a query ended before its first row.
async fn ended(work: &mut JoinSet<Result<()>>) -> Error {
    match work.join_next().await {
        Some(Ok(Err(error))) => error,
        Some(Err(stopped)) => Error::stopped(&stopped),
        Some(Ok(Ok(()))) | None => Error::corrupt("the lake", "it is closed"),
    }
}

/// The session of one query: what it sees and what it may take.
fn session(base: &SessionState, limits: &QueryLimits, view: QueryView) -> Result<SessionState> {
    let pool = Arc::new(FairSpillPool::new(limits.memory_bytes));
    let runtime = RuntimeEnvBuilder::from_runtime_env(base.runtime_env()).with_memory_pool(pool).build_arc()?;
    // The catalog is there; it must not be made anew, and empty.
    let config = base.config().clone().with_create_default_catalog_and_schema(false);
    let config = config.with_extension(Arc::new(view));
    let builder = SessionStateBuilder::new_from_existing(base.clone());
    let mut session = builder.with_config(config).with_runtime_env(runtime).build();
    // `now()` is when the query began, and not when what it came from was made.
    session.mark_start_execution();
    Ok(session)
}

fn base_state(options: &LakeOptions) -> Result<SessionState> {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_information_schema(true)
        .with_target_partitions(options.threads.max(1))
        .with_batch_size(BATCH_ROWS);
    let execution = &mut config.options_mut().execution;
    // As the columns' times: `now()` without a zone would mean another moment in every place.
    execution.time_zone = Some("UTC".to_owned());
    let parquet = &mut execution.parquet;
    parquet.pushdown_filters = true;
    parquet.reorder_filters = true;
    let state = SessionStateBuilder::new().with_default_features().with_config(config);
    let scalar = functions().map(Arc::new);
    let mut state = state.with_runtime_env(runtime_env(options)?).build();
    for function in scalar {
        state.register_udf(function)?;
    }
    Ok(state)
}

fn runtime_env(options: &LakeOptions) -> Result<Arc<RuntimeEnv>> {
    let spill = match &options.spill {
        Some(folder) => {
            storage::create_folder(folder)?;
            // What a query had put there when the program stopped is payload that nobody would ever erase.
            storage::remove_below(folder)?;
            DiskManagerMode::Directories(vec![folder.clone()])
        }
        None => DiskManagerMode::Disabled,
    };
    let disk = DiskManagerBuilder::default().with_mode(spill).with_max_temp_directory_size(options.spill_bytes);
    let runtime = RuntimeEnvBuilder::new().with_disk_manager_builder(disk).with_metadata_cache_limit(FOOTER_CACHE);
    Ok(runtime.build_arc()?)
}

/// What is run, and the values of its parameters.
enum Query {
    Text { statement: String, values: Vec<ScalarValue> },
    Plan { plan: Box<LogicalPlan>, values: ParamValues },
}

async fn plan(session: SessionState, query: Query, limits: &QueryLimits) -> Result<SendableRecordBatchStream> {
    let rows = plan_rows(session, query, limits.rows).await;
    rows.map_err(|error| explain(error, limits))
}

async fn plan_rows(
    session: SessionState,
    query: Query,
    rows: usize,
) -> Result<SendableRecordBatchStream, DataFusionError> {
    let plan = match query {
        Query::Text { statement, values } => {
            let statement = session.sql_to_statement(&statement, &session.config_options().sql_parser.dialect)?;
            let plan = plan_statement(&session, statement).await?;
            if values.is_empty() { plan } else { plan.with_param_values(values)? }
        }
        Query::Plan { plan, values } => read_only(*plan)?.replace_params_with_values(&values)?,
    };
    let about_a_plan =
        matches!(plan, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) | LogicalPlan::DescribeTable(_));
    let frame = DataFrame::new(session, plan);
    // One more than may be given shows that there are more; and a sort keeps no more than these.
    let frame = if about_a_plan { frame } else { frame.limit(0, Some(rows.saturating_add(1)))? };
    let (session, plan) = frame.into_parts();
    let plan = session.create_physical_plan(&plan).await?;
    let at_once = rows_at_once(QueryView::of(&session)?.row_bytes(), BATCH_ROWS);
    if at_once == BATCH_ROWS {
        return execute_stream(plan, session.task_ctx());
    }
    let config = session.config().clone().with_batch_size(at_once);
    let task = TaskContext::from(&session).with_session_config(config);
    execute_stream(filtered_in_batches(plan, at_once)?, Arc::new(task))
}

/// Plans a statement over no more columns than it names, if that can be told, else over all. It may not change anything.
async fn plan_statement(session: &SessionState, statement: Statement) -> Result<LogicalPlan, DataFusionError> {
    let tables = session.catalog_list().catalog(CATALOG).and_then(|catalog| catalog.schema(SCHEMA));
    if let Some((tables, names)) = tables.zip(narrow::names(&statement)) {
        let mut narrow = session.clone();
        narrow.register_catalog_list(Narrow::catalog(tables, names)?);
        // What is wrong with a statement is said of all columns, and what is not there may be elsewhere.
        if let Ok(plan) = narrow.statement_to_plan(statement.clone()).await {
            return read_only(plan);
        }
    }
    read_only(session.statement_to_plan(statement).await?)
}

/// The plan with filters that put no more than so many rows together. All else goes by the task, and filters by how they were
/// planned.
fn filtered_in_batches(plan: Arc<dyn ExecutionPlan>, rows: usize) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let plan = plan.transform_up(|part| match part.downcast_ref::<FilterExec>() {
        Some(filter) => Ok(Transformed::yes(Arc::new(filter.with_batch_size(rows)?) as Arc<dyn ExecutionPlan>)),
        None => Ok(Transformed::no(part)),
    })?;
    Ok(plan.data)
}

/// The plan, if it changes nothing.
fn read_only(plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    options.verify_plan(&plan)?;
    Ok(plan)
}

/// Hands the rows over until there are no more, or as many as there may be, or nobody takes them.
async fn pump(
    mut stream: SendableRecordBatchStream,
    batches: Sender<RecordBatch>,
    limits: &QueryLimits,
    truncated: &AtomicBool,
) -> Result<()> {
    let mut left = limits.rows;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|error| explain(error, limits))?;
        let rows = batch.num_rows().min(left);
        let is_last = batch.num_rows() > left;
        if is_last {
            truncated.store(true, Ordering::Release);
        }
        left -= rows;
        if batches.send(batch.slice(0, rows)).await.is_err() || is_last {
            break;
        }
    }
    Ok(())
}
