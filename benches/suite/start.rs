//! From the start of the process to the first answer, on an empty data folder and on one that exists.

use std::time::Instant;

use agent_runtime::proto;

use crate::{
    Failure,
    load::{Params, client},
    server::Server,
};

/// Starts whose median is told.
const STARTS: usize = 11;

pub(crate) fn run() -> Result<(), Failure> {
    // With a thread of its own, so that a connection that was dropped is closed while the server stops.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    for (name, fresh) in [("start_existing", false), ("start_fresh", true)] {
        let mut millis = Vec::new();
        let kept = tempfile::tempdir()?;
        for _ in 0..=STARTS {
            let own = tempfile::tempdir()?;
            let data = if fresh { own.path() } else { kept.path() };
            let began = Instant::now();
            let server = Server::start(data, &[])?;
            let params = Params::read(&["--addr".into(), server.addr.clone(), "--key".into(), server.key.clone()])?;
            runtime.block_on(async {
                let mut client = client::connect(&params, 0).await?;
                client.list_sessions(proto::ListSessionsRequest::default()).await?;
                Ok::<_, Failure>(())
            })?;
            millis.push(began.elapsed().as_secs_f64() * 1e3);
        }
        // The first one warms the page cache.
        millis.remove(0);
        millis.sort_by(f64::total_cmp);
        println!("{name} median_ms={:.1} max_ms={:.1} runs={STARTS}", millis[STARTS / 2], millis[STARTS - 1]);
    }
    Ok(())
}
