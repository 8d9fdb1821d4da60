//! Nobody opens a log to the network by accident.

use std::net::SocketAddr;

/// The address is reachable from elsewhere and nothing guards it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "refusing to listen on {0}: it can be reached from other machines and there is no access token, so anybody there \
     could call the model and read the log; create a token with `onrecord token create --role call`, or listen on \
     127.0.0.1"
)]
pub(crate) struct Exposed(SocketAddr);

/// Refuses an address other than loopback while there is no access token.
pub(crate) fn check_exposure(listen: SocketAddr, has_tokens: bool) -> Result<(), Exposed> {
    if has_tokens || is_local(listen) { Ok(()) } else { Err(Exposed(listen)) }
}

/// True if only programs on this machine can connect to the address.
fn is_local(listen: SocketAddr) -> bool {
    listen.ip().to_canonical().is_loopback()
}
