//! A receiver of syslog messages: over TCP (RFC 6587, octet counting), TLS (RFC 5425), UDP (RFC 5426) or a local socket.
//!
//! Syslog has no acknowledgements. What comes nearest is the end of a connection: each batch has a connection of its own, at
//! whose end we say that nothing more comes and wait for the receiver to end it too, which it does when it has read
//! everything; one that stops with bytes unread resets the connection instead.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::deliver::Failure;
use super::record::Outgoing;
use super::settings::{Address, SyslogPlace};
use super::syslog::Form;

/// What is spoken to.
pub(super) struct Receiver {
    address: Address,
    form: Form,
    /// For a whole batch.
    patience: Duration,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Receiver {
    pub(super) fn new(place: &SyslogPlace, patience: Duration) -> anyhow::Result<Self> {
        let SyslogPlace { address, form, trust } = place;
        let tls = match address {
            Address::Tls(host, _) => {
                let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
                let name = name.with_context(|| format!("{host:?} is no name of a host"))?;
                Some((TlsConnector::from(Arc::new(trust.client_config()?)), name))
            }
            _ => None,
        };
        Ok(Self { address: address.clone(), form: form.clone(), patience, tls })
    }

    pub(super) async fn send(&self, records: &[Outgoing]) -> Result<(), Failure> {
        let messages = records.iter().map(|record| self.form.message(record));
        let sent = timeout(self.patience, async {
            match &self.address {
                Address::Tcp(host, port) => {
                    let stream = TcpStream::connect((host.trim_matches(['[', ']']), *port)).await?;
                    hand_over(stream, messages).await
                }
                Address::Tls(host, port) => {
                    let stream = TcpStream::connect((host.trim_matches(['[', ']']), *port)).await?;
                    let Some((connector, name)) = &self.tls else { return Err(ErrorKind::Unsupported.into()) };
                    hand_over(connector.connect(name.clone(), stream).await?, messages).await
                }
                Address::Udp(host, port) => datagrams(host.trim_matches(['[', ']']), *port, messages).await,
                Address::Unix(path) => locally(path, messages).await,
            }
        });
        let late = |_| {
            let seconds = self.patience.as_secs_f64();
            Err(io::Error::new(ErrorKind::TimedOut, format!("it has not taken the batch within {seconds} s")))
        };
        let sent = sent.await.unwrap_or_else(late);
        sent.map_err(|error| Failure::Later(error.to_string(), None))
    }
}

/// Writes a batch on a connection of its own, and waits for the other end to have read it.
async fn hand_over(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    messages: impl Iterator<Item = String>,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    for message in messages {
        bytes.extend_from_slice(format!("{} {message}", message.len()).as_bytes());
    }
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    stream.shutdown().await?;
    let mut unexpected = [0; 256];
    loop {
        match stream.read(&mut unexpected).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // It has ended the connection, and not said so in TLS.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Nobody knows whether they arrive. If there is nobody at all, this machine or the other may say so.
async fn datagrams(host: &str, port: u16, messages: impl Iterator<Item = String>) -> io::Result<()> {
    let to = lookup_host((host, port)).await?.next();
    let to = to.ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("{host} has no address")))?;
    let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(to).await?;
    for message in messages {
        socket.send(message.as_bytes()).await?;
    }
    // A refusal of the last ones comes back a moment later.
    tokio::time::sleep(Duration::from_millis(20)).await;
    socket.take_error()?.map_or(Ok(()), Err)
}

/// The socket's queue keeps them in order, and makes us wait while it is full.
async fn locally(path: &Path, messages: impl Iterator<Item = String>) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    for message in messages {
        socket.send(message.as_bytes()).await?;
    }
    Ok(())
}
