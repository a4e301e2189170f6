//! What SQLite and its driver report, as errors that say what to do. Nothing else in the room knows their codes.

use std::{io, path::Path};

use sqlx::{error::DatabaseError, migrate::MigrateError};

use crate::store::Error;

// Primary result codes: https://www.sqlite.org/rescode.html
const ERROR: i32 = 1;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const SCHEMA: i32 = 17;
const CONSTRAINT: i32 = 19;
const CONSTRAINT_NOTNULL: i32 = 1299;
const MISMATCH: i32 = 20;
const RANGE: i32 = 25;
const NOTADB: i32 = 26;
const IOERR: i32 = 10;
const IOERR_SHMSIZE: i32 = IOERR | (19 << 8);

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => from_database(error.as_ref()),
            sqlx::Error::Migrate(error) => from_migration(*error),
            sqlx::Error::PoolTimedOut => Self::Unavailable("all readers are busy; try again".into()),
            sqlx::Error::PoolClosed => Self::Unavailable("the store is closed".into()),
            // These say that a row is not what the schema promises.
            error @ (sqlx::Error::RowNotFound
            | sqlx::Error::TypeNotFound { .. }
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)) => Self::Corrupt(error.to_string()),
            error => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<MigrateError> for Error {
    fn from(error: MigrateError) -> Self {
        from_migration(error)
    }
}

/// An error of a file, in words that say which.
pub(super) fn from_io(what: &str, path: &Path, error: &io::Error) -> Error {
    let text = format!("{what} {}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full(text),
        _ => Error::Unavailable(text),
    }
}

/// A value is missing where the schema wants one.
pub(super) fn is_missing_value(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    code(error.as_ref()) == CONSTRAINT_NOTNULL
}

/// The disk did not do what it was asked: what was written last may be kept or not, whatever it says later.
pub(super) fn is_io(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    code(error.as_ref()) & 0xff == IOERR
}

fn code(error: &dyn DatabaseError) -> i32 {
    error.code().and_then(|code| code.parse().ok()).unwrap_or(ERROR)
}

fn from_database(error: &dyn DatabaseError) -> Error {
    let code = code(error);
    let text = error.message();
    match code & 0xff {
        // The second is what a full disk says when it is asked for more of the shared index.
        FULL => Error::Full(format!("free some space: {text} (SQLite code {code})")),
        _ if code == IOERR_SHMSIZE => Error::Full(format!("free some space: {text} (SQLite code {code})")),
        BUSY | LOCKED => {
            Error::Unavailable(format!("another program holds the database; close it: {text} (SQLite code {code})"))
        }
        // ERROR is bad SQL, which here means a schema that this build does not know.
        CORRUPT | NOTADB | SCHEMA | CONSTRAINT | MISMATCH | RANGE | ERROR => {
            Error::Corrupt(format!("{text} (SQLite code {code})"))
        }
        _ => Error::Unavailable(format!("{text} (SQLite code {code})")),
    }
}

fn from_migration(error: MigrateError) -> Error {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        MigrateError::VersionMissing(version) => {
            Error::Corrupt(format!("migration {version} was made by a newer build; use that one"))
        }
        error => Error::Corrupt(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};

    use super::*;

    async fn fail(connection: &mut SqliteConnection, sql: &str) -> Error {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap_err().into()
    }

    fn is_unavailable(error: Error, said: &str) {
        assert!(matches!(&error, Error::Unavailable(text) if text.contains(said)), "{error:?}");
    }

    #[tokio::test]
    async fn each_failure_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new().filename(dir.path().join("a.db")).create_if_missing(true);
        let options = options.busy_timeout(std::time::Duration::ZERO);
        let mut one = options.connect().await.unwrap();
        let mut other = options.connect().await.unwrap();
        sqlx::raw_sql("CREATE TABLE a (b UNIQUE); INSERT INTO a VALUES (1)").execute(&mut one).await.unwrap();

        let full = "PRAGMA max_page_count = 4; INSERT INTO a VALUES (zeroblob(100000))";
        assert!(matches!(fail(&mut one, full).await, Error::Full(_)));
        assert!(matches!(fail(&mut one, "INSERT INTO a VALUES (1)").await, Error::Corrupt(_)));
        assert!(matches!(fail(&mut one, "SELECT * FROM missing").await, Error::Corrupt(_)));

        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut one).await.unwrap();
        is_unavailable(fail(&mut other, "BEGIN IMMEDIATE").await, "another program holds the database");

        let nowhere = SqliteConnectOptions::new().filename(dir.path().join("no/dir.db"));
        is_unavailable(nowhere.connect().await.unwrap_err().into(), "unable to open");
        let row = sqlx::query_scalar::<_, i64>("SELECT 'text'").fetch_one(&mut one).await;
        assert!(matches!(row.unwrap_err().into(), Error::Corrupt(_)));
    }
}
