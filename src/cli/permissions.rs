//! `permissions`: what agents ask before they use a tool, the answers, and the standing ones.

use super::{
    connect::Common,
    error::Error,
    output::{self, one_line, print_json, word},
};
use crate::{
    client::Client,
    proto::{
        DeletePermissionRuleRequest, GetSessionRequest, ListPermissionRulesRequest, PermissionOptionKind,
        PermissionRequest, PermissionRule, ResolvePermissionRequest,
    },
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List what a session waits with for an answer.
    List {
        /// Which session.
        session: String,
    },
    /// Answer a request. The first answer counts.
    Answer {
        /// Of which session.
        session: String,
        /// Which request.
        permission: String,
        /// May the tool run?
        answer: Answer,
        /// Tell the agent why not.
        #[arg(long, value_name = "TEXT", default_value = "")]
        message: String,
        /// Let it run with this input, a JSON object, instead of the agent's.
        #[arg(long, value_name = "JSON", default_value = "")]
        input: String,
    },
    /// List what "always" answers left in a session: standing answers to later calls.
    Rules {
        /// Which session.
        session: String,
    },
    /// Take a standing answer back; later calls are asked about again.
    DeleteRule {
        /// Of which session.
        session: String,
        /// Which rule.
        rule: String,
    },
}

/// What a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Answer {
    /// The tool runs, this time.
    Allow,
    /// It does not.
    Reject,
    /// It runs, and calls like it need no answer any more.
    AllowAlways,
    /// It does not, and calls like it are rejected without asking.
    RejectAlways,
}

impl Answer {
    fn kind(self) -> PermissionOptionKind {
        match self {
            Self::Allow => PermissionOptionKind::AllowOnce,
            Self::Reject => PermissionOptionKind::RejectOnce,
            Self::AllowAlways => PermissionOptionKind::AllowAlways,
            Self::RejectAlways => PermissionOptionKind::RejectAlways,
        }
    }

    /// The option of the request that says so.
    pub(super) fn option(self, permission: &PermissionRequest) -> Result<String, Error> {
        let found = permission.options.iter().find(|option| option.kind() == self.kind());
        let option = found.ok_or_else(|| Error::Other("the request has no such option".to_owned()))?;
        Ok(option.option_id.clone())
    }
}

pub(super) async fn run(common: &Common, command: Command) -> Result<(), Error> {
    let client = common.connect().await?.client;
    match command {
        Command::List { session } => {
            let open = open(&client, &session).await?;
            if common.json {
                return Ok(open.iter().try_for_each(|permission| print_json("PermissionRequest", permission))?);
            }
            let mut rows = vec![["ID", "TOOL", "TITLE", "INPUT"].map(str::to_owned)];
            rows.extend(open.iter().map(|permission| {
                [
                    permission.permission_id.clone(),
                    one_line(&permission.tool_name, 30),
                    one_line(&permission.title, 60),
                    one_line(&permission.input_json, 100),
                ]
            }));
            output::table(&mut anstream::stdout(), &rows)?;
        }
        Command::Answer { session, permission, answer, message, input } => {
            let open = open(&client, &session).await?;
            let found = open.iter().find(|open| open.permission_id == permission);
            // One that is over is refused by the server, which says how it ended.
            let option_id = found.map_or_else(|| Ok("allow_once".to_owned()), |open| answer.option(open))?;
            let request = ResolvePermissionRequest {
                session_id: session,
                permission_id: permission,
                option_id,
                message,
                updated_input_json: input,
                ..ResolvePermissionRequest::default()
            };
            let answered = client.resolve_permission(request).await?;
            if common.json {
                print_json("ResolvePermissionResponse", &answered)?;
            } else {
                let resolution = answered.permission.and_then(|permission| permission.resolution).unwrap_or_default();
                anstream::println!("{}", word(resolution.outcome().as_str_name(), "INPUT_OUTCOME_"));
                if let Some(rule) = answered.rule {
                    anstream::println!("kept as {}: {}", rule.rule_id, written(&rule));
                }
            }
        }
        Command::Rules { session } => {
            let rules = client.list_permission_rules(ListPermissionRulesRequest { session_id: session }).await?.rules;
            if common.json {
                return Ok(rules.iter().try_for_each(|rule| print_json("PermissionRule", rule))?);
            }
            let mut rows = vec![["ID", "EFFECT", "RULE"].map(str::to_owned)];
            rows.extend(rules.iter().map(|rule| {
                [rule.rule_id.clone(), word(rule.effect().as_str_name(), "PERMISSION_EFFECT_"), written(rule)]
            }));
            output::table(&mut anstream::stdout(), &rows)?;
        }
        Command::DeleteRule { session, rule } => {
            let (session_id, rule_id) = (session, rule);
            let request = DeletePermissionRuleRequest { session_id, rule_id, ..Default::default() };
            client.delete_permission_rule(request).await?;
        }
    }
    Ok(())
}

/// As Claude Code writes rules.
fn written(rule: &PermissionRule) -> String {
    let pattern = one_line(&rule.pattern, 100);
    if pattern.is_empty() { rule.tool_name.clone() } else { format!("{}({pattern})", rule.tool_name) }
}

async fn open(client: &Client, session: &str) -> Result<Vec<PermissionRequest>, Error> {
    let request = GetSessionRequest { session_id: session.to_owned() };
    Ok(client.get_session(request).await?.open_permissions)
}
