//! Permissions and questions: the CLI asks by a `control_request`, and waits for the `control_response` that names it.

use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    kinds::ControlKind,
    parser::{Reading, Unreadable},
    questions, rules,
    wire::{ControlLine, ControlRequest},
};
use crate::agent::{Action, Ask};
use crate::domain::{ConversationId, NoticeKind, PermissionAnswer};

/// Where the rules stand that it is told.
const OURS: &str = "flagSettings";

impl Reading<'_> {
    /// The CLI wants something of us. What we do not know it is told, because it waits.
    pub(super) fn control_request(&mut self, line: ControlLine<'_>) -> Result<(), Unreadable> {
        let id = line.request_id.ok_or(Unreadable)?;
        let request = line.request.ok_or(Unreadable)?;
        match ControlKind::parse(&request.subtype) {
            ControlKind::CanUseTool => self.can_use_tool(id.into(), request),
            ControlKind::Elicitation => self.elicitation(&id, &request),
            // Asked only of whoever offered it when it greeted the CLI: hooks and tools of its own, logins, screens.
            ControlKind::HookCallback
            | ControlKind::McpMessage
            | ControlKind::RequestUserDialog
            | ControlKind::OauthTokenRefresh
            | ControlKind::HostAuthTokenRefresh
            | ControlKind::RemoteToolCall
            | ControlKind::RemoteToolsProbe
            | ControlKind::RemoteToolsReannounce
            | ControlKind::RemotePlumbingCall
            | ControlKind::RemoteControlWorkSecret
            | ControlKind::UiCopy
            | ControlKind::UiPromptRead
            | ControlKind::UiPromptFill
            | ControlKind::UiPromptPaint
            | ControlKind::UiPromptSuggest
            | ControlKind::UiReadSelection => self.refuse(&id, &request),
            ControlKind::Unknown => {
                self.unknown("control_request/", &request.subtype);
                self.refuse(&id, &request);
            }
        }
        Ok(())
    }

    fn refuse(&mut self, id: &str, request: &ControlRequest<'_>) {
        let error = format!("this client knows no {}", &*request.subtype);
        self.actions.push(Action::Write(control_response(&json!({
            "subtype": "error", "request_id": id, "error": error,
        }))));
    }

    /// A tool server has a form for the user, or a page to visit. There is nobody to show it to, and it waits for an answer.
    fn elicitation(&mut self, id: &str, request: &ControlRequest<'_>) {
        let server = request.mcp_server_name.as_deref().unwrap_or_default();
        let asked = request.message.as_deref().unwrap_or_default();
        let message = format!("the tool server {server} was told that nobody answers what it asks: {asked}");
        self.notice(Some(id), NoticeKind::Error, message, String::new());
        let response = json!({ "subtype": "success", "request_id": id, "response": { "action": "cancel" } });
        self.actions.push(Action::Write(control_response(&response)));
    }

    fn can_use_tool(&mut self, agent_request_id: String, request: ControlRequest<'_>) {
        // Of a subagent it tells only the id of its task.
        let task = request.agent_id.as_deref().and_then(|task| self.state.process.tasks.get(task));
        let of_task = task.map(|tool| ConversationId::new(tool.as_str()));
        // One of a workflow is known by no task.
        let of_workflow = || request.agent_id.as_deref().map(ConversationId::new);
        let known = of_task.or_else(|| of_workflow().filter(|id| self.subagent(id).is_some()));
        let conversation_id = known.unwrap_or_else(ConversationId::main);
        let tool_use_id = request.tool_use_id.map(String::from).unwrap_or_default();
        let tool_name = request.tool_name.map(String::from).unwrap_or_default();
        let name = request.display_name.as_deref().unwrap_or(&tool_name);
        let title = match request.description.as_deref() {
            Some(about) if !about.is_empty() && about != name => format!("{name}: {about}"),
            Some(_) | None => name.to_owned(),
        };
        let input_json = request.input.map_or("{}", RawValue::get).to_owned();
        let questions = questions::items(&tool_name, &input_json);
        let cwd = self.state.process.cwd.clone();
        // What a workspace has the CLI ask about, as far as that can be told, is somebody's wish and no matter of ours.
        let source = request.decision_reason_rule_source.as_deref().unwrap_or(OURS);
        let given = self.state.process.given.as_ref().filter(|_| source == OURS);
        let only_by_rule = given.is_some_and(|given| given.asks_only_by_rule(&tool_name));
        let mut ask = Ask {
            agent_request_id,
            conversation_id,
            tool_use_id,
            tool_name,
            input_json,
            title,
            questions,
            always: None,
            cwd,
            given_sha256: None,
            only_by_rule,
        };
        let suggestions = request.permission_suggestions.and_then(|raw| serde_json::from_str(raw.get()).ok());
        let suggestions: Value = suggestions.unwrap_or_default();
        ask.always = rules::pattern(&ask, rules::suggested(&suggestions, &ask.tool_name));
        self.actions.push(Action::Ask(Box::new(ask)));
    }

    /// The CLI does not wait any more.
    pub(super) fn control_cancel(&mut self, line: ControlLine<'_>) -> Result<(), Unreadable> {
        let agent_request_id = line.request_id.ok_or(Unreadable)?.into();
        self.actions.push(Action::AskWithdrawn { agent_request_id });
        Ok(())
    }
}

/// The line that answers a request for permission.
pub(in crate::agent) fn answer(request_id: &str, tool_use_id: &str, answer: &PermissionAnswer) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Response<'a> {
        behavior: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        updated_input: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
        #[serde(rename = "toolUseID", skip_serializing_if = "str::is_empty")]
        tool_use_id: &'a str,
    }
    #[derive(Serialize)]
    struct Success<'a> {
        subtype: &'a str,
        request_id: &'a str,
        response: Response<'a>,
    }
    let response = match answer {
        PermissionAnswer::Allow { updated_input_json } | PermissionAnswer::Answered { updated_input_json, .. } => {
            let updated_input = serde_json::from_str(updated_input_json).ok();
            Response { behavior: "allow", updated_input, message: None, tool_use_id }
        }
        PermissionAnswer::Reject { message } => {
            // The CLI asks for one.
            let message = if message.is_empty() { "The user rejected this." } else { message };
            Response { behavior: "deny", updated_input: None, message: Some(message), tool_use_id }
        }
    };
    control_response(&Success { subtype: "success", request_id, response })
}

fn control_response(response: &impl Serialize) -> Vec<u8> {
    #[derive(Serialize)]
    struct Line<'a, T> {
        r#type: &'a str,
        response: &'a T,
    }
    let line = Line { r#type: "control_response", response };
    let mut bytes = serde_json::to_vec(&line).expect("texts and JSON are JSON");
    bytes.push(b'\n');
    bytes
}
