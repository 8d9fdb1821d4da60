//! The next batch: what the log has behind a destination's cursor, hot or sealed, that its condition selects.

use std::ops::Range;

use futures::TryStreamExt as _;
use onrecord_lake::{Lake, LeafSet};

use super::record::{Content, Outgoing};
use super::settings::Settings;

/// Bytes of a batch, about: whatever records hold, a destination takes some MiB of memory.
const BATCH_BYTES: usize = 4 << 20;
/// Leaves that a condition is asked of at once.
const WINDOW: u64 = 20_000;

/// Records for one destination, in the order of the log.
#[derive(Debug)]
pub(super) struct Batch {
    pub records: Vec<Outgoing>,
    /// The first leaf that comes after it.
    pub until: u64,
    /// Leaves in between whose record is gone.
    pub missing: u64,
}

pub(super) struct Gather {
    lake: Lake,
    condition: Option<String>,
    content: Content,
    most: usize,
    /// What the condition selects, and among which leaves.
    window: Option<(Range<u64>, LeafSet)>,
}

impl Gather {
    pub(super) fn new(lake: Lake, settings: &Settings) -> Self {
        let Settings { condition, content, batch, .. } = settings;
        Self { lake, condition: condition.clone(), content: *content, most: *batch, window: None }
    }

    /// From leaf `from` on, of the `size` leaves that there are, which are more.
    pub(super) async fn next(&mut self, from: u64, size: u64) -> onrecord_lake::Result<Batch> {
        let (ranges, until) = self.wanted(from, size).await?;
        let mut batch = Batch { records: Vec::new(), until, missing: 0 };
        let mut bytes = 0;
        for range in ranges {
            let mut expected = range.start;
            let mut records = self.lake.records(range.clone());
            while let Some(committed) = records.try_next().await? {
                batch.missing += committed.index - expected;
                expected = committed.index + 1;
                let record = Outgoing::of(&committed, self.content);
                bytes += record.size();
                batch.records.push(record);
                if batch.records.len() >= self.most || bytes >= BATCH_BYTES {
                    return Ok(Batch { until: expected, ..batch });
                }
            }
            batch.missing += range.end - expected;
        }
        Ok(batch)
    }

    /// The leaves to read, and where their end is.
    async fn wanted(&mut self, from: u64, size: u64) -> onrecord_lake::Result<(Vec<Range<u64>>, u64)> {
        let Some(condition) = &self.condition else {
            let until = size.min(from + self.most as u64);
            return Ok((std::iter::once(from..until).collect(), until));
        };
        let known = self.window.take().filter(|(within, _)| within.contains(&from));
        let (within, selected) = if let Some(known) = known {
            known
        } else {
            let within = from..size.min(from + WINDOW);
            let selected = self.lake.select_within(within.clone(), condition).await?;
            (within, selected)
        };
        let ranges = selected.ranges().iter().map(|range| range.start.max(from)..range.end);
        let wanted = (ranges.filter(|range| !range.is_empty()).collect(), within.end);
        self.window = Some((within, selected));
        Ok(wanted)
    }
}
