//! How busy a model server was while a call was under way: the memory of its process, and what it tells of its load.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use onrecord_capture::serving::Load;
use onrecord_proof::{Record, field};
use tokio::sync::Notify;

use crate::local::memory::Memory;

/// Samples that are kept; of a longer call the first ones are gone.
const KEPT: usize = 8192;
/// A call without a sample of its own has the one before it, if that is not older.
const FRESH: Duration = Duration::from_secs(10);

/// What was sampled of one model server. Samples are taken while calls are under way, and not for each call.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    under_way: AtomicUsize,
    pub(super) wake: Notify,
    memory: Series<Memory>,
    load: Series<Load>,
}

/// A call that is under way.
#[derive(Debug)]
pub(crate) struct Watched {
    gauge: Arc<Gauge>,
    since: Instant,
}

#[derive(Debug)]
struct Series<T>(Mutex<VecDeque<(Instant, T)>>);

impl<T> Default for Series<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Copy> Series<T> {
    fn add(&self, at: Instant, sample: T) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == KEPT {
            samples.pop_front();
        }
        samples.push_back((at, sample));
    }

    /// Hands over the samples since a time, or the last one before it. True if there were any.
    fn since(&self, since: Instant, mut each: impl FnMut(T)) -> bool {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = false;
        for (at, sample) in samples.iter().rev() {
            if *at < since && (found || since.duration_since(*at) > FRESH) {
                break;
            }
            each(*sample);
            found = true;
        }
        found
    }
}

impl Gauge {
    /// A call begins.
    pub(crate) fn watch(self: &Arc<Self>) -> Watched {
        if self.under_way.fetch_add(1, Ordering::Relaxed) == 0 {
            self.wake.notify_waiters();
        }
        Watched { gauge: Arc::clone(self), since: Instant::now() }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0
    }

    pub(super) fn add_memory(&self, memory: Memory) {
        self.memory.add(Instant::now(), memory);
    }

    pub(super) fn add_load(&self, load: Load) {
        self.load.add(Instant::now(), load);
    }
}

impl Watched {
    /// Puts the most that there was since the call began into its record.
    pub(crate) fn record(&self, record: &mut Record) {
        let mut peak = Memory::default();
        if self.gauge.memory.since(self.since, |memory| peak = peak.max(memory)) {
            for (field, bytes) in [
                (&field::UPSTREAM_MEMORY, Some(peak.resident)),
                (&field::UPSTREAM_CGROUP_MEMORY, peak.group),
                (&field::UPSTREAM_GPU_MEMORY, peak.gpu),
            ] {
                if let Some(bytes) = bytes {
                    record.set(field, i64::try_from(bytes).unwrap_or(i64::MAX));
                }
            }
        }
        let mut most = Load::default();
        self.gauge.load.since(self.since, |load| {
            most = Load {
                // Floats have no order of their own; these are finite.
                kv_cache: most.kv_cache.into_iter().chain(load.kv_cache).reduce(f64::max),
                running: most.running.max(load.running),
                waiting: most.waiting.max(load.waiting),
                vram: most.vram.max(load.vram),
            };
        });
        if let Some(share) = most.kv_cache {
            record.set(&field::UPSTREAM_KV_CACHE, share);
        }
        for (field, number) in [
            (&field::UPSTREAM_RUNNING, most.running),
            (&field::UPSTREAM_WAITING, most.waiting),
            (&field::UPSTREAM_VRAM, most.vram),
        ] {
            if let Some(number) = number {
                record.set(field, number);
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.gauge.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use onrecord_proof::Kind;

    use super::*;
    use crate::engine::new_record;

    fn recorded(watched: &Watched) -> Record {
        let mut record = new_record(Kind::Interaction);
        watched.record(&mut record);
        record
    }

    #[test]
    fn a_call_has_the_most_of_what_was_sampled_while_it_was_under_way() {
        let gauge = Arc::new(Gauge::default());
        let first = gauge.watch();
        assert_eq!(recorded(&first).get(&field::UPSTREAM_MEMORY), None, "nothing was sampled");
        let resident = |resident| Memory { resident, ..Memory::default() };
        gauge.add_memory(resident(900));
        gauge.add_memory(Memory { group: Some(70), gpu: Some(8), ..resident(300) });
        gauge.add_load(Load { running: Some(3), waiting: Some(0), ..Load::default() });
        gauge.add_load(Load { running: Some(1), waiting: Some(2), kv_cache: Some(0.5), ..Load::default() });
        let second = gauge.watch();
        assert_eq!(recorded(&second).int(&field::UPSTREAM_MEMORY), Some(300), "the last one before");
        assert_eq!(recorded(&second).int(&field::UPSTREAM_CGROUP_MEMORY), Some(70));
        gauge.add_memory(Memory { group: Some(60), gpu: Some(9), ..resident(400) });
        assert_eq!(recorded(&second).int(&field::UPSTREAM_MEMORY), Some(400));
        let record = recorded(&first);
        assert_eq!(record.int(&field::UPSTREAM_MEMORY), Some(900));
        assert_eq!(record.int(&field::UPSTREAM_CGROUP_MEMORY), Some(70));
        assert_eq!(record.int(&field::UPSTREAM_GPU_MEMORY), Some(9));
        assert_eq!((record.int(&field::UPSTREAM_RUNNING), record.int(&field::UPSTREAM_WAITING)), (Some(3), Some(2)));
        assert_eq!(record.get(&field::UPSTREAM_KV_CACHE), Some(&0.5.into()));
        assert!(gauge.is_busy());
        drop((first, second));
        assert!(!gauge.is_busy());
    }
}
