//! One's own certificate, which is replaced while it is in use.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use gantry_identity::{BadCertificate, Bundle};
use gantry_model::Timestamp;
use rustls::client::ClientConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, crypto};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;

/// A certificate for this service's servers and clients. Clones share it: once it is replaced, every
/// new connection uses the new one.
#[derive(Clone)]
pub struct Credentials {
    current: Arc<watch::Sender<Arc<Current>>>,
    folder: Option<PathBuf>,
}

struct Current {
    bundle: Bundle,
    until: SystemTime,
    key: Arc<CertifiedKey>,
}

fn unreadable(error: impl std::fmt::Display) -> BadCertificate {
    BadCertificate::Unreadable(error.to_string())
}

impl Current {
    fn of(bundle: Bundle) -> Result<Self, BadCertificate> {
        let key = PrivateKeyDer::from_pem_slice(bundle.key.as_bytes()).map_err(unreadable)?;
        let key = crypto::ring::sign::any_supported_type(&key).map_err(unreadable)?;
        // The CA is shown too: a machine that wants to join knows it by its fingerprint.
        let chain = [&bundle.certificate, &bundle.ca].map(|pem| certificate(pem));
        let chain: Vec<_> = chain.into_iter().collect::<Result<_, _>>()?;
        let key = Arc::new(CertifiedKey::new(chain, key));
        Ok(Self { until: bundle.validity()?.until, bundle, key })
    }
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>, BadCertificate> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(unreadable)
}

/// The roots that trust a CA.
pub(crate) fn roots(ca: &str) -> Result<RootCertStore, BadCertificate> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(ca)?).map_err(unreadable)?;
    Ok(roots)
}

impl Credentials {
    /// A certificate that lies nowhere.
    pub fn of(bundle: Bundle) -> Result<Self, BadCertificate> {
        let (current, _) = watch::channel(Arc::new(Current::of(bundle)?));
        Ok(Self { current: Arc::new(current), folder: None })
    }

    /// The certificate `bundle`, which was read from `folder` and is replaced there too.
    pub fn kept_in(folder: &Path, bundle: Bundle) -> Result<Self, BadCertificate> {
        Ok(Self { folder: Some(folder.to_owned()), ..Self::of(bundle)? })
    }

    /// The certificate as it is now.
    pub fn bundle(&self) -> Bundle {
        self.current.borrow().bundle.clone()
    }

    /// When the certificate ends, as it is now.
    pub fn expires_at(&self) -> Timestamp {
        Timestamp::from(self.current.borrow().until)
    }

    /// Uses `bundle` from now on, once it is on disk.
    pub fn replace(&self, bundle: Bundle) -> io::Result<()> {
        let invalid = |error: BadCertificate| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
        let next = Current::of(bundle).map_err(invalid)?;
        if let Some(folder) = &self.folder {
            next.bundle.renew(folder)?;
        }
        self.current.send_replace(Arc::new(next));
        Ok(())
    }

    /// How to dial with the certificate as it is now.
    pub(crate) fn client(&self) -> Result<ClientConfig, BadCertificate> {
        let current = self.current.borrow().clone();
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots(&current.bundle.ca)?)
            .with_client_cert_resolver(Arc::new(Shown(current.key.clone())));
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A connection is to be made with what is true now, not with what was agreed on earlier.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Credentials").field(&self.bundle()).finish()
    }
}

impl ResolvesServerCert for Credentials {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.borrow().key.clone())
    }
}

/// One certificate for all servers.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl rustls::client::ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
