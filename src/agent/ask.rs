//! What an agent asks before it uses a tool. How each agent asks and is answered, its adapter knows.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::domain::{Agent, CarriedAnswer, ConversationId, PermissionAnswer, QuestionItem};

/// Bytes of an input that an agent is told again; a longer one it must know by itself.
const LONGEST_INPUT: usize = 8 << 10;

/// The agent asks whether it may use a tool, or asks the user something by one, and waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Names the request in the agent's words; unique in its process.
    pub agent_request_id: String,
    /// Where it asks.
    pub conversation_id: ConversationId,
    /// The tool call it is about; may be empty.
    pub tool_use_id: String,
    /// For example "Bash".
    pub tool_name: String,
    /// A JSON object.
    pub input_json: String,
    /// One line for people.
    pub title: String,
    /// What it asks the user; empty: whether it may.
    pub questions: Vec<QuestionItem>,
    /// Which inputs an "always" answer is about, in the agent's rule language; empty: all; `None`: there is no such answer.
    pub always: Option<String>,
    /// Where the agent works, as it names paths; empty: not known.
    pub cwd: String,
    /// [`Ask::input_sha256`] of the input as the agent gave it, where something of it does not stand in `input_json` any more.
    pub given_sha256: Option<String>,
    /// It asks because it was told of rules, in wider words than theirs: by itself it would ask about nothing.
    pub only_by_rule: bool,
}

/// Whether a rule is about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covers {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// Nobody can say.
    Unclear,
}

/// An ask about nothing, to be filled in.
impl Default for Ask {
    fn default() -> Self {
        Self {
            agent_request_id: String::new(),
            conversation_id: ConversationId::main(),
            tool_use_id: String::new(),
            tool_name: String::new(),
            input_json: String::new(),
            title: String::new(),
            questions: Vec::new(),
            always: None,
            cwd: String::new(),
            given_sha256: None,
            only_by_rule: false,
        }
    }
}

impl Ask {
    /// Equal for two inputs that mean the same as the agent gave them: the order of fields and white space mean nothing.
    #[must_use]
    pub fn input_sha256(&self) -> String {
        if let Some(given) = &self.given_sha256 {
            return given.clone();
        }
        // Objects are sorted once they are read.
        let canonical = serde_json::from_str::<Value>(&self.input_json).map(|value| value.to_string());
        format!("{:x}", Sha256::digest(canonical.as_ref().unwrap_or(&self.input_json).as_bytes()))
    }
}

/// The words that tell a new process of an agent to go on with a turn that waited for these answers.
pub(super) fn go_on(agent: Agent, answers: &[CarriedAnswer]) -> String {
    let mut text = format!(
        "{agent} was restarted while it waited for an answer to a tool call, and the call did not run. Go on with the \
         task."
    );
    for CarriedAnswer { permission_id: _, asked: _, tool_name, input_json, answer } in answers {
        text += "\n\n";
        text += tool_name;
        if input_json.len() <= LONGEST_INPUT {
            text += " ";
            text += input_json;
        }
        match answer {
            PermissionAnswer::Allow { .. } => {
                text += "\nis allowed: make the same call once more, with the same input.";
            }
            PermissionAnswer::Reject { .. } => text += "\nis rejected: do not make the call again.",
            PermissionAnswer::Answered { told, .. } => {
                text += "\nwas answered by the user: ";
                text += told;
            }
        }
        if let PermissionAnswer::Reject { message } = answer
            && !message.is_empty()
        {
            text += " The reason given: ";
            text += message;
        }
    }
    text
}

/// The words that tell a new process of an agent to go on with a turn that was broken off.
pub(super) fn moved(agent: Agent) -> String {
    format!(
        "{agent} was interrupted by the runtime, not by the user, because the lifetime of its sandbox ended. It goes on in \
         another sandbox with the same files. Programs that ran in the old one have ended, those in the background too, and \
         the last tool call may have been done in part. Look at how far it came, then go on with the task."
    )
}

#[cfg(test)]
mod tests {
    use super::Ask;

    #[test]
    fn inputs_that_mean_the_same_have_the_same_hash() {
        let hash = |input: &str| {
            Ask { tool_name: "Bash".to_owned(), input_json: input.to_owned(), ..Ask::default() }.input_sha256()
        };
        let one = hash(r#"{"a": 1, "b": {"d": [1, 2], "c": "\u00e9"}}"#);
        assert_eq!(hash(r#"{"b":{"c":"é","d":[1,2]},"a":1}"#), one);
        for other in [r#"{"a":1,"b":{"c":"é","d":[2,1]}}"#, r#"{"a":2,"b":{"c":"é","d":[1,2]}}"#, "{}", "{"] {
            assert_ne!(hash(other), one, "{other}");
        }
        assert_ne!(hash("{"), hash("}"));
    }
}
