//! What the tests of this folder do again and again: a session is changed.

use agent_runtime::proto::{self, Budget, Session, SessionOptions};
use tonic::Status;

use crate::support::Sessions;

/// An update of what the mask names.
pub(crate) fn request(session: Session, mask: &[&str]) -> proto::UpdateSessionRequest {
    let paths = mask.iter().map(ToString::to_string).collect();
    proto::UpdateSessionRequest {
        session: Some(session),
        update_mask: Some(prost_types::FieldMask { paths }),
        ..Default::default()
    }
}

/// Makes it.
pub(crate) async fn update(sessions: &mut Sessions, session: Session, mask: &[&str]) -> Result<Session, Status> {
    let response = sessions.update_session(request(session, mask)).await?;
    Ok(response.into_inner().session.expect("a session"))
}

/// Sets these options, all of them.
pub(crate) async fn set(sessions: &mut Sessions, id: &str, options: SessionOptions) -> Session {
    let session = Session { session_id: id.to_owned(), options: Some(options), ..Session::default() };
    update(sessions, session, &["options"]).await.expect("updated")
}

/// A new session with these options.
pub(crate) async fn create(sessions: &mut Sessions, agent: &str, options: SessionOptions) -> String {
    let request = proto::CreateSessionRequest { agent: agent.into(), options: Some(options), ..Default::default() };
    sessions.create_session(request).await.expect("created").into_inner().session.expect("a session").session_id
}

/// Options with this budget.
pub(crate) fn budget(budget: Budget) -> SessionOptions {
    SessionOptions { budget: Some(budget), ..SessionOptions::default() }
}
