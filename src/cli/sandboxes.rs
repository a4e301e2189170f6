//! `sandboxes`: what runs on the server's machine and away from it, how old it is, and what it costs.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{
    connect::Common,
    error::Error,
    output::{self, print_json, word},
    render::cost,
};
use crate::{
    client::Client,
    proto::{ListSandboxesRequest, ListSandboxesResponse, ModalSettings, SandboxRecord, SandboxRecordState},
};

/// Flags of `sandboxes`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Also those that are over and can be brought back.
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(common: &Common, args: &Args) -> Result<(), Error> {
    let connection = common.connect().await?;
    let told = all(&connection.client, args.all).await?;
    if common.json {
        print_json("ListSandboxesResponse", &told)?;
        return Ok(());
    }
    if told.sandboxes.is_empty() {
        anstream::println!("no sandboxes");
        return Ok(());
    }
    let head = ["SANDBOX", "AT", "STATE", "SESSION", "AGE", "CPU", "MIB", "GPU", "AN HOUR", "SO FAR"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(told.sandboxes.iter().map(row));
    output::table(&mut anstream::stdout().lock(), &rows)?;
    for sandbox in told.sandboxes.iter().filter(|sandbox| !sandbox.out_of_reach.is_empty()) {
        anstream::println!("\n{} is out of reach: {}", sandbox.sandbox_id, sandbox.out_of_reach);
    }
    let running = told.sandboxes.iter().filter(|sandbox| sandbox.state() != SandboxRecordState::Ended);
    let hourly = running.clone().map(|sandbox| sandbox.hourly_cost_micro_usd).sum();
    anstream::println!("\n{} not over, about {} an hour together ({})", running.count(), cost(hourly), told.prices);
    Ok(())
}

/// All pages as one.
async fn all(client: &Client, include_ended: bool) -> Result<ListSandboxesResponse, Error> {
    let mut told = ListSandboxesResponse::default();
    loop {
        let request = ListSandboxesRequest { include_ended, page_token: told.next_page_token, page_size: 1000 };
        let page = client.list_sandboxes(request).await?;
        let mut sandboxes = std::mem::take(&mut told.sandboxes);
        sandboxes.extend(page.sandboxes);
        told = ListSandboxesResponse { sandboxes, ..page };
        if told.next_page_token.is_empty() {
            return Ok(told);
        }
    }
}

fn row(sandbox: &SandboxRecord) -> [String; 10] {
    let state = SandboxRecordState::try_from(sandbox.state).unwrap_or_default();
    let none = || "-".to_owned();
    // On the server's machine nothing is reserved, and nothing costs.
    let [cpu, memory, gpu, hourly, so_far] = match &sandbox.modal {
        None => [none(), none(), none(), none(), none()],
        Some(ModalSettings { cpu, memory_mib, gpu, .. }) => [
            format!("{cpu}"),
            memory_mib.to_string(),
            if gpu.is_empty() { none() } else { gpu.clone() },
            cost(sandbox.hourly_cost_micro_usd),
            cost(sandbox.cost_micro_usd),
        ],
    };
    let at = if sandbox.external_id.is_empty() {
        sandbox.provider.clone()
    } else {
        format!("{} {}", sandbox.provider, sandbox.external_id)
    };
    [
        sandbox.sandbox_id.clone(),
        at,
        word(state.as_str_name(), "SANDBOX_RECORD_STATE_"),
        sandbox.session_id.clone(),
        sandbox.create_time.as_ref().map(age).unwrap_or_default(),
        cpu,
        memory,
        gpu,
        hourly,
        so_far,
    ]
}

/// How long it has been there, in the two largest units.
fn age(since: &prost_types::Timestamp) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let seconds = now.saturating_sub(u64::try_from(since.seconds).unwrap_or(0));
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours, minutes, _) => format!("{hours}h {minutes}m"),
    }
}
