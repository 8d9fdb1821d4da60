//! Who may connect: the password is an access token.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion_postgres::pgwire::api::auth::{
    DefaultServerParameterProvider, ServerParameterProvider, StartupHandler, finish_authentication,
    protocol_negotiation, save_startup_parameters_to_metadata,
};
use datafusion_postgres::pgwire::api::{
    ClientInfo, METADATA_USER, PgWireConnectionState, PidSecretKeyGenerator, RandomPidSecretKeyGenerator,
};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::startup::Authentication;
use datafusion_postgres::pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use futures::{Sink, SinkExt};
use subtle::ConstantTimeEq as _;

use super::connection::Connection;
use super::{Postgres, error, session};
use crate::auth::{Identity, Role};

/// What a client says it speaks to, so that drivers choose what this answers to.
pub(super) const SERVER_VERSION: &str = "16.6";

/// One connection's way in.
pub(super) struct Door {
    pub(super) postgres: Arc<Postgres>,
    /// There are as many connections as there may be.
    full: bool,
    /// Passwords from elsewhere come over TLS only.
    tls: bool,
    numbers: RandomPidSecretKeyGenerator,
}

impl Door {
    pub(super) fn new(postgres: Arc<Postgres>, full: bool, tls: bool) -> Self {
        Self { postgres, full, tls, numbers: RandomPidSecretKeyGenerator::default() }
    }

    /// Whether a client may go on to give its password.
    fn admits(&self, client: &impl ClientInfo) -> PgWireResult<()> {
        if self.full {
            return Err(error::fatal(
                "53300",
                "too many connections; `postgres.connections` in the configuration sets how many",
            ));
        }
        let local = client.socket_addr().ip().to_canonical().is_loopback();
        if self.tls && !local && !client.is_secure() {
            return Err(error::fatal(
                "28000",
                "passwords are taken over TLS only; connect with sslmode=require or stricter",
            ));
        }
        Ok(())
    }

    async fn welcome<C>(&self, client: &mut C, identity: Identity) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<C::Error>,
    {
        let user = client.metadata().get(METADATA_USER).cloned();
        let connection = Connection::new(identity.name, client.socket_addr().ip().to_canonical(), user);
        session::begin(&connection, client.metadata())?;
        client.session_extensions().insert(connection);
        let (pid, secret) = self.numbers.generate(client);
        self.postgres.connections.add(pid, &secret, &Connection::of(client)?);
        client.set_pid_and_secret_key(pid, secret);
        finish_authentication(client, &Parameters).await
    }
}

impl Postgres {
    /// Whose password this is.
    fn identify(&self, password: &str) -> PgWireResult<Identity> {
        if bool::from(password.as_bytes().ct_eq(self.own.as_bytes())) {
            return Ok(Identity::named("local"));
        }
        let unknown =
            || error::fatal("28P01", "the password must be an access token of the role read that was not revoked");
        let identity = self.tokens.verify(password).ok_or_else(unknown)?;
        if !identity.role.allows(Role::Read) {
            let text = format!("this access token has the role {}, and this needs the role read", identity.role);
            return Err(error::fatal("28000", text));
        }
        Ok(identity)
    }
}

#[async_trait]
impl StartupHandler for Door {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<C::Error>,
    {
        match message {
            PgWireFrontendMessage::Startup(startup) => {
                protocol_negotiation(client, &startup).await?;
                save_startup_parameters_to_metadata(client, &startup);
                self.admits(client)?;
                // While there are no tokens everybody on this machine may read, as over the API.
                if self.postgres.tokens.is_empty() {
                    return self.welcome(client, Identity::anonymous()).await;
                }
                client.set_state(PgWireConnectionState::AuthenticationInProgress);
                client.send(PgWireBackendMessage::Authentication(Authentication::CleartextPassword)).await?;
                Ok(())
            }
            PgWireFrontendMessage::PasswordMessageFamily(password) => {
                let identity = self.postgres.identify(&password.into_password()?.password)?;
                self.welcome(client, identity).await
            }
            _ => Err(error::fatal("08P01", "expected a password")),
        }
    }
}

/// What a client is told of the server when it has logged in.
struct Parameters;

impl ServerParameterProvider for Parameters {
    fn server_parameters<C: ClientInfo>(&self, client: &C) -> Option<HashMap<String, String>> {
        let mut parameters = DefaultServerParameterProvider::default();
        parameters.server_version = format!("{SERVER_VERSION} (onrecord {})", env!("CARGO_PKG_VERSION"));
        parameters.is_superuser = false;
        parameters.default_transaction_read_only = true;
        "UTC".clone_into(&mut parameters.time_zone);
        parameters.server_parameters(client)
    }
}
