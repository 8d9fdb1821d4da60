//! What waits for the sequencer.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use onrecord_proof::{Commitment, Group, Prepared};
use uuid::Uuid;

use crate::Error;

/// A record that is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Its leaf index.
    pub index: u64,
    /// When it was committed, in microseconds since 1970-01-01 UTC.
    pub committed_at: i64,
}

/// What the groups of an intent hold. A record that leaves groups out must have the same.
pub(crate) type Commitments = Vec<(Group, Commitment)>;
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// One thing to make durable.
#[derive(Debug)]
pub(crate) enum Op {
    /// A call has begun.
    Intent { id: Uuid, bytes: Vec<u8>, commitments: Commitments, reply: Reply<()> },
    /// A record is complete. One that `waits` is kept for the next attempt when the log cannot be written.
    Leaf { prepared: Prepared, waits: bool, reply: Reply<Receipt> },
}

impl Op {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Intent { bytes, .. } => bytes,
            Self::Leaf { prepared, .. } => &prepared.bytes,
        }
    }
}

#[derive(Debug)]
struct State {
    ops: Vec<Op>,
    bytes: usize,
    /// The sequencer is woken when so many are there.
    wanted: usize,
    /// Who wants a new segment to be begun.
    rotate: Vec<Reply<()>>,
    closed: bool,
}

/// The bounded queue in front of the sequencer. A batch is what arrived during the last sync.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    max_bytes: usize,
}

/// What [`Queue::take`] found.
pub(crate) enum Taken {
    Ops(Vec<Op>),
    Nothing,
    Closed,
}

impl Queue {
    pub(crate) fn new(max_bytes: usize) -> Self {
        let state = State { ops: Vec::new(), bytes: 0, wanted: 1, rotate: Vec::new(), closed: false };
        Self { state: Mutex::new(state), arrived: Condvar::new(), max_bytes }
    }

    /// Adds an intent, unless more than the queue's bytes are waiting.
    pub(crate) fn begin(&self, op: Op) -> Result<(), Error> {
        let state = self.lock();
        if state.bytes >= self.max_bytes {
            return Err(Error::Busy);
        }
        self.push(state, op)
    }

    /// Adds a record. It always finds room: a call's record takes the place that its intent was given, and what else comes
    /// this way comes from inside, one at a time. What comes from outside without an intent takes that of
    /// [`begin`](Self::begin).
    pub(crate) fn complete(&self, op: Op) -> Result<(), Error> {
        self.push(self.lock(), op)
    }

    fn push(&self, mut state: MutexGuard<'_, State>, op: Op) -> Result<(), Error> {
        if state.closed {
            return Err(Error::Closed);
        }
        state.bytes += op.bytes().len();
        state.ops.push(op);
        if state.ops.len() == state.wanted {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// How many operations wait, and their bytes.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let state = self.lock();
        (state.ops.len(), state.bytes)
    }

    /// Asks for a new segment.
    pub(crate) fn rotate(&self, reply: Reply<()>) -> Result<(), Error> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        state.rotate.push(reply);
        self.arrived.notify_one();
        Ok(())
    }

    /// Takes out who wants a new segment.
    pub(crate) fn take_rotate(&self) -> Vec<Reply<()>> {
        std::mem::take(&mut self.lock().rotate)
    }

    /// Waits for work, at most `patience` if given. So many operations as are `expected` may come first, if they do within
    /// `grace`.
    pub(crate) fn take(&self, patience: Option<Duration>, expected: usize, grace: Duration) -> Taken {
        let mut state = self.lock();
        if expected > 1 {
            state.wanted = expected;
            let missing = |state: &mut State| state.ops.len() < expected && state.rotate.is_empty() && !state.closed;
            let waited = self.arrived.wait_timeout_while(state, grace, missing);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.wanted = 1;
        }
        while state.ops.is_empty() && state.rotate.is_empty() && !state.closed {
            let Some(patience) = patience else {
                state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let (back, waited) = self.arrived.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
            state = back;
            if waited.timed_out() {
                break;
            }
        }
        state.bytes = 0;
        match std::mem::take(&mut state.ops) {
            ops if !ops.is_empty() => Taken::Ops(ops),
            _ if state.closed && state.rotate.is_empty() => Taken::Closed,
            _ => Taken::Nothing,
        }
    }

    /// No more is added; what is there is still worked off.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
