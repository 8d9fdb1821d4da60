//! `onrecord query`.

use std::io::{IsTerminal as _, Read as _, Write};

use anyhow::{Context as _, bail};
use futures::TryStreamExt as _;
use http_body_util::BodyExt as _;
use onrecord_lake::datafusion::arrow::array::RecordBatch;
use onrecord_lake::datafusion::arrow::ipc::reader::StreamReader;
use onrecord_lake::datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Value, json};

use super::client::Client;
use super::options::QueryArgs;
use crate::api::Format;
use crate::terminal::{Cell, Column, Terminal, table};

/// A text is cut down to so many columns where a line would get too long.
const CELL: usize = 12;

pub(super) async fn query(client: &Client, args: QueryArgs) -> anyhow::Result<()> {
    let QueryArgs { sql, params, format, output, columns } = args;
    if columns {
        return list_columns(client).await;
    }
    let sql = match sql.as_deref() {
        None => bail!(
            "name the statement, e.g. onrecord query \"SELECT model, count(*) FROM interactions GROUP BY model\"; --columns lists what there is"
        ),
        Some("-") => read_stdin()?,
        Some(sql) => sql.to_owned(),
    };
    let (ask, to_file) = (format.unwrap_or(Format::Arrow), output.is_some());
    let params: Vec<Value> = params.into_iter().map(parameter).collect();
    let body = json!({ "sql": sql, "params": params, "format": ask });
    let response = client.post("/api/v1/query", &body, None).await?;
    match format {
        None if !to_file => print_rows(&response.into_body().collect().await.map_err(broke_off)?.to_bytes()),
        Some(Format::Parquet | Format::Arrow) if !to_file && std::io::stdout().is_terminal() => {
            bail!("this format is not for terminals; name a file with -o")
        }
        _ => {
            let mut pieces = response.into_body().into_data_stream();
            let mut out: Box<dyn Write> = match &output {
                Some(path) => Box::new(crate::terminal::create(path)?),
                None => Box::new(std::io::stdout()),
            };
            while let Some(piece) = pieces.try_next().await.map_err(broke_off)? {
                out.write_all(&piece)?;
            }
            Ok(out.flush()?)
        }
    }
}

/// What is typed for a parameter is a text unless it reads as another value.
fn parameter(typed: String) -> Value {
    match serde_json::from_str(&typed) {
        Ok(value @ (Value::Null | Value::Bool(_) | Value::Number(_))) => value,
        _ => Value::String(typed),
    }
}

fn broke_off(error: axum::Error) -> anyhow::Error {
    anyhow::Error::from(error).context("the query broke off; what was printed is not all of it")
}

fn read_stdin() -> anyhow::Result<String> {
    let mut sql = String::new();
    std::io::stdin().read_to_string(&mut sql).context("reading the statement from standard input")?;
    Ok(sql)
}

/// The rows as a table; cells are escaped, since they hold what strangers wrote.
fn print_rows(stream: &[u8]) -> anyhow::Result<()> {
    let reader = StreamReader::try_new(stream, None)?;
    let schema = reader.schema();
    let numeric = |field: &onrecord_lake::datafusion::arrow::datatypes::Field| field.data_type().is_numeric();
    let columns = schema.fields().iter().map(|field| {
        let column = Column::new(field.name().clone());
        if numeric(field) { column.right() } else { column.cut_to(CELL) }
    });
    let mut rows = Vec::new();
    for batch in reader {
        rows.extend(cells(&batch?)?);
    }
    write!(std::io::stdout(), "{}", table(columns.collect(), &rows, Terminal::stdout()))?;
    eprintln!("{} row{}", rows.len(), if rows.len() == 1 { "" } else { "s" });
    Ok(())
}

fn cells(batch: &RecordBatch) -> anyhow::Result<Vec<Vec<Cell>>> {
    let options = FormatOptions::default().with_null("–");
    let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    Ok((0..batch.num_rows())
        .map(|row| columns.iter().map(|column| column.value(row).to_string().into()).collect())
        .collect())
}

async fn list_columns(client: &Client) -> anyhow::Result<()> {
    let columns: Vec<Value> = client.json("/api/v1/columns").await?;
    let head = ["table", "name", "type", "meaning"];
    let row = |column: &Value| head.iter().map(|name| column[*name].as_str().unwrap_or_default().into()).collect();
    let rows: Vec<Vec<Cell>> = columns.iter().map(row).collect();
    let titles = head.iter().map(|name| Column::new(*name).cut_to(CELL)).collect();
    write!(std::io::stdout(), "{}", table(titles, &rows, Terminal::stdout()))?;
    Ok(())
}
