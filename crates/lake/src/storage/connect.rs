//! From the URL of a bucket to what reads and writes its objects. Accounts and addresses are in the environment, under the
//! names that the clouds' own tools read.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::SpawnedReqwestConnector;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{ObjectStore, RetryConfig};
use tokio::runtime::Handle;
use url::Url;

/// How long a request is tried again after errors that may pass. Whoever asks waits so long; what works in the background
/// then tries again by itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens the bucket that `url` names; its connections live on `threads`. Nothing is sent yet.
pub(super) fn connect(url: &Url, threads: &Handle) -> object_store::Result<Arc<dyn ObjectStore>> {
    let connector = SpawnedReqwestConnector::new(threads.clone());
    let retry = RetryConfig { retry_timeout: PATIENCE, ..RetryConfig::default() };
    Ok(match url.scheme() {
        "s3" => {
            let builder = AmazonS3Builder::from_env().with_url(url.as_str()).with_retry(retry);
            let builder = if speaks_plainly("AWS_ENDPOINT_URL") { builder.with_allow_http(true) } else { builder };
            Arc::new(builder.with_http_connector(connector).build()?)
        }
        "gs" => {
            let builder = GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).with_retry(retry);
            Arc::new(builder.with_http_connector(connector).build()?)
        }
        "az" => {
            let builder = MicrosoftAzureBuilder::from_env().with_url(url.as_str()).with_retry(retry);
            Arc::new(builder.with_http_connector(connector).build()?)
        }
        #[cfg(test)]
        "file" => Arc::new(object_store::local::LocalFileSystem::new()),
        other => {
            let source = format!("{other}:// is no storage that is known here; write s3://, gs:// or az://").into();
            return Err(object_store::Error::Generic { store: "object", source });
        }
    })
}

/// Whoever writes `http://` there means it.
fn speaks_plainly(endpoint: &str) -> bool {
    env::var(endpoint).is_ok_and(|url| url.starts_with("http://"))
}
