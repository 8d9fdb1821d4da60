//! SGLang: `/get_model_info`, `/get_server_info` (its arguments, and what it came to at the start) and `/v1/models`, which
//! lists adapters as models with the one that they belong to as parent.

use super::{Server, Setup, Told, items_at, number_at, read, text_at};
use crate::json::RawValue;

pub(super) fn setups(told: &[Told]) -> Vec<Setup> {
    let Some(model) = read(told, "/get_model_info") else { return Vec::new() };
    let server = read(told, "/get_server_info");
    let of_server = |name: &str| text_at(server?, &[name]);
    let path = text_at(model, &["model_path"]);
    let Some(name) = of_server("served_model_name").or_else(|| path.clone()) else { return Vec::new() };
    let base = Setup {
        is_only: true,
        // The name under which it is served is often another one.
        aliases: path.iter().filter(|path| **path != name).cloned().collect(),
        // Weights can be replaced while the server runs; it is told what to call them.
        revision: text_at(model, &["weight_version"])
            .filter(|version| version != "default")
            .or_else(|| of_server("revision")),
        architecture: text_at(model, &["model_type"]),
        quantization: of_server("quantization").or_else(|| given(of_server("dtype"))),
        context_length: context(told, server),
        chat_template: None,
        sampling: text_of(model, "preferred_sampling_params"),
        build: of_server("version"),
        path,
        told: told.to_vec(),
        ..Setup::new(Server::Sglang, name)
    };
    let adapters = adapters(told, &base);
    let base = Setup { is_only: adapters.is_empty(), ..base };
    std::iter::once(base).chain(adapters).collect()
}

/// `auto` says nothing.
fn given(value: Option<String>) -> Option<String> {
    value.filter(|value| value != "auto")
}

/// What a request can have: as the server was told, else as it found out, else as it lists its models.
fn context(told: &[Told], server: Option<&RawValue>) -> Option<i64> {
    let of_server = |name: &str| number_at(server?, &[name]);
    let listed =
        || items_at(read(told, "/v1/models")?, &["data"]).iter().find_map(|one| number_at(one, &["max_model_len"]));
    of_server("context_length").or_else(listed).or_else(|| of_server("max_req_input_len"))
}

/// Each adapter is a model with a name of its own.
fn adapters(told: &[Told], base: &Setup) -> Vec<Setup> {
    let models = read(told, "/v1/models").map(|models| items_at(models, &["data"])).unwrap_or_default();
    let adapter = |model: &&RawValue| {
        text_at(model, &["parent"])?;
        let adapters = text_at(model, &["root"]).into_iter().collect();
        Some(Setup { model: text_at(model, &["id"])?, aliases: Vec::new(), is_only: false, adapters, ..base.clone() })
    };
    models.iter().filter_map(adapter).collect()
}

/// JSON as it is, or the text that it is in.
fn text_of(object: &RawValue, name: &str) -> Option<String> {
    text_at(object, &[name]).or_else(|| Some(super::at(object, &[name])?.get().to_owned()))
}
