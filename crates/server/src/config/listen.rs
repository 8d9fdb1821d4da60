//! Each address is listened on once.

use std::net::{IpAddr, SocketAddr};

use super::keys::{Api, Gateway, Ingest, Postgres};
use super::raw::Raw;
use crate::ingest::{GRPC_PORT, HTTP_PORT, is_default};

/// Reports each address that two keys name.
pub(super) fn check(raw: &mut Raw, gateway: &Gateway, api: &Api, postgres: &Postgres, ingest: &Ingest) {
    let spans = |address, port| (ingest.otlp && !is_default(address, port)).then_some(address);
    let addresses = [
        ("gateway.listen", Some(gateway.listen)),
        ("api.listen", Some(api.listen)),
        ("postgres.listen", postgres.listen),
        ("ingest.grpc", spans(ingest.grpc, GRPC_PORT)),
        ("ingest.http", spans(ingest.http, HTTP_PORT)),
    ];
    let addresses: Vec<_> = addresses.into_iter().filter_map(|(name, address)| Some((name, address?))).collect();
    for (at, later) in addresses.iter().enumerate() {
        if let Some(earlier) = addresses[..at].iter().find(|earlier| overlap(earlier.1, later.1)) {
            // Whoever has set only one of them finds the problem there.
            let (name, other) = if raw.is_written(later.0) { (later.0, earlier) } else { (earlier.0, later) };
            let reason = format!("`{}` listens on {} already", other.0, other.1);
            raw.conflict(name, &reason, "give one of them another port");
        }
    }
}

/// True if only one of two sockets can listen. Port 0 is a free one of the system's choice.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |all: IpAddr, ip: IpAddr| all.is_unspecified() && (all.is_ipv6() || ip.is_ipv4());
    let (a, b) = (one.ip(), other.ip());
    one.port() == other.port() && one.port() != 0 && (a == b || covers(a, b) || covers(b, a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_overlap_if_one_has_the_other() {
        for (one, other, is_same) in [
            ("127.0.0.1:4100", "127.0.0.1:4100", true),
            ("127.0.0.1:4100", "127.0.0.1:4180", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("127.0.0.1:4100", "10.0.0.1:4100", false),
            ("0.0.0.0:4100", "10.0.0.1:4100", true),
            ("0.0.0.0:4100", "[::1]:4100", false),
            ("[::]:4100", "[::1]:4100", true),
            ("[::]:4100", "10.0.0.1:4100", true),
        ] {
            let (a, b) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!((overlap(a, b), overlap(b, a)), (is_same, is_same), "{one} {other}");
        }
    }
}
