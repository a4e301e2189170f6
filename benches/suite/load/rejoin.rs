//! Watchers that come in the middle of a turn, and watchers that are cut off and come back: what they miss, and what they
//! get twice.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{
    Params,
    client::{self, Client},
    count::{self, Count},
    follow, script,
};
use crate::Failure;

/// They come when so many tenths of the numbers were said.
const LATE: u64 = 4;

/// For each session one who asks for a snapshot, and one who asks for all events.
pub(crate) async fn late(params: &Params) -> Result<String, Failure> {
    let turns = Turns::begin(params).await?;
    let mut tasks = JoinSet::new();
    for id in &turns.ids {
        let (mut client, id, deltas) = (client::connect(params, 0).await?, id.clone(), turns.deltas);
        tasks.spawn(async move {
            let mut first = client::watch(&mut client, &id, Some(0)).await?;
            follow::until(&mut Count::new(0, count::PLAIN), &mut first, |seen| seen.last >= deltas * LATE / 10).await?;
            let snapshot = client::watch(&mut client, &id, None).await?;
            let all = client::watch(&mut client, &id, Some(0)).await?;
            let (snapshot, all) = tokio::join!(
                follow::finish(Count::new(0, count::PLAIN), snapshot),
                follow::finish(Count::new(0, count::PLAIN), all)
            );
            Ok::<_, Failure>((snapshot?, all?))
        });
    }
    let mut joined = 0;
    turns.send().await?;
    while let Some(counts) = tasks.join_next().await {
        let (snapshot, all) = counts??;
        snapshot.check(turns.deltas)?;
        all.check(turns.deltas)?;
        joined += 2;
    }
    client::stop_all(&turns.control, &turns.ids).await?;
    Ok(format!("joined={joined} missing=0 doubled=0"))
}

/// One for each session, who is cut off some times and resumes at the cursor.
pub(crate) async fn reconnect(params: &Params) -> Result<String, Failure> {
    let turns = Turns::begin(params).await?;
    let (cuts, away): (u64, u64) = (params.get("cuts", 1)?, params.get("away_ms", 1000)?);
    let mut tasks = JoinSet::new();
    for id in &turns.ids {
        // Another one stays: what is watched is stored delta by delta, what is not in larger pieces.
        let beside = client::watch(&mut turns.control.clone(), id, Some(0)).await?;
        let (params, id, deltas) = (params.clone(), id.clone(), turns.deltas);
        tasks.spawn(async move {
            let beside = follow::finish(Count::new(0, count::PLAIN), beside);
            let cut = async {
                let (mut count, mut behind) = (Count::new(0, count::PLAIN), 0);
                for cut in 1..=cuts {
                    // The connection goes, too.
                    let mut client = client::connect(&params, 0).await?;
                    let mut stream = client::watch(&mut client, &id, Some(count.cursor)).await?;
                    follow::until(&mut count, &mut stream, |seen| seen.last >= deltas * cut / (cuts + 2)).await?;
                    drop((stream, client));
                    tokio::time::sleep(Duration::from_millis(away)).await;
                    let mut client = client::connect(&params, 0).await?;
                    behind += client::session(&mut client, &id).await?.sequence - count.cursor;
                }
                let mut client = client::connect(&params, 0).await?;
                let stream = client::watch(&mut client, &id, Some(count.cursor)).await?;
                Ok::<_, Failure>((follow::finish(count, stream).await?, behind))
            };
            let (beside, cut) = tokio::join!(beside, cut);
            beside?.check(deltas)?;
            cut
        });
    }
    let (mut resumed, mut passed) = (0, 0);
    turns.send().await?;
    while let Some(counted) = tasks.join_next().await {
        let (count, behind) = counted??;
        count.check(turns.deltas)?;
        resumed += cuts;
        passed += behind;
    }
    client::stop_all(&turns.control, &turns.ids).await?;
    Ok(format!("resumed={resumed} events_meanwhile={passed} missing=0 doubled=0"))
}

/// Sessions that say their numbers in their first turn, so that a snapshot has nothing else.
struct Turns {
    control: Client,
    ids: Vec<String>,
    deltas: u64,
    script: String,
}

impl Turns {
    async fn begin(params: &Params) -> Result<Self, Failure> {
        let (sessions, rate): (usize, u64) = (params.get("sessions", 1)?, params.get("rate", 200)?);
        let deltas: u64 = params.get("deltas", 1000)?;
        let control = client::connect(params, 0).await?;
        let ids = client::create_many(&control, sessions).await?;
        let script = script::numbers(deltas, count::PLAIN, 1_000_000_u64.checked_div(rate).unwrap_or(0));
        Ok(Self { control, ids, deltas, script })
    }

    async fn send(&self) -> Result<(), Failure> {
        client::send_all(&self.control, &self.ids, &self.script).await
    }
}
