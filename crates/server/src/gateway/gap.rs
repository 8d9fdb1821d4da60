//! Calls that went through without a record, where the configuration allows it, and the record that owns up to them.

use std::sync::{Arc, Mutex, PoisonError};

use onrecord_ledger::{Error, Ledger};
use onrecord_proof::{Kind, Record, field};

use crate::engine::new_record;

/// Counts calls that went unrecorded.
#[derive(Debug, Default)]
pub(crate) struct Gap(Mutex<Option<Span>>);

#[derive(Debug, Clone, Copy)]
struct Span {
    calls: i64,
    from: i64,
    until: i64,
}

impl Gap {
    /// A call went through without a record.
    pub(crate) fn count(&self) {
        let now = onrecord_ledger::now();
        let mut gap = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Span { calls, from, .. } = gap.unwrap_or(Span { calls: 0, from: now, until: now });
        *gap = Some(Span { calls: calls + 1, from, until: now });
    }

    /// The log takes records again: states how many calls it does not have. Whoever notices goes on; what could not be stated is
    /// kept for the next time.
    pub(crate) fn close(self: &Arc<Self>, ledger: &Ledger) {
        let Some(span) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        match ledger.append(&span.record()) {
            Ok(pending) => {
                let gap = Arc::clone(self);
                tokio::spawn(async move {
                    if let Err(error) = pending.await {
                        gap.keep(span, &error);
                    }
                });
            }
            Err(error) => self.keep(span, &error),
        }
    }

    fn keep(&self, span: Span, error: &Error) {
        tracing::error!(%error, calls = span.calls, "the gap in the log is not on record yet");
        self.merge(span);
    }

    fn merge(&self, span: Span) {
        let mut gap = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *gap = Some(gap.map_or(span, |later| Span {
            calls: span.calls + later.calls,
            from: span.from,
            until: later.until,
        }));
    }
}

impl Span {
    fn record(self) -> Record {
        let mut record = new_record(Kind::Gap);
        record.set(&field::GAP_CALLS, self.calls);
        record.set(&field::GAP_FROM, self.from);
        record.set(&field::GAP_UNTIL, self.until);
        record
    }
}
