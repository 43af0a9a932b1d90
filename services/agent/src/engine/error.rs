//! The engine's errors, as kinds that a caller can act on, in the engine's words.

use bollard::errors::Error as Bollard;
use gantry_boot::chain;
use tonic::{Code, Status};

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The thing is not there.
    NotFound,
    /// A thing of that name is there already.
    AlreadyExists,
    /// The request makes no sense.
    Invalid,
    /// It cannot be done in the state that things are in.
    State,
    /// The engine, or a registry, does not allow it.
    Forbidden,
    /// Something is used up: disk, addresses.
    Exhausted,
    /// The engine, or a registry, does not answer.
    Unavailable,
    /// It took too long.
    Timeout,
    /// The engine cannot do this at all.
    Unsupported,
    /// The engine failed.
    Internal,
}

/// An error of the engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What went wrong.
    pub kind: Kind,
    /// The engine's words.
    pub message: String,
}

/// The result of everything that the engine does.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of that kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl From<Bollard> for Error {
    fn from(error: Bollard) -> Self {
        match error {
            Bollard::DockerResponseServerError { status_code, message } => {
                Self::new(kind_of(status_code, &message), message.trim())
            }
            Bollard::DockerStreamError { error } => {
                Self::new(kind_of_words(&error).unwrap_or(Kind::Internal), error)
            }
            Bollard::RequestTimeoutError => {
                Self::new(Kind::Timeout, "the Docker Engine took too long to answer")
            }
            Bollard::JsonDataError { .. } | Bollard::JsonSerdeError { .. } => Self::new(
                Kind::Internal,
                format!("the Docker Engine's answer cannot be read: {}", chain(&error)),
            ),
            other => {
                Self::new(Kind::Unavailable, format!("the Docker Engine does not answer: {}", chain(&other)))
            }
        }
    }
}

fn kind_of(status: u16, message: &str) -> Kind {
    match status {
        400 => Kind::Invalid,
        401 | 403 => Kind::Forbidden,
        404 => Kind::NotFound,
        409 if message.contains("already in use by container") || message.contains("already exists") => {
            Kind::AlreadyExists
        }
        304 | 409 => Kind::State,
        501 => Kind::Unsupported,
        503 => Kind::Unavailable,
        _ => kind_of_words(message).unwrap_or(Kind::Internal),
    }
}

/// The engine answers 500 to much that is not its own fault; only the words tell.
fn kind_of_words(message: &str) -> Option<Kind> {
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&["no space left", "no available IPv4 addresses", "could not find an available"]) {
        Some(Kind::Exhausted)
    } else if says(&[
        "port is already allocated",
        "address already in use",
        "Address already in use",
        "is not running",
        "is paused",
    ]) {
        Some(Kind::State)
    } else if says(&[
        "dial tcp",
        "no such host",
        "Client.Timeout",
        "i/o timeout",
        "connection refused",
        "TLS handshake timeout",
    ]) {
        Some(Kind::Unavailable)
    } else if says(&[
        "executable file not found",
        "permission denied",
        "no such file or directory",
        "invalid",
    ]) {
        Some(Kind::Invalid)
    } else if says(&["pull access denied", "unauthorized", "denied:"]) {
        Some(Kind::Forbidden)
    } else if says(&["manifest unknown", "not found", "No such"]) {
        Some(Kind::NotFound)
    } else {
        None
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = match error.kind {
            Kind::NotFound => Code::NotFound,
            Kind::AlreadyExists => Code::AlreadyExists,
            Kind::Invalid => Code::InvalidArgument,
            Kind::State => Code::FailedPrecondition,
            Kind::Forbidden => Code::PermissionDenied,
            Kind::Exhausted => Code::ResourceExhausted,
            Kind::Unavailable => Code::Unavailable,
            Kind::Timeout => Code::DeadlineExceeded,
            Kind::Unsupported => Code::Unimplemented,
            Kind::Internal => Code::Internal,
        };
        Status::new(code, error.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_answers_become_the_right_status_with_its_words() {
        for (status, message, code) in [
            (400, "invalid reference format", Code::InvalidArgument),
            (404, "No such container: x", Code::NotFound),
            (
                409,
                "Conflict. The container name \"/x\" is already in use by container \"abc\".",
                Code::AlreadyExists,
            ),
            (409, "Container abc is not running", Code::FailedPrecondition),
            (
                500,
                "driver failed: Bind for 0.0.0.0:80 failed: port is already allocated",
                Code::FailedPrecondition,
            ),
            (500, "write /var: no space left on device", Code::ResourceExhausted),
            (
                500,
                "Get https://registry-1.docker.io/v2/: dial tcp: lookup registry-1.docker.io: no such host",
                Code::Unavailable,
            ),
            (404, "pull access denied for x, repository does not exist", Code::NotFound),
            (500, "exec: \"nope\": executable file not found in $PATH: unknown", Code::InvalidArgument),
            (501, "not implemented", Code::Unimplemented),
            (500, "something else", Code::Internal),
        ] {
            let error =
                Bollard::DockerResponseServerError { status_code: status, message: message.to_owned() };
            let status = Status::from(Error::from(error));
            assert_eq!((status.code(), status.message()), (code, message));
        }
    }
}
