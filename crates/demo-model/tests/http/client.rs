//! A server of its own for each test, and a client for it.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use onrecord_demo_model::{Model, serve};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shutdown: oneshot::Sender<()>,
    serving: JoinHandle<onrecord_demo_model::Result<()>>,
    client: HttpClient<HttpConnector, Full<Bytes>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, asked) = oneshot::channel::<()>();
        let asked = async { drop(asked.await) };
        let serving = tokio::spawn(serve(listener, Model::load().unwrap(), asked));
        Self { address, shutdown, serving, client: HttpClient::builder(TokioExecutor::new()).build_http() }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: &str) -> Response<Incoming> {
        let uri = format!("http://{}{path}", self.address);
        let request = Request::builder().method(method).uri(uri).body(Full::from(body.to_owned())).unwrap();
        self.client.request(request).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        json_of(self.send(Method::GET, path, "").await).await
    }

    pub(crate) async fn post(&self, body: &str) -> (StatusCode, Value) {
        json_of(self.send(Method::POST, "/v1/chat/completions", body).await).await
    }

    /// A chat completion with one question, greedy, changed by `changes`.
    pub(crate) async fn ask(&self, question: &str, changes: Value) -> (StatusCode, Value) {
        self.post(&request(question, changes).to_string()).await
    }

    /// The events of a streamed answer, without the `data: `.
    pub(crate) async fn stream(&self, question: &str, changes: Value) -> Vec<String> {
        let mut body = request(question, changes);
        body["stream"] = json!(true);
        let response = self.send(Method::POST, "/v1/chat/completions", &body.to_string()).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap().to_owned()).collect()
    }

    /// Waits until `/health` satisfies a condition.
    pub(crate) async fn until(&self, condition: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..500 {
            let (_, health) = self.get("/health").await;
            if condition(&health) {
                return health;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("waited 5 s in vain");
    }

    pub(crate) async fn stop(self) {
        let Self { shutdown, serving, client, .. } = self;
        drop(client);
        shutdown.send(()).unwrap();
        serving.await.unwrap().unwrap();
    }
}

pub(crate) fn request(question: &str, changes: Value) -> Value {
    let messages = json!([{ "role": "user", "content": question }]);
    let mut body = json!({ "model": "tiny-pydoc", "messages": messages, "temperature": 0 });
    let Value::Object(changes) = changes else { panic!("changes are an object") };
    body.as_object_mut().unwrap().extend(changes);
    body
}

async fn json_of(response: Response<Incoming>) -> (StatusCode, Value) {
    assert_eq!(response.headers()["content-type"], "application/json");
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap())
}
