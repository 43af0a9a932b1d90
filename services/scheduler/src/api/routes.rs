//! `gantry.cluster.v1.RouteService`: what is published where, and what proxies cannot do of it.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use gantry_api::cluster::v1::route_service_server::RouteService;
use gantry_api::cluster::v1::{
    GetRoutesRequest, GetRoutesResponse, ProxyProblem, PublishedAddress, PublishedListener, PublishedRoute,
};
use gantry_api::node::v1::{Listener, ListenerProtocol, Route, RouteFilters};
use gantry_model::{ServiceId, Snapshot};
use tonic::{Request, Response, Status};

use crate::decide::everywhere;
use crate::state::State;

/// Serves what is published.
pub struct Routes {
    state: State,
}

impl Routes {
    /// Serves what the services of `state` publish.
    pub fn new(state: State) -> Self {
        Self { state }
    }
}

#[tonic::async_trait]
impl RouteService for Routes {
    async fn get_routes(
        &self,
        request: Request<GetRoutesRequest>,
    ) -> Result<Response<GetRoutesResponse>, Status> {
        let stack = request.into_inner().stack;
        Ok(Response::new(published(&self.state.snapshot(), &stack)))
    }
}

/// What is published by `stack`, or by all of them.
fn published(snapshot: &Snapshot, stack: &str) -> GetRoutesResponse {
    let of_stack = |service: &str| {
        let id = service.parse::<ServiceId>();
        stack.is_empty() || id.is_ok_and(|id| id.stack().as_str() == stack)
    };
    let everything = everywhere(snapshot);
    let mut problems = Problems::of(snapshot);
    let listeners: Vec<_> =
        everything.listeners.into_iter().map(|listener| show_listener(listener, &mut problems)).collect();
    let mut routes: Vec<_> =
        everything.routes.into_iter().map(|route| show_route(route, &mut problems)).collect();
    routes.retain(|route| of_stack(&route.service));
    routes.sort_by(|a, b| {
        let order = |route: &PublishedRoute| (Reverse(route.path.len()), Reverse(route.headers.len()));
        a.host.cmp(&b.host).then_with(|| order(a).cmp(&order(b))).then_with(|| a.service.cmp(&b.service))
    });
    let addresses = everything.addresses.into_iter().filter(|address| of_stack(&address.service));
    GetRoutesResponse {
        // Ports of routes are everybody's who has one.
        listeners: listeners
            .into_iter()
            .filter(|one| of_stack(&one.service) || (one.routed && !routes.is_empty()))
            .collect(),
        routes,
        addresses: addresses
            .map(|address| PublishedAddress {
                address: address.address,
                network: address.network,
                service: address.service,
            })
            .collect(),
        problems: problems.left(),
    }
}

/// What proxies cannot do, each line with whether it was shown where it belongs.
struct Problems(Vec<(ProxyProblem, bool)>);

impl Problems {
    fn of(snapshot: &Snapshot) -> Self {
        let node = |instance: &String| {
            let node = &snapshot.proxies.get(instance)?.node;
            Some(snapshot.nodes.get(node).map_or_else(|| node.to_string(), |node| node.name.clone()))
        };
        let of_proxy = |(instance, lines): (&String, &std::sync::Arc<Vec<String>>)| {
            let node = node(instance).unwrap_or_default();
            let problem =
                move |message: &String| ProxyProblem { node: node.clone(), message: message.clone() };
            lines.iter().map(problem).collect::<Vec<_>>()
        };
        let mut all: Vec<_> = snapshot.proxy_problems.iter().flat_map(of_proxy).collect();
        all.sort_by(|a, b| (&a.node, &a.message).cmp(&(&b.node, &b.message)));
        Self(all.into_iter().map(|problem| (problem, false)).collect())
    }

    fn about(&mut self, is_about: impl Fn(&str) -> bool) -> Vec<ProxyProblem> {
        let matching = self.0.iter_mut().filter(|(problem, _)| is_about(&problem.message));
        let shown = matching.map(|(problem, shown)| {
            *shown = true;
            problem.clone()
        });
        shown.collect()
    }

    fn left(self) -> Vec<ProxyProblem> {
        self.0.into_iter().filter(|(_, shown)| !shown).map(|(problem, _)| problem).collect()
    }
}

fn show_listener(listener: Listener, problems: &mut Problems) -> PublishedListener {
    let ip: IpAddr = listener.address.parse().unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    let port = u16::try_from(listener.port).unwrap_or_default();
    let place = format!("{}/{}", SocketAddr::new(ip, port), if listener.udp { "udp" } else { "tcp" });
    let protocol = match (listener.udp, listener.protocol()) {
        (true, _) => "udp",
        (false, ListenerProtocol::Unspecified) => "detect",
        (false, ListenerProtocol::Http) => "http",
        (false, ListenerProtocol::Tcp) => "tcp",
    };
    PublishedListener {
        address: listener.address,
        port: listener.port,
        protocol: protocol.to_owned(),
        service: listener.service,
        target_port: listener.target_port,
        routed: listener.routed,
        tls: listener.tls,
        // A proxy names the place in its lines.
        problems: problems
            .about(|line| line.split_whitespace().any(|word| word.trim_end_matches(':') == place)),
    }
}

fn show_route(route: Route, problems: &mut Problems) -> PublishedRoute {
    let name = format!("route {}:", route.name);
    PublishedRoute {
        filters: route.filters.as_ref().map(words).unwrap_or_default(),
        host: route.host,
        path: if route.path.is_empty() { "/".to_owned() } else { route.path },
        headers: route.headers,
        service: route.service,
        target_port: route.target_port,
        problems: problems.about(|line| line.starts_with(&name)),
    }
}

/// What is done on the way, in a few words each. Nothing of what is secret is in them.
fn words(filters: &RouteFilters) -> Vec<String> {
    let mut words = Vec::new();
    let mut say = |is: bool, word: &str| {
        if is {
            words.push(word.to_owned());
        }
    };
    say(filters.redirect_https, "redirect to https");
    say(filters.strip_prefix, "strip prefix");
    say(!filters.basic_auth.is_empty(), "password");
    say(!filters.allow.is_empty(), &format!("only {}", filters.allow.join(" ")));
    say(!filters.deny.is_empty(), &format!("not {}", filters.deny.join(" ")));
    say(filters.rate > 0.0, &format!("{} requests/s a client", filters.rate));
    say(filters.max_body > 0, &format!("bodies up to {} bytes", filters.max_body));
    say(!filters.request_headers.is_empty(), "request headers");
    say(!filters.response_headers.is_empty(), "response headers");
    say(filters.compress, "compress");
    if let Some(timeout) = filters.response_timeout.and_then(|timeout| Duration::try_from(timeout).ok()) {
        say(true, &format!("answers within {timeout:?}"));
    }
    words
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gantry_model::Timestamp;
    use gantry_testkit::World;

    use super::*;

    fn world() -> World {
        let world = World::new(Timestamp::from_millis(1)).node("n1").proxy("p1");
        let world = world.service("shop/web", |web| web.port(8080).route("shop.test", "/"));
        let mut world = world.service("shop/api", |api| api.route("shop.test", "/api"));
        world = world.service("blog/web", |web| web.port(9090));
        world.run_all();
        world
    }

    #[test]
    fn ports_and_routes_are_shown_with_where_they_lead() {
        let all = published(&world().snapshot, "");
        let ports: Vec<_> = all.listeners.iter().map(|one| (one.port, &*one.service, one.routed)).collect();
        assert_eq!(ports, [(80, "", true), (8080, "shop/web", false), (9090, "blog/web", false)]);
        let routes: Vec<_> = all.routes.iter().map(|one| (&*one.host, &*one.path, &*one.service)).collect();
        assert_eq!(
            routes,
            [("shop.test", "/api", "shop/api"), ("shop.test", "/", "shop/web")],
            "the longer path first"
        );
    }

    #[test]
    fn of_one_stack_nothing_of_another_is_shown() {
        let blog = published(&world().snapshot, "blog");
        let ports: Vec<_> = blog.listeners.iter().map(|one| one.port).collect();
        assert_eq!((ports.as_slice(), blog.routes.len()), ([9090].as_slice(), 0));
        assert!(blog.addresses.iter().all(|address| address.service.starts_with("blog/")));
    }

    #[test]
    fn what_a_proxy_cannot_do_stands_beside_what_it_is_about() {
        let mut world = world();
        let lines = [
            "cannot listen on 0.0.0.0:8080/tcp for shop/web: another program has this port",
            "0.0.0.0:80/tcp: routes wants a port that is taken",
            "route shop/api: \"a b\" is not a header's name",
            "cannot answer names",
        ];
        let lines = Arc::new(lines.map(str::to_owned).to_vec());
        world.snapshot.proxy_problems.insert_mut("p1".to_owned(), lines);
        let all = published(&world.snapshot, "");
        let beside = |port| {
            let listener = all.listeners.iter().find(|one| one.port == port).unwrap();
            listener.problems.iter().map(|one| one.node.as_str()).collect::<Vec<_>>()
        };
        assert_eq!((beside(80), beside(8080), beside(9090)), (vec!["n1"], vec!["n1"], vec![]));
        assert_eq!((all.routes[0].problems.len(), all.routes[1].problems.len()), (1, 0));
        let left: Vec<_> = all.problems.iter().map(|one| one.message.as_str()).collect();
        assert_eq!(left, ["cannot answer names"]);
    }

    #[test]
    fn filters_are_told_in_words_and_secrets_are_not() {
        let filters = RouteFilters {
            strip_prefix: true,
            basic_auth: vec!["ada:$2y$05$secret".into()],
            allow: vec!["10.0.0.0/8".into()],
            rate: 2.5,
            response_timeout: Some(prost_types::Duration { seconds: 90, nanos: 0 }),
            ..RouteFilters::default()
        };
        assert_eq!(
            words(&filters),
            ["strip prefix", "password", "only 10.0.0.0/8", "2.5 requests/s a client", "answers within 90s"]
        );
        assert!(words(&RouteFilters::default()).is_empty());
    }
}
