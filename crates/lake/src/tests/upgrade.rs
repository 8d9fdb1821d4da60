//! Tables that another version of this program has made.

use datafusion::arrow::datatypes::{DataType, Field, Schema};

use super::log::TestLog;
use super::records::calls;
use super::{Fixture, open};
use crate::schema::table_schema;
use crate::storage::{Disk, Storage};
use crate::{Lake, table};

/// A lake over a table that was made with these columns.
async fn made_with(columns: Schema) -> (tempfile::TempDir, TestLog, Result<Lake, crate::Error>) {
    let (folder, log) = (tempfile::tempdir().unwrap(), TestLog::new(calls(150)));
    let storage = Disk::new(folder.path().join("lake/records"));
    storage.create().unwrap();
    table::create(storage.delta_log().unwrap(), &columns).await.unwrap();
    let lake = open(&folder, &log).await;
    (folder, log, lake)
}

#[tokio::test]
async fn the_table_of_an_older_version_gains_the_new_columns() {
    let older = table_schema();
    let older =
        older.fields().iter().filter(|field| !["onrecord_outcome", "trace_id"].contains(&field.name().as_str()));
    let (folder, log, lake) = made_with(Schema::new(older.cloned().collect::<Vec<_>>())).await;
    let mut fixture = Fixture { folder, log, lake: lake.unwrap() };
    assert_eq!(fixture.lake.stats().version, 1);
    fixture.lake.seal().await.unwrap();
    fixture.reopen().await;
    assert_eq!(fixture.lake.stats().version, 2, "nothing is left to add");
    assert_eq!(fixture.all().await, calls(150));
    let outcomes = fixture.query("SELECT onrecord_outcome, count(*) > 0 FROM records GROUP BY 1 ORDER BY 1").await;
    assert!(outcomes.iter().any(|row| row == "completed|true"), "{outcomes:?}");
    assert_eq!(fixture.lake.check_files(|_| ()).await.unwrap(), []);
}

#[tokio::test]
async fn the_table_of_a_newer_version_is_refused() {
    let mut columns = table_schema().fields().to_vec();
    columns.push(Field::new("of_tomorrow", DataType::Utf8, true).into());
    let (_folder, _log, lake) = made_with(Schema::new(columns)).await;
    let problem = lake.unwrap_err().to_string();
    assert!(problem.contains("the column of_tomorrow is not known here: a newer version"), "{problem}");
}
