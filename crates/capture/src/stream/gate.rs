//! How much of a stream may go on to the client before its record is durable.
//!
//! A client takes one event for the end of the answer: `[DONE]`, `message_stop`, a line with `"done":true`. Everything
//! before it flows at once; from its first byte on nothing does. Of an event whose end has not come the bytes are
//! held back if it may turn out to be that one, which delays no token: no client can read half an event.

use crate::wire::Last;

/// Watches a stream for the event that ends it.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Where the event begins from which on nothing may flow, in bytes from the start of the stream.
    held_from: Option<u64>,
    closed: bool,
}

impl Gate {
    /// True if the last event was seen for certain; nothing flows any more.
    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes note of an event that begins at `start`.
    pub(crate) fn saw(&mut self, last: Last, start: u64) {
        if self.closed {
            return;
        }
        match last {
            Last::No => self.held_from = None,
            Last::Perhaps | Last::Yes => {
                self.held_from.get_or_insert(start);
            }
        }
        self.closed = last == Last::Yes;
    }

    /// Up to where everything may flow, if `unended` is where an event begins that may be the last one and `size` is
    /// what has come.
    pub(crate) fn free_to(&self, unended: Option<u64>, size: u64) -> u64 {
        self.held_from.or(unended).unwrap_or(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_the_end_is_held_until_more_follows() {
        let mut gate = Gate::default();
        gate.saw(Last::No, 0);
        assert_eq!((gate.free_to(None, 10), gate.free_to(Some(7), 10)), (10, 7));
        gate.saw(Last::Perhaps, 10);
        gate.saw(Last::Perhaps, 20);
        assert_eq!((gate.free_to(Some(30), 30), gate.is_closed()), (10, false));
        gate.saw(Last::No, 30);
        assert_eq!(gate.free_to(None, 40), 40);
        gate.saw(Last::Perhaps, 40);
        gate.saw(Last::Yes, 50);
        gate.saw(Last::No, 60);
        assert_eq!((gate.free_to(None, 70), gate.is_closed()), (40, true));
    }
}
