//! What people are told of a decision.

use gantry_model::{ReplicaId, Severity, Snapshot};

use super::Action;
use crate::decide::moves::MoveStep;

impl Action {
    /// What people are told: how much it matters, about what, about which replica, in which words.
    /// Called with the changes already made. `None` for what nobody needs to know.
    pub fn event(&self, after: &Snapshot) -> Option<(Severity, String, Option<ReplicaId>, String)> {
        let message = self.to_string();
        let severity = match self {
            Self::Wait { .. } | Self::Repair { .. } | Self::NotHealed { .. } | Self::Quarantine { .. } => {
                Severity::Warning
            }
            Self::Move { step: MoveStep::GiveUp(_), .. } => Severity::Warning,
            Self::Complete { outcome, .. } if outcome.exit_code != 0 => Severity::Warning,
            _ => Severity::Normal,
        };
        match self {
            Self::Create { .. }
            | Self::AssignSlots { .. }
            | Self::Resume { .. }
            | Self::ForgetProxy { .. }
            | Self::BeginBatch { .. }
            | Self::ForgetRevision { .. }
            | Self::ForgetNetwork { .. }
            | Self::ForgetVolume { .. }
            | Self::ReleaseAddress { .. }
            | Self::JoinNetwork { .. }
            | Self::LeaveNetwork { .. }
            | Self::Forget { .. } => None,
            Self::Scale { service, why, .. } => Some((severity, service.to_string(), None, why.clone())),
            Self::AssignPorts { ports, .. } if ports.is_empty() => None,
            Self::AssignPorts { service, .. } | Self::GiveAddress { service, .. } => {
                Some((severity, service.to_string(), None, message))
            }
            Self::ForgetService { service } => Some((severity, service.to_string(), None, message)),
            Self::Quarantine { node, .. } | Self::EndQuarantine { node, .. } => {
                let name = after.nodes.get(node).map_or(node.as_str(), |node| node.name.as_str());
                Some((severity, format!("node:{name}"), None, message))
            }
            Self::RemoveVolume { stack, .. } | Self::Move { stack, .. } | Self::ForgetStack { stack } => {
                Some((severity, stack.to_string(), None, message))
            }
            Self::Place { replica, .. }
            | Self::Wait { replica, .. }
            | Self::Leave { replica }
            | Self::Stay { replica, .. }
            | Self::Drain { replica, .. }
            | Self::Stop { replica, .. }
            | Self::Pause { replica }
            | Self::Restart { replica, .. }
            | Self::Repair { replica, .. }
            | Self::RestartInPlace { replica, .. }
            | Self::Healed { replica, .. }
            | Self::NotHealed { replica, .. }
            | Self::Complete { replica, .. } => {
                let record = after.replicas.get(replica)?;
                let slot = record.slot;
                let message = match self {
                    Self::Place { node, why, .. } => {
                        let name = after.nodes.get(node).map_or(node.as_str(), |node| node.name.as_str());
                        format!("replica {slot} placed on {name}: {why}")
                    }
                    Self::Wait { reason, .. } => format!("replica {slot}: {reason}"),
                    Self::Leave { .. } => format!("replica {slot} is to move, to even nodes out"),
                    Self::Stay { why, .. } => format!("replica {slot} stays where it is: {why}"),
                    Self::Drain { why, .. } => format!("replica {slot} gets no new work: {why}"),
                    Self::Stop { why, .. } => format!("replica {slot} is stopped: {why}"),
                    Self::Pause { .. } => {
                        format!("replica {slot} gets no new work: it is about to be restarted")
                    }
                    Self::Restart { .. } => format!("replica {slot} is restarted, as asked"),
                    Self::RestartInPlace { why, .. } => {
                        format!("replica {slot} is restarted in place: {why}")
                    }
                    Self::Healed { why, .. } => format!("replica {slot} is repaired: {why}"),
                    Self::NotHealed { why, .. } => {
                        format!("the repair of replica {slot} did not help: {why}")
                    }
                    Self::Complete { outcome, .. } => {
                        format!("replica {slot} ended with exit code {}", outcome.exit_code)
                    }
                    _ => message,
                };
                Some((severity, record.service.to_string(), Some(replica.clone()), message))
            }
        }
    }
}
