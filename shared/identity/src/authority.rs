//! The cluster's certificate authority.

use std::time::{Duration, SystemTime};

use gantry_model::ClusterId;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;

use crate::bundle::Bundle;
use crate::name::{Identity, server_name};

/// A certificate that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}")]
pub struct Error {
    operation: &'static str,
    source: rcgen::Error,
}

fn failed(operation: &'static str) -> impl FnOnce(rcgen::Error) -> Error {
    move |source| Error { operation, source }
}

/// Signs certificates. Its key never leaves the place where the scheduler runs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    key: String,
}

/// For whom a certificate is, and for how long.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Who gets it.
    pub identity: Identity,
    /// Further host names and addresses under which a server is reached by clients that
    /// do not know Gantry's names.
    pub hosts: Vec<String>,
    /// From when on it is good.
    pub from: SystemTime,
    /// For how long.
    pub lifetime: Duration,
}

/// Clocks of cluster members may differ by this much.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_mins(5);
const TEN_YEARS: Duration = Duration::from_hours(87600);

impl Authority {
    /// Makes the authority of a new cluster.
    pub fn create(cluster: &ClusterId, now: SystemTime) -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(failed("make the CA's key"))?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = name(&format!("Gantry cluster {cluster}"));
        params.not_before = OffsetDateTime::from(now - CLOCK_SKEW);
        params.not_after = OffsetDateTime::from(now + TEN_YEARS);
        let certificate = params.self_signed(&key).map_err(failed("sign the CA's certificate"))?.pem();
        let key_pem = key.serialize_pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate, key: key_pem })
    }

    /// Reads an authority back.
    pub fn load(certificate: &str, key: &str) -> Result<Self, Error> {
        let pair = KeyPair::from_pem(key).map_err(failed("read the CA's key"))?;
        let issuer =
            Issuer::from_ca_cert_pem(certificate, pair).map_err(failed("read the CA's certificate"))?;
        Ok(Self { issuer, certificate: certificate.to_owned(), key: key.to_owned() })
    }

    /// The CA's certificate as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The CA's key as PEM. Keep it where only the scheduler's host can read it.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Makes a key and a certificate for it.
    pub fn issue(&self, grant: &Grant) -> Result<Bundle, Error> {
        let key = KeyPair::generate().map_err(failed("make a key"))?;
        let params = Self::params(grant)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed("sign a certificate"))?;
        Ok(Bundle { ca: self.certificate.clone(), certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// Makes a certificate for the key of a signing request, as PEM. What else the request asks for
    /// does not count: whom a certificate names is for the grant to say.
    pub fn sign(&self, request: &str, grant: &Grant) -> Result<String, Error> {
        let mut request =
            CertificateSigningRequestParams::from_pem(request).map_err(failed("read a signing request"))?;
        request.params = Self::params(grant)?;
        let certificate = request.signed_by(&self.issuer).map_err(failed("sign a certificate"))?;
        Ok(certificate.pem())
    }

    fn params(grant: &Grant) -> Result<CertificateParams, Error> {
        let identity = &grant.identity;
        let mut params =
            CertificateParams::new(grant.hosts.clone()).map_err(failed("name a host in a certificate"))?;
        params.distinguished_name = name(&format!("{} {}", identity.role, identity.name));
        params.not_before = OffsetDateTime::from(grant.from - CLOCK_SKEW);
        params.not_after = OffsetDateTime::from(grant.from + grant.lifetime);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let text = |text: String| text.try_into().map_err(failed("name the holder of a certificate"));
        params.subject_alt_names.push(SanType::URI(text(identity.uri())?));
        if identity.role.serves() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
            params
                .subject_alt_names
                .push(SanType::DnsName(text(server_name(identity.role, &identity.name))?));
        }
        Ok(params)
    }
}

/// A key of one's own, and the request to have a certificate made for it.
pub struct Request {
    /// The key as PEM. It stays where it was made.
    pub key: String,
    /// The signing request as PEM.
    pub request: String,
}

impl Request {
    /// Makes a key and its signing request.
    pub fn create() -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(failed("make a key"))?;
        let request = CertificateParams::default()
            .serialize_request(&key)
            .and_then(|request| request.pem())
            .map_err(failed("make a signing request"))?;
        Ok(Self { key: key.serialize_pem(), request })
    }
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Gantry");
    name.push(DnType::CommonName, common);
    name
}
