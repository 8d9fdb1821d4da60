//! The columns of a table that another version of this program has made: an older one's table gains the new columns, a
//! newer one's is refused, since its rows would not come back whole.

use deltalake_core::DeltaTable;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::kernel::transaction::CommitProperties;
use deltalake_core::kernel::{StructField, StructType};

use super::{Table, quiet};
use crate::error::{Error, Result};
use crate::schema::table_schema;

/// What a table lacks of the columns of this program. An error if it has others.
fn missing(have: &StructType, want: &StructType) -> Result<Vec<StructField>, String> {
    for column in have.fields() {
        let name = column.name();
        match want.field(name) {
            None => return Err(format!("the column {name} is not known here")),
            Some(known) if known.data_type() != column.data_type() => {
                return Err(format!("the column {name} is of type {}, not {}", column.data_type(), known.data_type()));
            }
            Some(_) => {}
        }
    }
    Ok(want.fields().filter(|column| have.field(column.name()).is_none()).cloned().collect())
}

/// Gives the table the columns that this program has and the one that made it had not. Rows of older files have nothing
/// in them. A crash leaves the version without its sidecar, as one after any commit does.
pub(super) async fn complete(table: &mut Table) -> Result<()> {
    let want: StructType = table_schema().as_ref().try_into_kernel()?;
    let fields = missing(&table.state.schema(), &want).map_err(|problem| {
        let remedy = "a newer version of this program has written it; open it with that one";
        Error::corrupt(table.place(), format!("{problem}: {remedy}"))
    })?;
    if fields.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = fields.iter().map(|field| field.name().as_str()).collect();
    tracing::info!(columns = names.join(", "), "the table gains the columns of this version");
    let mut delta = DeltaTable::new(table.log.clone());
    delta.state = Some(table.state.clone());
    let added =
        delta.add_columns().with_fields(fields).with_commit_properties(quiet(CommitProperties::default())).await;
    let added = added.map_err(Error::delta(table.place()))?;
    table.state = added.state.ok_or_else(|| Error::corrupt(table.place(), "no version after a commit"))?;
    table.conclude(&[], Vec::new()).await
}

#[cfg(test)]
mod tests {
    use deltalake_core::kernel::DataType;

    use super::*;

    fn columns(names: &[(&str, DataType)]) -> StructType {
        StructType::try_new(names.iter().map(|(name, kind)| StructField::nullable(*name, kind.clone()))).unwrap()
    }

    #[test]
    fn older_tables_lack_columns_and_newer_ones_have_others() {
        let (text, int) = (DataType::STRING, DataType::LONG);
        let want = columns(&[("a", text.clone()), ("b", int.clone())]);
        let lack = missing(&columns(&[("b", int.clone())]), &want).unwrap();
        assert_eq!(lack.iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(missing(&want, &want).unwrap(), []);
        let unknown = missing(&columns(&[("c", int)]), &want).unwrap_err();
        assert_eq!(unknown, "the column c is not known here");
        let other = missing(&columns(&[("b", text)]), &want).unwrap_err();
        assert_eq!(other, "the column b is of type string, not long");
    }
}
