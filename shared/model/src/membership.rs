//! Who may become a member, and who is none any more.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// A join token on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// Its id, which is part of the token.
    pub id: String,
    /// A hash of its secret.
    pub hash: String,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it is good.
    pub expires_at: Timestamp,
    /// How many nodes may join with it; `None` is any number.
    pub uses: Option<u32>,
    /// How many have.
    pub used: u32,
    /// A later one has voided it.
    pub voided: bool,
}

impl JoinToken {
    /// Why nobody may join with it; `None` if one may.
    pub fn over(&self, now: Timestamp) -> Option<TokenOver> {
        if self.voided {
            Some(TokenOver::Voided)
        } else if self.uses.is_some_and(|uses| self.used >= uses) {
            Some(TokenOver::UsedUp { uses: self.used })
        } else if now >= self.expires_at {
            Some(TokenOver::Expired { at: self.expires_at })
        } else {
            None
        }
    }
}

/// Why a token is good for nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenOver {
    /// `gantry token --rotate` was called after it was made.
    #[error("this join token was rotated: a later one voided it")]
    Voided,
    /// As many nodes have joined as may.
    #[error("this join token is used up: {uses} joined with it")]
    UsedUp {
        /// How many.
        uses: u32,
    },
    /// Its time is over.
    #[error("this join token expired at {at}")]
    Expired {
        /// When.
        at: Timestamp,
    },
}

/// A holder whose certificates are refused, until the last of them has expired anyway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// `ROLE/NAME`, as in its certificates.
    pub holder: String,
    /// What it was called, for people.
    pub name: String,
    /// Since when.
    pub since: Timestamp,
    /// When all its certificates have expired.
    pub until: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_over_when_it_is_used_up_expired_or_voided() {
        let (now, later) = (Timestamp::from_millis(10), Timestamp::from_millis(20));
        let token = JoinToken {
            id: "a".into(),
            hash: String::new(),
            created_by: "ada".into(),
            created_at: now,
            expires_at: later,
            uses: Some(2),
            used: 1,
            voided: false,
        };
        assert_eq!(token.over(now), None);
        assert_eq!(token.over(later), Some(TokenOver::Expired { at: later }));
        assert_eq!(JoinToken { used: 2, ..token.clone() }.over(now), Some(TokenOver::UsedUp { uses: 2 }));
        assert_eq!(JoinToken { used: 9, uses: None, ..token.clone() }.over(now), None);
        assert_eq!(JoinToken { voided: true, ..token }.over(later), Some(TokenOver::Voided));
    }
}
