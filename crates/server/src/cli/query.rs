//! `onrecord query`.

use std::io::{IsTerminal as _, Read as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use axum::body::Body;
use clap::ValueEnum as _;
use futures::TryStreamExt as _;
use http_body_util::BodyExt as _;
use onrecord_lake::datafusion::arrow::array::RecordBatch;
use onrecord_lake::datafusion::arrow::ipc::reader::StreamReader;
use onrecord_lake::datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Value, json};

use super::client::Client;
use super::options::QueryArgs;
use crate::api::Format;
use crate::terminal::{
    Cell, Column, Escape, Escaping, NewFile, Terminal, escape_json, escape_lines, note, stdout, table,
};

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
    let params: Vec<Value> = params.into_iter().map(parameter).collect();
    let format = match &output {
        Some(path) if format.is_none() => Some(of_extension(path)?),
        _ => format,
    };
    let ask = |format| json!({ "sql": sql, "params": params, "format": format });
    let Some(format) = format else {
        let response = client.post("/api/v1/query", &ask(Format::Arrow), None).await?;
        return print_rows(&response.into_body().collect().await.map_err(broke_off)?.to_bytes());
    };
    let to = To::new(format, output, std::io::stdout().is_terminal())?;
    let body = client.post("/api/v1/query", &ask(format), None).await?.into_body();
    match to {
        To::File(path) => {
            let mut file = NewFile::create(&path)?;
            pour(body, &mut file).await?;
            file.finish()
        }
        To::Program => pour(body, &mut stdout()).await,
        To::Terminal(escape) => pour(body, &mut Escaping::new(stdout(), escape)).await,
    }
}

/// The format that a file has by its name.
fn of_extension(path: &Path) -> anyhow::Result<Format> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    Format::from_str(extension, true).map_err(|_| {
        anyhow::anyhow!(
            "the name {} says no format; end it in .json, .jsonl, .csv, .parquet or .arrow, or choose one with --format",
            path.display()
        )
    })
}

/// Where rows go that are not shown as a table.
#[derive(Debug)]
enum To {
    File(PathBuf),
    /// Standard output, as it is.
    Program,
    /// Standard output, without what a terminal would obey: they hold what strangers wrote.
    Terminal(Escape),
}

impl To {
    fn new(format: Format, output: Option<PathBuf>, interactive: bool) -> anyhow::Result<Self> {
        Ok(match (output, format) {
            (Some(path), _) => Self::File(path),
            (None, _) if !interactive => Self::Program,
            (None, Format::Json | Format::Jsonl) => Self::Terminal(escape_json),
            (None, Format::Csv) => Self::Terminal(escape_lines),
            (None, Format::Parquet | Format::Arrow) => bail!("this format is not for terminals; name a file with -o"),
        })
    }
}

/// Writes what comes, as it comes.
async fn pour(body: Body, out: &mut impl Write) -> anyhow::Result<()> {
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.try_next().await.map_err(broke_off)? {
        out.write_all(&piece)?;
    }
    Ok(out.flush()?)
}

/// What is typed for a parameter is a text unless it reads as another value. In double quotes it is one in any case.
fn parameter(typed: String) -> Value {
    match serde_json::from_str(&typed) {
        Ok(value @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_))) => value,
        _ => Value::String(typed),
    }
}

/// Each error on the way from the log to here says the same in other words; the first one says why.
fn broke_off(error: axum::Error) -> anyhow::Error {
    let why = anyhow::Error::from(error);
    anyhow::anyhow!("the query broke off, so these are not all of its rows: {}", why.root_cause())
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
    write!(stdout(), "{}", table(columns.collect(), &rows, Terminal::stdout()))?;
    note(format_args!("{} row{}", rows.len(), if rows.len() == 1 { "" } else { "s" }));
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
    write!(stdout(), "{}", table(titles, &rows, Terminal::stdout()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_nothing_to_obey() {
        let shown = |format| match To::new(format, None, true) {
            Ok(To::Terminal(escape)) => Some(escape("\u{1b}[2J\n").into_owned()),
            Ok(other) => panic!("{other:?}"),
            Err(_) => None,
        };
        assert_eq!(shown(Format::Json).unwrap(), "\\u001b[2J\n");
        assert_eq!(shown(Format::Jsonl).unwrap(), "\\u001b[2J\n");
        assert_eq!(shown(Format::Csv).unwrap(), "\\u{1b}[2J\n");
        assert!(shown(Format::Parquet).is_none() && shown(Format::Arrow).is_none());
        assert!(matches!(To::new(Format::Csv, None, false), Ok(To::Program)));
        assert!(matches!(To::new(Format::Arrow, Some("rows.arrow".into()), true), Ok(To::File(_))));
    }

    #[test]
    fn a_parameter_is_the_value_that_it_reads_as() {
        for (typed, value) in [
            ("17", json!(17)),
            ("\"17\"", json!("17")),
            ("true", json!(true)),
            ("null", Value::Null),
            ("support-1", json!("support-1")),
            ("[1]", json!("[1]")),
        ] {
            assert_eq!(parameter(typed.to_owned()), value);
        }
    }

    #[test]
    fn a_file_has_the_format_of_its_name() {
        for (name, format) in [
            ("rows.json", Format::Json),
            ("rows.JSONL", Format::Jsonl),
            ("a.b/rows.csv", Format::Csv),
            ("rows.parquet", Format::Parquet),
            ("rows.arrow", Format::Arrow),
        ] {
            assert_eq!(of_extension(Path::new(name)).unwrap(), format);
        }
        for name in ["rows", "rows.xlsx", ".csv", "csv"] {
            let problem = of_extension(Path::new(name)).unwrap_err().to_string();
            assert!(problem.contains(name) && problem.contains("--format"), "{problem}");
        }
    }
}
