//! Finds the rule for a request: an exact host before a wildcard before none, then the longer path, then
//! more headers. Hosts are looked up by hash; only the rules of one host are compared.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::filters::Filters;
use crate::spec::{self, Target};

/// What is done with some requests.
pub struct Rule {
    /// For the log and for metrics.
    pub name: String,
    /// The path prefix; no slash at its end, so that `/` is empty.
    pub path: String,
    /// Headers that must be there, with this value or any.
    headers: Vec<(HeaderName, Option<HeaderValue>)>,
    host: String,
    /// Where they go.
    pub target: Target,
    /// The number of the target among the plan's.
    pub slot: usize,
    /// What is done on the way; `None`: nothing.
    pub filters: Option<Filters>,
}

/// What of a request decides about its rule.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The host, without port.
    pub host: &'a str,
    /// The path.
    pub path: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
}

impl Rule {
    /// Reads a route.
    pub fn new(route: &spec::Route, slot: usize) -> Result<Self, String> {
        let headers = route
            .headers
            .iter()
            .map(|(name, value)| {
                let name: HeaderName =
                    name.parse().map_err(|_| format!("{name:?} is not a header's name"))?;
                let wanted = match value.as_str() {
                    "" => None,
                    value => Some(
                        HeaderValue::from_str(value)
                            .map_err(|_| format!("{value:?} is not a header's value"))?,
                    ),
                };
                Ok((name, wanted))
            })
            .collect::<Result<_, String>>()?;
        let filters = Some(&route.filters).filter(|filters| **filters != spec::Filters::default());
        Ok(Self {
            name: route.name.clone(),
            path: route.path.trim_end_matches('/').to_owned(),
            headers,
            host: route.host.to_lowercase(),
            target: route.target.clone(),
            slot,
            filters: filters.map(Filters::new).transpose()?,
        })
    }

    /// Everything goes to `target`.
    pub fn plain(slot: usize, target: Target) -> Self {
        let name = target.backend.clone();
        Self {
            name,
            path: String::new(),
            headers: Vec::new(),
            host: String::new(),
            target,
            slot,
            filters: None,
        }
    }

    /// The host that it is for; empty for all.
    pub fn host(&self) -> &str {
        &self.host
    }

    fn matches(&self, request: &Request<'_>) -> bool {
        let path = request.path.strip_prefix(self.path.as_str());
        let whole_segments = path.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        whole_segments
            && self.headers.iter().all(|(name, wanted)| {
                request
                    .headers
                    .get_all(name)
                    .iter()
                    .any(|value| wanted.as_ref().is_none_or(|wanted| wanted == value))
            })
    }
}

/// The rules of a place.
#[derive(Default, Clone)]
pub struct Router {
    hosts: Arc<Hosts>,
    fallback: Option<Arc<Rule>>,
}

#[derive(Default)]
struct Hosts {
    exact: HashMap<String, Vec<Arc<Rule>>>,
    /// By what follows the star: `.example.com`.
    wildcard: HashMap<String, Vec<Arc<Rule>>>,
    any: Vec<Arc<Rule>>,
}

impl Router {
    /// Puts rules in order.
    pub fn new(rules: Vec<Arc<Rule>>) -> Self {
        let mut hosts = Hosts::default();
        for rule in rules {
            let list = match rule.host.strip_prefix('*') {
                _ if rule.host.is_empty() => &mut hosts.any,
                Some(suffix) => hosts.wildcard.entry(suffix.to_owned()).or_default(),
                None => hosts.exact.entry(rule.host.clone()).or_default(),
            };
            list.push(rule);
        }
        let lists = hosts.exact.values_mut().chain(hosts.wildcard.values_mut()).chain([&mut hosts.any]);
        for list in lists {
            list.sort_by(|a, b| {
                let rank = |rule: &Rule| (rule.path.len(), rule.headers.len());
                rank(b).cmp(&rank(a)).then_with(|| a.name.cmp(&b.name))
            });
        }
        Self { hosts: Arc::new(hosts), fallback: None }
    }

    /// The same, with a rule for everything else.
    pub fn with_fallback(mut self, fallback: Option<Arc<Rule>>) -> Self {
        self.fallback = fallback;
        self
    }

    /// The rule for what is not HTTP.
    pub fn fallback(&self) -> Option<&Arc<Rule>> {
        self.fallback.as_ref()
    }

    /// All rules, in no order that matters.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        let hosts = &self.hosts;
        let named = hosts.exact.values().chain(hosts.wildcard.values()).chain([&hosts.any]);
        named.flatten().chain(&self.fallback)
    }

    /// The rule for a request.
    pub fn find(&self, request: &Request<'_>) -> Option<&Arc<Rule>> {
        let hosts = &*self.hosts;
        if hosts.exact.is_empty() && hosts.wildcard.is_empty() && hosts.any.is_empty() {
            return self.fallback.as_ref();
        }
        let lower;
        let host = if request.host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            lower = request.host.to_ascii_lowercase();
            lower.as_str()
        } else {
            request.host
        };
        let pick = |list: &'_ [Arc<Rule>]| list.iter().position(|rule| rule.matches(request));
        if let Some(list) = hosts.exact.get(host)
            && let Some(at) = pick(list)
        {
            return Some(&list[at]);
        }
        // The longest suffix wins: a.b.example.com asks for .b.example.com before .example.com.
        for (at, _) in host.match_indices('.') {
            if let Some(list) = hosts.wildcard.get(&host[at..])
                && let Some(at) = pick(list)
            {
                return Some(&list[at]);
            }
        }
        pick(&hosts.any).map(|at| &hosts.any[at]).or(self.fallback.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, host: &str, path: &str, headers: &[(&str, &str)]) -> Arc<Rule> {
        let route = spec::Route {
            name: name.into(),
            host: host.into(),
            path: path.into(),
            headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            target: Target { backend: name.into(), port: Some(80) },
            filters: spec::Filters::default(),
        };
        Arc::new(Rule::new(&route, 0).unwrap())
    }

    #[test]
    fn the_most_specific_rule_wins() {
        let router = Router::new(vec![
            rule("any", "", "/", &[]),
            rule("wild", "*.example.com", "/", &[]),
            rule("wilder", "*.b.example.com", "/", &[]),
            rule("shop", "shop.example.com", "/", &[]),
            rule("api", "shop.example.com", "/api", &[]),
            rule("new", "shop.example.com", "/api", &[("x-version", "2")]),
            rule("deep", "shop.example.com", "/api/v2/", &[]),
        ]);
        let headers = HeaderMap::new();
        let found = |host, path, headers: &HeaderMap| {
            router.find(&Request { host, path, headers }).map(|rule| rule.name.clone()).unwrap()
        };
        assert_eq!(found("other.org", "/api", &headers), "any");
        assert_eq!(found("x.example.com", "/", &headers), "wild");
        assert_eq!(found("a.b.example.com", "/", &headers), "wilder");
        assert_eq!(found("Shop.Example.com", "/", &headers), "shop");
        assert_eq!(found("shop.example.com", "/api", &headers), "api");
        assert_eq!(found("shop.example.com", "/api/x", &headers), "api");
        assert_eq!(found("shop.example.com", "/apis", &headers), "shop", "whole segments only");
        assert_eq!(found("shop.example.com", "/api/v2", &headers), "deep");
        let mut headers = HeaderMap::new();
        headers.insert("x-version", "2".parse().unwrap());
        assert_eq!(found("shop.example.com", "/api", &headers), "new");
    }

    #[test]
    fn what_no_rule_wants_goes_to_the_fallback() {
        let headers = HeaderMap::new();
        let request = Request { host: "b", path: "/", headers: &headers };
        let router = Router::new(vec![rule("a", "a", "/", &[])]);
        assert!(router.find(&request).is_none());
        let fallback = Arc::new(Rule::plain(0, Target { backend: "rest".into(), port: None }));
        assert_eq!(router.with_fallback(Some(fallback)).find(&request).unwrap().name, "rest");
    }
}
