//! Modal behind TLS: who shows a certificate that is vouched for is believed, and nobody else, neither at the control plane nor
//! at a router.

use std::path::Path;

use agent_runtime::{
    domain::SandboxId,
    sandbox::{Error, Exit, NewSandbox, Provider as _},
};

use crate::{
    authority::Authority,
    elsewhere::Elsewhere,
    emulator::Emulator,
    rig::{NOW, give, noise, session, soon, start, stdout},
};

/// Two authorities in a folder.
fn authorities(folder: &Path) -> Option<(Authority, Authority)> {
    Authority::new(folder, "ours").zip(Authority::new(folder, "theirs"))
}

fn plain() -> NewSandbox {
    NewSandbox::plain(SandboxId::mint(), session(), NOW)
}

/// Why nobody is believed, which says what to do.
fn distrusts(error: &Error) -> bool {
    let Error::Unavailable(why) = error else { return false };
    why.contains("cannot be trusted") && why.contains("SSL_CERT_FILE") && !why.contains("MODAL_TOKEN_ID")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_vouched_for_is_believed_and_nobody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some((ours, theirs)) = authorities(folder.path()) else { return };
    let Some(elsewhere) = Elsewhere::start_with(&ours.arguments()).await else { return };
    assert!(elsewhere.server.starts_with("https://localhost:"), "{}", elsewhere.server);

    // Neither the web's authorities nor another of ours vouch for it; and nobody is asked again and again.
    for stranger in [elsewhere.another(&elsewhere.server), elsewhere.believing(&theirs.root)] {
        let refused = soon(stranger.create(plain())).await.expect_err("nobody vouches for it");
        assert!(distrusts(&refused), "{refused:?}");
    }
    assert!(elsewhere.emulator.calls().as_object().is_some_and(serde_json::Map::is_empty), "nothing was said to it");

    let modal = elsewhere.believing(&ours.root);
    let sandbox = soon(modal.create(plain())).await.expect("created");
    let exec = start(&*sandbox, "cat; exit 3").await;
    let whole = noise(300_000);
    give(&*sandbox, &exec, &whole).await;
    assert!(soon(stdout(&*sandbox, &exec)).await == whole, "the router is behind TLS too");
    assert_eq!(sandbox.wait(&exec).await, Ok(Exit::Code(3)));
    modal.shutdown().await.expect("shut down");

    // In clear text there is no way to it.
    let clear = elsewhere.another(&format!("https://{}", elsewhere.emulator.addr));
    let refused = soon(clear.create(plain())).await.expect_err("that is no TLS");
    assert!(distrusts(&refused), "{refused:?}");
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_nobody_vouches_for_is_told_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some((ours, theirs)) = authorities(folder.path()) else { return };
    let Some(other) = Emulator::try_start(&theirs.arguments()) else { return };
    let router = format!("{}/some/where", other.env[0].1);
    let arguments = [&ours.arguments()[..], &["--router-url", &router]].concat();
    let Some(elsewhere) = Elsewhere::start_with(&arguments).await else { return };

    let modal = elsewhere.believing(&ours.root);
    let sandbox = soon(modal.create(plain())).await.expect("the control plane is believed");
    let refused = soon(sandbox.start(NOW, &crate::rig::sh("exit 0"))).await.expect_err("its router is not");
    assert!(distrusts(&refused), "{refused:?}");
    assert!(other.calls().as_object().is_some_and(serde_json::Map::is_empty), "nothing was said to it");
    modal.detach().await;

    // Where both are believed, it is asked, and knows nothing of that sandbox.
    let both = elsewhere.believing(&ours.with(&theirs, folder.path()));
    let sandbox = soon(both.create(plain())).await.expect("created");
    let refused = soon(sandbox.start(NOW, &crate::rig::sh("exit 0"))).await.expect_err("it is another's");
    assert!(!distrusts(&refused), "{refused:?}");
    assert!(other.calls()["TaskExecStart"]["made"].as_u64() > Some(0), "{}", other.calls());
    both.detach().await;
    elsewhere.close().await;
}
