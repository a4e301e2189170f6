//! Silence: each session has its own patience with it. The service's own parts are put together here, because the least
//! that a caller may ask for is longer than a test should take.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use agent_runtime::{
    domain::{
        Agent, Caller, ContentPart, Principal, Profile, ProfileId, ProfileSetup, SandboxStatus, SessionId, SessionKey,
        SessionOptions, TenantId, Timestamp,
    },
    log::EventLog,
    sandbox::{
        Providers,
        local::{self, Local, LocalConfig, Wanted},
    },
    session::{Config, Decision, Ending, Hidden, Manager, NewSession, OptionsUpdate, Programs, Update},
    store::{SessionView, SqliteStore, Store},
};
use serde_json::json;
use tokio_util::task::TaskTracker;

use crate::support::PATIENCE;

const SILENCE: Duration = Duration::from_millis(200);

pub(crate) struct House {
    pub(crate) manager: Manager,
    pub(crate) caller: Caller,
    tasks: TaskTracker,
}

impl House {
    /// A server's own patience is endless here.
    async fn build(data: &Path) -> Self {
        let programs = Programs { scripted: env!("CARGO_BIN_EXE_agent-runtime").into(), ..Programs::default() };
        Self::of(data, Agent::Scripted, programs, Hidden::default()).await
    }

    /// One whose agent this is.
    pub(crate) async fn of(
        data: &Path,
        default_agent: Agent,
        programs: Programs,
        environment: Hidden<BTreeMap<String, String>>,
    ) -> Self {
        let tasks = TaskTracker::new();
        let store = Arc::new(SqliteStore::in_memory().await.expect("a store"));
        let sandboxes = LocalConfig {
            root: data.join("sandboxes"),
            hidden: Vec::new(),
            shared: Vec::new(),
            isolation: Wanted::Process,
            supervisor: env!("CARGO_BIN_EXE_agent-runtime").into(),
            limit: PATIENCE,
            spool_cap: local::SPOOL_CAP,
        };
        let config = Config {
            providers: Providers::new(Arc::new(Local::new(sandboxes).expect("sandboxes")), []),
            programs,
            default_agent,
            delta_window: Duration::from_millis(25),
            unwatched_delta_window: Duration::from_millis(25),
            idle_timeout: Duration::from_hours(24),
            interrupt_grace: Duration::from_secs(10),
            ask_timeout: Duration::from_hours(1),
            copying: agent_runtime::workspace::Copying::default(),
            spool: data.to_owned(),
            environment,
            own_secrets: Hidden::default(),
            secrets: agent_runtime::session::Secrets::default(),
            packages: agent_runtime::packages::Packages::new(data.join("packages")),
        };
        let profile = Profile {
            profile_id: ProfileId::new("default"),
            revision: 1,
            name: "default".into(),
            description: String::new(),
            agent: None,
            setup: ProfileSetup::default(),
            created_by: None,
            create_time: Timestamp::now(),
            update_time: Timestamp::now(),
            etag: "1".into(),
        };
        store.put_profile(&TenantId::default_tenant(), &profile, None).await.expect("stored");
        let manager = Manager::new(EventLog::start(store, &tasks), config, &tasks);
        let caller = Caller { tenant: TenantId::default_tenant(), principal: Principal::system(), scopes: Vec::new() };
        Self { manager, caller, tasks }
    }

    /// A session with this patience that plays a script.
    async fn session(&self, idle_timeout: Option<Duration>, script: &serde_json::Value) -> SessionId {
        self.given(idle_timeout, script.to_string()).await
    }

    /// A session with this patience, and its first message.
    pub(crate) async fn given(&self, idle_timeout: Option<Duration>, message: String) -> SessionId {
        let message = Some(vec![ContentPart::Text(message)]);
        let options = SessionOptions { idle_timeout, ..SessionOptions::default() };
        let new = NewSession { message, options, ..NewSession::default() };
        self.manager.create(&self.caller, new).await.expect("created").view.session.session_id
    }

    pub(crate) async fn view(&self, id: &SessionId) -> SessionView {
        let key = SessionKey { tenant: self.caller.tenant.clone(), session: id.clone() };
        self.manager.view(&key).await.expect("there")
    }

    pub(crate) async fn until(&self, id: &SessionId, holds: impl Fn(&SessionView) -> bool) -> SessionView {
        let looked = async {
            loop {
                let view = self.view(id).await;
                if holds(&view) {
                    return view;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looked).await.expect("it comes")
    }

    async fn over(&self, id: &SessionId) -> SessionView {
        self.until(id, |view| view.active_turn.is_none() && view.session.sequence > 2).await
    }

    async fn patience(&self, id: &SessionId, idle_timeout: Option<Duration>) {
        let options = OptionsUpdate { idle_timeout: Some(idle_timeout), ..OptionsUpdate::default() };
        let update = Update { options, ..Update::default() };
        self.manager.update(&self.caller, id, update, None).await.expect("updated");
    }

    pub(crate) async fn close(self) {
        self.manager.drain(Ending::Stop, PATIENCE).await;
        self.manager.log().close();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn sandbox(view: &SessionView) -> SandboxStatus {
    view.session.sandbox.as_ref().expect("a sandbox").status
}

pub(crate) fn stopped(view: &SessionView) -> bool {
    sandbox(view) == SandboxStatus::Terminated
}

#[tokio::test]
async fn each_session_has_its_own_patience_with_silence() {
    let data = tempfile::tempdir().expect("a folder");
    let house = House::build(data.path()).await;
    let say = json!([{ "say": "Here." }]);
    let (patient, other) = (house.session(None, &say).await, house.session(Some(SILENCE), &say).await);
    house.over(&patient).await;
    let view = house.until(&other, stopped).await;
    assert_eq!(view.session.sandbox.expect("one").status_message, "stopped after 0.2 s of silence");
    assert_eq!(sandbox(&house.view(&patient).await), SandboxStatus::Ready);

    // The next message starts it again, with its files.
    let parts = vec![ContentPart::Text(json!([{ "run": "echo one > made.txt" }]).to_string())];
    house
        .manager
        .send(&house.caller, &other, parts, agent_runtime::domain::Busy::Reject, None)
        .await
        .expect("accepted");
    house.until(&other, |view| view.active_turn.is_none() && stopped(view)).await;

    // One that runs learns of another patience at once, in both directions.
    house.patience(&patient, Some(SILENCE)).await;
    house.until(&patient, stopped).await;
    house.patience(&other, None).await;
    let parts = vec![ContentPart::Text(json!([{ "run": "cat made.txt" }]).to_string())];
    house
        .manager
        .send(&house.caller, &other, parts, agent_runtime::domain::Busy::Reject, None)
        .await
        .expect("accepted");
    house.until(&other, |view| view.active_turn.is_none() && !stopped(view)).await;
    tokio::time::sleep(SILENCE * 5).await;
    assert_eq!(sandbox(&house.view(&other).await), SandboxStatus::Ready);
    house.close().await;
}

#[tokio::test]
async fn what_changed_in_the_silence_is_saved_before_the_sandbox_stops() {
    let data = tempfile::tempdir().expect("a folder");
    let house = House::build(data.path()).await;
    let id = house.session(None, &json!([{ "say": "Here." }])).await;
    let view = house.over(&id).await;
    let sandbox_id = view.session.sandbox.expect("one").sandbox_id.expect("one");
    let place = data.path().join("sandboxes").join(sandbox_id.as_str()).join("workspace/late.txt");
    std::fs::write(place, "late").expect("written");
    house.patience(&id, Some(Duration::from_millis(1))).await;
    house.until(&id, stopped).await;
    let key = SessionKey { tenant: house.caller.tenant.clone(), session: id.clone() };
    let store = house.manager.log().store();
    let file = store.file(&key, "late.txt").await.expect("read");
    assert!(file.is_some(), "what changed is not told");
    let kept = store.checkpoint(&key).await.expect("read").expect("a checkpoint");
    assert_eq!(kept.files, 1, "what changed is not saved");
    house.close().await;
}

#[tokio::test]
async fn an_open_request_is_no_silence_for_a_session_of_little_patience() {
    let data = tempfile::tempdir().expect("a folder");
    let house = House::build(data.path()).await;
    let ask = json!([{ "ask": { "tool": "Bash" }, "then": [{ "say": "It ran." }] }]);
    let id = house.session(Some(SILENCE), &ask).await;
    let asks = house.until(&id, |view| !view.open_permissions.is_empty()).await;
    tokio::time::sleep(SILENCE * 5).await;
    let still = house.view(&id).await;
    assert_eq!((sandbox(&still), still.session.sequence), (SandboxStatus::Ready, asks.session.sequence));
    let decision = Decision { option_id: "allow_once".into(), ..Decision::default() };
    let permission_id = asks.open_permissions[0].permission_id.clone();
    house.manager.resolve_permission(&house.caller, &id, permission_id, decision, None).await.expect("answered");
    house.until(&id, |view| view.active_turn.is_none() && stopped(view)).await;
    house.close().await;
}
