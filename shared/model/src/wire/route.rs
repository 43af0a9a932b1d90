//! Routes and policies as `gantry.cluster.v1.ServiceRoute` and `TrafficPolicy`.

use gantry_api::Invalid;
use gantry_api::cluster::v1 as wire;
use ipnet::IpNet;

use super::parts::{bounded, read_duration, some_text, write_duration};
use crate::route::{
    Balance, Certificate, HashOn, Policy, Route, RouteFilters, UpstreamProtocol, is_host_pattern, is_token,
};

/// Reads the routes of a service.
pub(super) fn read_routes(routes: Vec<wire::ServiceRoute>) -> Result<Vec<Route>, Invalid> {
    bounded("routes", &routes)?;
    routes.into_iter().map(read_route).collect::<Result<_, _>>().map_err(|problem| problem.within("routes"))
}

fn read_route(route: wire::ServiceRoute) -> Result<Route, Invalid> {
    let host = route.host.to_ascii_lowercase();
    if !host.is_empty() && !is_host_pattern(&host) {
        return Err(Invalid::new("host", format!("is {host:?}; give a name, or \"*.\" and a name")));
    }
    let given = if route.path.is_empty() { "/" } else { &route.path };
    let path = Route::normal_path(given)
        .ok_or_else(|| Invalid::new("path", format!("is {given:?}; give a prefix such as /api")))?;
    let target = match u16::try_from(route.target_port) {
        Ok(0) => return Err(Invalid::missing("target_port")),
        Ok(port) => port,
        Err(_) => return Err(Invalid::new("target_port", "is above 65535")),
    };
    let names = [&route.headers, &route.request_headers, &route.response_headers];
    if let Some(name) = names.iter().flat_map(|headers| headers.keys()).find(|name| !is_token(name)) {
        return Err(Invalid::new("headers", format!("names {name:?}, which is no header")));
    }
    if !route.rate.is_finite() || route.rate < 0.0 {
        return Err(Invalid::new("rate", "is no number of requests a second"));
    }
    let ranges = |field: &str, texts: &[String]| {
        bounded(field, texts)?;
        texts.iter().map(|text| read_range(field, text)).collect::<Result<Vec<_>, _>>()
    };
    Ok(Route {
        host,
        path,
        headers: route.headers,
        target,
        filters: RouteFilters {
            strip_prefix: route.strip_prefix,
            redirect_https: route.redirect_https,
            request_headers: route.request_headers,
            response_headers: route.response_headers,
            max_body: route.max_body,
            allow: ranges("allow", &route.allow)?,
            deny: ranges("deny", &route.deny)?,
            basic_auth: route.basic_auth,
            rate: route.rate,
            burst: route.burst,
            compress: route.compress,
            timeout: read_duration("timeout", route.timeout)?,
        },
        certificate: route.certificate.map(|certificate| Certificate {
            name: certificate.name,
            cert_pem: certificate.cert_pem,
            key_pem: certificate.key_pem,
        }),
    })
}

fn read_range(field: &str, text: &str) -> Result<IpNet, Invalid> {
    text.parse().map_err(|_| Invalid::new(field, format!("has {text:?}; give a range such as 192.0.2.0/24")))
}

/// Writes a route, with its key and its passwords.
pub(super) fn write_route(route: &Route) -> wire::ServiceRoute {
    let filters = &route.filters;
    let texts = |ranges: &[IpNet]| ranges.iter().map(ToString::to_string).collect();
    wire::ServiceRoute {
        host: route.host.clone(),
        path: route.path.clone(),
        headers: route.headers.clone(),
        target_port: route.target.into(),
        strip_prefix: filters.strip_prefix,
        redirect_https: filters.redirect_https,
        request_headers: filters.request_headers.clone(),
        response_headers: filters.response_headers.clone(),
        max_body: filters.max_body,
        allow: texts(&filters.allow),
        deny: texts(&filters.deny),
        basic_auth: filters.basic_auth.clone(),
        rate: filters.rate,
        burst: filters.burst,
        compress: filters.compress,
        timeout: filters.timeout.map(write_duration),
        certificate: route.certificate.as_ref().map(|certificate| wire::RouteCertificate {
            name: certificate.name.clone(),
            cert_pem: certificate.cert_pem.clone(),
            key_pem: certificate.key_pem.clone(),
        }),
    }
}

/// Reads a policy.
pub(super) fn read_policy(policy: wire::TrafficPolicy) -> Result<Policy, Invalid> {
    use wire::TrafficBalance as B;
    let hash_on = some_text(policy.hash_on).map(|text| {
        let bad = || {
            Invalid::new("traffic.hash_on", format!("is {text:?}; use source, header:NAME or cookie:NAME"))
        };
        HashOn::parse(&text).ok_or_else(bad)
    });
    let sticky_cookie = some_text(policy.sticky_cookie);
    if let Some(name) = sticky_cookie.as_ref().filter(|name| !is_token(name)) {
        return Err(Invalid::new(
            "traffic.sticky_cookie",
            format!("is {name:?}, which cannot be a cookie's name"),
        ));
    }
    Ok(Policy {
        balance: match B::try_from(policy.balance) {
            Ok(B::Unspecified) => None,
            Ok(B::LeastRequest) => Some(Balance::LeastRequest),
            Ok(B::RoundRobin) => Some(Balance::RoundRobin),
            Ok(B::Random) => Some(Balance::Random),
            Ok(B::Hash) => Some(Balance::Hash),
            Err(_) => return Err(Invalid::new("traffic.balance", "is not known to this version")),
        },
        hash_on: hash_on.transpose()?,
        sticky_cookie,
        connect_timeout: read_duration("traffic.connect_timeout", policy.connect_timeout)?,
        idle_timeout: read_duration("traffic.idle_timeout", policy.idle_timeout)?,
        max_concurrency: policy.max_concurrency,
        queue_length: policy.queue_length,
        queue_timeout: read_duration("traffic.queue_timeout", policy.queue_timeout)?,
        retry_percent: policy.retry_percent,
        slow_start: read_duration("traffic.slow_start", policy.slow_start)?,
        eject_after: policy.eject_after,
        eject_for: read_duration("traffic.eject_for", policy.eject_for)?,
        protocol: match policy.upstream_protocol.as_str() {
            "" => None,
            "http1" => Some(UpstreamProtocol::Http1),
            "http2" => Some(UpstreamProtocol::Http2),
            other => {
                return Err(Invalid::new(
                    "traffic.upstream_protocol",
                    format!("is {other:?}; use http1, http2 or nothing"),
                ));
            }
        },
        drain_timeout: read_duration("traffic.drain_timeout", policy.drain_timeout)?,
    })
}

/// Writes a policy.
pub(super) fn write_policy(policy: &Policy) -> wire::TrafficPolicy {
    use wire::TrafficBalance as B;
    wire::TrafficPolicy {
        balance: match policy.balance {
            None => B::Unspecified,
            Some(Balance::LeastRequest) => B::LeastRequest,
            Some(Balance::RoundRobin) => B::RoundRobin,
            Some(Balance::Random) => B::Random,
            Some(Balance::Hash) => B::Hash,
        }
        .into(),
        hash_on: policy.hash_on.as_ref().map(ToString::to_string).unwrap_or_default(),
        sticky_cookie: policy.sticky_cookie.clone().unwrap_or_default(),
        connect_timeout: policy.connect_timeout.map(write_duration),
        idle_timeout: policy.idle_timeout.map(write_duration),
        max_concurrency: policy.max_concurrency,
        queue_length: policy.queue_length,
        queue_timeout: policy.queue_timeout.map(write_duration),
        retry_percent: policy.retry_percent,
        slow_start: policy.slow_start.map(write_duration),
        eject_after: policy.eject_after,
        eject_for: policy.eject_for.map(write_duration),
        upstream_protocol: match policy.protocol {
            None => String::new(),
            Some(UpstreamProtocol::Http1) => "http1".to_owned(),
            Some(UpstreamProtocol::Http2) => "http2".to_owned(),
        },
        drain_timeout: policy.drain_timeout.map(write_duration),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_route_reads_back_as_it_was_written() {
        let route = Route {
            host: "*.example.com".into(),
            path: "/api".into(),
            headers: BTreeMap::from([("x-beta".into(), String::new())]),
            target: 5000,
            filters: RouteFilters {
                strip_prefix: true,
                max_body: 10,
                allow: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
                rate: 2.5,
                timeout: Some(Duration::from_secs(3)),
                ..RouteFilters::default()
            },
            certificate: Some(Certificate { name: "a".into(), cert_pem: "b".into(), key_pem: "c".into() }),
        };
        assert_eq!(read_routes(vec![write_route(&route)]).unwrap(), [route]);
    }

    #[test]
    fn a_policy_reads_back_as_it_was_written() {
        let policy = Policy {
            balance: Some(Balance::Hash),
            hash_on: Some(HashOn::Cookie("user".into())),
            eject_after: Some(0),
            drain_timeout: Some(Duration::from_secs(9)),
            protocol: Some(UpstreamProtocol::Http2),
            ..Policy::default()
        };
        assert_eq!(read_policy(write_policy(&policy)).unwrap(), policy);
    }

    #[test]
    fn a_route_that_cannot_be_matched_is_refused() {
        let good = wire::ServiceRoute { target_port: 80, ..wire::ServiceRoute::default() };
        for bad in [
            wire::ServiceRoute { target_port: 0, ..good.clone() },
            wire::ServiceRoute { host: "a:80".into(), ..good.clone() },
            wire::ServiceRoute { path: "api".into(), ..good.clone() },
            wire::ServiceRoute { allow: vec!["everybody".into()], ..good.clone() },
            wire::ServiceRoute { rate: f64::NAN, ..good.clone() },
        ] {
            assert!(read_routes(vec![bad]).is_err());
        }
        assert_eq!(read_routes(vec![good]).unwrap()[0].path, "/");
    }
}
