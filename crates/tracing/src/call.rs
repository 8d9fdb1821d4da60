//! One call of a model.

use std::sync::Arc;
use std::time::Instant;

use onrecord_capture::otlp::{self, SpanKey};
use onrecord_ledger::{Error, Ledger, Pending, Receipt};
use onrecord_proof::{Kind, Record, field};
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan as _;
use uuid::Uuid;

use crate::step::Step;
use crate::writer::Records;

/// One call of a model, which ends as exactly one record of kind `interaction`: with [`end`](Self::end), or as `interrupted`
/// when it is dropped before or the process dies. `onrecord_capture` fills in what was asked (`Request`) and what was
/// answered (`Generated`, with every decision; `Response`, of a model server).
///
/// ```
/// use onrecord_proof::field;
/// # use onrecord_tracing::{Options, Recorder};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let recorder = Recorder::open(folder.path(), Options::default())?;
/// let mut call = recorder.call();
/// call.record().set(&field::REQUEST_MODEL, "tiny");
/// call.record().set(&field::INPUT_TEXT, "What is the capital of France?");
/// call.begin()?.wait()?; // The question is durable before the model computes; in async code: `.await?`.
/// call.record().set(&field::OUTPUT_TEXT, "Paris.");
/// let receipt = call.end("completed")?.wait()?;
/// assert_eq!(receipt.index, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Call {
    ledger: Arc<Ledger>,
    record: Record,
    started: Instant,
    has_ended: bool,
}

impl Call {
    pub(crate) fn new(ledger: Arc<Ledger>, records: &Records, service: Option<&str>) -> Self {
        let mut record = records.make(Kind::Interaction);
        otlp::set_embedded(&mut record);
        if let Some(service) = service {
            record.set(&field::SERVICE_NAME, service);
        }
        if let Some(span) = current(record.id) {
            otlp::set_parent(span, &mut record);
        }
        Self { ledger, record, started: Instant::now(), has_ended: false }
    }

    /// The id of its record, which `onrecord show` and `onrecord trace` take.
    pub const fn id(&self) -> Uuid {
        self.record.id
    }

    /// The record, to be filled in.
    pub const fn record(&mut self) -> &mut Record {
        &mut self.record
    }

    /// Microseconds since it began.
    pub fn elapsed_us(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    /// Sends what is known to the log, before the model computes. Once the answer has come it is durable: a call that does
    /// not end after that, because the process dies, is on record as `interrupted`.
    ///
    /// # Errors
    ///
    /// If the log does not take it: it is closed, or too much is waiting, or it cannot be written.
    pub fn begin(&mut self) -> Result<Pending<()>, Error> {
        self.ledger.begin(&mut self.record)
    }

    /// Ends it and sends the record to the log. `outcome` is `completed`, or what went wrong, e.g. `upstream_error`.
    ///
    /// # Errors
    ///
    /// If the log does not take it, because it is closed.
    pub fn end(mut self, outcome: &str) -> Result<Pending<Receipt>, Error> {
        self.finish(outcome)
    }

    fn finish(&mut self, outcome: &str) -> Result<Pending<Receipt>, Error> {
        self.has_ended = true;
        let duration = self.elapsed_us();
        self.record.set(&field::DURATION, duration);
        self.record.set(&field::OUTCOME, outcome);
        self.ledger.append(&self.record)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        for (field, text) in [
            (&field::ERROR_TYPE, "interrupted"),
            (&field::ERROR_STAGE, "client"),
            (&field::ERROR_MESSAGE, "the application did not end the call"),
        ] {
            if self.record.get(field).is_none() {
                self.record.set(field, text);
            }
        }
        if let Err(error) = self.finish("interrupted") {
            tracing::error!(id = %self.record.id, %error, "a call is not on record; if it had begun, its intent will be closed as interrupted");
        }
    }
}

/// The span that a call is made in, if it is one of the layer's. From now on it is around that call.
fn current(call: Uuid) -> Option<SpanKey> {
    let place = |(id, dispatch): (&tracing::Id, &tracing::Dispatch)| {
        let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
        span.scope().find_map(|span| {
            let mut extensions = span.extensions_mut();
            let step = extensions.get_mut::<Step>()?;
            step.around(call);
            Some(step.key())
        })
    };
    tracing::Span::current().with_subscriber(place).flatten()
}
