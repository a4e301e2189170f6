//! What only a file can show: it lasts, one process owns it, and it can be damaged.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use agent_runtime::{
    domain::{BlockState, Kind, TenantId, Timestamp, TurnStatus},
    store::{Error, SqliteStore, Store as _, TurnPage, TurnQuery, owner_address},
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, sqlite::SqliteConnectOptions};

use crate::make::{Owner, all, delta, key, log_line, main_blocks, text_block, turn};

#[tokio::test]
async fn what_was_stored_is_there_after_closing_and_after_dropping() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("store.db");
    let mut store = SqliteStore::open(&db).await.unwrap();
    let mut owner = Owner::create(&store, key("t"), |_| {}).await;
    for round in 0..4 {
        let block = text_block(&format!("b{round}"), "", BlockState::Streaming);
        owner.append(&store, [Kind::BlockStart { block }, delta(&format!("b{round}"), "text", 0)]).await;
        owner.append(&store, [delta(&format!("b{round}"), "more", 4)]).await;
        if round % 2 == 0 {
            store.close().await;
        }
        drop(store);
        store = SqliteStore::open(&db).await.unwrap();
        owner.acquire(&store).await;
        assert_eq!(store.snapshot(&owner.key).await.unwrap().unwrap(), owner.folded());
        assert_eq!(store.events(&owner.key, 0, 100).await.unwrap().events, owner.log);
    }
    store.close().await;
    // What is committed stands in the file itself once the store is closed.
    assert!(!dir.path().join("store.db-wal").exists());
    for name in ["store.db", "store.db.lock"] {
        let mode = dir.path().join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn the_second_one_to_open_it_is_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("store.db");
    assert_eq!(owner_address(&db), None);
    let store = SqliteStore::open(&db).await.unwrap();
    assert_eq!(owner_address(&db), None);
    assert_eq!(SqliteStore::open(&db).await.unwrap_err(), Error::Owned(None));
    store.advertise("http://127.0.0.1:50051/with/a/long/path").unwrap();
    store.advertise("http://127.0.0.1:50051").unwrap();
    let address = Some("http://127.0.0.1:50051".to_owned());
    assert_eq!(owner_address(&db), address);
    assert_eq!(SqliteStore::open(&db).await.unwrap_err(), Error::Owned(address));
    // It is refused, and does no harm.
    Owner::create(&store, key("t"), |_| {}).await;
    store.close().await;
    assert_eq!(owner_address(&db), None);
    let store = SqliteStore::open(&db).await.unwrap();
    assert_eq!(owner_address(&db), None, "of the owner before");
    drop(store);
    SqliteStore::open(&db).await.unwrap();
}

#[tokio::test]
async fn asking_who_has_it_keeps_nobody_from_opening_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("store.db");
    SqliteStore::open(&db).await.unwrap().close().await;
    let stop = Arc::new(AtomicBool::new(false));
    let ask = || {
        let (db, stop) = (db.clone(), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let _ = owner_address(&db);
            }
        })
    };
    let askers = [ask(), ask()];
    let mut refused = Vec::new();
    for _ in 0..20 {
        match SqliteStore::open(&db).await {
            Ok(store) => store.close().await,
            Err(error) => refused.push(error),
        }
    }
    stop.store(true, Ordering::Relaxed);
    for asker in askers {
        asker.join().unwrap();
    }
    assert_eq!(refused, []);
}

#[tokio::test]
async fn the_schema_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("store.db");
    let mut schemas = Vec::new();
    for _ in 0..3 {
        SqliteStore::open(&db).await.unwrap().close().await;
        let mut direct = direct(&db).await;
        let sql = "SELECT sql FROM sqlite_schema UNION ALL SELECT version || installed_on FROM _sqlx_migrations";
        let rows = sqlx::query(sql).fetch_all(&mut direct).await.unwrap();
        schemas.push(rows.iter().map(|row| row.get::<Option<String>, _>(0)).collect::<Vec<_>>());
        direct.close().await.unwrap();
    }
    assert!(schemas[0].len() > 10);
    assert!(schemas.iter().all(|schema| *schema == schemas[0]));

    // A database of a newer build is left alone.
    let sql = "INSERT INTO _sqlx_migrations VALUES (9999, 'newer', '', 1, x'00', 0)";
    tamper(&db, sql).await;
    let error = SqliteStore::open(&db).await.unwrap_err();
    assert!(matches!(&error, Error::Corrupt(text) if text.contains("newer build")), "{error:?}");
}

#[tokio::test]
async fn turns_that_an_older_build_kept_are_listed_by_their_status() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("store.db");
    let store = SqliteStore::open(&db).await.unwrap();
    let mut owner = Owner::create(&store, key("t"), |_| {}).await;
    let statuses = [TurnStatus::Completed, TurnStatus::Queued, TurnStatus::BudgetExhausted];
    let turns = statuses.map(|status| turn(status.as_str(), status));
    let updated = turns.clone().map(|turn| Kind::TurnUpdated { turn });
    owner.append(&store, updated).await;
    store.close().await;

    // The same turns in a database as it was before they had a status.
    let old = dir.path().join("old.db");
    let mut before = sqlx::migrate!("migrations/sqlite");
    before.migrations.to_mut().retain(|migration| migration.version < 9);
    let mut direct = SqliteConnectOptions::new().filename(&old).create_if_missing(true).connect().await.unwrap();
    before.run(&mut direct).await.unwrap();
    let sql = format!(
        "ATTACH '{}' AS new; INSERT INTO session SELECT * FROM new.session;
        INSERT INTO turn SELECT tenant_id, session_id, turn_id, ordinal, open, body FROM new.turn",
        db.display()
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut direct).await.unwrap();
    direct.close().await.unwrap();

    let store = SqliteStore::open(&old).await.unwrap();
    for turn in turns {
        let query = TurnQuery { status: Some(turn.status), limit: 10, max_bytes: usize::MAX, ..TurnQuery::default() };
        let page = store.turns(&owner.key, &query).await.unwrap().unwrap();
        assert_eq!(page, TurnPage { turns: vec![turn], next: None });
    }
    store.close().await;
}

#[tokio::test]
async fn bytes_that_an_older_build_kept_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("store.db");
    let store = SqliteStore::open(&db).await.unwrap();
    let mut owners = [Owner::create(&store, key("t"), |_| {}).await, Owner::create(&store, key("u"), |_| {}).await];
    store.close().await;

    // The same sessions in a database as it was before bytes had numbers.
    let old = dir.path().join("old.db");
    let mut before = sqlx::migrate!("migrations/sqlite");
    before.migrations.to_mut().retain(|migration| migration.version < 7);
    let mut direct = SqliteConnectOptions::new().filename(&old).create_if_missing(true).connect().await.unwrap();
    before.run(&mut direct).await.unwrap();
    let sql = format!(
        "ATTACH '{}' AS new; ALTER TABLE new.session DROP COLUMN held;
        INSERT INTO session SELECT * FROM new.session; INSERT INTO event SELECT * FROM new.event;
        INSERT INTO blob SELECT tenant_id, 'hash', 7, 1 FROM session;
        INSERT INTO blob_piece SELECT tenant_id, 'hash', 0, CAST('abc' || tenant_id AS BLOB) FROM session;
        INSERT INTO blob_piece SELECT tenant_id, 'hash', 4, CAST('def' AS BLOB) FROM session;
        INSERT INTO blob VALUES ('t', 'nobody', 0, 1);
        INSERT INTO blob_ref SELECT tenant_id, 'hash', session_id FROM session",
        db.display()
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut direct).await.unwrap();
    direct.close().await.unwrap();

    let store = SqliteStore::open(&old).await.unwrap();
    store.collect_blobs(Timestamp(2)).await.unwrap();
    let there = async |tenant: &str, sha256: &str| {
        store.held_blobs(&TenantId::new(tenant), &[sha256.to_owned()]).await.unwrap().remove(0)
    };
    assert!(there("t", "hash").await && there("u", "hash").await && !there("t", "nobody").await);
    for owner in &mut owners {
        let mut read = store.blob(&owner.key, "hash", 0).await.unwrap().unwrap();
        assert_eq!(read.end, 7);
        read.data.extend(store.blob(&owner.key, "hash", 4).await.unwrap().unwrap().data);
        assert_eq!(read.data, format!("abc{}def", owner.key.tenant).as_bytes());
        owner.delete(&store).await;
    }
    store.purge(Timestamp(i64::MAX)).await.unwrap();
    store.collect_blobs(Timestamp(i64::MAX)).await.unwrap();
    assert!(!there("t", "hash").await && !there("u", "hash").await);
    store.close().await;
}

#[tokio::test]
async fn damage_is_named_and_never_served() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("store.db");
    let store = SqliteStore::open(&db).await.unwrap();
    let mut owner = Owner::create(&store, key("t"), |_| {}).await;
    let block = text_block("b", "", BlockState::Streaming);
    let kinds = [Kind::BlockStart { block }, Kind::TurnUpdated { turn: turn("t", TurnStatus::Running) }];
    owner.append(&store, kinds).await;
    owner.append(&store, [delta("b", "x", 0), log_line("x"), log_line("y")]).await;
    let (key, tenant) = (&owner.key.clone(), &owner.key.tenant.clone());
    let corrupt = |error: Error, place: &str| {
        assert!(matches!(&error, Error::Corrupt(text) if text.contains(place)), "{error:?} does not name {place}");
    };
    let place = key.to_string();

    // Each is mended before the next one.
    let hurt = async |table: &str, column: &str, value: &str, row: &str| {
        let sql = format!(
            "CREATE TABLE kept AS SELECT {column} AS value FROM {table} WHERE {row};
            UPDATE {table} SET {column} = {value} WHERE {row}"
        );
        tamper(&db, &sql).await;
    };
    let mend = async |table: &str, column: &str, row: &str| {
        let sql = format!("UPDATE {table} SET {column} = (SELECT value FROM kept) WHERE {row}; DROP TABLE kept");
        tamper(&db, &sql).await;
    };
    hurt("event", "payload", "CAST(x'02' || substr(payload, 2) AS BLOB)", "sequence = 4").await;
    let at_4 = format!("{place} at 4");
    corrupt(store.events(key, 0, 10).await.unwrap_err(), &at_4);
    corrupt(store.snapshot(key).await.unwrap_err(), &at_4);
    corrupt(store.blocks(key, &main_blocks()).await.unwrap_err(), &at_4);
    corrupt(store.acquire(key).await.unwrap_err(), &at_4);
    assert_eq!(store.events(key, 4, 10).await.unwrap().events, owner.log[4..]);
    mend("event", "payload", "sequence = 4").await;

    hurt("turn", "body", "x'017b'", "turn_id = 't'").await;
    corrupt(store.snapshot(key).await.unwrap_err(), &format!("turn of {place}"));
    corrupt(store.session(key).await.unwrap_err(), &format!("turn of {place}"));
    corrupt(store.sessions(tenant, &all()).await.unwrap_err(), &format!("turn of {place}"));
    mend("turn", "body", "turn_id = 't'").await;

    hurt("session", "record", "x''", "tenant_id = 't'").await;
    corrupt(store.session(key).await.unwrap_err(), key.session.as_str());
    mend("session", "record", "tenant_id = 't'").await;

    // An acquisition that could not read all it needs is none.
    assert_eq!(owner.acquire(&store).await.epoch, 1);
    assert_eq!(store.snapshot(key).await.unwrap().unwrap(), owner.folded());

    tamper(&db, "DELETE FROM event WHERE sequence = 2").await;
    corrupt(store.events(key, 0, 10).await.unwrap_err(), "has no event 2");
    corrupt(store.events(key, 1, 1).await.unwrap_err(), "has no event 2");
    tamper(&db, "DELETE FROM event WHERE sequence > 4").await;
    corrupt(store.events(key, 2, 10).await.unwrap_err(), "ends at 4");
    store.close().await;

    std::fs::write(dir.path().join("text.db"), "no database, but long enough to look at: ".repeat(100)).unwrap();
    corrupt(SqliteStore::open(&dir.path().join("text.db")).await.unwrap_err(), "not a database");
    let nowhere = SqliteStore::open(&dir.path().join("no/such/dir.db")).await.unwrap_err();
    assert!(matches!(nowhere, Error::Unavailable(_)), "{nowhere:?}");
}

/// Changes the database behind the store's back.
async fn tamper(db: &Path, sql: &str) {
    let mut direct = direct(db).await;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut direct).await.unwrap();
    direct.close().await.unwrap();
}

async fn direct(db: &Path) -> sqlx::SqliteConnection {
    SqliteConnectOptions::new().filename(db).connect().await.unwrap()
}
