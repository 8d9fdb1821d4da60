//! An answer that is still to come.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::Error;

/// What an operation will have come to. Await it, or [`wait`](Self::wait) in a thread; dropping it stops nothing.
#[derive(Debug)]
#[must_use = "nothing is durable before the answer has come"]
pub struct Pending<T>(pub(crate) oneshot::AsyncReceiver<Result<T, Error>>);

impl<T> Pending<T> {
    /// Blocks until the answer is there.
    pub fn wait(self) -> Result<T, Error> {
        futures_executor::block_on(self)
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A sequencer that ended without an answer has made nothing durable.
        Pin::new(&mut self.0).poll(cx).map(|answer| answer.unwrap_or(Err(Error::Closed)))
    }
}
