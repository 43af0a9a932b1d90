//! What this proxy believes: what it serves where, and what it knows of the endpoints. The pages of the
//! admin port and the gRPC service show the same.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use gantry_api::proxy::v1 as wire;
use serde::Serialize;

use crate::balance::{CLASSES, Registry, State, millis};
use crate::plan::{Place, Plan, Rule, Site};
use crate::spec::Protocol;

/// What is served where.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Routes {
    plan: u64,
    listeners: Vec<Listener>,
    service_addresses: Vec<ServiceAddress>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Listener {
    listen: String,
    owner: String,
    protocol: &'static str,
    tls: bool,
    rules: Vec<Leads>,
}

/// Where some requests go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Leads {
    host: String,
    path: String,
    name: String,
    backend: String,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct ServiceAddress {
    address: String,
    network: String,
    service: String,
}

/// An endpoint, and what is known of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Endpoint {
    service: String,
    #[serde(rename = "endpoint")]
    name: String,
    address: String,
    in_flight: u64,
    answers: Answers,
    failures_in_a_row: u32,
    left_out: bool,
    leaving: bool,
}

/// Requests that ended, by class of the answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Answers {
    none: u64,
    #[serde(rename = "1xx")]
    informational: u64,
    #[serde(rename = "2xx")]
    success: u64,
    #[serde(rename = "3xx")]
    redirect: u64,
    #[serde(rename = "4xx")]
    client_error: u64,
    #[serde(rename = "5xx")]
    server_error: u64,
}

/// What `plan` serves where.
pub fn routes(plan: &Plan) -> Routes {
    let mut sites: Vec<_> = plan.sites.iter().collect();
    sites.sort_by_key(|(place, _)| **place);
    let addresses = plan.spec.addresses.iter().map(|address| ServiceAddress {
        address: address.address.to_string(),
        network: address.network.clone(),
        service: address.backend.clone(),
    });
    Routes {
        plan: plan.number,
        listeners: sites.into_iter().map(|(place, site)| listener(*place, site)).collect(),
        service_addresses: addresses.collect(),
    }
}

fn listener(place: Place, site: &Site) -> Listener {
    let mut rules: Vec<Leads> = site.router.rules().map(|rule| leads(rule)).collect();
    rules.sort();
    Listener {
        listen: place.to_string(),
        owner: site.owner.clone(),
        protocol: match site.protocol {
            Protocol::Detect => "detect",
            Protocol::Http => "http",
            Protocol::Tcp => "tcp",
        },
        tls: site.tls.is_some(),
        rules,
    }
}

fn leads(rule: &Rule) -> Leads {
    Leads {
        host: rule.host().to_owned(),
        path: if rule.path.is_empty() { "/".to_owned() } else { rule.path.clone() },
        name: rule.name.clone(),
        backend: rule.target.backend.clone(),
        port: rule.target.port,
    }
}

/// What is known of every endpoint, in order.
pub fn endpoints(registry: &Registry) -> Vec<Endpoint> {
    let now = millis(Instant::now());
    let mut states = registry.endpoints();
    states.sort_by(|a, b| (&a.backend, &a.name, a.address).cmp(&(&b.backend, &b.name, b.address)));
    states.iter().map(|state: &Arc<State>| endpoint(state, now)).collect()
}

fn endpoint(state: &State, now: u64) -> Endpoint {
    let classes: [u64; CLASSES] = std::array::from_fn(|at| state.sum(|core| &core.classes[at]));
    let [none, informational, success, redirect, client_error, server_error] = classes;
    Endpoint {
        service: state.backend.clone(),
        name: state.name.clone(),
        address: state.address.to_string(),
        in_flight: state.in_flight(),
        answers: Answers { none, informational, success, redirect, client_error, server_error },
        failures_in_a_row: state.failures.load(Relaxed),
        left_out: state.is_ejected(now),
        leaving: state.leaving.load(Relaxed),
    }
}

impl From<Routes> for wire::GetRoutesResponse {
    fn from(routes: Routes) -> Self {
        let rule = |rule: Leads| wire::Rule {
            name: rule.name,
            host: rule.host,
            path: rule.path,
            backend: rule.backend,
            port: rule.port.unwrap_or_default().into(),
        };
        let listener = |listener: Listener| wire::Listener {
            listen: listener.listen,
            owner: listener.owner,
            protocol: listener.protocol.to_owned(),
            tls: listener.tls,
            rules: listener.rules.into_iter().map(rule).collect(),
        };
        let address = |address: ServiceAddress| wire::ServiceAddress {
            address: address.address,
            network: address.network,
            service: address.service,
        };
        Self {
            plan: routes.plan,
            listeners: routes.listeners.into_iter().map(listener).collect(),
            service_addresses: routes.service_addresses.into_iter().map(address).collect(),
        }
    }
}

impl From<Endpoint> for wire::Endpoint {
    fn from(endpoint: Endpoint) -> Self {
        let answers = endpoint.answers;
        Self {
            service: endpoint.service,
            endpoint: endpoint.name,
            address: endpoint.address,
            in_flight: endpoint.in_flight,
            answers: Some(wire::Answers {
                none: answers.none,
                informational: answers.informational,
                success: answers.success,
                redirect: answers.redirect,
                client_error: answers.client_error,
                server_error: answers.server_error,
            }),
            failures_in_a_row: endpoint.failures_in_a_row,
            left_out: endpoint.left_out,
            leaving: endpoint.leaving,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::spec::{Backend, Listener as Port, Route, Spec, Target};

    fn plan() -> Plan {
        let target = Target { backend: "shop/web".to_owned(), port: Some(80) };
        let port = Port {
            address: None,
            port: 8080,
            udp: false,
            protocol: Protocol::Http,
            target: Some(target.clone()),
            routed: true,
            tls: false,
            proxy_protocol_from: Vec::new(),
            trusted_proxies: Vec::new(),
            owner: "shop/web".to_owned(),
        };
        let route = Route {
            name: "shop/web".to_owned(),
            host: "shop.test".to_owned(),
            path: "/api/".to_owned(),
            headers: std::collections::BTreeMap::new(),
            target,
            filters: crate::spec::Filters::default(),
        };
        let mut spec = Spec { listeners: vec![port], routes: vec![route], ..Spec::default() };
        spec.backends.insert("shop/web".to_owned(), Backend::default());
        let (plan, problems) = Plan::new(3, spec, HashMap::new());
        assert!(problems.is_empty(), "{problems:?}");
        plan
    }

    #[test]
    fn the_page_and_the_call_show_the_same_routes() {
        let routes = routes(&plan());
        let page = serde_json::to_value(&routes).unwrap();
        assert_eq!(page["plan"], 3);
        let listener = &page["listeners"][0];
        assert_eq!(
            (&listener["listen"], &listener["protocol"], &listener["tls"]),
            (&json!("0.0.0.0:8080/tcp"), &json!("http"), &json!(false))
        );
        let shown = |rule: &serde_json::Value| (rule["host"].clone(), rule["path"].clone());
        let rules: Vec<_> = listener["rules"].as_array().unwrap().iter().map(shown).collect();
        assert_eq!(rules, [(json!(""), json!("/")), (json!("shop.test"), json!("/api"))]);

        let called = wire::GetRoutesResponse::from(routes);
        assert_eq!(called.plan, 3);
        let rules = called.listeners[0].rules.iter();
        let rules: Vec<_> = rules.map(|rule| (&*rule.host, &*rule.path, rule.port)).collect();
        assert_eq!(rules, [("", "/", 80), ("shop.test", "/api", 80)]);
    }

    #[test]
    fn endpoints_are_in_order_with_what_they_answered() {
        let registry = Registry::new(2);
        let state =
            |name: &str| registry.endpoint("shop/web", name, ([10, 0, 0, 1], 80).into(), Duration::ZERO);
        let (second, first) = (state("b"), state("a"));
        first.cores[0].response(2, Duration::from_millis(1));
        first.cores[1].response(5, Duration::from_millis(1));
        first.cores[1].ended(0);
        second.leaving.store(true, Relaxed);
        let endpoints = endpoints(&registry);
        let page = serde_json::to_value(&endpoints).unwrap();
        assert_eq!(page[0]["endpoint"], "a");
        assert_eq!(page[0]["answers"], json!({"none": 1, "1xx": 0, "2xx": 1, "3xx": 0, "4xx": 0, "5xx": 1}));
        assert_eq!(page[1]["leaving"], true);
        let called: Vec<wire::Endpoint> = endpoints.into_iter().map(Into::into).collect();
        assert_eq!(called[0].answers.unwrap().server_error, 1);
        assert!(called[1].leaving && called[1].address == "10.0.0.1:80");
    }
}
