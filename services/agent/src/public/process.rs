//! Processes' input and output between the engine and a gRPC stream.

use futures_util::{Stream, StreamExt as _};
use gantry_api::agent::v1::{
    AttachRequest, AttachResponse, ExecRequest, ExecResponse, OutputStream, StreamLogsResponse, TerminalSize,
    attach_request, attach_response, exec_request, exec_response,
};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::Answers;
use crate::engine::{Engine, ExecIo, Piece};

/// Pieces of output that may wait for a slow reader.
const QUEUE: usize = 32;

/// What a person sends to a process.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Bytes for its standard input.
    Bytes(Vec<u8>),
    /// Its terminal has another size.
    Resize(TerminalSize),
    /// Its standard input has ended.
    End,
}

/// A piece of a log as a message.
pub fn log_piece(piece: &Piece) -> StreamLogsResponse {
    let stream = if piece.stderr { OutputStream::Stderr } else { OutputStream::Stdout };
    StreamLogsResponse { stream: stream.into(), data: piece.data.to_vec(), time: piece.time }
}

/// Runs a process and connects it.
pub async fn exec(
    engine: &Engine,
    mut incoming: Streaming<ExecRequest>,
) -> Result<Answers<ExecResponse>, Status> {
    use exec_request::Message;
    let first = incoming.message().await?.and_then(|first| first.message);
    let Some(Message::Start(start)) = first else {
        return Err(Status::invalid_argument("the first message must say what to start"));
    };
    let io = engine.exec(&start.id, &start).await?;
    let input = incoming.map(|message| match message {
        Ok(ExecRequest { message: Some(Message::Stdin(data)) }) => Input::Bytes(data),
        Ok(ExecRequest { message: Some(Message::Resize(size)) }) => Input::Resize(size),
        _ => Input::End,
    });
    let (answers, stream) = mpsc::channel(QUEUE);
    let engine = engine.clone();
    tokio::spawn(async move {
        let exec = io.id.clone();
        let resize = {
            let (engine, exec) = (engine.clone(), exec.clone());
            move |size| {
                let (engine, exec) = (engine.clone(), exec.clone());
                async move { drop(engine.resize_exec(&exec, size).await) }
            }
        };
        let ended = carry(io, input, resize, |piece| {
            let answers = answers.clone();
            let message = Some(exec_message(&piece));
            async move { answers.send(Ok(ExecResponse { message })).await.is_ok() }
        })
        .await;
        let last = match ended {
            Ok(true) => engine
                .exec_exit_code(&exec)
                .await
                .map(|code| ExecResponse { message: Some(exec_response::Message::ExitCode(code)) })
                .map_err(Status::from),
            Ok(false) => return,
            Err(status) => Err(status),
        };
        let _ = answers.send(last).await;
    });
    Ok(Box::pin(ReceiverStream::new(stream)))
}

/// Connects to a container's first process.
pub async fn attach(
    engine: &Engine,
    mut incoming: Streaming<AttachRequest>,
) -> Result<Answers<AttachResponse>, Status> {
    use attach_request::Message;
    let first = incoming.message().await?.and_then(|first| first.message);
    let Some(Message::Start(start)) = first else {
        return Err(Status::invalid_argument("the first message must say what to attach to"));
    };
    let io = engine.attach(&start.id, &start).await?;
    let input = incoming.map(|message| match message {
        Ok(AttachRequest { message: Some(Message::Stdin(data)) }) => Input::Bytes(data),
        Ok(AttachRequest { message: Some(Message::Resize(size)) }) => Input::Resize(size),
        _ => Input::End,
    });
    let (answers, stream) = mpsc::channel(QUEUE);
    let engine = engine.clone();
    tokio::spawn(async move {
        let resize = |size| {
            let (engine, id) = (engine.clone(), start.id.clone());
            async move { drop(engine.resize(&id, size).await) }
        };
        let ended = carry(io, input, resize, |piece| {
            let message = Some(if piece.stderr {
                attach_response::Message::Stderr(piece.data.to_vec())
            } else {
                attach_response::Message::Stdout(piece.data.to_vec())
            });
            let answers = answers.clone();
            async move { answers.send(Ok(AttachResponse { message })).await.is_ok() }
        })
        .await;
        if let Err(status) = ended {
            let _ = answers.send(Err(status)).await;
        }
    });
    Ok(Box::pin(ReceiverStream::new(stream)))
}

/// Carries input and output until the process's output ends (`true`) or the reader hangs up
/// (`false`, as `send` says).
pub async fn carry<S, R, RF, O, OF>(io: ExecIo, input: S, resize: R, send: O) -> Result<bool, Status>
where
    S: Stream<Item = Input> + Send,
    R: Fn(TerminalSize) -> RF,
    RF: Future<Output = ()>,
    O: Fn(Piece) -> OF,
    OF: Future<Output = bool>,
{
    let ExecIo { mut output, input: mut stdin, .. } = io;
    let mut input = std::pin::pin!(input);
    let mut listening = true;
    loop {
        tokio::select! {
            piece = output.next() => match piece {
                Some(piece) => if !send(piece?).await {
                    return Ok(false);
                },
                None => return Ok(true),
            },
            message = input.next(), if listening => match message {
                Some(Input::Bytes(data)) => {
                    // A process that has closed its input goes on all the same.
                    listening = stdin.write_all(&data).await.is_ok() && stdin.flush().await.is_ok();
                }
                Some(Input::Resize(size)) => resize(size).await,
                Some(Input::End) | None => {
                    listening = false;
                    let _ = stdin.shutdown().await;
                }
            },
        }
    }
}

/// A piece of output as a message.
pub fn exec_message(piece: &Piece) -> exec_response::Message {
    let data = piece.data.to_vec();
    if piece.stderr { exec_response::Message::Stderr(data) } else { exec_response::Message::Stdout(data) }
}
