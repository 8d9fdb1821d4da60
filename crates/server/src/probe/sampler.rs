//! The task that samples how busy a model server is, while calls to it are under way.

use std::sync::Arc;
use std::time::Duration;

use onrecord_capture::serving::{Ask, Load};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::ask::{Asking, NoAnswer};
use super::gauge::Gauge;
use crate::local::memory::{Memory, Processes};

/// Between two samples of memory.
const MEMORY_EVERY: Duration = Duration::from_millis(100);
/// Samples of memory for each one of GPU memory, which a driver is asked for.
const GPU_EVERY: u32 = 5;
/// Between two questions about the load.
const LOAD_EVERY: Duration = Duration::from_secs(2);
/// How long the processes of a server are taken to be the same.
const PROCESSES_FOR: Duration = Duration::from_secs(5);
/// A server that tells nothing of its load is asked again after this time.
const ASK_AGAIN: Duration = Duration::from_mins(5);

/// Samples one model server.
pub(crate) struct Sampler {
    pub asking: Asking,
    pub gauge: Arc<Gauge>,
}

impl Sampler {
    /// Samples until `stop` is cancelled.
    pub(crate) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            ((), ()) = async { tokio::join!(self.memory(), self.load()) } => {}
        }
    }

    async fn until_busy(&self) {
        let woken = self.gauge.wake.notified();
        if !self.gauge.is_busy() {
            woken.await;
        }
    }

    /// Of a server on this machine.
    async fn memory(&self) {
        let Some(address) = self.asking.local_address() else { return };
        let mut processes = Processes::default();
        let (mut found_at, mut samples, mut gpu) = (None, 0_u32, None);
        loop {
            self.until_busy().await;
            if found_at.is_none_or(|at: Instant| at.elapsed() > PROCESSES_FOR) {
                // Looks at all processes there are.
                processes = tokio::task::spawn_blocking(move || Processes::serving(address)).await.unwrap_or_default();
                found_at = Some(Instant::now());
            }
            if samples.is_multiple_of(GPU_EVERY) {
                gpu = tokio::task::spawn_blocking(processes.on_gpus()).await.unwrap_or_default();
            }
            samples = samples.wrapping_add(1);
            match processes.memory() {
                Some(memory) => self.gauge.add_memory(Memory { gpu, ..memory }),
                None => found_at = found_at.filter(|_| processes.is_empty()),
            }
            sleep(MEMORY_EVERY).await;
        }
    }

    async fn load(&self) {
        let mut known: Option<Ask> = None;
        loop {
            self.until_busy().await;
            let asks = known.take().map_or_else(|| Load::asks().to_vec(), |ask| vec![ask]);
            let mut pause = ASK_AGAIN;
            for ask in asks {
                match self.asking.ask(&ask).await {
                    Ok(told) => {
                        if let Some(load) = Load::of(&told) {
                            self.gauge.add_load(load);
                            (known, pause) = (Some(ask), LOAD_EVERY);
                            break;
                        }
                    }
                    Err(NoAnswer::Status(_)) => {}
                    // It may come back.
                    Err(_) => {
                        pause = LOAD_EVERY;
                        break;
                    }
                }
            }
            sleep(pause).await;
        }
    }
}
