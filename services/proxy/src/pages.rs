//! The pages of the admin port that show what this proxy believes: `/routes` and `/endpoints`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::balance::{self, CLASSES, millis};
use crate::engine::Engine;

/// The pages.
pub fn routes(engine: Arc<Mutex<Engine>>) -> Router {
    Router::new()
        .route("/routes", get(show_routes))
        .route("/endpoints", get(show_endpoints))
        .with_state(engine)
}

async fn show_routes(State(engine): State<Arc<Mutex<Engine>>>) -> Json<Value> {
    let plan = engine.lock().await.plan().clone();
    let mut sites: Vec<_> = plan.sites.iter().collect();
    sites.sort_by_key(|(place, _)| **place);
    let sites: Vec<_> = sites
        .into_iter()
        .map(|(place, site)| {
            let mut rules: Vec<_> = site
                .router
                .rules()
                .map(|rule| {
                    json!({
                        "name": rule.name,
                        "host": rule.host(),
                        "path": if rule.path.is_empty() { "/" } else { &rule.path },
                        "backend": rule.target.backend,
                        "port": rule.target.port,
                    })
                })
                .collect();
            rules.sort_by_key(ToString::to_string);
            json!({
                "listen": place.to_string(),
                "owner": site.owner,
                "protocol": format!("{:?}", site.protocol).to_lowercase(),
                "tls": site.tls.is_some(),
                "rules": rules,
            })
        })
        .collect();
    let addresses: Vec<_> = plan
        .spec
        .addresses
        .iter()
        .map(|address| {
            json!({"address": address.address, "network": address.network, "service": address.backend})
        })
        .collect();
    Json(json!({"plan": plan.number, "listeners": sites, "service_addresses": addresses}))
}

async fn show_endpoints(State(engine): State<Arc<Mutex<Engine>>>) -> Json<Value> {
    let registry = engine.lock().await.registry.clone();
    let now = millis(Instant::now());
    let mut endpoints = registry.endpoints();
    endpoints.sort_by(|a, b| (&a.backend, &a.name, a.address).cmp(&(&b.backend, &b.name, b.address)));
    let show = |state: &balance::State| {
        let classes: Vec<u64> = (0..CLASSES).map(|at| state.sum(|core| &core.classes[at])).collect();
        json!({
            "service": state.backend,
            "endpoint": state.name,
            "address": state.address,
            "in_flight": state.in_flight(),
            "answers": {"1xx": classes[1], "2xx": classes[2], "3xx": classes[3], "4xx": classes[4], "5xx": classes[5]},
            "failures_in_a_row": state.failures.load(Relaxed),
            "left_out": state.is_ejected(now),
            "leaving": state.leaving.load(Relaxed),
        })
    };
    Json(Value::Array(endpoints.iter().map(|state| show(state)).collect()))
}
