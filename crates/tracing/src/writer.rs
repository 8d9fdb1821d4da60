//! The thread that writes steps to the log.

use std::sync::{Arc, Mutex, PoisonError};

use onrecord_capture::otlp;
use onrecord_ledger::{Error, Ledger};
use onrecord_proof::{Kind, Record, field};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};
use uuid::Uuid;

use crate::queue::{Gap, Queue};
use crate::step::Step;

/// Makes empty records, each with a secret of its own.
#[derive(Debug)]
pub(crate) struct Records(Mutex<StdRng>);

impl Records {
    /// Fails if the system has no randomness to begin with.
    pub(crate) fn new() -> Result<Self, crate::Error> {
        let rng = StdRng::try_from_os_rng().map_err(|error| crate::Error::Random(error.to_string()))?;
        Ok(Self(Mutex::new(rng)))
    }

    /// An empty record that begins now.
    pub(crate) fn make(&self, kind: Kind) -> Record {
        let mut secret = [0; 32];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut secret);
        Record::new(Uuid::now_v7(), kind, onrecord_ledger::now(), secret)
    }
}

pub(crate) struct Writer {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) records: Arc<Records>,
    /// What is said of the process.
    pub(crate) resource: Vec<KeyValue>,
}

impl Writer {
    /// Works until the queue is closed and empty.
    pub(crate) fn run(self) {
        while let Some(steps) = self.queue.take() {
            self.write(&steps);
            self.state_gap();
        }
        self.state_gap();
    }

    fn write(&self, steps: &[Step]) {
        // The log syncs what was appended together.
        let appended: Vec<_> = steps.iter().map(|step| self.append(step)).collect();
        let done: Vec<Result<(), Error>> = appended
            .into_iter()
            .map(|appended| appended?.into_iter().try_for_each(|pending| pending.wait().map(drop)))
            .collect();
        let missed = done.iter().filter(|step| step.is_err()).count();
        self.queue.wrote((done.len() - missed) as u64, missed as u64);
        if let Some(error) = done.into_iter().find_map(Result::err) {
            tracing::error!(%error, steps = missed, "steps are not on record");
        }
    }

    fn append(&self, step: &Step) -> Result<Vec<onrecord_ledger::Pending<onrecord_ledger::Receipt>>, Error> {
        let records = step.records(&self.resource, |kind| self.records.make(kind));
        records.iter().map(|record| self.ledger.append(record)).collect()
    }

    /// Says in the log how many steps it does not have. What could not be stated is kept.
    fn state_gap(&self) {
        let Some(gap) = self.queue.take_gap() else { return };
        match self.append_gap(gap) {
            Ok(()) => {
                self.queue.stated();
                tracing::warn!(
                    steps = gap.steps,
                    "steps are not on record, as a `gap` record says: they found no room in the queue, or the log did not take them; a larger `Options::queue` or a filter on the layer keeps more"
                );
            }
            Err(error) => {
                self.queue.put_back(gap);
                tracing::error!(%error, steps = gap.steps, "the gap in the log is not on record yet");
            }
        }
    }

    fn append_gap(&self, gap: Gap) -> Result<(), Error> {
        let mut record = self.records.make(Kind::Gap);
        otlp::set_embedded(&mut record);
        record.set(&field::NOTE, "steps of the application that the log does not have");
        record.set(&field::GAP_CALLS, i64::try_from(gap.steps).unwrap_or(i64::MAX));
        record.set(&field::GAP_FROM, gap.from);
        record.set(&field::GAP_UNTIL, gap.until);
        self.ledger.append(&record)?.wait().map(drop)
    }
}
