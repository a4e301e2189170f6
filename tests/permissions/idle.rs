//! Silence: while a request is open the session counts as active, however long that takes. The service's own parts are put
//! together here, because a server's patience with silence is minutes.

use std::{path::Path, sync::Arc, time::Duration};

use agent_runtime::{
    domain::{Agent, Caller, ContentPart, Principal, SandboxStatus, SessionKey, TenantId},
    log::EventLog,
    sandbox::{
        Providers,
        local::{self, Local, LocalConfig, Wanted},
    },
    session::{Config, Decision, Ending, Hidden, Manager, NewSession, Programs},
    store::{SessionView, SqliteStore, Store},
};
use serde_json::json;
use tokio_util::task::TaskTracker;

use crate::{
    asked::ask,
    support::{PATIENCE, processes_of},
};

const SILENCE: Duration = Duration::from_millis(200);

/// A manager and its provider, which ends programs so long after their server.
async fn parts(data: &Path, tasks: &TaskTracker, limit: Duration) -> (Manager, Local) {
    let store = Arc::new(SqliteStore::in_memory().await.expect("a store"));
    let sandboxes = LocalConfig {
        root: data.join("sandboxes"),
        hidden: Vec::new(),
        shared: Vec::new(),
        isolation: Wanted::Process,
        supervisor: env!("CARGO_BIN_EXE_agent-runtime").into(),
        limit,
        spool_cap: local::SPOOL_CAP,
    };
    let provider = Local::new(sandboxes).expect("sandboxes");
    let config = Config {
        providers: Providers::new(Arc::new(provider.clone()), []),
        programs: Programs { scripted: env!("CARGO_BIN_EXE_agent-runtime").into(), ..Programs::default() },
        default_agent: Agent::Scripted,
        delta_window: Duration::from_millis(25),
        unwatched_delta_window: Duration::from_millis(25),
        idle_timeout: SILENCE,
        ask_timeout: Duration::from_hours(1),
        interrupt_grace: Duration::from_secs(10),
        copying: agent_runtime::workspace::Copying::default(),
        spool: data.to_owned(),
        environment: Hidden::default(),
        own_secrets: Hidden::default(),
        secrets: agent_runtime::session::Secrets::default(),
        packages: agent_runtime::packages::Packages::new(data.join("packages")),
    };
    let profile = agent_runtime::domain::Profile {
        profile_id: agent_runtime::domain::ProfileId::new("default"),
        revision: 1,
        name: "default".into(),
        description: String::new(),
        agent: None,
        setup: agent_runtime::domain::ProfileSetup::default(),
        created_by: None,
        create_time: agent_runtime::domain::Timestamp::now(),
        update_time: agent_runtime::domain::Timestamp::now(),
        etag: "1".into(),
    };
    store.put_profile(&TenantId::default_tenant(), &profile, None).await.expect("stored");
    (Manager::new(EventLog::start(store, tasks), config, tasks), provider)
}

async fn until(manager: &Manager, key: &SessionKey, holds: impl Fn(&SessionView) -> bool) -> SessionView {
    let looked = async {
        loop {
            let view = manager.view(key).await.expect("there");
            if holds(&view) {
                return view;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.expect("it comes")
}

fn sandbox(view: &SessionView) -> SandboxStatus {
    view.session.sandbox.as_ref().expect("a sandbox").status
}

#[tokio::test]
async fn an_open_request_is_no_silence() {
    let (data, tasks) = (tempfile::tempdir().expect("a folder"), TaskTracker::new());
    let (manager, _) = parts(data.path(), &tasks, PATIENCE).await;
    let caller = Caller { tenant: TenantId::default_tenant(), principal: Principal::system(), scopes: Vec::new() };
    let message = Some(vec![ContentPart::Text(json!([ask()]).to_string())]);
    let created = manager.create(&caller, NewSession { message, ..NewSession::default() }).await.expect("created");
    let id = created.view.session.session_id;
    let key = SessionKey { tenant: caller.tenant.clone(), session: id.clone() };
    let asks = until(&manager, &key, |view| !view.open_permissions.is_empty()).await;
    tokio::time::sleep(SILENCE * 5).await;
    let still = manager.view(&key).await.expect("there");
    assert_eq!((sandbox(&still), still.session.sequence), (SandboxStatus::Ready, asks.session.sequence));

    let decision = Decision { option_id: "allow_once".into(), ..Decision::default() };
    let permission_id = asks.open_permissions[0].permission_id.clone();
    manager.resolve_permission(&caller, &id, permission_id, decision, None).await.expect("answered");
    let over = until(&manager, &key, |view| view.active_turn.is_none()).await;
    assert_eq!(over.open_permissions, []);
    // Then silence is silence again.
    until(&manager, &key, |view| sandbox(view) == SandboxStatus::Terminated).await;
    manager.drain(Ending::Stop, PATIENCE).await;
    manager.log().close();
    tasks.close();
    tasks.wait().await;
}

/// Without a server an agent has its limit, unless it waits for an answer: then it waits as long as that may take.
#[tokio::test]
async fn an_agent_that_asks_outlives_the_limit_of_the_others() {
    const LIMIT: Duration = Duration::from_millis(300);
    let data = tempfile::tempdir().expect("a folder");
    let long = json!([{"pause_ms": 600_000}]);
    for (script, lives) in [(json!([ask()]), true), (long, false)] {
        let tasks = TaskTracker::new();
        let folder = data.path().join(lives.to_string());
        std::fs::create_dir_all(&folder).expect("made");
        let (manager, provider) = parts(&folder, &tasks, LIMIT).await;
        let caller = Caller { tenant: TenantId::default_tenant(), principal: Principal::system(), scopes: Vec::new() };
        let message = Some(vec![ContentPart::Text(script.to_string())]);
        let created = manager.create(&caller, NewSession { message, ..NewSession::default() }).await.expect("created");
        let key = SessionKey { tenant: caller.tenant.clone(), session: created.view.session.session_id.clone() };
        let started = |view: &SessionView| view.active_turn.as_ref().is_some_and(|turn| turn.start_time.is_some());
        until(&manager, &key, |view| if lives { !view.open_permissions.is_empty() } else { started(view) }).await;
        // The limit is told once the request is stored.
        tokio::time::sleep(LIMIT).await;
        manager.drain(Ending::Detach, PATIENCE).await;
        assert_eq!(provider.detach().await.len(), 1, "it is left running");
        manager.log().close();
        tasks.close();
        tasks.wait().await;
        let gone = async {
            while !processes_of(&folder).is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if lives {
            tokio::time::timeout(LIMIT * 8, gone).await.expect_err("it was not waited for");
        } else {
            tokio::time::timeout(PATIENCE, gone).await.expect("it ends");
        }
    }
    drop(data);
}
