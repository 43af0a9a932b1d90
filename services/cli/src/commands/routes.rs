//! `gantry routes`

use gantry_api::cluster::v1 as wire;
use serde::Serialize;

use crate::args::{List, Routes};
use crate::client::Cluster;
use crate::failure::Result;
use crate::output::{self, Row};

/// A way in: a port, a route, or the address of a service.
#[derive(Serialize)]
struct Line {
    listen: String,
    host: String,
    path: String,
    service: String,
    /// None where any port leads to the same port of the service.
    port: Option<u32>,
    protocol: String,
    notes: Vec<String>,
}

impl Row for Line {
    const HEAD: &'static [&'static str] = &["LISTEN", "HOST", "PATH", "SERVICE", "PORT", "PROTOCOL", "NOTES"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.listen.clone(),
            self.host.clone(),
            self.path.clone(),
            self.service.clone(),
            self.port.map_or_else(|| "any".to_owned(), |port| port.to_string()),
            self.protocol.clone(),
            self.notes.join("; "),
        ]
    }

    fn name(&self) -> String {
        if self.host.is_empty() && self.path.is_empty() {
            return self.listen.clone();
        }
        format!("{}{}", self.host, self.path)
    }
}

/// Lists what is published where.
pub async fn run(cluster: &Cluster, routes: Routes) -> Result<()> {
    let request = wire::GetRoutesRequest { stack: routes.stack.unwrap_or_default() };
    let answer = cluster.routes().get_routes(request).await?.into_inner();
    show(answer, &routes.list)
}

fn show(answer: wire::GetRoutesResponse, list: &List) -> Result<()> {
    let problems = answer.problems.clone();
    output::list(&lines(answer), list)?;
    for problem in problems {
        eprintln!("{}", told(&problem));
    }
    Ok(())
}

fn lines(answer: wire::GetRoutesResponse) -> Vec<Line> {
    let routed: Vec<_> = answer.listeners.iter().filter(|listener| listener.routed).collect();
    let places: Vec<_> = routed.iter().map(|listener| place(listener)).collect();
    let places = places.join(", ");
    let all_plain = routed.iter().all(|listener| !listener.tls);
    // What is wrong with a port of routes is wrong with each of them.
    let problems: Vec<_> = routed.iter().flat_map(|listener| &listener.problems).map(told).collect();
    let routes = answer.routes.into_iter().map(|route| Line {
        listen: places.clone(),
        host: if route.host.is_empty() { "*".to_owned() } else { route.host },
        path: route.path,
        service: route.service,
        port: Some(route.target_port),
        protocol: if all_plain { "http" } else { "http, https" }.to_owned(),
        notes: route
            .headers
            .iter()
            .map(
                |(name, value)| {
                    if value.is_empty() { format!("if {name}") } else { format!("if {name}: {value}") }
                },
            )
            .chain(route.filters)
            .chain(route.problems.iter().map(told))
            .chain(problems.iter().cloned())
            .collect(),
    });
    let ports = answer.listeners.iter().filter(|listener| !listener.service.is_empty()).map(|listener| {
        let rest = (listener.routed).then(|| "what no route wants".to_owned());
        Line {
            listen: place(listener),
            host: String::new(),
            path: String::new(),
            service: listener.service.clone(),
            port: Some(listener.target_port),
            protocol: listener.protocol.clone(),
            notes: rest.into_iter().chain(listener.problems.iter().map(told)).collect(),
        }
    });
    let addresses = answer.addresses.into_iter().map(|address| Line {
        listen: address.address,
        host: String::new(),
        path: String::new(),
        service: address.service,
        port: None,
        protocol: "detect".to_owned(),
        notes: vec![format!("network {}", address.network)],
    });
    let lines: Vec<_> = ports.collect();
    lines.into_iter().chain(routes).chain(addresses).collect()
}

fn place(listener: &wire::PublishedListener) -> String {
    let udp = if listener.protocol == "udp" { "/udp" } else { "" };
    let address = &listener.address;
    let address = if address.contains(':') { format!("[{address}]") } else { address.clone() };
    format!("{address}:{}{udp}", listener.port)
}

fn told(problem: &wire::ProxyProblem) -> String {
    format!("{}: {}", problem.node, problem.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(port: u32, service: &str) -> wire::PublishedListener {
        wire::PublishedListener {
            port,
            protocol: "http".to_owned(),
            service: service.to_owned(),
            target_port: 80,
            ..wire::PublishedListener::default()
        }
    }

    fn table(answer: wire::GetRoutesResponse) -> String {
        output::render_table(&lines(answer), false)
    }

    #[test]
    fn ports_routes_and_addresses_stand_in_one_table() {
        let udp = wire::PublishedListener {
            address: "127.0.0.1".into(),
            protocol: "udp".into(),
            target_port: 53,
            ..listener(5353, "shop/dns")
        };
        let answer = wire::GetRoutesResponse {
            listeners: vec![wire::PublishedListener { routed: true, ..listener(80, "") }, udp],
            routes: vec![wire::PublishedRoute {
                host: "shop.test".into(),
                path: "/api".into(),
                service: "shop/api".into(),
                target_port: 8000,
                filters: vec!["strip prefix".into(), "password".into()],
                ..wire::PublishedRoute::default()
            }],
            addresses: vec![wire::PublishedAddress {
                address: "10.192.0.9".into(),
                network: "shop_default".into(),
                service: "shop/api".into(),
            }],
            problems: Vec::new(),
        };
        let expected = "\
LISTEN               HOST        PATH   SERVICE    PORT   PROTOCOL   NOTES
127.0.0.1:5353/udp                      shop/dns   53     udp
:80                  shop.test   /api   shop/api   8000   http       strip prefix; password
10.192.0.9                              shop/api   any    detect     network shop_default
";
        assert_eq!(table(answer), expected);
    }

    #[test]
    fn what_a_proxy_cannot_do_is_noted_where_it_matters() {
        let problem = wire::ProxyProblem { node: "one".into(), message: "port 80 is taken".into() };
        let port =
            wire::PublishedListener { routed: true, problems: vec![problem], ..listener(80, "shop/web") };
        let route = wire::PublishedRoute { path: "/".into(), ..wire::PublishedRoute::default() };
        let answer = wire::GetRoutesResponse {
            listeners: vec![port],
            routes: vec![route],
            ..wire::GetRoutesResponse::default()
        };
        let lines = lines(answer);
        assert_eq!(lines[0].notes, ["what no route wants", "one: port 80 is taken"]);
        assert_eq!(lines[1].notes, ["one: port 80 is taken"]);
        assert_eq!((lines[0].name(), lines[1].name()), (":80".to_owned(), "*/".to_owned()));
    }
}
