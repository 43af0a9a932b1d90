//! A connection to a scheduler that is known by its CA's fingerprint only.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gantry_identity::{Fingerprint, Role, server_name};
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::client::{ConnectError, describe, kept};

const PATIENCE: Duration = Duration::from_secs(5);

/// A connection without a certificate of one's own to the scheduler at `address`, whose CA must have
/// that fingerprint.
///
/// The time is not looked at: a machine whose clock is wrong is told so by the scheduler, in words.
pub async fn connect_pinned(address: &str, fingerprint: &Fingerprint) -> Result<Channel, ConnectError> {
    let pin = Arc::new(Pin {
        fingerprint: fingerprint.clone(),
        found: Mutex::new(None),
        provider: Arc::new(ring::default_provider()),
    });
    let mut config = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(pin.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tls = TlsConnector::from(Arc::new(config));
    let to = address.to_owned();
    let connector = service_fn(move |_: Uri| {
        let (tls, to) = (tls.clone(), to.clone());
        async move {
            let name =
                ServerName::try_from(server_name(Role::Scheduler, "")).map_err(std::io::Error::other)?;
            let stream = TcpStream::connect(&to).await?;
            tls.connect(name, stream).await.map(TokioIo::new)
        }
    });
    if !address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
        return Err(ConnectError::Address { address: address.to_owned() });
    }
    let endpoint =
        kept(Endpoint::from(Uri::from_static("http://scheduler.gantry"))).connect_timeout(PATIENCE);
    endpoint.connect_with_connector(connector).await.map_err(|error| {
        let found = pin.found.lock().unwrap_or_else(PoisonError::into_inner).take();
        match found {
            Some(theirs) => ConnectError::OtherCluster {
                address: address.to_owned(),
                theirs,
                ours: fingerprint.to_string(),
            },
            None => describe(&error, address, Role::Scheduler),
        }
    })
}

/// Trusts the CA of one fingerprint.
#[derive(Debug)]
struct Pin {
    fingerprint: Fingerprint,
    /// Who was found instead.
    found: Mutex<Option<String>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let ca = intermediates.iter().find(|ca| Fingerprint::of_der(ca) == self.fingerprint);
        let Some(ca) = ca else {
            let shown = intermediates.last().map(|ca| Fingerprint::of_der(ca).to_string());
            let found = shown.unwrap_or_else(|| "not shown".to_owned());
            *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
            return Err(TlsError::InvalidCertificate(CertificateError::UnknownIssuer));
        };
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|error| TlsError::General(error.to_string()))?;
        let now = while_good(end_entity, now);
        verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The moment nearest to `now` at which the certificate is good.
fn while_good(certificate: &CertificateDer<'_>, now: UnixTime) -> UnixTime {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return now };
    let validity = certificate.validity();
    let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
    let (from, until) = (seconds(validity.not_before.timestamp()), seconds(validity.not_after.timestamp()));
    UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs().clamp(from, until.max(from))))
}
