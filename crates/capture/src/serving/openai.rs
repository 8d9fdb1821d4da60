//! Any other server with OpenAI's list of models, which tells little more than their names.

use super::{Server, Setup, Told, items_at, number_at, read, text_at};
use crate::json::RawValue;

pub(super) fn setups(told: &[Told], called: &[String]) -> Vec<Setup> {
    let models = read(told, "/v1/models").map(|models| items_at(models, &["data"])).unwrap_or_default();
    let alone = models.len() == 1;
    let in_use = |model: &&RawValue| alone || text_at(model, &["id"]).is_some_and(|id| called.contains(&id));
    models.into_iter().filter(in_use).filter_map(|model| setup(model, told)).collect()
}

fn setup(model: &RawValue, told: &[Told]) -> Option<Setup> {
    let context = ["context_length", "max_model_len", "context_window"];
    Some(Setup {
        context_length: context.into_iter().find_map(|name| number_at(model, &[name])),
        told: told.to_vec(),
        ..Setup::new(Server::OpenAi, text_at(model, &["id"])?)
    })
}
