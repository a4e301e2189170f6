//! A writer: creates sessions, gives them messages, stops and deletes them, at the same time as others do.

use std::time::Duration;

use futures::{FutureExt as _, future::BoxFuture};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::time::sleep;
use tonic::{Code, Status};

use crate::{link::Link, script::script, stage::Stage};

/// Talks until the run is over.
pub async fn talk(link: Link, stage: Stage, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    while !stage.is_over() {
        let outcome = once(&link, &stage, &mut rng).await;
        let pause = match outcome.as_ref().err().map(Status::code) {
            None => rng.random_range(0..30),
            Some(Code::FailedPrecondition) => rng.random_range(2..20),
            Some(_) => rng.random_range(5..40),
        };
        sleep(Duration::from_millis(pause)).await;
    }
}

async fn once(link: &Link, stage: &Stage, rng: &mut StdRng) -> Result<(), Status> {
    let abilities = stage.abilities();
    let id = abilities.request_id(rng);
    let Some(session) = stage.session(rng).filter(|_| stage.has_enough()) else {
        let created = again(&id, rng, || link.create(&id).boxed()).await?;
        stage.add(created.session_id);
        return Ok(());
    };
    match rng.random_range(0..100) {
        0..70 => {
            let text = script(rng);
            let outcome = again(&id, rng, || link.send(&session, &text, &id).boxed()).await;
            stage.sent(outcome.is_ok());
            outcome.map(drop)
        }
        70..90 => {
            let text = script(rng);
            stage.sent(true);
            run(link, &session, &text, &id, rng).await
        }
        90..94 if abilities.interrupt => again(&id, rng, || link.interrupt(&session, &id).boxed()).await,
        94..98 => again(&id, rng, || link.stop(&session, &id).boxed()).await.map(drop),
        98 => {
            let outcome = again(&id, rng, || link.delete(&session, &id).boxed()).await;
            if outcome.is_ok() {
                stage.forget(&session);
            }
            outcome
        }
        _ => {
            sleep(Duration::from_millis(10)).await;
            Ok(())
        }
    }
}

/// Runs a turn to its end: with an id it is taken up again where its stream was cut, now and then from its start.
async fn run(link: &Link, session: &str, text: &str, id: &str, rng: &mut StdRng) -> Result<(), Status> {
    let mut after = None;
    for _ in 0..4 {
        let outcome = again(id, rng, || link.run(session, text, id, after).boxed()).await?;
        let Some(cursor) = outcome.filter(|_| !id.is_empty()) else { break };
        after = Some(cursor).filter(|_| rng.random_bool(0.8));
    }
    Ok(())
}

/// With an id what is uncertain is tried again, and now and then what is certain as well.
async fn again<'a, T>(
    id: &str,
    rng: &mut StdRng,
    call: impl Fn() -> BoxFuture<'a, Result<T, Status>>,
) -> Result<T, Status> {
    let mut outcome = call().await;
    for _ in 0..3 {
        let uncertain = outcome.as_ref().err().is_some_and(|status| {
            matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::Cancelled)
        });
        if id.is_empty() || !(uncertain || rng.random_bool(0.1)) {
            break;
        }
        sleep(Duration::from_millis(50)).await;
        outcome = call().await;
    }
    outcome
}
