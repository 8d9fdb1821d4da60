//! HTTPS for clients: a certificate that follows its files.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::TlsFiles;
use crate::watch::{INTERVAL, Pace, Stamp};

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file has no PEM section of the kind that is needed.
    #[error("{} holds no {what} in PEM form: {error}", path.display())]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What was found.
        error: pem::Error,
    },
    /// The certificate and the key do not go together, or are of a kind that is not supported.
    #[error("{} and {} cannot be used together: {error}", files.cert.display(), files.key.display())]
    Unusable {
        /// The files.
        files: TlsFiles,
        /// What rustls said.
        error: rustls::Error,
    },
}

/// Protocols of the gateway's clients.
const HTTP: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// What PostgreSQL clients from version 17 on call theirs; older ones name none.
const POSTGRES: [&[u8]; 1] = [b"postgresql"];

/// The rustls configuration that serves the certificate in `files`, for HTTP/2 and HTTP/1.1. When the files change, new
/// connections get the new certificate within a second; files that cannot be used are reported and change nothing.
pub(crate) fn server_config(files: TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    server_config_every(files, &HTTP, Pace::new(INTERVAL))
}

/// The same for the PostgreSQL protocol.
pub(crate) fn postgres_config(files: TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    server_config_every(files, &POSTGRES, Pace::new(INTERVAL))
}

fn server_config_every(files: TlsFiles, protocols: &[&[u8]], pace: Pace) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Unusable { files: files.clone(), error })?;
    let certificate = Certificate::load(files, provider, pace)?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(certificate));
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// The certificate in use, which looks at its files when a connection asks for it.
#[derive(Debug)]
struct Certificate {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    pace: Pace,
    /// Replaced whole; held only to copy the pointer.
    current: RwLock<Arc<CertifiedKey>>,
    /// The files of the certificate in use.
    seen: RwLock<Seen>,
}

/// What was last seen of the files.
#[derive(Debug)]
struct Seen {
    /// As they were when they could be used. After a failure the next look tries again.
    stamps: Stamps,
    /// It was said that they cannot be used.
    is_told: bool,
}

type Stamps = [Option<Stamp>; 2];

impl Certificate {
    fn load(files: TlsFiles, provider: Arc<CryptoProvider>, pace: Pace) -> Result<Self, TlsError> {
        let seen = RwLock::new(Seen { stamps: stamps(&files), is_told: false });
        let current = RwLock::new(Arc::new(read(&files, &provider)?));
        Ok(Self { files, provider, pace, current, seen })
    }

    /// Whoever replaces both files does so one after the other. In between they do not match, and the old pair stays.
    fn refresh(&self) {
        self.follow(stamps(&self.files), || read(&self.files, &self.provider));
    }

    fn follow(&self, stamps: Stamps, read: impl FnOnce() -> Result<CertifiedKey, TlsError>) {
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        if seen.stamps == stamps {
            return;
        }
        match read() {
            Ok(new) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                *seen = Seen { stamps, is_told: false };
                tracing::info!(cert = %self.files.cert.display(), "serving the new certificate");
            }
            Err(error) if !std::mem::replace(&mut seen.is_told, true) => {
                tracing::warn!(%error, "the new certificate cannot be used; the old one stays in use, and it is tried again");
            }
            Err(_) => {}
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if self.pace.is_due() {
            self.refresh();
        }
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn stamps(files: &TlsFiles) -> Stamps {
    [Stamp::of(&files.cert), Stamp::of(&files.key)]
}

fn read(files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = CertificateDer::pem_file_iter(&files.cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) });
    let chain = chain.map_err(|error| unreadable("certificate", files.cert.clone(), error))?;
    let key = PrivateKeyDer::from_pem_file(&files.key);
    let key = key.map_err(|error| unreadable("private key", files.key.clone(), error))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| TlsError::Unusable { files: files.clone(), error })
}

fn unreadable(what: &'static str, path: PathBuf, error: pem::Error) -> TlsError {
    match error {
        pem::Error::Io(error) => TlsError::Io { path, error },
        error => TlsError::Pem { what, path, error },
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's own files")]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

    use super::*;

    /// A new file under the old name is a change even where the file system's clock has not moved in between.
    fn replace(path: &Path, content: &str) {
        let new = path.with_extension("new");
        fs::write(&new, content).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// Writes a new self-signed certificate and returns it.
    fn issue(folder: &Path) -> (TlsFiles, CertificateDer<'static>) {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let files = TlsFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
        replace(&files.cert, &issued.cert.pem());
        replace(&files.key, &issued.signing_key.serialize_pem());
        (files, issued.cert.der().clone())
    }

    /// Shakes hands in memory with a client that trusts `trusted`; returns the protocol and the certificate it got.
    fn handshake(
        config: &Arc<ServerConfig>,
        trusted: &CertificateDer<'static>,
    ) -> Result<(Vec<u8>, CertificateDer<'static>), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut client = builder.with_root_certificates(roots).with_no_client_auth();
        client.alpn_protocols = vec![b"h2".to_vec()];
        let mut client = ClientConnection::new(Arc::new(client), "localhost".try_into().unwrap())?;
        let mut server = ServerConnection::new(Arc::clone(config))?;
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets()?;
            let mut wire = Vec::new();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        let protocol = client.alpn_protocol().unwrap().to_vec();
        Ok((protocol, client.peer_certificates().unwrap()[0].clone()))
    }

    #[test]
    fn a_changed_certificate_is_served_and_a_bad_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (files, first) = issue(folder.path());
        let config = server_config_every(files.clone(), &HTTP, Pace::new(Duration::ZERO)).unwrap();
        assert_eq!(handshake(&config, &first).unwrap(), (b"h2".to_vec(), first.clone()));

        let (_, second) = issue(folder.path());
        assert_eq!(handshake(&config, &second).unwrap().1, second);
        assert!(handshake(&config, &first).is_err());

        replace(&files.cert, "rubbish");
        assert_eq!(handshake(&config, &second).unwrap().1, second);
        fs::remove_file(&files.key).unwrap();
        assert_eq!(handshake(&config, &second).unwrap().1, second);

        let (_, third) = issue(folder.path());
        assert_eq!(handshake(&config, &third).unwrap().1, third);
    }

    #[test]
    fn half_a_change_keeps_the_old_pair() {
        let folder = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let (files, first) = issue(folder.path());
        let (new, second) = issue(other.path());
        let config = server_config_every(files.clone(), &HTTP, Pace::new(Duration::ZERO)).unwrap();
        fs::rename(&new.cert, &files.cert).unwrap();
        assert_eq!(handshake(&config, &first).unwrap().1, first);
        fs::rename(&new.key, &files.key).unwrap();
        assert_eq!(handshake(&config, &second).unwrap().1, second);
    }

    #[test]
    fn files_that_could_not_be_read_once_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let (files, _) = issue(folder.path());
        let provider = Arc::new(ring::default_provider());
        let served = Certificate::load(files.clone(), Arc::clone(&provider), Pace::new(Duration::ZERO)).unwrap();
        let (_, second) = issue(folder.path());
        let stamps = stamps(&files);
        let failed = || Err(TlsError::Io { path: files.cert.clone(), error: io::Error::other("too many open files") });
        served.follow(stamps, failed);
        assert_ne!(served.current.read().unwrap().cert[0], second);
        served.follow(stamps, || read(&files, &provider));
        assert_eq!(served.current.read().unwrap().cert[0], second);
        served.follow(stamps, || panic!("they were read and have not changed"));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let (files, _) = issue(folder.path());
        let (unrelated, _) = issue(other.path());
        let missing = folder.path().join("none.pem");
        for (cert, key, expected) in [
            (&missing, &files.key, "cannot read"),
            (&files.cert, &missing, "cannot read"),
            (&files.key, &files.key, "holds no certificate in PEM form"),
            (&files.cert, &files.cert, "holds no private key in PEM form"),
            (&files.cert, &unrelated.key, "cannot be used together"),
        ] {
            let files = TlsFiles { cert: cert.clone(), key: key.clone() };
            let error = server_config(files).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
