//! What flows: logs, processes' input and output, use of resources, events, archives.

use std::collections::BTreeMap;
use std::pin::Pin;

use bollard::body_try_stream;
use bollard::container::LogOutput;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{ContainerStatsResponse, ExecConfig};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, DownloadFromContainerOptionsBuilder, EventsOptionsBuilder,
    LogsOptionsBuilder, ResizeContainerTTYOptionsBuilder, ResizeExecOptionsBuilder, StatsOptionsBuilder,
    UploadToContainerOptionsBuilder,
};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use gantry_api::agent::v1 as wire;
use prost_types::Timestamp as WireTime;
use tokio::io::AsyncWrite;

use super::Engine;
use super::containers::{Filters, filters};
use super::error::{Error, Result};
use super::inspect::parse_time;

/// A stream of the engine.
pub type Flow<T> = Pin<Box<dyn Stream<Item = Result<T>> + Send>>;

/// An archive on its way into the engine.
pub type Archive = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>;

/// A piece of a container's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Standard error, rather than output.
    pub stderr: bool,
    /// What was written.
    pub data: Bytes,
    /// When, if asked for.
    pub time: Option<WireTime>,
}

/// Which part of a log.
#[derive(Debug, Clone, Default)]
pub struct LogsWanted {
    /// Goes on as more is written.
    pub follow: bool,
    /// Leaves out what was written before.
    pub since: Option<WireTime>,
    /// Leaves out what was written after.
    pub until: Option<WireTime>,
    /// At most that many of the last lines.
    pub tail: Option<u32>,
    /// Says when each piece was written.
    pub timestamps: bool,
}

/// A process's output, and where its input goes.
pub struct ExecIo {
    /// The engine's id of the process.
    pub id: String,
    /// Its output.
    pub output: Flow<Piece>,
    /// Its input.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
}

/// Something that happened on the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineEvent {
    /// When.
    pub time: WireTime,
    /// To what kind of thing.
    pub kind: String,
    /// What.
    pub action: String,
    /// The thing's id.
    pub id: String,
    /// Further facts, and the thing's labels.
    pub attributes: BTreeMap<String, String>,
}

fn piece(output: LogOutput) -> Piece {
    let stderr = matches!(output, LogOutput::StdErr { .. });
    Piece { stderr, data: output.into_bytes(), time: None }
}

impl Engine {
    /// A container's log.
    pub fn logs(&self, id: &str, wanted: &LogsWanted) -> Flow<Piece> {
        let seconds =
            |time: &Option<WireTime>| time.map_or(0, |time| i32::try_from(time.seconds).unwrap_or(i32::MAX));
        // The engine counts whole seconds; the rest is left out here.
        let must_time = wanted.timestamps || wanted.since.is_some_and(|since| since.nanos != 0);
        let options = LogsOptionsBuilder::new()
            .follow(wanted.follow)
            .stdout(true)
            .stderr(true)
            .since(seconds(&wanted.since))
            .until(
                wanted
                    .until
                    .map_or(0, |until| seconds(&Some(until)).saturating_add(i32::from(until.nanos > 0))),
            )
            .timestamps(must_time)
            .tail(&wanted.tail.map_or_else(|| "all".to_owned(), |tail| tail.to_string()))
            .build();
        let (since, until, timestamps) = (wanted.since, wanted.until, wanted.timestamps);
        let inside = move |piece: &Piece| {
            let key = |time: WireTime| (time.seconds, time.nanos);
            let Some(time) = piece.time.map(key) else { return true };
            since.is_none_or(|since| time >= key(since)) && until.is_none_or(|until| time <= key(until))
        };
        let stream = self.docker.logs(id, Some(options)).map_err(Error::from).map_ok(piece);
        let stream = stream.map_ok(move |piece| if must_time { take_time(piece) } else { piece });
        let stream = stream.try_filter(move |piece| std::future::ready(inside(piece)));
        Box::pin(stream.map_ok(move |piece| Piece { time: piece.time.filter(|_| timestamps), ..piece }))
    }

    /// Runs a further process in a running container.
    pub async fn exec(&self, id: &str, start: &wire::ExecStart) -> Result<ExecIo> {
        let config = ExecConfig {
            attach_stdin: Some(start.stdin),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(start.tty),
            env: Some(start.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            cmd: Some(start.command.clone()),
            privileged: Some(start.privileged),
            user: Some(start.user.clone()).filter(|user| !user.is_empty()),
            working_dir: Some(start.working_dir.clone()).filter(|folder| !folder.is_empty()),
            ..ExecConfig::default()
        };
        let exec = self.docker.create_exec(id, config).await?.id;
        let options = StartExecOptions { detach: false, tty: start.tty, output_capacity: Some(64 << 10) };
        match self.docker.start_exec(&exec, Some(options)).await? {
            StartExecResults::Attached { output, input } => {
                if let Some(size) = start.size {
                    // The process may have ended already.
                    let _ = self.resize_exec(&exec, size).await;
                }
                let output = Box::pin(output.map_err(Error::from).map_ok(piece));
                Ok(ExecIo { id: exec, output, input })
            }
            StartExecResults::Detached => {
                Err(Error::new(super::Kind::Internal, "the Docker Engine did not attach to the process"))
            }
        }
    }

    /// Says how large a process's terminal is now.
    pub async fn resize_exec(&self, exec: &str, size: wire::TerminalSize) -> Result<()> {
        let (h, w) = dimensions(size);
        Ok(self.docker.resize_exec(exec, ResizeExecOptionsBuilder::new().h(h).w(w).build()).await?)
    }

    /// The exit code of a process that has ended.
    pub async fn exec_exit_code(&self, exec: &str) -> Result<i32> {
        let state = self.docker.inspect_exec(exec).await?;
        Ok(i32::try_from(state.exit_code.unwrap_or_default()).unwrap_or(-1))
    }

    /// Connects to a container's first process.
    pub async fn attach(&self, id: &str, start: &wire::AttachStart) -> Result<ExecIo> {
        let options = AttachContainerOptionsBuilder::new()
            .stdin(start.stdin)
            .stdout(true)
            .stderr(true)
            .stream(true)
            .logs(start.logs)
            .build();
        let attached = self.docker.attach_container(id, Some(options)).await?;
        if let Some(size) = start.size {
            let _ = self.resize(id, size).await;
        }
        let output = Box::pin(attached.output.map_err(Error::from).map_ok(piece));
        Ok(ExecIo { id: id.to_owned(), output, input: attached.input })
    }

    /// Says how large a container's terminal is now.
    pub async fn resize(&self, id: &str, size: wire::TerminalSize) -> Result<()> {
        let (h, w) = dimensions(size);
        Ok(self
            .docker
            .resize_container_tty(id, ResizeContainerTTYOptionsBuilder::new().h(h).w(w).build())
            .await?)
    }

    /// What a container uses, about once a second.
    pub fn stats(&self, id: &str, once: bool) -> Flow<wire::StreamStatsResponse> {
        let options = StatsOptionsBuilder::new().stream(!once).one_shot(false).build();
        Box::pin(self.docker.stats(id, Some(options)).map_err(Error::from).map_ok(|stats| sample(&stats)))
    }

    /// What happens on the engine.
    pub fn events(
        &self,
        since: Option<WireTime>,
        until: Option<WireTime>,
        wanted: &Filters,
    ) -> Flow<EngineEvent> {
        let text = |time: WireTime| format!("{}.{:09}", time.seconds, time.nanos);
        let mut options = EventsOptionsBuilder::new();
        if let Some(since) = since {
            options = options.since(&text(since));
        }
        if let Some(until) = until {
            options = options.until(&text(until));
        }
        if !wanted.is_empty() {
            options = options.filters(&filters(wanted));
        }
        Box::pin(self.docker.events(Some(options.build())).map_err(Error::from).map_ok(|event| {
            let nanos = event.time_nano.unwrap_or_default();
            let actor = event.actor.unwrap_or_default();
            EngineEvent {
                time: WireTime {
                    seconds: nanos.div_euclid(1_000_000_000),
                    nanos: i32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or_default(),
                },
                kind: event.typ.map(|kind| kind.to_string()).unwrap_or_default(),
                action: event.action.unwrap_or_default(),
                id: actor.id.unwrap_or_default(),
                attributes: actor.attributes.unwrap_or_default().into_iter().collect(),
            }
        }))
    }

    /// Unpacks a tar archive into a folder of a container.
    pub async fn copy_in(
        &self,
        id: &str,
        path: &str,
        archive: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    ) -> Result<()> {
        let options = UploadToContainerOptionsBuilder::new().path(path).build();
        Ok(self.docker.upload_to_container(id, Some(options), body_try_stream(archive)).await?)
    }

    /// A file or folder of a container as a tar archive.
    pub fn copy_out(&self, id: &str, path: &str) -> Flow<Bytes> {
        let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
        Box::pin(self.docker.download_from_container(id, Some(options)).map_err(Error::from))
    }
}

fn dimensions(size: wire::TerminalSize) -> (i32, i32) {
    let cells = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    (cells(size.height), cells(size.width))
}

/// Takes the time off the front of a line, where the engine writes it.
fn take_time(piece: Piece) -> Piece {
    let Some(space) = piece.data.iter().take(40).position(|byte| *byte == b' ') else { return piece };
    let time = std::str::from_utf8(&piece.data[..space]).ok().and_then(parse_time);
    match time {
        Some(time) => Piece { time: Some(time), data: piece.data.slice(space + 1..), ..piece },
        None => piece,
    }
}

/// One sample. CPU is what was used since the engine's sample before, as `docker stats` computes it; the first
/// of a stream has none before it.
fn sample(stats: &ContainerStatsResponse) -> wire::StreamStatsResponse {
    let usage = |cpu: &Option<bollard::models::ContainerCpuStats>| {
        let cpu = cpu.clone().unwrap_or_default();
        let total = cpu.cpu_usage.and_then(|usage| usage.total_usage).unwrap_or_default();
        (total, cpu.system_cpu_usage.unwrap_or_default(), cpu.online_cpus.unwrap_or(1).max(1))
    };
    let (now, system, cores) = usage(&stats.cpu_stats);
    let (before, system_before, _) = usage(&stats.precpu_stats);
    let elapsed = system.saturating_sub(system_before);
    #[allow(clippy::cast_precision_loss)] // Nanoseconds of CPU: far below what a double holds exactly.
    let cpu_cores = (elapsed > 0 && before > 0)
        .then(|| now.saturating_sub(before) as f64 / elapsed as f64 * f64::from(cores));
    let memory = stats.memory_stats.clone().unwrap_or_default();
    let details = memory.stats.unwrap_or_default();
    // The page cache that can be given back is not counted (cgroup v1 and v2 name it differently).
    let cache = details
        .get("total_inactive_file")
        .or_else(|| details.get("inactive_file"))
        .copied()
        .unwrap_or_default();
    let networks = stats.networks.clone().unwrap_or_default();
    let sum = |read: fn(&bollard::models::ContainerNetworkStats) -> Option<u64>| {
        networks.values().filter_map(read).sum()
    };
    let blocks = stats.blkio_stats.clone().unwrap_or_default().io_service_bytes_recursive.unwrap_or_default();
    let block = |op: &str| {
        let of_op = blocks
            .iter()
            .filter(|entry| entry.op.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(op)));
        of_op.filter_map(|entry| entry.value).sum()
    };
    wire::StreamStatsResponse {
        time: stats.read.as_deref().and_then(parse_time),
        cpu_cores,
        memory: memory.usage.map(|usage| usage.saturating_sub(cache)),
        memory_limit: memory.limit.unwrap_or_default(),
        network_rx: sum(|network| network.rx_bytes),
        network_tx: sum(|network| network.tx_bytes),
        block_read: block("read"),
        block_write: block("write"),
        pids: stats.pids_stats.as_ref().and_then(|pids| pids.current).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerCpuStats, ContainerCpuUsage, ContainerMemoryStats};

    use super::*;

    #[test]
    fn what_the_engine_does_not_count_is_unknown_and_no_zero() {
        let cpu = |total, system| ContainerCpuStats {
            cpu_usage: Some(ContainerCpuUsage { total_usage: Some(total), ..Default::default() }),
            system_cpu_usage: Some(system),
            online_cpus: Some(2),
            ..Default::default()
        };
        let first = ContainerStatsResponse { cpu_stats: Some(cpu(500, 1_000)), ..Default::default() };
        assert_eq!((sample(&first).cpu_cores, sample(&first).memory), (None, None));
        let second = ContainerStatsResponse {
            cpu_stats: Some(cpu(1_000, 2_000)),
            precpu_stats: Some(cpu(500, 1_000)),
            memory_stats: Some(ContainerMemoryStats { usage: Some(7), ..Default::default() }),
            ..Default::default()
        };
        assert_eq!((sample(&second).cpu_cores, sample(&second).memory), (Some(1.0), Some(7)));
    }

    #[test]
    fn the_time_is_taken_off_a_line_and_nothing_else() {
        let line = |data: &'static str| Piece {
            stderr: false,
            data: Bytes::from_static(data.as_bytes()),
            time: None,
        };
        let taken = take_time(line("2026-11-20T10:00:00.5Z hello world\n"));
        assert_eq!(taken.data, "hello world\n");
        assert_eq!(taken.time.map(|time| time.nanos), Some(500_000_000));
        let untouched = take_time(line("no time here\n"));
        assert_eq!((untouched.data.as_ref(), untouched.time), (b"no time here\n".as_slice(), None));
    }
}
