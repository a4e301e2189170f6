//! Pages of the list of sessions.

use std::time::Instant;

use agent_runtime::proto::{ListSessionsRequest, ListSessionsResponse};
use prost::Message as _;

use super::{
    Params,
    client::{self, Client},
};
use crate::{Failure, spread::Spread};

/// The largest page there is.
const LARGEST: i32 = 1000;

pub(crate) async fn run(params: &Params) -> Result<String, Failure> {
    let (sessions, page): (usize, i32) = (params.get("sessions", 1000)?, params.get("page", 100)?);
    let calls: usize = params.get("calls", 200)?;
    let mut client = client::connect(params, 1024).await?;
    // A server that was measured before may have them.
    let (there, _, _) = all(&mut client).await?;
    let missing = sessions.saturating_sub(there);
    client::create_many(&client, missing).await?;
    let mut millis = Vec::new();
    let (mut token, mut bytes) = (String::new(), 0);
    // The first calls warm the way. Each takes the next page: the list is not in one place of the database.
    for at in 0..calls + 20 {
        let began = Instant::now();
        let response = self::page(&mut client, page, token).await?;
        if at >= 20 {
            millis.push(began.elapsed().as_secs_f64() * 1e3);
        }
        bytes = bytes.max(response.encoded_len());
        token = response.next_page_token;
    }
    let one = Spread::of(millis);
    let began = Instant::now();
    let (listed, pages, total) = all(&mut client).await?;
    let whole = began.elapsed().as_secs_f64() * 1e3;
    if listed < sessions {
        return Err(format!("the pages have {listed} of {sessions} sessions").into());
    }
    Ok(format!(
        "median_ms={:.2} p99_ms={:.2} page_bytes={bytes} all_sessions={listed} all_ms={whole:.1} all_pages={pages} \
         all_bytes={total}",
        one.median, one.p99
    ))
}

async fn page(client: &mut Client, page_size: i32, page_token: String) -> Result<ListSessionsResponse, Failure> {
    let request = ListSessionsRequest { page_size, page_token, ..Default::default() };
    Ok(client.list_sessions(request).await?.into_inner())
}

/// Sessions, pages and bytes of the whole list, which must have none twice.
async fn all(client: &mut Client) -> Result<(usize, usize, usize), Failure> {
    let (mut seen, mut listed, mut pages, mut bytes) = (std::collections::HashSet::new(), 0, 0, 0);
    let mut token = String::new();
    loop {
        let response = page(client, LARGEST, token).await?;
        bytes += response.encoded_len();
        pages += 1;
        listed += response.sessions.len();
        seen.extend(response.sessions.into_iter().map(|session| session.session_id));
        token = response.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    if seen.len() != listed {
        return Err(format!("{} sessions come twice", listed - seen.len()).into());
    }
    Ok((listed, pages, bytes))
}
