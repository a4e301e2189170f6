//! `turns`, `interrupt`, `cancel`: what a session did, does and will do; and ending it.

use super::{
    connect::Common,
    error::Error,
    output::{self, one_line, print_json, word},
};
use crate::proto::{
    BusyPolicy, CancelTurnRequest, InterruptTurnRequest, ListOrder, ListTurnsRequest, Turn, content_part::Part,
};

/// Flags of `turns`.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Of which session.
    session: String,
}

/// Flags of `interrupt`.
#[derive(Debug, clap::Args)]
pub(super) struct Interrupt {
    /// Of which session.
    session: String,
    /// Which turn, instead of the one at work.
    turn: Option<String>,
}

/// Flags of `cancel`.
#[derive(Debug, clap::Args)]
pub(super) struct Cancel {
    /// Of which session.
    session: String,
    /// Which turn.
    turn: String,
}

/// What a prompt does while a turn is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Busy {
    Reject,
    Queue,
    Interrupt,
}

impl From<Busy> for BusyPolicy {
    fn from(busy: Busy) -> Self {
        match busy {
            Busy::Reject => Self::Reject,
            Busy::Queue => Self::Queue,
            Busy::Interrupt => Self::Interrupt,
        }
    }
}

pub(super) async fn list(common: &Common, List { session }: List) -> Result<(), Error> {
    let client = common.connect().await?.client;
    let mut rows = vec![["ID", "STATUS", "ORIGIN", "COST", "WAITS TO SAY"].map(str::to_owned)];
    let mut page_token = String::new();
    loop {
        let order = ListOrder::NewestFirst.into();
        let request =
            ListTurnsRequest { session_id: session.clone(), order, page_size: 1000, page_token, ..Default::default() };
        let page = client.list_turns(request).await?;
        for turn in &page.turns {
            if common.json { print_json("Turn", turn)? } else { rows.push(row(turn)) }
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if !common.json {
        output::table(&mut anstream::stdout(), &rows)?;
    }
    Ok(())
}

pub(super) async fn interrupt(common: &Common, Interrupt { session, turn }: Interrupt) -> Result<(), Error> {
    let client = common.connect().await?.client;
    let request = InterruptTurnRequest { session_id: session, turn_id: turn.unwrap_or_default(), ..Default::default() };
    let interrupted = client.interrupt_turn(request).await?;
    if common.json {
        return Ok(print_json("InterruptTurnResponse", &interrupted)?);
    }
    match &interrupted.turn {
        None => anstream::println!("nothing is at work"),
        Some(turn) if turn.end_time.is_some() => anstream::println!("{} {}", turn.turn_id, status(turn)),
        Some(turn) => anstream::println!("{} is told to end", turn.turn_id),
    }
    Ok(())
}

pub(super) async fn cancel(common: &Common, Cancel { session, turn }: Cancel) -> Result<(), Error> {
    let client = common.connect().await?.client;
    let request = CancelTurnRequest { session_id: session, turn_id: turn, ..Default::default() };
    let cancelled = client.cancel_turn(request).await?.turn.unwrap_or_default();
    if common.json {
        return Ok(print_json("Turn", &cancelled)?);
    }
    anstream::println!("{} {}", cancelled.turn_id, status(&cancelled));
    Ok(())
}

fn row(turn: &Turn) -> [String; 5] {
    let parts = turn.message.iter().flat_map(|message| &message.parts);
    let text =
        parts.filter_map(|part| if let Some(Part::Text(text)) = &part.part { Some(text.as_str()) } else { None });
    [
        turn.turn_id.clone(),
        status(turn),
        word(turn.origin().as_str_name(), "TURN_ORIGIN_"),
        super::render::cost(turn.usage.map_or(0, |usage| usage.cost_micro_usd)),
        one_line(&text.collect::<Vec<_>>().join(" "), 60),
    ]
}

fn status(turn: &Turn) -> String {
    word(turn.status().as_str_name(), "TURN_STATUS_")
}
