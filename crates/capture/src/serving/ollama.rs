//! Ollama: `/api/show` of each model that `/api/ps` has loaded or that was called, with the digest from `/api/tags`.

use super::{Ask, MODELS_MAX, Server, Setup, Told, answer, items_at, json_of, number_at, read, text_at};
use crate::json::{self, RawValue};

pub(super) fn more(told: &[Told], called: &[String]) -> Vec<Ask> {
    names(told, called).iter().map(|name| show(name)).collect()
}

pub(super) fn setups(told: &[Told], called: &[String]) -> Vec<Setup> {
    let names = names(told, called);
    let setup = |name: &String| {
        let shown = answer(told, &show(name))?;
        let mut setup = setup(told, json_of(shown)?, name);
        let others = |told: &&Told| told.ask.body.is_none() || told.ask == shown.ask;
        setup.told = told.iter().filter(others).cloned().collect();
        Some(setup)
    };
    names.iter().filter_map(setup).collect()
}

fn show(name: &str) -> Ask {
    Ask::post("/api/show", "model", name)
}

/// The models that are loaded, and those that were called and are installed.
fn names(told: &[Told], called: &[String]) -> Vec<String> {
    let mut names: Vec<_> = models(told, "/api/ps").into_iter().filter_map(|model| text_at(model, &["name"])).collect();
    for model in models(told, "/api/tags") {
        if let Some(name) = text_at(model, &["name"])
            && called.iter().any(|called| is_name(&name, called))
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names.truncate(MODELS_MAX);
    names
}

/// A name without a tag means the latest.
fn is_name(name: &str, called: &str) -> bool {
    name == called || name.strip_suffix(":latest") == Some(called)
}

fn models<'t>(told: &'t [Told], path: &str) -> Vec<&'t RawValue> {
    read(told, path).map(|list| items_at(list, &["models"])).unwrap_or_default()
}

fn setup(told: &[Told], shown: &RawValue, name: &str) -> Setup {
    let listed = |path| models(told, path).into_iter().find(|model| text_at(model, &["name"]).as_deref() == Some(name));
    let (running, installed) = (listed("/api/ps"), listed("/api/tags"));
    let architecture = text_at(shown, &["model_info", "general.architecture"]);
    let parameters = text_at(shown, &["parameters"]).unwrap_or_default();
    let asked_context = values(&parameters, "num_ctx").first().and_then(|value| value.parse().ok());
    let context = running.and_then(|model| number_at(model, &["context_length"])).or(asked_context);
    let digest = |model: &RawValue| text_at(model, &["digest"]);
    Setup {
        aliases: name.strip_suffix(":latest").map(ToOwned::to_owned).into_iter().collect(),
        revision: installed.and_then(digest).or_else(|| running.and_then(digest)),
        path: text_at(shown, &["modelfile"]).and_then(|file| from(&file)),
        context_length: context,
        architecture: architecture.or_else(|| text_at(shown, &["details", "family"])),
        parameters: number_at(shown, &["model_info", "general.parameter_count"]),
        quantization: text_at(shown, &["details", "quantization_level"]),
        chat_template: text_at(shown, &["template"]),
        sampling: sampling(&parameters),
        adapters: text_at(shown, &["modelfile"]).map(|file| instructions(&file, "ADAPTER")).unwrap_or_default(),
        build: read(told, "/api/version").and_then(|version| text_at(version, &["version"])),
        ..Setup::new(Server::Ollama, name)
    }
}

/// The file that a model was made from: `FROM /…/blobs/sha256-…`.
fn from(modelfile: &str) -> Option<String> {
    instructions(modelfile, "FROM").into_iter().find(|from| from.starts_with('/'))
}

fn instructions(modelfile: &str, name: &str) -> Vec<String> {
    let lines = modelfile.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    lines.map(|rest| rest.trim().to_owned()).collect()
}

fn values<'p>(parameters: &'p str, wanted: &str) -> Vec<&'p str> {
    let pairs = parameters.lines().filter_map(|line| line.trim().split_once(char::is_whitespace));
    pairs.filter(|(name, _)| *name == wanted).map(|(_, value)| value.trim()).collect()
}

/// The lines of `parameters` (`stop "<|im_end|>"`) as an object; a name that comes again has a list.
fn sampling(parameters: &str) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in parameters.lines().filter_map(|line| line.trim().split_once(char::is_whitespace)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let value =
        |text: &str| json::parse(text).map_or_else(|_| serde_json::json!(text).to_string(), |json| json.get().into());
    let member = |name: &&str| {
        let all: Vec<_> = values(parameters, name).into_iter().map(value).collect();
        let list = all.len() > 1 || *name == "stop";
        format!("{}:{}", serde_json::json!(name), if list { format!("[{}]", all.join(",")) } else { all.concat() })
    };
    (!names.is_empty()).then(|| format!("{{{}}}", names.iter().map(member).collect::<Vec<_>>().join(",")))
}
