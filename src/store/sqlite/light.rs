//! The way of text that streams: batches of one event and nothing else to write, in one round trip to the database's thread
//! where the general way takes one for each statement.
//!
//! Claim and event go together: where the claim changed no row, the event has no sequence, which the schema refuses; then
//! all is undone, and the general way finds out which batch it was.

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock},
};

use sqlx::{AssertSqlSafe, Sqlite, query::Query, sqlite::SqliteArguments};

use super::{error::is_missing_value, open::Connections, put, writer::WriteTx};
use crate::{
    domain::{Event, Kind},
    store::{Batch, Beside, Error, ExecMark, codec},
};

/// Batches that go together in one round trip: a few sizes, so that the statements are prepared once.
const SIZES: [usize; 4] = [8, 4, 2, 1];

const CLAIM: &str = "UPDATE session SET head = ?, last_activity = ?, stdout_offset = ?, stderr_offset = ?, held = ?
    WHERE tenant_id = ? AND session_id = ? AND epoch = ? AND head = ? AND deleted_at IS NULL;";
/// `changes` counts the rows of the claim.
const EVENT: &str = "INSERT INTO event (tenant_id, session_id, sequence, first_sequence, conversation_id, time, kind,
    block_id, payload) VALUES (?, ?, CASE WHEN changes() = 1 THEN ? END, ?, ?, ?, ?, ?, ?);";

/// The statements for each size: in the middle of a transaction, and those that begin it, end it, or do both.
static STATEMENTS: LazyLock<Vec<[Arc<str>; 4]>> = LazyLock::new(|| {
    let of_size = |size: usize| {
        let body = [CLAIM, EVENT].concat().repeat(size);
        let (begin, commit) = ("BEGIN IMMEDIATE;", "COMMIT;");
        [body.as_str().into(), [begin, &body].concat().into(), [&body, commit].concat().into(), {
            [begin, &body, commit].concat().into()
        }]
    };
    SIZES.into_iter().map(of_size).collect()
});

/// One batch that goes this way.
struct Light<'a> {
    batch: &'a Batch,
    event: &'a Event,
    block_id: &'a str,
    mark: &'a ExecMark,
}

/// Appends all, or nothing: then `false`, because they are not of this sort or because one does not fit.
pub(super) async fn append(connections: &Connections, batches: &[Batch]) -> Result<bool, Error> {
    let Some(light) = batches.iter().map(light).collect::<Option<Vec<_>>>() else { return Ok(false) };
    let mut sessions = HashSet::with_capacity(light.len());
    if light.is_empty() || !light.iter().all(|light| sessions.insert(&light.batch.key)) {
        return Ok(false);
    }
    let mut tx = connections.writer().await?;
    if write(&mut tx, &light).await? {
        tx.ended();
        return Ok(true);
    }
    tx.undo().await?;
    Ok(false)
}

/// A batch of one delta, whose event follows its head, and where reading stands, of which nothing but that is new.
fn light(batch: &Batch) -> Option<Light<'_>> {
    let Batch {
        key: _,
        epoch: _,
        head,
        events,
        record: None,
        parts,
        exec: Some(mark),
        stdin,
        calls,
        beside,
        checkpoint: None,
        stdin_taken: None,
        deletes: false,
    } = batch
    else {
        return None;
    };
    let [event @ Event { kind: Kind::BlockDelta { block_id, .. }, actor: None, .. }] = &events[..] else { return None };
    let follows = event.first_sequence == head + 1 && event.sequence > *head;
    let nothing_else = parts.is_empty()
        && stdin.is_empty()
        && calls.is_empty()
        && *beside == Beside::default()
        && mark.parser_state.is_none()
        && !mark.ended;
    (follows && nothing_else).then(|| Light { batch, event, block_id: block_id.as_str(), mark })
}

async fn write(tx: &mut WriteTx<'_>, light: &[Light<'_>]) -> Result<bool, Error> {
    let mut rest = light;
    while !rest.is_empty() {
        let size = SIZES.iter().position(|size| *size <= rest.len()).unwrap_or(SIZES.len() - 1);
        let (now, later) = rest.split_at(SIZES[size]);
        let form = usize::from(rest.len() == light.len()) + 2 * usize::from(later.is_empty());
        let mut query = sqlx::query(AssertSqlSafe(Arc::clone(&STATEMENTS[size][form])));
        for light in now {
            query = bind(query, light)?;
        }
        match query.execute(&mut **tx).await {
            Ok(_) => rest = later,
            Err(error) if is_missing_value(&error) => return Ok(false),
            Err(error) => return Err(tx.failed(error)),
        }
    }
    Ok(true)
}

type Bound<'q> = Query<'q, Sqlite, SqliteArguments>;

fn bind<'q>(query: Bound<'q>, light: &Light<'q>) -> Result<Bound<'q>, Error> {
    let Light { batch, event, block_id, mark } = light;
    let (tenant, session) = (batch.key.tenant.as_str(), batch.key.session.as_str());
    Ok(query
        .bind(event.sequence)
        .bind(event.time.0)
        .bind(put::signed(mark.stdout_offset)?)
        .bind(put::signed(mark.stderr_offset)?)
        .bind(put::held(mark))
        .bind(tenant)
        .bind(session)
        .bind(batch.epoch)
        .bind(batch.head)
        .bind(tenant)
        .bind(session)
        .bind(event.sequence)
        .bind(event.first_sequence)
        .bind(event.conversation_id.as_str().as_bytes())
        .bind(event.time.0)
        .bind(codec::kind_name(&event.kind))
        .bind(block_id.as_bytes())
        .bind(codec::encode(&event.kind)))
}
