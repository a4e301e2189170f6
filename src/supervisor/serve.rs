//! One connection of a server: who it is, then what it wants, one request after the other.

use std::{io, rc::Rc, time::Duration};

use rustix::process::Signal;

use super::{
    frame::Frames,
    holder::Holder,
    proc,
    protocol::{
        Answer, Ask, Done, Exited, Given, Hello, Refusal, Refused, Release, Reply, Request, Terminate, VERSION,
        WriteStdin,
    },
    reading,
};

/// Serves one connection to its end.
pub(super) async fn connection(holder: Rc<Holder>, mut frames: Frames) -> io::Result<()> {
    let Some(epoch) = greet(&holder, &mut frames).await? else { return Ok(()) };
    while let Some(ask) = frames.next::<Ask>().await? {
        let outcome = match ask.request {
            Some(Request::Read(read)) => match holder.output(&read.exec_id, read.fd) {
                Ok(spool) => match spool.check(read.offset) {
                    Ok(()) => {
                        frames.send(&[Answer::from(Reply::Done(Done {}))]).await?;
                        return match frames.next::<Ask>().await?.and_then(|ask| ask.request) {
                            Some(Request::Go(_)) => reading::serve(&spool, frames.into_stream(), read.offset).await,
                            Some(_) | None => Ok(()),
                        };
                    }
                    Err(refusal) => Err(refusal),
                },
                Err(refusal) => Err(refusal),
            },
            Some(Request::Attach(_)) => match holder.see(epoch) {
                Ok(()) => {
                    frames.send(&[Answer::from(Reply::Attached(holder.attached()))]).await?;
                    tokio::select! {
                        _ = frames.next::<Ask>() => {}
                        () = holder.leaving.cancelled() => {}
                    }
                    return Ok(());
                }
                Err(refusal) => Err(refusal),
            },
            Some(Request::Wait(exec)) => match holder.find(&exec.exec_id) {
                Ok(exec) => tokio::select! {
                    exit = exec.wait() => exit.map(|exit| Reply::Exited(Exited { exit: Some(exit) })),
                    // Nobody waits any more, or says something out of turn.
                    _ = frames.next::<Ask>() => return Ok(()),
                },
                Err(refusal) => Err(refusal),
            },
            request => answer(&holder, epoch, request).await,
        };
        frames.send(&[Answer::from(outcome.unwrap_or_else(refused))]).await?;
    }
    Ok(())
}

/// Finds out whether the server means this sandbox; returns the epoch it gives commands in, if so.
async fn greet(holder: &Holder, frames: &mut Frames) -> io::Result<Option<i64>> {
    let hello = match frames.next::<Ask>().await? {
        Some(Ask { request: Some(Request::Hello(hello)) }) => hello,
        Some(_) => {
            let refusal = Refusal::Stranger("a connection begins with a hello".to_owned());
            frames.send(&[Answer::from(refused(refusal))]).await?;
            return Ok(None);
        }
        None => return Ok(None),
    };
    let reply = match recognise(holder, &hello) {
        Ok(()) => Reply::Welcome(holder.welcome(hello.version.min(VERSION))?),
        Err(cause) => refused(Refusal::Stranger(cause)),
    };
    let welcome = matches!(reply, Reply::Welcome(_));
    frames.send(&[Answer::from(reply)]).await?;
    Ok(welcome.then_some(hello.epoch))
}

fn recognise(holder: &Holder, hello: &Hello) -> Result<(), String> {
    if hello.version == 0 {
        return Err("there is no version 0 of the protocol".to_owned());
    }
    if hello.nonce != holder.identity.nonce {
        return Err("this is another sandbox of the same name".to_owned());
    }
    match proc::boot_id() {
        Ok(boot_id) if boot_id == hello.boot_id => Ok(()),
        Ok(_) => Err("the machine was started anew since".to_owned()),
        Err(error) => Err(format!("the kernel does not tell its boot id: {error}")),
    }
}

/// What is answered at once and leaves the connection as it is.
async fn answer(holder: &Rc<Holder>, epoch: i64, request: Option<Request>) -> Result<Reply, Refusal> {
    match request {
        Some(Request::Start(start)) => {
            holder.see(epoch)?;
            holder.start(&start).await?;
            Ok(Reply::Done(Done {}))
        }
        Some(Request::WriteStdin(write)) => {
            holder.see(epoch)?;
            give(holder, &write).map(Reply::Given)
        }
        Some(Request::StdinStatus(exec)) => Ok(Reply::Given(holder.find(&exec.exec_id)?.input.given())),
        Some(Request::Signal(signal)) => {
            holder.see(epoch)?;
            let exec = holder.find(&signal.exec_id)?;
            exec.signal(known(signal.number)?);
            Ok(Reply::Done(Done {}))
        }
        Some(Request::Release(release)) => {
            holder.see(epoch)?;
            free(holder, &release).await?;
            Ok(Reply::Done(Done {}))
        }
        Some(Request::Terminate(terminate)) => {
            holder.see(epoch)?;
            end(holder, terminate).await?;
            Ok(Reply::Done(Done {}))
        }
        Some(Request::Limit(limit)) => {
            holder.see(epoch)?;
            holder.set_limit(limit.seconds.map(Duration::from_secs));
            Ok(Reply::Done(Done {}))
        }
        Some(Request::Hello(_) | Request::Go(_) | Request::Attach(_) | Request::Read(_) | Request::Wait(_)) => {
            Err(Refusal::Unsupported("this request has no place here".to_owned()))
        }
        None => Err(Refusal::Unsupported(format!("version {VERSION} does not know this request"))),
    }
}

fn give(holder: &Holder, write: &WriteStdin) -> Result<Given, Refusal> {
    let exec = holder.find(&write.exec_id)?;
    let before = exec.input.given();
    let given = exec.input.write(write.offset, &write.data, write.eof)?;
    if given.closed != before.closed {
        exec.note().map_err(|error| unnoted(&error))?;
    }
    Ok(given)
}

async fn free(holder: &Holder, release: &Release) -> Result<(), Refusal> {
    let hole = holder.output(&release.exec_id, release.fd)?.release(release.offset)?;
    // Written down before the space goes: what is not there any more must not be promised.
    holder.find(&release.exec_id)?.note().map_err(|error| unnoted(&error))?;
    tokio::task::spawn_blocking(move || hole.free()).await.map_err(|error| Refusal::Unavailable(error.to_string()))
}

async fn end(holder: &Rc<Holder>, terminate: Terminate) -> Result<(), Refusal> {
    // Not given up when the server hangs up.
    let (tasks, ending) = (holder.around.tasks.clone(), Rc::clone(holder));
    let ending = tasks.spawn_local(async move { ending.end(Duration::from_millis(terminate.grace_ms)).await });
    if terminate.leave {
        holder.leaving.cancel();
    }
    ending.await.map_err(|error| Refusal::Unavailable(error.to_string()))?
}

fn known(number: i32) -> Result<Signal, Refusal> {
    [Signal::INT, Signal::TERM, Signal::KILL]
        .into_iter()
        .find(|signal| signal.as_raw() == number)
        .ok_or_else(|| Refusal::Unsupported(format!("signal {number} is not sent")))
}

fn refused(refusal: Refusal) -> Reply {
    Reply::Refused(Refused { refusal: Some(refusal) })
}

fn unnoted(error: &io::Error) -> Refusal {
    Refusal::Unavailable(format!("it cannot be written down: {error}"))
}
