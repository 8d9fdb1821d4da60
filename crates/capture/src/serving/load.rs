//! What a model server says of how busy it is at the moment.

use serde::Deserialize;

use super::{Ask, Told};

/// How busy a model server is; what it does not tell is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    /// The share of its key-value cache that is in use, from 0 to 1.
    pub kv_cache: Option<f64>,
    /// Requests that it computes.
    pub running: Option<i64>,
    /// Requests that wait for their turn.
    pub waiting: Option<i64>,
    /// Bytes of GPU memory that its loaded models take.
    pub vram: Option<i64>,
}

/// Gauges of each server in the Prometheus text format: share of the cache, running, waiting. The older names come last.
const GAUGES: [(&str, Gauge); 12] = [
    ("vllm:kv_cache_usage_perc", Gauge::Cache),
    ("vllm:gpu_cache_usage_perc", Gauge::Cache),
    ("vllm:num_requests_running", Gauge::Running),
    ("vllm:num_requests_waiting", Gauge::Waiting),
    ("llamacpp:kv_cache_usage_ratio", Gauge::Cache),
    ("llamacpp:requests_processing", Gauge::Running),
    ("llamacpp:requests_deferred", Gauge::Waiting),
    ("tgi_batch_current_size", Gauge::Running),
    ("tgi_queue_size", Gauge::Waiting),
    ("sglang:token_usage", Gauge::Cache),
    ("sglang:num_running_reqs", Gauge::Running),
    ("sglang:num_queue_reqs", Gauge::Waiting),
];

#[derive(Clone, Copy)]
enum Gauge {
    Cache,
    Running,
    Waiting,
}

impl Load {
    /// What to ask for it, in this order: a server that does not know one question may know the next.
    pub fn asks() -> [Ask; 2] {
        [Ask::get("/metrics"), Ask::get("/api/ps")]
    }

    /// The load that an answer tells of; `None` if it tells nothing.
    pub fn of(told: &Told) -> Option<Self> {
        let load = match told.ask.path.as_str() {
            "/metrics" => Self::of_metrics(std::str::from_utf8(&told.body).ok()?),
            _ => Self::of_models(&told.body)?,
        };
        (load != Self::default()).then_some(load)
    }

    /// Of several engines or models of one server the fullest cache counts, and all of their requests.
    fn of_metrics(text: &str) -> Self {
        let mut load = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let Some((_, gauge)) = GAUGES.iter().find(|(known, _)| *known == name) else { continue };
            // The value stands behind the labels, in which a space or a brace can stand too; a time may follow.
            let rest = line.rsplit_once('}').map_or(&line[name.len()..], |(_, rest)| rest);
            let value = rest.split_whitespace().next().and_then(|value| value.parse::<f64>().ok());
            let Some(value) = value.filter(|value| value.is_finite() && *value >= 0.0) else { continue };
            let add = |sum: &mut Option<i64>| *sum = Some(sum.unwrap_or(0).saturating_add(value as i64));
            match gauge {
                Gauge::Cache => load.kv_cache = Some(load.kv_cache.map_or(value, |most| most.max(value))),
                Gauge::Running => add(&mut load.running),
                Gauge::Waiting => add(&mut load.waiting),
            }
        }
        load
    }

    /// Of Ollama's `/api/ps`.
    fn of_models(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Loaded {
            models: Vec<Model>,
        }
        #[derive(Deserialize)]
        struct Model {
            #[serde(default)]
            size_vram: i64,
        }
        let Loaded { models } = serde_json::from_slice(body).ok()?;
        let vram = models.iter().fold(0_i64, |sum, model| sum.saturating_add(model.size_vram.max(0)));
        Some(Self { vram: Some(vram), ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{told, transcript};
    use super::*;

    #[test]
    fn what_real_servers_tell() {
        let load = |case: &str| Load::of(&transcript(&format!("serving/{case}/metrics"))).unwrap();
        let idle = Load { running: Some(0), waiting: Some(0), ..Load::default() };
        assert_eq!(load("llama-server"), idle);
        assert_eq!(load("vllm"), Load { kv_cache: Some(0.0), ..idle });
    }

    #[test]
    fn what_documentation_shows() {
        let metrics = "# TYPE vllm:gpu_cache_usage_perc gauge\n\
            vllm:gpu_cache_usage_perc{model_name=\"a b}\"} 0.25 1763899200000\n\
            vllm:gpu_cache_usage_perc{model_name=\"c\"} 0.5\n\
            vllm:num_requests_running{model_name=\"a\"} 2.0\nvllm:num_requests_running{model_name=\"c\"} 3.0\n\
            vllm:num_requests_waiting NaN\nvllm:num_requests_waiting_by_reason{reason=\"capacity\"} 9\n";
        let load = Load::of(&told(Ask::get("/metrics"), metrics));
        assert_eq!(load, Some(Load { kv_cache: Some(0.5), running: Some(5), ..Load::default() }));
        let metrics = "sglang:token_usage{model_name=\"m\"} 0.28\nsglang:num_running_reqs{model_name=\"m\"} 3.0\n\
            sglang:num_queue_reqs{model_name=\"m\"} 1.0\n";
        let load = Load::of(&told(Ask::get("/metrics"), metrics));
        assert_eq!(load, Some(Load { kv_cache: Some(0.28), running: Some(3), waiting: Some(1), vram: None }));
        let models = r#"{"models":[{"name":"a","size":5,"size_vram":3},{"name":"b","size":1}]}"#;
        assert_eq!(Load::of(&told(Ask::get("/api/ps"), models)), Some(Load { vram: Some(3), ..Load::default() }));
        for (path, nothing) in [("/metrics", "<html>"), ("/metrics", ""), ("/api/ps", "{}"), ("/api/ps", "[")] {
            assert_eq!(Load::of(&told(Ask::get(path), nothing)), None, "{path} {nothing}");
        }
    }
}
