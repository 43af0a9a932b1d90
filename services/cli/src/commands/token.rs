//! `gantry token`

use std::time::SystemTime;

use gantry_api::cluster::v1 as wire;
use serde::Serialize;

use crate::args::{List, Shape, Token};
use crate::client::Cluster;
use crate::failure::{Failure, Result};
use crate::output::{self, Row};
use crate::when;

#[derive(Serialize)]
struct Known {
    id: String,
    role: String,
    used: u32,
    uses: u32,
    state: String,
    created_by: String,
    expires: String,
}

impl Row for Known {
    const HEAD: &'static [&'static str] = &["TOKEN", "ROLE", "USED", "STATE", "EXPIRES", "BY"];

    fn cells(&self) -> Vec<String> {
        let used = match self.uses {
            0 => self.used.to_string(),
            uses => format!("{} of {uses}", self.used),
        };
        vec![
            self.id.clone(),
            self.role.clone(),
            used,
            self.state.clone(),
            self.expires.clone(),
            self.created_by.clone(),
        ]
    }

    fn name(&self) -> String {
        self.id.clone()
    }
}

#[derive(Serialize)]
struct Made {
    token: String,
    addresses: Vec<String>,
    expires: String,
    voided: u32,
}

/// Makes a token, or lists those that are known.
pub async fn run(cluster: &Cluster, token: Token) -> Result<()> {
    if token.list {
        return list(cluster, token.format.format).await;
    }
    let request = wire::CreateTokenRequest {
        role: token.role,
        expires: prost_types::Duration::try_from(token.expires).ok(),
        uses: token.uses.unwrap_or(0),
        rotate: token.rotate,
    };
    let made = cluster.membership().create_token(request).await?.into_inner();
    let Some(address) = made.addresses.first() else {
        return Err(Failure::error(
            "this cluster is for its own host only: nobody else reaches its scheduler",
        )
        .hint("`gantry init --advertise-addr IP` on its host opens it to others"));
    };
    let invitation = format!("{}@{address}", made.token);
    if token.quiet {
        return output::print(&format!("{invitation}\n"));
    }
    let expires = when::shown(made.expires_at);
    let shown = Made { token: made.token, addresses: made.addresses, expires, voided: made.voided };
    output::one(&shown, token.format.format, || {
        let voided = match shown.voided {
            0 => String::new(),
            1 => "One earlier token is void now.\n".to_owned(),
            count => format!("{count} earlier tokens are void now.\n"),
        };
        format!(
            "{voided}Until {}, on a host that is to join:\n\n  gantry join {invitation}\n\nor from here, with --docker-host ssh://USER@HOST.\n",
            shown.expires
        )
    })
}

async fn list(cluster: &Cluster, format: Shape) -> Result<()> {
    let tokens = cluster.membership().list_tokens(wire::ListTokensRequest {}).await?.into_inner().tokens;
    let now = SystemTime::now();
    let rows: Vec<Known> = tokens
        .into_iter()
        .map(|token| {
            let expired =
                token.expires_at.and_then(|at| SystemTime::try_from(at).ok()).is_some_and(|at| at <= now);
            let state = match () {
                () if token.voided => "void",
                () if token.uses > 0 && token.used >= token.uses => "used up",
                () if expired => "expired",
                () => "good",
            };
            Known {
                id: token.id,
                role: token.role,
                used: token.used,
                uses: token.uses,
                state: state.to_owned(),
                created_by: token.created_by,
                expires: when::shown(token.expires_at),
            }
        })
        .collect();
    output::list(&rows, &List { format, quiet: false })
}
