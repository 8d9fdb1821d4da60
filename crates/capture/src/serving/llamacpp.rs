//! llama.cpp's server: `/props`, `/v1/models`, `/lora-adapters`. A router has one set of properties for each model.

use super::{Ask, Server, Setup, Told, answer, at, items_at, json_of, number_at, read, text_at};
use crate::json::{self, RawValue};

/// The properties of each model that a router has loaded. Asking for those of another would load it.
pub(super) fn more(told: &[Told]) -> Vec<Ask> {
    let is_router = read(told, "/props").and_then(|props| text_at(props, &["role"])).as_deref() == Some("router");
    let loaded =
        models(told).into_iter().filter(|model| text_at(model, &["status", "value"]).as_deref() == Some("loaded"));
    let asks = loaded.filter_map(|model| text_at(model, &["id"])).map(|id| props_of(&id));
    if is_router { asks.take(super::MODELS_MAX).collect() } else { Vec::new() }
}

pub(super) fn setups(told: &[Told]) -> Vec<Setup> {
    let of_router = |model: &RawValue| {
        let id = text_at(model, &["id"])?;
        let props = answer(told, &props_of(&id))?;
        let mut setup = setup(json_of(props)?, Some(model))?;
        setup.model = id;
        setup.command =
            items_at(model, &["status", "args"]).into_iter().filter_map(json::text).map(Into::into).collect();
        setup.told =
            told.iter().filter(|told| !told.ask.path.contains("?model=") || told.ask == props.ask).cloned().collect();
        Some(setup)
    };
    let routed: Vec<_> = models(told).into_iter().filter_map(of_router).collect();
    if !routed.is_empty() {
        return routed;
    }
    let Some(props) = read(told, "/props").filter(|props| at(props, &["role"]).is_none()) else { return Vec::new() };
    let Some(mut setup) = setup(props, models(told).first().copied()) else { return Vec::new() };
    setup.is_only = true;
    setup.adapters = read(told, "/lora-adapters").map(adapters).unwrap_or_default();
    setup.told = told.to_vec();
    vec![setup]
}

fn models(told: &[Told]) -> Vec<&RawValue> {
    read(told, "/v1/models").map(|models| items_at(models, &["data"])).unwrap_or_default()
}

fn props_of(model: &str) -> Ask {
    let query = url_encoded(model);
    Ask::get(format!("/props?model={query}&autoload=false"))
}

fn url_encoded(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn setup(props: &RawValue, model: Option<&RawValue>) -> Option<Setup> {
    let of_model = |path: &[&str]| model.and_then(|model| text_at(model, path));
    let path = text_at(props, &["model_path"]);
    let file = path.as_deref().and_then(|path| path.rsplit('/').next()).map(ToOwned::to_owned);
    let name = of_model(&["id"]).or_else(|| text_at(props, &["model_alias"])).or(file);
    Some(Setup {
        aliases: model
            .map(|model| items_at(model, &["aliases"]))
            .into_iter()
            .flatten()
            .filter_map(json::text)
            .map(Into::into)
            .collect(),
        path,
        parameters: model.and_then(|model| number_at(model, &["meta", "n_params"])),
        quantization: text_at(props, &["model_ftype"]).or_else(|| of_model(&["meta", "ftype"])),
        context_length: number_at(props, &["default_generation_settings", "n_ctx"]),
        chat_template: text_at(props, &["chat_template"]),
        sampling: at(props, &["default_generation_settings", "params"]).map(|params| params.get().to_owned()),
        build: text_at(props, &["build_info"]),
        ..Setup::new(Server::LlamaCpp, name?)
    })
}

fn adapters(list: &RawValue) -> Vec<String> {
    let mut all = Vec::new();
    json::items(list, |adapter| {
        if let Some(path) = text_at(adapter, &["path"]) {
            let scale = at(adapter, &["scale"]).and_then(json::float).map_or(1.0, super::sampling::tidy);
            all.push(format!("{path} scale={scale}"));
        }
    });
    all
}
