//! What a rule does to requests and responses, ready for use.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use ipnet::IpNet;

use super::auth::Users;
use super::rate::Rate;
use crate::http::Refusal;
use crate::spec;

/// What a rule does to requests and responses.
pub struct Filters {
    /// The path prefix is taken off.
    pub strip_prefix: bool,
    /// Plain HTTP is redirected.
    pub redirect_https: bool,
    /// The largest body of a request in bytes.
    pub max_body: u64,
    /// Responses are compressed for clients that ask for it.
    pub compress: bool,
    /// How long an endpoint may take to begin its answer; `None`: as the backend says.
    pub response_timeout: Option<Duration>,
    /// Who may come in; `None`: everybody.
    pub users: Option<Arc<Users>>,
    request: Vec<(HeaderName, Option<HeaderValue>)>,
    response: Vec<(HeaderName, Option<HeaderValue>)>,
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    rate: Option<Rate>,
}

/// What says where a message ends, or what becomes of the connection.
const FRAMING: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

impl Filters {
    /// Reads them.
    pub fn new(filters: &spec::Filters) -> Result<Self, String> {
        let headers = |map: &std::collections::BTreeMap<String, String>| {
            map.iter()
                .map(|(name, value)| {
                    let name: HeaderName =
                        name.parse().map_err(|_| format!("{name:?} is not a header's name"))?;
                    if FRAMING.contains(&name) {
                        return Err(format!("the proxy itself decides about {name}: leave it out"));
                    }
                    let value = match value.as_str() {
                        "" => None,
                        value => Some(
                            HeaderValue::from_str(value)
                                .map_err(|_| format!("{value:?} is not a header's value"))?,
                        ),
                    };
                    Ok((name, value))
                })
                .collect::<Result<Vec<_>, String>>()
        };
        if !filters.rate.is_finite() || filters.rate < 0.0 {
            return Err(format!("{} is not a rate", filters.rate));
        }
        Ok(Self {
            strip_prefix: filters.strip_prefix,
            redirect_https: filters.redirect_https,
            max_body: if filters.max_body == 0 { u64::MAX } else { filters.max_body },
            compress: filters.compress,
            response_timeout: filters.response_timeout,
            users: if filters.basic_auth.is_empty() {
                None
            } else {
                Some(Arc::new(Users::read(&filters.basic_auth)?))
            },
            request: headers(&filters.request_headers)?,
            response: headers(&filters.response_headers)?,
            allow: filters.allow.clone(),
            deny: filters.deny.clone(),
            rate: (filters.rate > 0.0).then(|| Rate::new(filters.rate, filters.burst)),
        })
    }

    /// Whether a client of this address may ask, and may ask now.
    pub fn admit(&self, peer: IpAddr, now: Instant) -> Result<(), Refusal> {
        let within = |ranges: &[IpNet]| ranges.iter().any(|range| range.contains(&peer));
        if within(&self.deny) || (!self.allow.is_empty() && !within(&self.allow)) {
            return Err(Refusal::new(StatusCode::FORBIDDEN, "this address may not come in"));
        }
        match &self.rate {
            Some(rate) if !rate.take(peer, now) => {
                Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too many requests from this address"))
            }
            _ => Ok(()),
        }
    }

    /// Changes a request's headers.
    pub fn change_request(&self, headers: &mut HeaderMap) {
        change(&self.request, headers);
    }

    /// Changes a response's headers.
    pub fn change_response(&self, headers: &mut HeaderMap) {
        change(&self.response, headers);
    }
}

fn change(changes: &[(HeaderName, Option<HeaderValue>)], headers: &mut HeaderMap) {
    for (name, value) in changes {
        match value {
            Some(value) => drop(headers.insert(name, value.clone())),
            None => drop(headers.remove(name)),
        }
    }
}
