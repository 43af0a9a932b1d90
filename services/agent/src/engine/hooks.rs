//! What happens at points of a container's life: hooks that run in it, and what it wrote last.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use gantry_api::agent::v1::ExecStart;
use gantry_model::{Hook, Timestamp, wire};

use super::error::Result;
use super::{Engine, Flow, LogsWanted, Piece};

/// Bytes of a hook's output that are kept.
const OUTPUT: usize = 512;
/// Lines that are asked of the engine, of which the last bytes are kept.
const LINES: u32 = 100;
const LATE: Duration = Duration::from_millis(50);

impl Engine {
    /// Runs a hook to its end: its exit code, and the last of what it wrote.
    pub async fn run_hook(&self, id: &str, hook: &Hook) -> Result<(i32, String)> {
        let start = ExecStart {
            command: hook.command.clone(),
            user: hook.user.clone().unwrap_or_default(),
            working_dir: hook.working_dir.clone().unwrap_or_default(),
            environment: hook.environment.clone(),
            privileged: hook.privileged,
            ..ExecStart::default()
        };
        let mut process = self.exec(id, &start).await?;
        let output = last_of(&mut process.output, OUTPUT).await?;
        Ok((self.exec_exit_code(&process.id).await?, output))
    }

    /// The last lines that a container wrote between these times, of at most so many bytes.
    pub async fn last_lines(
        &self,
        id: &str,
        since: Option<Timestamp>,
        until: Timestamp,
        most: usize,
    ) -> Result<String> {
        // What it wrote on its way out may be stamped a little later than its end.
        let late = |time: Timestamp| wire::write_time(time.after(LATE));
        let wanted = LogsWanted {
            since: since.map(late),
            until: Some(late(until)),
            tail: Some(LINES),
            // Without them the engine knows whole seconds only.
            timestamps: true,
            ..LogsWanted::default()
        };
        last_of(&mut self.logs(id, &wanted), most).await
    }
}

/// The last bytes of what flows, as text.
async fn last_of(flow: &mut Flow<Piece>, most: usize) -> Result<String> {
    let mut last: Vec<u8> = Vec::new();
    while let Some(piece) = flow.try_next().await? {
        last.extend_from_slice(&piece.data);
        if last.len() > 2 * most {
            last.drain(..last.len() - most);
        }
    }
    let from = last.len().saturating_sub(most);
    Ok(String::from_utf8_lossy(&last[from..]).into_owned())
}
