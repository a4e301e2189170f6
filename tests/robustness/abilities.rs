//! What the server under test can do, found out by asking it: traffic uses what is built, and of what is not built only the
//! judges exist. So a feature is under test from the day it takes effect.

use agent_runtime::proto;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::{history::Filter, link::Link};
use rand::{Rng as _, rngs::StdRng};

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is there or not")]
pub struct Abilities {
    pub request_ids: bool,
    pub interrupt: bool,
    pub omit_deltas: bool,
    pub conversation_ids: bool,
    pub max_batch_delay: bool,
    pub permissions: bool,
}

impl Abilities {
    /// Asks about a session that is not there: what the server does not know it refuses before it looks.
    pub async fn of(link: &Link) -> Self {
        let (mut sessions, metadata) = link.raw();
        let session_id = "ses_none".to_owned();
        macro_rules! can {
            ($call:ident, $message:expr) => {{
                let mut request = Request::new($message);
                *request.metadata_mut() = metadata();
                is_known(sessions.$call(request).await.map(drop))
            }};
        }
        let watch = |filter: Filter| proto::WatchSessionRequest {
            session_id: session_id.clone(),
            after_sequence: Some(0),
            omit_deltas: filter.omit_deltas,
            conversation_ids: filter.conversation_ids,
            max_batch_delay: (filter.max_batch_delay_ms > 0)
                .then_some(prost_types::Duration { seconds: 0, nanos: 10_000_000 }),
            ..Default::default()
        };
        let request_id = "probe-1".to_owned();
        Self {
            request_ids: can!(
                send_message,
                proto::SendMessageRequest {
                    session_id: session_id.clone(),
                    text: "?".into(),
                    request_id: request_id.clone(),
                    ..Default::default()
                }
            ),
            interrupt: can!(
                interrupt_turn,
                proto::InterruptTurnRequest { session_id: session_id.clone(), ..Default::default() }
            ),
            permissions: can!(
                resolve_permission,
                proto::ResolvePermissionRequest {
                    session_id: session_id.clone(),
                    permission_id: "perm_none".into(),
                    option_id: "?".into(),
                    ..Default::default()
                }
            ),
            omit_deltas: can!(watch_session, watch(Filter { omit_deltas: true, ..Filter::default() })),
            conversation_ids: can!(
                watch_session,
                watch(Filter { conversation_ids: vec!["main".into()], ..Filter::default() })
            ),
            max_batch_delay: can!(watch_session, watch(Filter { max_batch_delay_ms: 10, ..Filter::default() })),
        }
    }

    /// A filter for a watch; mostly none.
    pub fn filter(self, rng: &mut StdRng) -> Filter {
        let mut filter = Filter::default();
        if self.omit_deltas && rng.random_bool(0.2) {
            filter.omit_deltas = true;
        }
        if self.conversation_ids && rng.random_bool(0.1) {
            filter.conversation_ids = vec![if rng.random_bool(0.7) { "main".into() } else { "elsewhere".into() }];
        }
        if self.max_batch_delay && rng.random_bool(0.2) {
            filter.max_batch_delay_ms = rng.random_range(1..100);
        }
        filter
    }

    /// An id for a call, where the server takes one.
    pub fn request_id(self, rng: &mut StdRng) -> String {
        if self.request_ids { format!("r-{:016x}", rng.random::<u64>()) } else { String::new() }
    }
}

fn is_known(outcome: Result<(), Status>) -> bool {
    outcome.err().is_none_or(|status| {
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        reason == "SESSION_NOT_FOUND" && status.code() == Code::NotFound
    })
}

/// Flags that make the log be compacted all the time, or never.
pub fn compaction(compacts: bool) -> [&'static str; 2] {
    ["--compact-after", if compacts { "0" } else { "1000000" }]
}
