//! A place on an endpoint for a request, and the wait for one while there is none.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderValue, Request, StatusCode};

use super::body::RequestBody;
use super::rules::Refusal;
use super::stack::{Exchange, FAILED, NOT_SERVED, Own};
use super::sticky;
use super::target::host_name;
use crate::balance::{Backend, InFlight, Key, State, Waiting, hash_of};
use crate::core::Served;
use crate::plan::{Request as Asked, Rule};
use crate::spec::{Balance, HashOn};

impl Exchange<'_> {
    /// A place on an endpoint; waits for one while there is none, as far as the queue allows.
    pub async fn place(
        &mut self,
        served: &Served,
        rule: &Rule,
        host: &HeaderValue,
        request: &Request<RequestBody>,
        tried: &[Arc<State>],
    ) -> Result<InFlight, Own> {
        let backend = served.backend(rule);
        match self.choose(backend, request, tried) {
            Some(place) => Ok(place),
            None => {
                if let Some(last) = tried.last()
                    && backend.endpoints().next().is_some()
                {
                    // All that there are have failed it.
                    last.cores[self.client.core.index].ended(0);
                    return Err(FAILED.into());
                }
                self.wait(served, backend.clone(), host, request, tried).await
            }
        }
    }

    async fn wait(
        &mut self,
        began: &Served,
        mut backend: Rc<Backend>,
        host: &HeaderValue,
        request: &Request<RequestBody>,
        tried: &[Arc<State>],
    ) -> Result<InFlight, Own> {
        let Some(waiting) = Waiting::begin(&backend, self.started) else {
            return Err(refuse_waiting(&backend).into());
        };
        let path = self.path.clone();
        let path = path.as_ref().map_or_else(|| request.uri().path(), PathAndQuery::path);
        let asked = Asked { host: host_name(host), path, headers: request.headers() };
        // A filter may have taken away the header that its rule goes by: then it is not found again.
        let is_found = began.site.router.find(&asked).is_some();
        loop {
            // Whoever frees a place between the look and the wait must be heard.
            let state = backend.state.clone();
            let mut room = pin!(state.room.notified());
            room.as_mut().enable();
            // There may be another plan by now.
            let served = self.client.site().ok_or(NOT_SERVED)?;
            match served.site.router.find(&asked) {
                Some(rule) => backend = served.backend(rule).clone(),
                None if is_found => return Err(NOT_SERVED.into()),
                None => {}
            }
            drop(served);
            if let Some(place) = self.choose(&backend, request, tried) {
                return Ok(place);
            }
            let left = waiting.left();
            if left.is_zero() || self.client.core.pulse.within(left, room).await.is_none() {
                waiting.turn_away();
                return Err(refuse_waiting(&backend).into());
            }
        }
    }

    fn choose(
        &mut self,
        backend: &Rc<Backend>,
        request: &Request<RequestBody>,
        tried: &[Arc<State>],
    ) -> Option<InFlight> {
        let core = &self.client.core;
        let own = backend.policy.sticky_cookie.as_ref();
        let sticky = own.and_then(|name| sticky::read(request.headers(), name));
        let key = Key {
            hash: self.hash(backend, request),
            sticky: sticky.as_deref(),
            tried,
            now: core.pulse.now(),
        };
        let place = backend.choose(&key, &mut || core.random())?;
        if let Some(name) = own
            && sticky.as_deref() != Some(place.endpoint.state.name.as_str())
        {
            self.sticky = Some(sticky::cookie(name, &place.endpoint.state.name, self.client.entry.https));
        }
        Some(place)
    }

    fn hash(&self, backend: &Backend, request: &Request<RequestBody>) -> u64 {
        if backend.policy.balance != Balance::Hash {
            return 0;
        }
        let found = match &backend.policy.hash_on {
            HashOn::Source => Some(self.client.address.as_bytes()),
            HashOn::Header(name) => request.headers().get(name).map(HeaderValue::as_bytes),
            HashOn::Cookie(name) => sticky::find(request.headers(), name).map(str::as_bytes),
        };
        // Those that have none are not all one client.
        found.map_or_else(|| self.client.core.random(), hash_of)
    }
}

fn refuse_waiting(backend: &Backend) -> Refusal {
    if backend.endpoints().next().is_none() {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "no endpoint of this service is ready")
    } else {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "every endpoint of this service is at its limit")
    }
}
