//! Finds out what a server has against a certificate.

use std::sync::Arc;
use std::time::Duration;

use gantry_identity::Bundle;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const PATIENCE: Duration = Duration::from_secs(5);

/// The alert with which the server ends a connection; `None` if it does not.
pub async fn received(address: &str, name: &str, own: &Bundle) -> Option<String> {
    timeout(PATIENCE, look(address, name, own)).await.ok().flatten()
}

async fn look(address: &str, name: &str, own: &Bundle) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(own.ca.as_bytes()).ok()?).ok()?;
    let certificate = CertificateDer::from_pem_slice(own.certificate.as_bytes()).ok()?;
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).ok()?;
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)
        .ok()?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(name.to_owned()).ok()?;
    let stream = TcpStream::connect(address).await.ok()?;
    let mut stream = match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        Ok(stream) => stream,
        Err(error) => return Some(error.to_string()),
    };
    // A server that is content speaks first in HTTP/2.
    stream.read_u8().await.err().map(|error| error.to_string())
}
