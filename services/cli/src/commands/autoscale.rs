//! `gantry autoscale`

mod recorded;
mod show;
mod simulate;

use gantry_api::cluster::v1::{AutoscaleMode, AutoscaledService, ListAutoscaledRequest, SetAutoscaleRequest};
use prost_types::Duration as WireDuration;

use crate::args::{Autoscale, Format, List, Mode, Set, Targets};
use crate::client::Cluster;
use crate::failure::{Failure, Result};
use crate::{output, project};
use show::Line;

/// Does what was asked.
pub async fn run<F: Future<Output = Result<Cluster>>>(
    connect: impl Fn() -> F,
    command: Autoscale,
) -> Result<()> {
    match command {
        Autoscale::Ls { stack, list } => ls(&connect().await?, stack.unwrap_or_default(), &list).await,
        Autoscale::Set(set) => {
            let request = changed(&set)?;
            change(&connect().await?, request, &set.format).await
        }
        Autoscale::Off { service, file, format } => {
            let name = project::service(&file, &service)?;
            let mode = AutoscaleMode::Off.into();
            let request = SetAutoscaleRequest { name, mode, ..SetAutoscaleRequest::default() };
            change(&connect().await?, request, &format).await
        }
        Autoscale::Simulate(args) if args.recorded => {
            let (load, deployed) = recorded::read(&connect().await?, &args).await?;
            simulate::run(&args, &load, deployed)
        }
        Autoscale::Simulate(args) => simulate::run(&args, &simulate::read_load(&args)?, None),
    }
}

async fn ls(cluster: &Cluster, stack: String, list: &List) -> Result<()> {
    let request = ListAutoscaledRequest { stack };
    let services = cluster.autoscale().list_autoscaled(request).await?.into_inner().services;
    let lines: Vec<Line> = services.into_iter().map(Line::from).collect();
    output::list(&lines, list)
}

async fn change(cluster: &Cluster, request: SetAutoscaleRequest, format: &Format) -> Result<()> {
    let service: AutoscaledService =
        cluster.autoscale().set_autoscale(request).await?.into_inner().service.unwrap_or_default();
    let line = Line::from(service);
    output::one(&line, format.format, || line.in_words())
}

fn changed(set: &Set) -> Result<SetAutoscaleRequest> {
    let Targets { min, max, cpu, rps, concurrency, p95, p99, scale_up_after, scale_down_after } =
        &set.targets;
    let time = |given: &Option<std::time::Duration>| {
        given
            .map(|given| {
                WireDuration::try_from(given)
                    .map_err(|_| Failure::bad_input(format!("{given:?} is too long")))
            })
            .transpose()
    };
    let request = SetAutoscaleRequest {
        name: project::service(&set.file, &set.service)?,
        min: *min,
        max: *max,
        cpu_percent: *cpu,
        memory_percent: set.memory,
        rps: *rps,
        concurrency: *concurrency,
        p95: time(p95)?,
        p99: time(p99)?,
        scale_up_after: time(scale_up_after)?,
        scale_down_after: time(scale_down_after)?,
        mode: match set.mode {
            None => AutoscaleMode::Unspecified,
            Some(Mode::Auto) => AutoscaleMode::Auto,
            Some(Mode::Recommend) => AutoscaleMode::Recommend,
            Some(Mode::Off) => AutoscaleMode::Off,
        }
        .into(),
    };
    let nothing = SetAutoscaleRequest { name: request.name.clone(), ..SetAutoscaleRequest::default() };
    if request == nothing {
        return Err(Failure::bad_input(format!("what is to be changed of {}?", request.name)).hint(
            "give one or several of --min, --max, --cpu, --memory, --rps, --concurrency, --p95, --p99, \
             --scale-up-after, --scale-down-after and --mode",
        ));
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn asked(words: &str) -> Result<SetAutoscaleRequest> {
        let line = format!("gantry autoscale set shop/web {words}");
        let Command::Autoscale(Autoscale::Set(set)) =
            Args::try_parse_from(line.split_whitespace()).unwrap().command
        else {
            panic!()
        };
        changed(&set)
    }

    #[test]
    fn what_is_not_named_is_not_asked_for() {
        let request = SetAutoscaleRequest { name: "shop/web".into(), ..SetAutoscaleRequest::default() };
        assert_eq!(
            asked("--max 20 --cpu 70% --memory 80 --rps 0 --p95 250ms --mode recommend").unwrap(),
            SetAutoscaleRequest {
                max: Some(20),
                cpu_percent: Some(70),
                memory_percent: Some(80),
                rps: Some(0.0),
                p95: Some(WireDuration { seconds: 0, nanos: 250_000_000 }),
                mode: AutoscaleMode::Recommend.into(),
                ..request
            }
        );
    }

    #[test]
    fn whoever_changes_nothing_is_told_what_can_be_changed() {
        let failure = asked("").unwrap_err();
        assert_eq!(failure.to_string(), "what is to be changed of shop/web?");
        assert_eq!(format!("{:?}", failure.code()), format!("{:?}", std::process::ExitCode::from(2)));
        assert!(asked("--mode auto").is_ok() && asked("--rps 0").is_ok());
    }
}
