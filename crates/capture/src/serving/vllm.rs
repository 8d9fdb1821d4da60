//! vLLM: `/v1/models` and `/version`. Each adapter is a model of its own, with the one that it belongs to as parent.

use super::{Server, Setup, Told, items_at, number_at, read, text_at};
use crate::json::RawValue;

pub(super) fn setups(told: &[Told]) -> Vec<Setup> {
    let models = read(told, "/v1/models").map(|models| items_at(models, &["data"])).unwrap_or_default();
    let setup = |model: &RawValue| setup(model, &models, told);
    models.iter().filter_map(|model| setup(model)).collect()
}

fn setup(model: &RawValue, models: &[&RawValue], told: &[Told]) -> Option<Setup> {
    let root = text_at(model, &["root"]);
    let parent = text_at(model, &["parent"]);
    let base =
        parent.as_ref().and_then(|parent| models.iter().find(|model| text_at(model, &["id"]).as_ref() == Some(parent)));
    let context = |model: &RawValue| number_at(model, &["max_model_len"]);
    Some(Setup {
        path: base.map_or_else(|| root.clone(), |base| text_at(base, &["root"])),
        adapters: if parent.is_some() { root.into_iter().collect() } else { Vec::new() },
        context_length: context(model).or_else(|| context(base?)),
        build: read(told, "/version").and_then(|version| text_at(version, &["version"])),
        told: told.to_vec(),
        ..Setup::new(Server::Vllm, text_at(model, &["id"])?)
    })
}
