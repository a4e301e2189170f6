//! Tool servers, as `--mcp-config` takes them.
//!
//! Secrets are variables of the program's environment, which the CLI puts in where the file says `${NAME}`. It does so once,
//! so a value may itself say `${…}`; a text of the profile that says so is made a value for the same reason.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    agent::profile::OF_TOOL_SERVER,
    domain::{McpServer, McpTransport, Secret},
};

/// The file, and the variables that it names.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) json: Vec<u8>,
    pub(super) env: Vec<(String, String)>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'p> {
    mcp_servers: BTreeMap<&'p str, Server>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Server {
    Stdio { command: String, args: Vec<String>, env: BTreeMap<String, String> },
    Http { url: String, headers: BTreeMap<String, String> },
    Sse { url: String, headers: BTreeMap<String, String> },
}

/// `bundles` says where the project of each server that has one lies.
pub(super) fn servers(servers: &[McpServer], bundles: &BTreeMap<String, String>) -> Servers {
    let mut values = Values::default();
    let mcp_servers = servers.iter().map(|server| (server.name.as_str(), values.server(server, bundles))).collect();
    let json = serde_json::to_vec_pretty(&File { mcp_servers }).expect("texts are JSON");
    Servers { json, env: values.0 }
}

#[derive(Default)]
struct Values(Vec<(String, String)>);

impl Values {
    fn server(
        &mut self,
        McpServer { name, description: _, transport }: &McpServer,
        bundles: &BTreeMap<String, String>,
    ) -> Server {
        match transport {
            McpTransport::Stdio { command, args, environment } => Server::Stdio {
                command: self.text(command),
                args: args.iter().map(|arg| self.text(arg)).collect(),
                env: self.secrets(environment),
            },
            McpTransport::Http { url, headers, sse: false } => {
                Server::Http { url: self.text(url), headers: self.secrets(headers) }
            }
            McpTransport::Http { url, headers, sse: true } => {
                Server::Sse { url: self.text(url), headers: self.secrets(headers) }
            }
            McpTransport::Bundle { project_path: _, install_command: _, start_command } => {
                let folder = bundles.get(name).map(String::as_str).unwrap_or_default();
                let script = "cd \"$1\" && exec /bin/sh -c \"$2\"";
                let args = ["-c", script, "sh", folder, start_command];
                Server::Stdio {
                    command: "/bin/sh".to_owned(),
                    args: args.iter().map(|arg| self.text(arg)).collect(),
                    env: BTreeMap::new(),
                }
            }
        }
    }

    fn secrets(&mut self, secrets: &BTreeMap<String, Secret>) -> BTreeMap<String, String> {
        let named = |(name, secret): (&String, &Secret)| (name.clone(), self.value(secret.value()));
        secrets.iter().map(named).collect()
    }

    /// The text itself, unless the CLI would read something else in it.
    fn text(&mut self, text: &str) -> String {
        if text.contains("${") { self.value(text) } else { text.to_owned() }
    }

    /// What stands for this value.
    fn value(&mut self, value: &str) -> String {
        let name = format!("{OF_TOOL_SERVER}{}", self.0.len() + 1);
        let named = format!("${{{name}}}");
        self.0.push((name, value.to_owned()));
        named
    }
}
