//! `gantry autoscale simulate`

mod chart;

use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use gantry_autoscale::Bounds;
use gantry_autoscale::simulate::{Cost, Load, Model, Trace, run as replay, without_what_is_not_simulated};
use gantry_model::{ServiceSpec, Timestamp};
use serde::Serialize;

use crate::args::{FileArgs, Simulate, Targets};
use crate::failure::{Failure, Result};
use crate::{output, project, terminal};

/// A larger file is hardly a load.
const MAX_LOAD: u64 = 64 << 20;
/// A replica that takes longer to start, or to answer one request, is not what is looked at here.
const LONGEST_START: Duration = Duration::from_hours(24);
const LONGEST_LATENCY: Duration = Duration::from_hours(1);
/// Columns of a terminal whose size nobody knows, and the most that a chart takes.
const WIDTH: u32 = 80;
const MAX_WIDTH: u32 = 120;

/// What a simulation has shown, for programs.
#[derive(Serialize)]
struct Shown {
    over_provisioned_replica_seconds: f64,
    under_provisioned_replica_seconds: f64,
    most_replicas: u32,
    changes: Vec<ShownChange>,
    seconds: Vec<ShownSecond>,
}

#[derive(Serialize)]
struct ShownChange {
    second: u64,
    from: u32,
    to: u32,
    why: String,
}

#[derive(Serialize)]
struct ShownSecond {
    second: u64,
    requests_per_second: f64,
    needed: u32,
    wanted: u32,
    ready: u32,
    p95_seconds: Option<f64>,
}

impl Shown {
    fn new(trace: &Trace, cost: &Cost) -> Self {
        let changes = trace.changes.iter().map(|(second, change)| ShownChange {
            second: *second,
            from: change.from,
            to: change.to,
            why: change.to_string(),
        });
        let seconds = trace.points.iter().zip(0..).map(|(point, second)| ShownSecond {
            second,
            requests_per_second: point.rps,
            needed: point.needed(),
            wanted: point.count,
            ready: point.ready,
            p95_seconds: point.p95.map(|time| time.as_secs_f64()),
        });
        Self {
            over_provisioned_replica_seconds: cost.over,
            under_provisioned_replica_seconds: cost.under,
            most_replicas: cost.most,
            changes: changes.collect(),
            seconds: seconds.collect(),
        }
    }
}

/// Replays a load, and shows what becomes of it. A service as it is `deployed` is tried instead of a file's.
pub fn run(args: &Simulate, load: &Load, deployed: Option<ServiceSpec>) -> Result<()> {
    let spec = match deployed {
        Some(spec) => spec,
        None => of_file(&args.file, args.service.as_deref())?,
    };
    let (spec, unknown) = without_what_is_not_simulated(&tried(args, spec)?);
    let autoscale = spec.autoscale.clone().unwrap_or_default();
    if !unknown.is_empty() {
        let what = unknown.join(", ");
        eprintln!("a simulation knows nothing of {what}: the other targets count");
    }
    if !autoscale.has_target() && autoscale.schedule.is_empty() && autoscale.min > 0 {
        return Err(Failure::bad_input("no target is left that can be simulated")
            .hint("give one, such as --rps 100 or --cpu 70%"));
    }
    let model = model(args, autoscale.rps)?;
    let begin = load.begin().unwrap_or_else(|| now(SystemTime::now()));
    let first = first(args, Bounds::of(&autoscale, begin))?;
    let trace = replay(&spec, model, load, first, begin);
    let cost = Cost::of(&trace.points);
    let width = terminal::size().map_or(WIDTH, |size| size.width).clamp(40, MAX_WIDTH);
    output::one(&Shown::new(&trace, &cost), args.format.format, || {
        chart::draw(&trace, &cost, usize::try_from(width).unwrap_or(80), output::colours())
    })
}

fn now(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::default().after(since)
}

fn model(args: &Simulate, rps: Option<f64>) -> Result<Model> {
    let (start, latency) = (args.replica.start, args.replica.latency);
    if start > LONGEST_START {
        return Err(Failure::bad_input("--start must be at most 24h"));
    }
    if latency > LONGEST_LATENCY {
        return Err(Failure::bad_input("--latency must be at most 1h"));
    }
    Ok(Model { capacity: capacity(args, rps)?, start, latency, ..Model::default() })
}

/// With how many replicas it begins.
fn first(args: &Simulate, Bounds { min, max, .. }: Bounds) -> Result<u32> {
    match args.replica.first {
        Some(first) if first > max => {
            Err(Failure::bad_input(format!("--first is {first}, and at most {max} replicas may be there"))
                .hint("raise it with --max, or begin with fewer"))
        }
        Some(first) => Ok(first),
        None => Ok(min),
    }
}

fn capacity(args: &Simulate, rps: Option<f64>) -> Result<f64> {
    let capacity = args.replica.capacity.or(rps.map(|rps| rps / 0.7));
    match capacity {
        Some(capacity) if capacity.is_finite() && capacity > 0.0 => Ok(capacity),
        Some(_) => Err(Failure::bad_input("--capacity must be above 0")),
        None => Err(Failure::bad_input("how many requests a second does a replica serve?")
            .hint("say it with --capacity NUMBER; a load test of one replica tells")),
    }
}

/// The service that is tried: this one, with what is said instead.
fn tried(args: &Simulate, mut spec: ServiceSpec) -> Result<ServiceSpec> {
    let known = spec.autoscale.take();
    let is_scaled = known.is_some();
    let mut autoscale = known.unwrap_or_default();
    let Targets { min, max, cpu, rps, concurrency, p95, p99, scale_up_after, scale_down_after } =
        &args.targets;
    let said = spec != ServiceSpec::default();
    if !said && max.is_none() {
        return Err(Failure::bad_input("neither a service nor --max COUNT is given")
            .hint("name a service of the Compose file, or give --max and a target such as --rps 100"));
    }
    if !is_scaled && max.is_none() {
        let name = args.service.as_deref().unwrap_or("the service");
        return Err(Failure::bad_input(format!("{name} is not scaled by its load yet"))
            .hint("give --max COUNT and a target, such as --rps 100 or --cpu 70%"));
    }
    autoscale.min = min.unwrap_or(autoscale.min);
    autoscale.max = max.unwrap_or(autoscale.max);
    autoscale.cpu = cpu.or(autoscale.cpu);
    autoscale.rps = rps.or(autoscale.rps);
    autoscale.concurrency = concurrency.or(autoscale.concurrency);
    autoscale.p95 = p95.or(autoscale.p95);
    autoscale.p99 = p99.or(autoscale.p99);
    autoscale.scale_up_after = scale_up_after.unwrap_or(autoscale.scale_up_after);
    autoscale.scale_down_after = scale_down_after.unwrap_or(autoscale.scale_down_after);
    // What it would do is what is asked here, whether it does it or not.
    autoscale.mode = gantry_model::AutoscaleMode::Auto;
    spec.autoscale = Some(autoscale);
    match spec.autoscale_faults().into_iter().next() {
        Some(fault) => Err(Failure::bad_input(fault.message)),
        None => Ok(spec),
    }
}

/// The service of the Compose file; an empty one where neither a file nor a service is named.
fn of_file(file: &FileArgs, service: Option<&str>) -> Result<ServiceSpec> {
    if service.is_none() && file.file.is_none() {
        return Ok(ServiceSpec::default());
    }
    let mut services = project::read(file, false)?.stack.services;
    // A full name is taken, too: with --recorded it says of which stack the load is.
    if let Some(name) = service.map(|name| name.rsplit_once('/').map_or(name, |(_, name)| name)) {
        let scaled = services.keys().cloned().collect::<Vec<_>>().join(", ");
        return services.remove(name).ok_or_else(|| {
            Failure::bad_input(format!("the file has no service {name}")).hint(format!("it has {scaled}"))
        });
    }
    services.retain(|_, spec| spec.autoscale.is_some());
    let names = services.keys().cloned().collect::<Vec<_>>().join(", ");
    match (services.len(), services.into_values().next()) {
        (1, Some(spec)) => Ok(spec),
        (0, _) => Err(Failure::bad_input("no service of the file has x-gantry.autoscale")
            .hint("name one, and give --max and a target such as --rps 100")),
        _ => Err(Failure::bad_input("which service? several have x-gantry.autoscale")
            .hint(format!("name one of {names}"))),
    }
}

/// The load of the file that is named.
pub fn read_load(args: &Simulate) -> Result<Load> {
    let path = args.load.as_deref().unwrap_or(Path::new("-"));
    let name = path.display();
    let cannot = |error: std::io::Error| Failure::bad_input(format!("cannot read {name}: {error}"));
    let mut text = String::new();
    let source: Box<dyn std::io::Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(cannot)?)
    };
    source.take(MAX_LOAD + 1).read_to_string(&mut text).map_err(cannot)?;
    if text.len() as u64 > MAX_LOAD {
        return Err(Failure::bad_input(format!("{name} is larger than 64 MiB")));
    }
    Load::parse(&text).map_err(|bad| Failure::bad_input(format!("{name}: {bad}")))
}

/// A time since the beginning, as a clock shows it.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    match hours {
        0 => format!("{minutes}:{:02}", seconds % 60),
        _ => format!("{hours}:{minutes:02}:{:02}", seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Autoscale, Command};

    const FILE: &str = "services:\n  web:\n    image: a\n    x-gantry: {autoscale: {min: 2, max: 9, rps: 50}}\n  db: {image: b}\n";

    fn args(words: &[&str]) -> Box<Simulate> {
        let line = ["gantry", "autoscale", "simulate", "--load", "-"].iter().chain(words);
        let Command::Autoscale(Autoscale::Simulate(args)) = Args::try_parse_from(line).unwrap().command
        else {
            panic!()
        };
        args
    }

    fn of(words: &[&str]) -> Result<ServiceSpec> {
        let args = args(words);
        tried(&args, of_file(&args.file, args.service.as_deref())?)
    }

    #[test]
    fn what_is_said_wins_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("compose.yaml");
        std::fs::write(&path, FILE).unwrap();
        let path = path.to_str().unwrap();
        let of_file = of(&["-f", path]).unwrap().autoscale.unwrap();
        assert_eq!((of_file.min, of_file.max, of_file.rps), (2, 9, Some(50.0)));
        let mixed = of(&["-f", path, "web", "--max", "4", "--cpu", "60%"]).unwrap();
        let mixed = mixed.autoscale.unwrap();
        assert_eq!((mixed.min, mixed.max, mixed.cpu), (2, 4, Some(60)));
        let wrong = |words: &[&str]| of(words).unwrap_err().to_string();
        assert_eq!(wrong(&["-f", path, "api"]), "the file has no service api");
        assert!(wrong(&["-f", path, "web", "--max", "1"]).contains("min must not be above max"));
        assert!(wrong(&["-f", path, "db", "--max", "1"]).contains("has no target"));
        assert_eq!(wrong(&["-f", path, "db", "--cpu", "70%"]), "db is not scaled by its load yet");
    }

    #[test]
    fn without_a_file_the_options_say_everything() {
        let spec = of(&["--max", "5", "--rps", "100"]).unwrap().autoscale.unwrap();
        assert_eq!((spec.min, spec.max, spec.rps), (1, 5, Some(100.0)));
        assert!(of(&["--rps", "100"]).unwrap_err().to_string().contains("--max COUNT"));
        let few = args(&["--max", "5", "--cpu", "70"]);
        assert!(capacity(&few, None).unwrap_err().to_string().contains("how many requests a second"));
        assert!((capacity(&few, Some(70.0)).unwrap() - 100.0).abs() < 1e-9);
    }

    #[test]
    fn what_a_replica_is_like_has_bounds() {
        let wrong = |words: &[&str]| model(&args(words), Some(70.0)).map(drop).unwrap_err().to_string();
        assert_eq!(wrong(&["--latency", "1e18"]), "--latency must be at most 1h");
        assert_eq!(wrong(&["--start", "1e18"]), "--start must be at most 24h");
        assert!(model(&args(&["--latency", "1h", "--start", "24h"]), Some(70.0)).is_ok());
        let begins = |words: &[&str]| {
            let rules = gantry_model::Autoscale { min: 2, max: 5, ..Default::default() };
            first(&args(words), Bounds::of(&rules, Timestamp::default()))
        };
        assert_eq!((begins(&[]).unwrap(), begins(&["--first", "5"]).unwrap()), (2, 5));
        let many = begins(&["--first", "4000000000"]).unwrap_err().to_string();
        assert_eq!(many, "--first is 4000000000, and at most 5 replicas may be there");
    }

    #[test]
    fn a_load_is_a_file_or_what_was_recorded_of_a_service() {
        let read = |words: &str| {
            let line = format!("gantry autoscale simulate {words}");
            Args::try_parse_from(line.split_whitespace()).is_ok()
        };
        assert!(read("--load load.csv") && read("web --recorded --last 5m") && read("--recorded shop/web"));
        assert!(!read("web") && !read("--recorded") && !read("web --recorded --load load.csv"));
        assert!(!read("--load load.csv --last 5m"), "of a file all is taken");
    }

    #[test]
    fn a_service_as_it_is_deployed_takes_what_is_said_instead() {
        let rules = gantry_model::Autoscale { max: 9, rps: Some(50.0), ..gantry_model::Autoscale::default() };
        let deployed = ServiceSpec { autoscale: Some(rules), ..ServiceSpec::default() };
        let tried = tried(&args(&["shop/web", "--max", "4"]), deployed).unwrap().autoscale.unwrap();
        assert_eq!((tried.max, tried.rps), (4, Some(50.0)));
    }

    #[test]
    fn times_are_shown_as_a_clock_does() {
        let shown = [0, 65, 3_600, 7_325].map(|seconds| clock(Duration::from_secs(seconds)));
        assert_eq!(shown, ["0:00", "1:05", "1:00:00", "2:02:05"]);
    }
}
