//! Lists of models where several model servers share them: each is asked for its own, and the client gets one list, of the
//! models that a call reaches by their name.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use onrecord_capture::BodyHead;
use onrecord_proof::field;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Duration, timeout};

use super::body::UpBody;
use super::call::Call;
use super::forward::{Passed, begin, for_upstream, send, whole};
use super::lanes::Lane;
use super::stop::Stop;
use super::{Gateway, Upstream, headers};

/// How the paths of such lists end: OpenAI's and LM Studio's, and Ollama's.
const PATHS: [&str; 2] = ["/models", "/api/tags"];
/// A list of some thousand models has a few hundred bytes of each.
const LIST_MAX: usize = 4 << 20;
/// A model server that computes answers to a list at once; one that does not is left out.
const PATIENCE: Duration = Duration::from_secs(5);

/// A list as servers give it; llama.cpp gives both members.
#[derive(Default, Serialize, Deserialize)]
struct List {
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Vec<Box<RawValue>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<Vec<Box<RawValue>>>,
}

/// The model servers to ask, if this is a request for a list and there are several.
pub(super) fn asked_for(gateway: &Gateway, call: &Call, parts: &http::request::Parts) -> Option<Vec<Arc<Upstream>>> {
    let path = parts.uri.path().trim_end_matches('/');
    let is_list = parts.method == Method::GET && PATHS.iter().any(|end| path.ends_with(end));
    if !is_list || call.upstream().is_some() {
        return None;
    }
    let all: Vec<_> = gateway.routes.sharing().cloned().collect();
    (all.len() > 1).then_some(all)
}

/// Asks them all, and gives one list.
pub(super) async fn merged(
    lane: &Lane,
    call: &mut Call,
    all: &[Arc<Upstream>],
    parts: http::request::Parts,
    token_in_authorization: bool,
    _permit: OwnedSemaphorePermit,
) -> Result<Passed, Stop> {
    let gateway = &*lane.gateway;
    let names: Vec<_> = all.iter().map(|one| one.settings.name.as_str()).collect();
    call.record().set(&field::UPSTREAM, names.join(","));
    call.reads(&HeaderMap::new());
    call.requested();
    begin(gateway, call).await?;
    let lists = join_all(all.iter().map(|one| ask(lane, one, &parts, token_in_authorization))).await;
    let (mut list, mut missing) = (List::default(), Vec::new());
    for (one, found) in all.iter().zip(lists) {
        match found {
            Some(found) => list.add(found, |model| is_for(gateway, one, model)),
            None => missing.push(one.settings.name.as_str()),
        }
    }
    if missing.len() == all.len() {
        let message = format!("none of the model servers {} gives a list of its models", names.join(", "));
        return Err(Stop::upstream(StatusCode::BAD_GATEWAY, "upstream_unreachable", "upstream", message));
    }
    let body = Bytes::from(serde_json::to_vec(&list).unwrap_or_default());
    let head = BodyHead { content_type: Some("application/json"), content_encoding: None };
    call.answered(200, head, Duration::ZERO);
    let (body, _) = call.received(body);
    let mut answer = Response::new(()).into_parts().0;
    answer.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(missing) = Some(missing.join(",")).filter(|missing| !missing.is_empty())
        && let Ok(missing) = HeaderValue::from_str(&missing)
    {
        answer.headers.insert(headers::MISSING, missing);
    }
    Ok(Passed::Whole(whole(gateway, call, answer, VecDeque::from([body]), None).await))
}

/// True if a call for the model goes to this one.
fn is_for(gateway: &Gateway, one: &Arc<Upstream>, model: &str) -> bool {
    gateway.routes.by_model(Some(model)).is_some_and(|routed| Arc::ptr_eq(routed, one))
}

/// The list of one model server.
async fn ask(
    lane: &Lane,
    upstream: &Upstream,
    parts: &http::request::Parts,
    token_in_authorization: bool,
) -> Option<List> {
    let mut parts = parts.clone();
    for_upstream(&mut parts, upstream, token_in_authorization).ok()?;
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let request = Request::from_parts(parts, UpBody::Read(Full::default()));
    let asking = async {
        let answer = send(lane, upstream, request).await.ok()?;
        let body = Limited::new(answer.body, LIST_MAX).collect().await.ok()?.to_bytes();
        (answer.parts.status == StatusCode::OK).then_some(body)
    };
    serde_json::from_slice(&timeout(PATIENCE, asking).await.ok()??).ok()
}

impl List {
    /// Adds what another list has of models that are `wanted`.
    fn add(&mut self, other: Self, wanted: impl Fn(&str) -> bool) {
        self.object = self.object.take().or(other.object);
        for (all, more) in [(&mut self.data, other.data), (&mut self.models, other.models)] {
            let more =
                more.map(|items| items.into_iter().filter(|item| name_of(item).is_none_or(|name| wanted(&name))));
            if let Some(more) = more {
                all.get_or_insert_default().extend(more);
            }
        }
    }
}

fn name_of(item: &RawValue) -> Option<String> {
    let members: std::collections::HashMap<String, &RawValue> = serde_json::from_str(item.get()).ok()?;
    let name = ["id", "model", "name", "key"].into_iter().find_map(|name| members.get(name))?;
    serde_json::from_str(name.get()).ok()
}
