//! A thread of the lake that works in the background, at the lowest priority.

use std::thread::{self, JoinHandle};

use tokio::sync::oneshot::{Receiver, Sender, channel};

use crate::error::{Error, Result};

/// The niceness that gives way to everything else.
const LOWEST: i32 = 19;

/// A running thread. Told to stop and waited for when it is dropped.
#[derive(Debug)]
pub(crate) struct Background {
    name: &'static str,
    thread: Option<JoinHandle<()>>,
    stop: Option<Sender<()>>,
}

impl Background {
    /// Starts `work` on a thread with an event loop of its own. What it is given comes to its end when it shall stop.
    pub(crate) fn start<F: Future<Output = ()>>(
        name: &'static str,
        work: impl FnOnce(Receiver<()>) -> F + Send + 'static,
    ) -> Result<Self> {
        let (stop, stopped) = channel();
        let no_thread = |source| Error::Io { path: name.into(), source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
        let run = move || {
            give_way(LOWEST);
            runtime.block_on(work(stopped));
            // A read that is still under way on another thread is not waited for.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name(name.into()).spawn(run).map_err(no_thread)?;
        Ok(Self { name, thread: Some(thread), stop: Some(stop) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(thread = self.name, "a thread of the lake failed");
        }
    }
}

/// Lowers the priority of the calling thread.
pub(crate) fn give_way(nice: i32) {
    if let Err(error) = rustix::process::setpriority_process(None, nice) {
        tracing::debug!(%error, "a background thread keeps the priority of the others");
    }
}
