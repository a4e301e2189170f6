//! Turns, and what was used.

use super::{number, text, timestamp};
use crate::{
    domain::{Turn, TurnOrigin, TurnStatus, Usage},
    proto,
};

impl From<Turn> for proto::Turn {
    fn from(turn: Turn) -> Self {
        let Turn {
            turn_id,
            status,
            origin,
            block_id,
            message,
            created_by,
            create_time,
            start_time,
            end_time,
            usage,
            error,
            goes_first,
            // How the agent goes on, or is made to end, and until when, is the server's affair.
            interrupt_time: _,
            carried: _,
            moving: _,
            meter: _,
        } = turn;
        Self {
            turn_id: turn_id.to_string(),
            status: number::<_, proto::TurnStatus>(status),
            origin: number::<_, proto::TurnOrigin>(origin),
            block_id: text(block_id),
            message: message.map(Into::into),
            created_by: Some(created_by.into()),
            create_time: Some(timestamp(create_time)),
            start_time: start_time.map(timestamp),
            end_time: end_time.map(timestamp),
            usage: Some(usage.into()),
            error: error.map(Into::into),
            goes_first,
        }
    }
}

impl From<TurnStatus> for proto::TurnStatus {
    fn from(status: TurnStatus) -> Self {
        match status {
            TurnStatus::Queued => Self::Queued,
            TurnStatus::Running => Self::Running,
            TurnStatus::AwaitingInput => Self::AwaitingInput,
            TurnStatus::Parked => Self::Parked,
            TurnStatus::Completed => Self::Completed,
            TurnStatus::Interrupted => Self::Interrupted,
            TurnStatus::Cancelled => Self::Cancelled,
            TurnStatus::Failed => Self::Failed,
            TurnStatus::BudgetExhausted => Self::BudgetExhausted,
            TurnStatus::Lost => Self::Lost,
        }
    }
}

impl From<TurnOrigin> for proto::TurnOrigin {
    fn from(origin: TurnOrigin) -> Self {
        match origin {
            TurnOrigin::User => Self::User,
            TurnOrigin::Agent => Self::Agent,
            TurnOrigin::Continuation => Self::Continuation,
        }
    }
}

impl From<Usage> for proto::Usage {
    fn from(usage: Usage) -> Self {
        let total_tokens = usage.total_tokens();
        let Usage {
            input_tokens,
            output_tokens,
            cache_read_tokens,
            cache_write_tokens,
            thinking_tokens,
            cost_micro_usd,
        } = usage;
        Self {
            input_tokens,
            output_tokens,
            cache_read_tokens,
            cache_write_tokens,
            thinking_tokens,
            total_tokens,
            cost_micro_usd,
        }
    }
}
