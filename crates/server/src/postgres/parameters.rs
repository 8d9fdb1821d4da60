//! The parameters `$1`, `$2`, … of a prepared statement: their types and their values.

use datafusion_postgres::arrow_pg::datatypes::df::deserialize_parameters_with_server_types;
use datafusion_postgres::arrow_pg::datatypes::into_pg_type;
use datafusion_postgres::pgwire::api::Type;
use datafusion_postgres::pgwire::api::portal::Portal;
use datafusion_postgres::pgwire::error::PgWireResult;
use onrecord_lake::datafusion::arrow::datatypes::DataType;
use onrecord_lake::datafusion::common::ParamValues;
use onrecord_lake::datafusion::logical_expr::LogicalPlan;

use super::error;
use super::statement::Statement;

/// Parameters of a statement; the protocol counts them with 16 bits.
const PARAMETERS_MAX: usize = u16::MAX as usize;

/// The type of each parameter in order, where the plan tells it.
fn types(plan: &LogicalPlan) -> PgWireResult<Vec<Option<DataType>>> {
    let known = plan.get_parameter_types().map_err(|wrong| error::error("42P02", wrong.to_string()))?;
    let mut types = Vec::new();
    for (name, data_type) in known {
        let number = name.trim_start_matches('$').parse().ok().filter(|number| (1..=PARAMETERS_MAX).contains(number));
        let number =
            number.ok_or_else(|| error::error("42P02", format!("there is no parameter {name}; the first is $1")))?;
        if types.len() < number {
            types.resize(number, None);
        }
        types[number - 1] = data_type;
    }
    Ok(types)
}

/// The types as the client is told them.
pub(super) fn wire_types(plan: &LogicalPlan) -> PgWireResult<Vec<Type>> {
    types(plan)?.iter().map(|data_type| data_type.as_ref().map_or(Ok(Type::UNKNOWN), into_pg_type)).collect()
}

/// The values that a client has bound.
pub(super) fn values(portal: &Portal<Statement>, plan: &LogicalPlan) -> PgWireResult<ParamValues> {
    let (known, wire) = (types(plan)?, wire_types(plan)?);
    let known: Vec<_> = known.iter().map(Option::as_ref).collect();
    let wire: Vec<_> = wire.iter().map(Some).collect();
    deserialize_parameters_with_server_types(portal, &known, &wire)
}
