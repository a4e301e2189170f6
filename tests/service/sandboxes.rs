//! Which provider a session gets, and what that one does not apply.

use agent_runtime::{
    domain::{
        LedgerEntry, LedgerFacts, LedgerSnapshot, LedgerState, ModalGpu, ModalSettings, SandboxId, SessionId,
        SessionKey, TenantId, Timestamp,
    },
    proto::{self, SandboxRecordState},
    store::{LedgerRows as _, SqliteStore, Store as _},
};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{Server, get, play, reason, scripted, stop};

fn asked(strict: bool) -> proto::CreateSessionRequest {
    let modal = proto::ModalSettings { cpu: 2.0, gpu: "T4".into(), ..Default::default() };
    let sandbox = proto::SandboxSpec { strict, modal: Some(modal), ..Default::default() };
    proto::CreateSessionRequest { agent: "scripted".into(), sandbox: Some(sandbox), ..Default::default() }
}

#[tokio::test]
async fn a_strict_session_has_no_setting_that_does_not_apply() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let refused = sessions.create_session(asked(true)).await.expect_err("local applies nothing of this");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "SANDBOX_UNSUITABLE"));
    let metadata = refused.get_details_error_info().expect("details").metadata;
    assert_eq!((metadata["provider"].as_str(), metadata["not_applied"].as_str()), ("local", "modal.cpu, modal.gpu"));
    assert!(refused.message().contains("modal.cpu, modal.gpu"), "{refused:?}");

    let created = sessions.create_session(asked(false)).await.expect("created").into_inner().session.expect("one");
    let played = play(&mut sessions, &created.session_id, &serde_json::json!({ "say": "hello" }).to_string()).await;
    let sandbox = played.state.session.expect("a session").sandbox.expect("a sandbox");
    assert_eq!(sandbox.not_applied, ["modal.cpu", "modal.gpu"], "what has no effect is told");
    assert_eq!((sandbox.provider.as_str(), sandbox.expire_time), ("local", None));
    let plain = scripted(&mut sessions).await;
    let plain = get(&mut sessions, &plain.session_id).await;
    assert!(plain.sandbox.is_none_or(|sandbox| sandbox.not_applied.is_empty()));
}

#[tokio::test]
async fn the_default_provider_and_all_others_are_told() {
    let server = Server::start();
    let request = proto::GetRuntimeInfoRequest {};
    let info = server.runtime().await.get_runtime_info(request).await.expect("told").into_inner();
    assert_eq!(info.default_sandbox_provider, "local");
    let names: Vec<&str> = info.sandbox_providers.iter().map(|info| info.provider.as_str()).collect();
    assert_eq!(names, ["local"], "without an account there is no other");
}

const HOUR: i64 = 3_600_000_000;

/// Rows as a server before left them: two that may run, one that is over, one of another tenant.
async fn ledger(data: &std::path::Path, now: i64) {
    let store = SqliteStore::open(&data.join("agent-runtime.db")).await.expect("a store");
    let entry = |id: &str, tenant: &str, state, facts| LedgerEntry {
        id: SandboxId::new(id),
        session: SessionKey { tenant: TenantId::new(tenant), session: SessionId::new("ses_gone") },
        generation: 1,
        provider: "modal".into(),
        state,
        facts,
    };
    let facts = LedgerFacts { create_time: Timestamp(now - 2 * HOUR), ..LedgerFacts::default() };
    let gpu = Some(ModalGpu { kind: "T4".into(), count: 2 });
    let settings = ModalSettings { milli_cpu: 500, gpu, ..ModalSettings::default() };
    let snapshot = Some(LedgerSnapshot { image_id: "im-1".into(), expire_time: Timestamp(now + 9 * HOUR) });
    let running = LedgerFacts {
        external_id: "sb-1".into(),
        expire_time: Some(Timestamp(now - HOUR)),
        settings: settings.clone(),
        ..facts.clone()
    };
    let ended = LedgerFacts { end_time: Some(Timestamp(now - HOUR)), snapshot, ..facts.clone() };
    for entry in [
        entry("sbx_1", "default", LedgerState::Created, running),
        entry("sbx_2", "default", LedgerState::Ended, ended),
        entry("sbx_3", "default", LedgerState::Intended, facts.clone()),
        entry("sbx_4", "other", LedgerState::Created, facts),
    ] {
        store.put_entry(&entry).await.expect("written");
    }
    store.close().await;
}

#[tokio::test]
async fn what_runs_elsewhere_is_listed_with_its_cost() {
    let data = tempfile::tempdir().expect("a folder");
    let now = Timestamp::now().0;
    ledger(data.path(), now).await;
    let server = Server::start_on(data.path(), &[]);
    let mut runtime = server.runtime().await;
    let ids = |told: &proto::ListSandboxesResponse| {
        told.sandboxes.iter().map(|sandbox| sandbox.sandbox_id.clone()).collect::<Vec<_>>()
    };
    let all = proto::ListSandboxesRequest { include_ended: true, ..Default::default() };
    let told = runtime.list_sandboxes(all.clone()).await.expect("listed").into_inner();
    assert_eq!(ids(&told), ["sbx_1", "sbx_2", "sbx_3"], "another tenant's are not there");
    assert!(told.prices.contains("estimate"));
    let states: Vec<_> = told.sandboxes.iter().map(proto::SandboxRecord::state).collect();
    assert_eq!(states, [SandboxRecordState::Running, SandboxRecordState::Ended, SandboxRecordState::Intended]);
    let one = &told.sandboxes[0];
    // Half a core, 2 GiB and two T4: 0.00001971 + 0.00001334 + 0.000328 dollars a second; its provider ended it an hour ago.
    assert_eq!((one.hourly_cost_micro_usd, one.cost_micro_usd), (1_299_780, 1_299_780));
    assert_eq!((one.external_id.as_str(), one.session_id.as_str()), ("sb-1", "ses_gone"));
    let modal = one.modal.clone().expect("settings");
    assert_eq!((modal.cpu, modal.memory_mib, modal.gpu.as_str()), (0.5, 2048, "T4:2"));
    let two = &told.sandboxes[1];
    assert_eq!(two.cost_micro_usd, two.hourly_cost_micro_usd, "an hour");
    assert!(two.end_time.is_some() && two.snapshot_expire_time.is_some());
    assert!(told.sandboxes[2].cost_micro_usd >= 2 * told.sandboxes[2].hourly_cost_micro_usd, "and it counts on");

    let running = proto::ListSandboxesRequest { page_size: 1, ..Default::default() };
    let first = runtime.list_sandboxes(running.clone()).await.expect("listed").into_inner();
    assert_eq!(ids(&first), ["sbx_1"]);
    let next = proto::ListSandboxesRequest { page_token: first.next_page_token, ..running };
    let last = runtime.list_sandboxes(next.clone()).await.expect("listed").into_inner();
    assert_eq!((ids(&last), last.next_page_token.as_str()), (vec!["sbx_3".to_owned()], ""));
    let other = proto::ListSandboxesRequest { include_ended: true, ..next };
    let refused = runtime.list_sandboxes(other).await.expect_err("a token of another query");
    assert_eq!(reason(&refused), "INVALID_FIELD");
}

#[tokio::test]
async fn what_runs_here_is_listed_beside_it_and_costs_nothing() {
    let data = tempfile::tempdir().expect("a folder");
    let before = Timestamp::now();
    ledger(data.path(), before.0).await;
    let server = Server::start_on(data.path(), &[]);
    let (mut sessions, mut runtime) = (server.sessions().await, server.runtime().await);
    let mut made = Vec::new();
    for _ in 0..2 {
        let session = scripted(&mut sessions).await;
        play(&mut sessions, &session.session_id, &serde_json::json!({ "say": "hello" }).to_string()).await;
        made.push(get(&mut sessions, &session.session_id).await);
    }
    // Without a sandbox there is nothing to list.
    scripted(&mut sessions).await;
    let id = |session: &proto::Session| session.sandbox.clone().expect("a sandbox").sandbox_id;
    let asked = proto::ListSandboxesRequest { page_size: 1, ..Default::default() };
    let mut told = Vec::new();
    let mut next = asked.clone();
    loop {
        let page = runtime.list_sandboxes(next).await.expect("listed").into_inner();
        assert!(page.sandboxes.len() <= 1);
        told.extend(page.sandboxes);
        if page.next_page_token.is_empty() {
            break;
        }
        next = proto::ListSandboxesRequest { page_token: page.next_page_token, ..asked.clone() };
    }
    let mut wanted = vec!["sbx_1".to_owned(), "sbx_3".to_owned(), id(&made[0]), id(&made[1])];
    wanted.sort();
    assert_eq!(told.iter().map(|one| one.sandbox_id.clone()).collect::<Vec<_>>(), wanted);
    let one = told.iter().find(|one| one.sandbox_id == id(&made[0])).expect("listed");
    assert_eq!((one.provider.as_str(), one.session_id.as_str()), ("local", made[0].session_id.as_str()));
    assert_eq!((one.state(), one.generation, &*one.external_id), (SandboxRecordState::Running, 1, ""));
    assert_eq!((one.modal.clone(), one.hourly_cost_micro_usd, one.cost_micro_usd), (None, 0, 0));
    let made_at = one.create_time.expect("a time");
    assert!(made_at.seconds >= before.0 / 1_000_000 && made_at.seconds <= Timestamp::now().0 / 1_000_000);

    stop(&mut sessions, &made[0].session_id).await;
    let running = runtime.list_sandboxes(proto::ListSandboxesRequest::default()).await.expect("listed").into_inner();
    assert!(running.sandboxes.iter().all(|one| one.sandbox_id != id(&made[0])), "{running:?}");
    let all = proto::ListSandboxesRequest { include_ended: true, ..Default::default() };
    let told = runtime.list_sandboxes(all.clone()).await.expect("listed").into_inner();
    let one = told.sandboxes.iter().find(|one| one.sandbox_id == id(&made[0])).expect("listed");
    assert_eq!(one.state(), SandboxRecordState::Ended);
    let output = command(server.data()).arg("--all").output().expect("run");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = shown.lines().find(|line| line.starts_with(&id(&made[0]))).expect("a line");
    assert!(line.contains("local") && line.contains("ended") && line.ends_with('-'), "{shown}");
    assert!(shown.contains("3 not over, about $1.4897 an hour together"), "{shown}");

    let request = proto::DeleteSessionRequest { session_id: made[0].session_id.clone(), ..Default::default() };
    sessions.delete_session(request).await.expect("deleted");
    let told = runtime.list_sandboxes(all).await.expect("listed").into_inner();
    assert!(told.sandboxes.iter().all(|one| one.sandbox_id != id(&made[0])), "{told:?}");
}

fn command(data: &std::path::Path) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_agent-runtime"));
    command.arg("--data").arg(data).arg("sandboxes").env_remove("RUST_LOG");
    command
}

#[tokio::test]
async fn the_command_shows_what_runs_elsewhere() {
    let data = tempfile::tempdir().expect("a folder");
    ledger(data.path(), Timestamp::now().0).await;
    let server = Server::start_on(data.path(), &[]);
    let said = |args: &'static [&'static str]| {
        let output = command(server.data()).args(args).output().expect("run");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let shown = said(&[]);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[1].starts_with("sbx_1") && lines[1].contains("modal sb-1") && lines[1].contains("2h 0m"), "{shown}");
    assert!(lines[1].contains("$1.2998") && lines[2].starts_with("sbx_3"), "{shown}");
    assert!(shown.contains("2 not over, about $1.4897 an hour together"), "{shown}");
    assert!(said(&["--all"]).contains("sbx_2"), "{shown}");
    let json: serde_json::Value = serde_json::from_str(&said(&["--json"])).expect("JSON");
    assert_eq!(json["sandboxes"][0]["hourlyCostMicroUsd"], "1299780");
    let empty = Server::start();
    let output = command(empty.data()).output().expect("run");
    assert!(String::from_utf8_lossy(&output.stdout).contains("no sandboxes"), "{output:?}");
}
