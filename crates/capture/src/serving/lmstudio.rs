//! LM Studio: `/api/v0/models`.

use super::{Server, Setup, Told, items_at, number_at, read, text_at};
use crate::json::RawValue;

pub(super) fn setups(told: &[Told], called: &[String]) -> Vec<Setup> {
    let models = read(told, "/api/v0/models").map(|models| items_at(models, &["data"])).unwrap_or_default();
    let in_use = |model: &&RawValue| {
        let loaded = text_at(model, &["state"]).as_deref() == Some("loaded");
        loaded || text_at(model, &["id"]).is_some_and(|id| called.contains(&id))
    };
    models.into_iter().filter(in_use).filter_map(|model| setup(model, told)).collect()
}

fn setup(model: &RawValue, told: &[Told]) -> Option<Setup> {
    Some(Setup {
        architecture: text_at(model, &["arch"]),
        quantization: text_at(model, &["quantization"]),
        // What a model that is not loaded could take says nothing of how it will be.
        context_length: number_at(model, &["loaded_context_length"]),
        told: told.to_vec(),
        ..Setup::new(Server::LmStudio, text_at(model, &["id"])?)
    })
}
