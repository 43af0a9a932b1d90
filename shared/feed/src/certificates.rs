//! When the certificates end that routes are served with.

use gantry_api::feed::v1::ServedCertificate;
use gantry_identity::Validity;
use gantry_model::wire::write_time;
use gantry_model::{Service, Timestamp};

/// Those of a service; one that cannot be read is left out: the proxy says what is wrong with it.
pub fn certificates(service: &Service) -> Vec<ServedCertificate> {
    let all = service.spec.routes.iter().filter_map(|route| route.certificate.as_ref());
    let served = all.filter_map(|certificate| {
        let until = Validity::of(&certificate.cert_pem).ok()?.until;
        let name = certificate.name.clone();
        Some(ServedCertificate { name, expires_at: Some(write_time(Timestamp::from(until))) })
    });
    served.collect()
}
