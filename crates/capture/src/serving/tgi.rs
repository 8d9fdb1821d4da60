//! Text Generation Inference: `/info`.

use super::{Server, Setup, Told, number_at, read, text_at};

pub(super) fn setups(told: &[Told]) -> Vec<Setup> {
    let Some(info) = read(told, "/info") else { return Vec::new() };
    let Some(model) = text_at(info, &["model_id"]) else { return Vec::new() };
    let (version, commit) = (text_at(info, &["version"]), text_at(info, &["sha"]));
    let build = match (version, commit) {
        (Some(version), Some(commit)) => Some(format!("{version} ({commit})")),
        (version, commit) => version.or(commit),
    };
    vec![Setup {
        is_only: true,
        path: model.starts_with('/').then(|| model.clone()),
        revision: text_at(info, &["model_sha"]),
        // Not how the weights are stored, but what they are computed in; TGI tells no more.
        quantization: text_at(info, &["quantize"]).or_else(|| text_at(info, &["model_dtype"])),
        context_length: number_at(info, &["max_total_tokens"]),
        build,
        told: told.to_vec(),
        ..Setup::new(Server::Tgi, model)
    }]
}
