//! Which secrets a session's agent could print: those of the server itself, and those of the session's profile.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::Values;
use crate::{
    agent,
    domain::{Agent, McpTransport, ProfileSetup, Secret},
};

/// The secrets of a server: made once, shared by all sessions whose profiles have none.
pub(in crate::session) struct Known {
    secrets: Vec<(String, String)>,
    values: Arc<Values>,
}

impl Known {
    /// The server's own secrets, and the credentials among the variables of which agents get those they name.
    pub(in crate::session) fn new(own: &[(String, String)], environment: &BTreeMap<String, String>) -> Self {
        let passed = Agent::ALL.into_iter().flat_map(|agent| agent::credentials(agent, environment));
        let secrets: Vec<_> = own.iter().cloned().chain(passed).collect();
        Self { values: Arc::new(Values::new(secrets.clone())), secrets }
    }

    /// With the secrets of a session's own.
    pub(in crate::session) fn with(&self, secrets: Vec<(String, String)>) -> Arc<Values> {
        if secrets.is_empty() {
            return Arc::clone(&self.values);
        }
        Arc::new(Values::new(secrets.into_iter().chain(self.secrets.iter().cloned())))
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.values.fmt(f)
    }
}

/// The secrets of a profile, by the names of their variables; those of a tool server with its name before it. `resolve` knows
/// the values of those that only have a name in the server's configuration.
pub(in crate::session) fn of_profile(
    setup: &ProfileSetup,
    resolve: impl Fn(&str) -> Option<String>,
) -> Vec<(String, String)> {
    let value = |secret: &Secret| match secret {
        Secret::Value(value) => Some(value.clone()),
        Secret::Ref(name) => resolve(name),
    };
    let agents = setup.environment.iter().map(|(name, secret)| (name.clone(), secret));
    let servers = setup.mcp_servers.iter().flat_map(|server| {
        let secrets = match &server.transport {
            McpTransport::Stdio { command: _, args: _, environment } => Some(environment),
            McpTransport::Http { url: _, headers, sse: _ } => Some(headers),
            McpTransport::Bundle { project_path: _, install_command: _, start_command: _ } => None,
        };
        secrets.into_iter().flatten().map(|(name, secret)| (format!("{}.{name}", server.name), secret))
    });
    agents.chain(servers).filter_map(|(name, secret)| Some((name, value(secret)?))).collect()
}

/// The secrets among the variables that a program was started with: those of the server that started it, and those of its
/// profile. Their values may be others by now, and the program knows the ones it was given.
pub(in crate::session) fn of_program(agent: Agent, setup: &ProfileSetup, variables: Vec<(String, String)>) -> Values {
    let variables: BTreeMap<_, _> = variables.into_iter().collect();
    let passed = agent::credentials(agent, &variables);
    let is_secret = |name: &str| setup.environment.contains_key(name) || agent::is_of_tool_server(name);
    let of_profile = variables.into_iter().filter(|(name, _)| is_secret(name));
    Values::new(passed.into_iter().chain(of_profile))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Known, of_profile};
    use crate::domain::{McpServer, McpTransport, ProfileSetup, Secret};

    fn map(pairs: &[(&str, Secret)]) -> BTreeMap<String, Secret> {
        pairs.iter().map(|(name, secret)| ((*name).to_owned(), secret.clone())).collect()
    }

    #[test]
    fn a_profile_has_secrets_of_its_agent_and_of_its_tool_servers() {
        let value = |value: &str| Secret::Value(value.to_owned());
        let server = |name: &str, transport| McpServer { name: name.to_owned(), description: String::new(), transport };
        let setup = ProfileSetup {
            environment: map(&[("TOKEN", value("one")), ("KEPT", Secret::Ref("vault".into()))]),
            mcp_servers: vec![
                server(
                    "db",
                    McpTransport::Stdio {
                        command: String::new(),
                        args: Vec::new(),
                        environment: map(&[("PASSWORD", value("two")), ("GONE", Secret::Ref("nowhere".into()))]),
                    },
                ),
                server(
                    "web",
                    McpTransport::Http {
                        url: String::new(),
                        headers: map(&[("Authorization", value("three"))]),
                        sse: false,
                    },
                ),
            ],
            ..ProfileSetup::default()
        };
        let found = of_profile(&setup, |name| (name == "vault").then(|| "four".to_owned()));
        let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [("KEPT", "four"), ("TOKEN", "one"), ("db.PASSWORD", "two"), ("web.Authorization", "three")];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_servers_own_secrets_are_known_in_every_session_and_shown_by_nobody() {
        let environment = BTreeMap::from([
            ("ANTHROPIC_API_KEY".to_owned(), "sk-ant-canary".to_owned()),
            ("ANTHROPIC_BASE_URL".to_owned(), "https://example.com/v1".to_owned()),
            ("UNRELATED".to_owned(), "unrelated-value".to_owned()),
        ]);
        let known = Known::new(&[("AGENT_RUNTIME_KEY".to_owned(), "ark_canary".to_owned())], &environment);
        for values in [known.with(Vec::new()), known.with(vec![("TOKEN".to_owned(), "of-a-profile".to_owned())])] {
            let mut text = "sk-ant-canary ark_canary of-a-profile https://example.com/v1 unrelated-value".to_owned();
            values.replace(&mut text);
            assert!(text.starts_with("[secret ANTHROPIC_API_KEY] [secret AGENT_RUNTIME_KEY] "), "{text}");
            assert!(text.ends_with(" https://example.com/v1 unrelated-value"), "{text}");
        }
        assert!(!format!("{known:?}").contains("canary"));
    }
}
