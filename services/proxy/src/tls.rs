//! TLS: certificates by name towards clients, and what endpoints are trusted by.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::spec::{self, Protocol};
use crate::upstream::Secure;

/// Certificates by the names that they are for.
#[derive(Default)]
pub struct Certificates {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows the star: `.example.com`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    /// For clients that name nothing, or something else: the first one.
    first: Option<Arc<CertifiedKey>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.exact.keys()).entries(self.wildcard.keys()).finish()
    }
}

impl Certificates {
    /// Reads certificates. Also answers which of them cannot be used.
    pub fn read(certificates: &[spec::Certificate]) -> (Self, Vec<String>) {
        let mut read = Self::default();
        let mut problems = Vec::new();
        for certificate in certificates {
            if let Err(problem) = read.add(certificate) {
                problems.push(format!("certificate {}: {problem}", certificate.name));
            }
        }
        (read, problems)
    }

    fn add(&mut self, certificate: &spec::Certificate) -> Result<(), String> {
        let chain = chain(&certificate.cert_pem)?;
        let names = names(&chain)?;
        let key = key(&certificate.key_pem)?;
        let provider = rustls::crypto::ring::default_provider();
        let signing = provider
            .key_provider
            .load_private_key(key)
            .map_err(|error| format!("cannot use the key: {error}"))?;
        let certified = CertifiedKey::new(chain, signing);
        certified.keys_match().map_err(|_| "the key is not the certificate's".to_owned())?;
        let certified = Arc::new(certified);
        for name in names {
            match name.strip_prefix('*') {
                Some(suffix) => self.wildcard.insert(suffix.to_owned(), certified.clone()),
                None => self.exact.insert(name, certified.clone()),
            };
        }
        self.first.get_or_insert(certified);
        Ok(())
    }

    /// TLS for clients of a listener: versions 1.2 and 1.3, HTTP/2 before HTTP/1.1.
    pub fn server(self: &Arc<Self>, protocol: Protocol) -> Result<Arc<ServerConfig>, String> {
        if self.first.is_none() {
            return Err("TLS needs a certificate, and there is none".to_owned());
        }
        let mut config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(self.clone());
        if protocol != Protocol::Tcp {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        Ok(Arc::new(config))
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let wild = || name.find('.').and_then(|at| self.wildcard.get(&name[at..]));
        self.exact.get(&name).or_else(wild)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        hello.server_name().and_then(|name| self.find(name)).or(self.first.as_ref()).cloned()
    }
}

fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| format!("cannot read the certificate: {error}"))?;
    if chain.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(chain) }
}

fn key(pem: &str) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| format!("cannot read the key: {error}"))
}

/// The names that a certificate is for.
fn names(chain: &[CertificateDer<'static>]) -> Result<Vec<String>, String> {
    use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
    let Some(leaf) = chain.first() else { return Ok(Vec::new()) };
    let (_, leaf) =
        X509Certificate::from_der(leaf).map_err(|error| format!("cannot read the certificate: {error}"))?;
    let extension = leaf.subject_alternative_name().ok().flatten();
    let names = extension.map(|extension| {
        let all = extension.value.general_names.iter();
        all.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
    });
    Ok(names.unwrap_or_default())
}

/// TLS towards endpoints.
pub fn client(wanted: &spec::UpstreamTls) -> Result<Secure, String> {
    let name = ServerName::try_from(wanted.server_name.clone())
        .map_err(|_| format!("{:?} is not a name for TLS", wanted.server_name))?;
    let builder = ClientConfig::builder();
    let builder = if wanted.ca_pem.is_empty() {
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(algorithms)))
    } else {
        let mut roots = RootCertStore::empty();
        for authority in chain(&wanted.ca_pem)? {
            roots.add(authority).map_err(|error| format!("cannot use the authority: {error}"))?;
        }
        builder.with_root_certificates(roots)
    };
    let config = if wanted.cert_pem.is_empty() {
        builder.with_no_client_auth()
    } else {
        builder
            .with_client_auth_cert(chain(&wanted.cert_pem)?, key(&wanted.key_pem)?)
            .map_err(|error| format!("cannot use the client's certificate: {error}"))?
    };
    let with = |protocols: &[&[u8]]| {
        let mut config = config.clone();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    };
    Ok(Secure { http1: with(&[b"http/1.1"]), http2: with(&[b"h2"]), plain: with(&[]), name })
}

/// Takes every certificate: for endpoints whose own nobody has signed, when that was asked for.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[&str]) -> spec::Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        spec::Certificate {
            name: "test".into(),
            cert_pem: made.cert.pem(),
            key_pem: made.signing_key.serialize_pem(),
        }
    }

    #[test]
    fn a_name_gets_its_own_certificate() {
        let all = [certificate(&["a.example"]), certificate(&["*.b.example", "b.example"])];
        let (read, problems) = Certificates::read(&all);
        assert_eq!(problems, Vec::<String>::new());
        let same = |name: &str, of: &spec::Certificate| {
            read.find(name).is_some_and(|found| found.cert == chain(&of.cert_pem).unwrap())
        };
        assert!(same("A.example", &all[0]));
        assert!(same("x.b.example", &all[1]) && same("b.example", &all[1]));
        assert!(read.find("c.example").is_none() && read.find("x.y.b.example").is_none());
    }

    #[test]
    fn a_key_of_another_certificate_is_told_and_the_rest_is_used() {
        let good = certificate(&["a.example"]);
        let bad = spec::Certificate { key_pem: good.key_pem.clone(), ..certificate(&["b.example"]) };
        let (read, problems) = Certificates::read(&[bad, good]);
        assert_eq!(problems, ["certificate test: the key is not the certificate's"]);
        assert!(read.find("a.example").is_some() && read.find("b.example").is_none());
    }
}
