//! `gantry.cluster.v1.UsageService`, and what replicas use in the answers of others.

use std::collections::BTreeSet;

use gantry_api::cluster::v1 as wire;
use gantry_api::cluster::v1::usage_service_server::UsageService;
use gantry_api::cluster::v1::{
    AdviceVerdict, GetAdviceRequest, GetAdviceResponse, GetHistoryRequest, GetHistoryResponse, ResourceUsage,
    ServiceAdvice,
};
use gantry_boot::now;
use gantry_model::wire::write_duration;
use gantry_model::{Service, ServiceId};
use tonic::{Request, Response, Status};

use super::{find_service, history};
use crate::history::History;
use crate::state::State;
use crate::usage::{ResourceAdvice, Sample, Usage, Verdict, advise};

/// Serves what was used and asked for in the last minutes, and what follows from it.
pub struct Advices {
    state: State,
    usage: Usage,
    history: History,
}

impl Advices {
    /// Serves `usage` and `history` of the services of `state`.
    pub fn new(state: State, usage: Usage, history: History) -> Self {
        Self { state, usage, history }
    }

    fn of_service(&self, service: &Service) -> ServiceAdvice {
        let snapshot = self.state.snapshot();
        let replicas = snapshot.replicas_of(&service.id).map(|replica| &replica.id);
        let advice = advise(&self.usage.histories(replicas), &service.spec.container.resources);
        let is_missing = advice.cpu.is_none() && advice.memory.is_none();
        let missing = match advice.samples {
            0 => "it was not measured in the last 15 minutes: does it run, and is its node connected?"
                .to_owned(),
            seconds => format!("it was measured for {seconds} s: a minute is needed"),
        };
        ServiceAdvice {
            service: service.id.to_string(),
            replicas: u32::try_from(advice.replicas).unwrap_or(u32::MAX),
            span: Some(write_duration(advice.span)),
            samples: advice.samples as u64,
            cpu: advice.cpu.map(write_advice),
            memory: advice.memory.map(write_advice),
            missing: if is_missing { missing } else { String::new() },
        }
    }
}

#[tonic::async_trait]
impl UsageService for Advices {
    async fn get_advice(
        &self,
        request: Request<GetAdviceRequest>,
    ) -> Result<Response<GetAdviceResponse>, Status> {
        let GetAdviceRequest { services, stack } = request.into_inner();
        let snapshot = self.state.snapshot();
        let named = services.iter().map(|name| Ok(find_service(&snapshot, name)?.id.clone()));
        let named = named.collect::<Result<BTreeSet<ServiceId>, Status>>()?;
        let of_stack = |service: &Service| stack.is_empty() || service.id.stack().as_str() == stack;
        let is_meant = |service: &Service| {
            if named.is_empty() { of_stack(service) } else { named.contains(&service.id) }
        };
        let services = snapshot.services.values().filter(|service| is_meant(service));
        let services = services.map(|service| self.of_service(service)).collect();
        Ok(Response::new(GetAdviceResponse { services }))
    }

    async fn get_history(
        &self,
        request: Request<GetHistoryRequest>,
    ) -> Result<Response<GetHistoryResponse>, Status> {
        let GetHistoryRequest { service, last } = request.into_inner();
        let snapshot = self.state.snapshot();
        let service = find_service(&snapshot, &service)?;
        let last = history::read_last(last)?;
        let replicas = snapshot.replicas_of(&service.id).map(|replica| &replica.id);
        let together = self.usage.together(replicas, last);
        let recorded = self.history.of(service, last);
        Ok(Response::new(history::shown(&service.id, recorded, &together, now())))
    }
}

fn write_advice(advice: ResourceAdvice) -> wire::ResourceAdvice {
    wire::ResourceAdvice {
        median: advice.median,
        p95: advice.p95,
        highest: advice.highest,
        reservation: advice.reservation.unwrap_or_default(),
        limit: advice.limit.unwrap_or_default(),
        advised_reservation: advice.advised_reservation,
        advised_limit: advice.advised_limit,
        verdict: match advice.verdict {
            Verdict::Fits => AdviceVerdict::Fits,
            Verdict::TooLow => AdviceVerdict::TooLow,
            Verdict::TooHigh => AdviceVerdict::TooHigh,
            Verdict::NotSet => AdviceVerdict::NotSet,
        }
        .into(),
        reason: advice.reason,
    }
}

/// What these use together; `None` where none of them was measured. Memory is left out where it is not counted
/// of one of them: a sum without it would look like less.
pub fn sum(samples: impl IntoIterator<Item = Sample>) -> Option<ResourceUsage> {
    let nothing = ResourceUsage { cpu_cores: 0.0, memory: Some(0), replicas: 0 };
    let sum = samples.into_iter().fold(nothing, |sum, sample| ResourceUsage {
        cpu_cores: sum.cpu_cores + sample.cpu_cores,
        memory: sum.memory.zip(sample.memory_bytes).map(|(sum, bytes)| sum.saturating_add(bytes)),
        replicas: sum.replicas + 1,
    });
    (sum.replicas > 0).then_some(sum)
}
