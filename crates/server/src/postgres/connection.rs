//! What is known of each connection: who it is, its settings, and the query that is running.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use datafusion_postgres::pgwire::api::ClientInfo;
use datafusion_postgres::pgwire::api::cancel::CancelHandler;
use datafusion_postgres::pgwire::error::PgWireResult;
use datafusion_postgres::pgwire::messages::cancel::CancelRequest;
use datafusion_postgres::pgwire::messages::startup::SecretKey;
use tokio_util::sync::CancellationToken;

use super::{Postgres, error};
use crate::engine::Reading;

/// Somebody who has logged in.
#[derive(Debug)]
pub(super) struct Connection {
    /// The name of the token that was the password.
    pub(super) principal: String,
    pub(super) address: IpAddr,
    /// The name that the client gave itself.
    pub(super) user: Option<String>,
    settings: Mutex<Settings>,
    /// Cancels the query that was begun last.
    running: Mutex<CancellationToken>,
}

/// What was set, by name in lower case.
#[derive(Debug, Default)]
struct Settings {
    all: HashMap<String, String>,
    /// Until the end of the transaction; these come first.
    local: HashMap<String, String>,
}

/// Names of settings that a client can make up; a driver sets a handful.
const SETTINGS_MAX: usize = 64;
/// Bytes of a setting; the longest that matters is a purpose.
const SETTING_MAX: usize = 4096;
/// Why the client reads.
pub(super) const PURPOSE: &str = "onrecord.purpose";

impl Connection {
    pub(super) fn new(principal: String, address: IpAddr, user: Option<String>) -> Self {
        Self { principal, address, user, settings: Mutex::default(), running: Mutex::default() }
    }

    /// That of a client, once it has logged in. A failed login leaves a client connected for a moment, which must not ask.
    pub(super) fn of(client: &(impl ClientInfo + ?Sized)) -> PgWireResult<Arc<Self>> {
        client.session_extensions().get::<Self>().ok_or_else(|| error::fatal("28000", "log in first"))
    }

    /// A query begins; the token says that it is to end.
    pub(super) fn begin(&self) -> CancellationToken {
        let token = CancellationToken::new();
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = token.clone();
        token
    }

    fn cancel(&self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).cancel();
    }

    pub(super) fn set(&self, name: &str, value: &str) -> PgWireResult<()> {
        let mut settings = self.settings();
        settings.local.remove(name);
        insert(&mut settings.all, name, value)
    }

    /// Until the end of the transaction.
    pub(super) fn set_local(&self, name: &str, value: &str) -> PgWireResult<()> {
        insert(&mut self.settings().local, name, value)
    }

    pub(super) fn end_transaction(&self) {
        self.settings().local.clear();
    }

    /// Back to the default.
    pub(super) fn reset(&self, name: &str) {
        let mut settings = self.settings();
        settings.local.remove(name);
        settings.all.remove(name);
    }

    pub(super) fn reset_all(&self) {
        *self.settings() = Settings::default();
    }

    pub(super) fn setting(&self, name: &str) -> Option<String> {
        let settings = self.settings();
        settings.local.get(name).or_else(|| settings.all.get(name)).cloned()
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who reads and why, for the access record. The program's name stands in where no purpose was set.
    pub(super) fn reading(&self) -> Reading {
        let purpose = self.setting(PURPOSE).or_else(|| self.setting("application_name"));
        Reading {
            principal: self.principal.clone(),
            address: Some(self.address.to_string()),
            purpose: purpose.filter(|purpose| !purpose.is_empty()),
            user: self.user.clone(),
        }
    }
}

fn insert(settings: &mut HashMap<String, String>, name: &str, value: &str) -> PgWireResult<()> {
    if value.len() > SETTING_MAX || (settings.len() >= SETTINGS_MAX && !settings.contains_key(name)) {
        return Err(error::error("54000", "too many settings, or one that is longer than 4096 bytes"));
    }
    settings.insert(name.to_owned(), value.to_owned());
    Ok(())
}

/// The open connections by process number and secret, since whoever cancels does so over another connection.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<HashMap<Key, Weak<Connection>>>);

/// A process number and its secret.
type Key = (i32, Vec<u8>);

impl Connections {
    pub(super) fn add(&self, pid: i32, secret: &SecretKey, connection: &Arc<Connection>) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, connection| connection.strong_count() > 0);
        open.insert((pid, secret.to_bytes().to_vec()), Arc::downgrade(connection));
    }

    fn cancel(&self, pid: i32, secret: &SecretKey) {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = open.get(&(pid, secret.to_bytes().to_vec())).and_then(Weak::upgrade) {
            connection.cancel();
        }
    }
}

#[async_trait]
impl CancelHandler for Postgres {
    async fn on_cancel_request(&self, request: CancelRequest) {
        self.connections.cancel(request.pid, &request.secret_key);
    }
}
