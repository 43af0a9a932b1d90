//! `gantry.cluster.v1`'s `MembershipService`.

use std::sync::Arc;
use std::time::Duration;

use gantry_api::cluster::v1::membership_service_server::MembershipService;
use gantry_api::cluster::v1::{
    CreateTokenRequest, CreateTokenResponse, ListTokensRequest, ListTokensResponse,
};
use gantry_boot::{caller, now};
use gantry_identity::Token;
use gantry_model::{Change, JoinToken, Key, Record, Severity, wire};
use tonic::{Request, Response, Status};

use super::office::Office;
use crate::api::store_failed;
use crate::decide::record_event;
use crate::state::State;

const DEFAULT_LIFE: Duration = Duration::from_hours(1);
const LONGEST_LIFE: Duration = Duration::from_hours(24 * 365);
/// Tokens that are kept on record; the oldest goes.
const KEPT: usize = 100;

/// Makes join tokens.
pub struct Tokens {
    state: State,
    office: Office,
}

impl Tokens {
    /// Makes tokens for the cluster of `state`.
    pub fn new(state: State, office: Office) -> Self {
        Self { state, office }
    }
}

#[tonic::async_trait]
impl MembershipService for Tokens {
    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenResponse>, Status> {
        let by = caller(&request)?.clone();
        let CreateTokenRequest { role, expires, uses, rotate } = request.into_inner();
        if !matches!(role.as_str(), "" | "node") {
            return Err(Status::invalid_argument(format!("tokens are for the role node, not for {role:?}")));
        }
        let life = match expires {
            None => DEFAULT_LIFE,
            Some(life) => Duration::try_from(life)
                .ok()
                .filter(|life| (Duration::from_secs(1)..=LONGEST_LIFE).contains(life))
                .ok_or_else(|| Status::invalid_argument("a token is good for 1 s to 1 year"))?,
        };
        let token = Token::create(self.office.fingerprint()?);
        let record = JoinToken {
            id: token.id.clone(),
            hash: token.hash().to_hex(),
            created_by: format!("{} {}", by.role, by.name),
            created_at: now(),
            expires_at: now().after(life),
            uses: (uses > 0).then_some(uses),
            used: 0,
            voided: false,
        };
        let expires_at = record.expires_at;
        let voided = self
            .state
            .commit::<_, gantry_store::Error>(|snapshot| {
                let mut changes = vec![Change::Put(Record::Token(Arc::new(record.clone())))];
                let mut known: Vec<_> = snapshot.tokens.values().collect();
                known.sort_by_key(|token| token.created_at);
                let excess = (known.len() + 1).saturating_sub(KEPT);
                changes
                    .extend(known.drain(..excess).map(|token| Change::Delete(Key::Token(token.id.clone()))));
                let mut voided = 0;
                for token in known.into_iter().filter(|token| rotate && !token.voided) {
                    voided += u32::from(token.over(now()).is_none());
                    let token = JoinToken { voided: true, ..token.as_ref().clone() };
                    changes.push(Change::Put(Record::Token(Arc::new(token))));
                }
                let message = if rotate {
                    format!("{} {} made a join token; earlier ones are void", by.role, by.name)
                } else {
                    format!("{} {} made a join token", by.role, by.name)
                };
                changes.extend(record_event(
                    snapshot,
                    now(),
                    Severity::Normal,
                    "cluster",
                    None,
                    "TokenCreated",
                    message,
                ));
                Ok((changes, voided))
            })
            .await
            .map_err(store_failed)?;
        Ok(Response::new(CreateTokenResponse {
            token: token.to_string(),
            expires_at: Some(wire::write_time(expires_at)),
            addresses: self.office.addresses().to_vec(),
            voided,
        }))
    }

    async fn list_tokens(
        &self,
        _: Request<ListTokensRequest>,
    ) -> Result<Response<ListTokensResponse>, Status> {
        let snapshot = self.state.snapshot();
        let mut tokens: Vec<_> = snapshot.tokens.values().collect();
        tokens.sort_by_key(|token| std::cmp::Reverse(token.created_at));
        let tokens = tokens.into_iter().map(|token| wire::write_token(token)).collect();
        Ok(Response::new(ListTokensResponse { tokens }))
    }
}
