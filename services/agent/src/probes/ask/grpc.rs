//! A call of `grpc.health.v1.Health/Check`, in plain HTTP/2.

use std::net::SocketAddr;

use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::connect;

/// The answer is a number.
const MAX_ANSWER: usize = 4 << 10;

/// Passes when the service is SERVING.
pub async fn check(address: SocketAddr, service: &str) -> Result<(), String> {
    // Whoever is not there at all is told in the words of the other checks.
    drop(connect(address).await?);
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| error.to_string())?;
    let channel = endpoint.connect().await.map_err(|_| "it speaks no HTTP/2".to_owned())?;
    let mut client = HealthClient::new(channel).max_decoding_message_size(MAX_ANSWER);
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = client.check(request).await.map_err(|status| words(&status))?.into_inner();
    match answer.status() {
        ServingStatus::Serving => Ok(()),
        other => Err(format!("answered {}", other.as_str_name())),
    }
}

fn words(status: &Status) -> String {
    match status.code() {
        Code::Unimplemented => "it does not have grpc.health.v1.Health".to_owned(),
        Code::NotFound => "it does not know the service".to_owned(),
        _ if std::error::Error::source(status).is_some() => "it does not speak gRPC".to_owned(),
        code => format!("answered {code:?}: {}", status.message()),
    }
}
