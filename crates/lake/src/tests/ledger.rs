//! The lake over a real log.

use std::sync::Arc;

use futures::TryStreamExt;
use onrecord_ledger::{Committed, Ledger, Options};
use onrecord_proof::field;

use super::records::calls;
use crate::{Lake, LakeOptions};

#[tokio::test]
async fn a_log_and_its_lake_go_on_together_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (log, lake) = (folder.path().join("log"), folder.path().join("lake"));
    let options = Options { segment_size: 1 << 16, ..Options::default() };
    let mut committed: Vec<Committed> = Vec::new();
    for run in 0..3_i64 {
        let ledger = Ledger::open(&log, &options).unwrap();
        for call in calls(300) {
            let mut record = call.record;
            record.set(&field::OUTPUT_TOKENS, run);
            let receipt = ledger.append(&record).unwrap().await.unwrap();
            committed.push(Committed { index: receipt.index, committed_at: receipt.committed_at, record });
        }
        let lake = Lake::open(&lake, Arc::new(ledger.reader()), LakeOptions::default()).await.unwrap();
        assert_eq!(lake.stats().hot_rows, 300);
        let found: Vec<_> = lake.records(0..u64::MAX).try_collect().await.unwrap();
        assert_eq!(found, committed);
        while lake.seal().await.unwrap().is_some() {}
        let found: Vec<_> = lake.records(0..u64::MAX).try_collect().await.unwrap();
        assert_eq!(found, committed);
        ledger.close().unwrap();
    }
}
