//! The pages of the admin port that show what this proxy believes: `/routes` and `/endpoints`.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::Mutex;

use crate::beliefs::{self, Endpoint, Routes};
use crate::engine::Engine;

/// The pages.
pub fn routes(engine: Arc<Mutex<Engine>>) -> Router {
    Router::new()
        .route("/routes", get(show_routes))
        .route("/endpoints", get(show_endpoints))
        .with_state(engine)
}

async fn show_routes(State(engine): State<Arc<Mutex<Engine>>>) -> Json<Routes> {
    let plan = engine.lock().await.plan().clone();
    Json(beliefs::routes(&plan))
}

async fn show_endpoints(State(engine): State<Arc<Mutex<Engine>>>) -> Json<Vec<Endpoint>> {
    let registry = engine.lock().await.registry.clone();
    Json(beliefs::endpoints(&registry))
}
