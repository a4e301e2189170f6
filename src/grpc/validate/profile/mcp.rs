//! Tool servers.

use super::{
    names::{Names, at_most},
    secrets::{Keys, Secrets},
};
use crate::{
    domain::{McpServer, McpTransport, SecretPlace},
    grpc::validate::{MAX_DESCRIPTION, check::Check, source::directory},
    proto::{self, mcp_server::Transport},
};

/// Tool servers of a profile.
const MAX_SERVERS: usize = 32;
/// Arguments of one.
const MAX_ARGS: usize = 256;
/// A program, an argument or a command line, in bytes.
const MAX_WORD: usize = 4096;
/// Longest address, in bytes.
const MAX_URL: usize = 2048;

/// Tool servers, each reached in one way.
pub(super) fn mcp_servers(
    check: &mut Check,
    secrets: &mut Secrets,
    field: &str,
    wire: Vec<proto::McpServer>,
) -> Vec<McpServer> {
    at_most(check, field, wire.len(), MAX_SERVERS);
    let mut names = Names::word();
    let mut taken = Vec::with_capacity(wire.len());
    for (at, proto::McpServer { name, description, transport }) in wire.into_iter().enumerate() {
        let field = format!("{field}[{at}]");
        let name = names.take(check, format!("{field}.name"), name);
        let description = check.text(format_args!("{field}.description"), description, MAX_DESCRIPTION);
        let place = SecretPlace::McpServer(name.clone());
        let transport = match transport {
            Some(Transport::Stdio(wire)) => stdio(check, secrets, &format!("{field}.stdio"), wire, &place),
            Some(Transport::Http(wire)) => http(check, secrets, &format!("{field}.http"), wire, &place),
            Some(Transport::Bundle(wire)) => bundle(check, &format!("{field}.bundle"), wire),
            None => {
                check.refuse(field, "exactly one of stdio, http and bundle must be set");
                continue;
            }
        };
        taken.push(McpServer { name, description, transport });
    }
    taken
}

fn stdio(
    check: &mut Check,
    secrets: &mut Secrets,
    field: &str,
    wire: proto::McpStdio,
    place: &SecretPlace,
) -> McpTransport {
    let proto::McpStdio { command, args, environment } = wire;
    at_most(check, &format!("{field}.args"), args.len(), MAX_ARGS);
    let mut arg = |(at, arg): (usize, String)| check.long_text(&format!("{field}.args[{at}]"), arg, MAX_WORD);
    let args = args.into_iter().enumerate().map(&mut arg).collect();
    McpTransport::Stdio {
        command: check.required_text(&format!("{field}.command"), command, MAX_WORD),
        args,
        environment: secrets.take(check, &format!("{field}.environment"), environment, Keys::Variables, place),
    }
}

fn http(
    check: &mut Check,
    secrets: &mut Secrets,
    field: &str,
    wire: proto::McpHttp,
    place: &SecretPlace,
) -> McpTransport {
    let proto::McpHttp { url, headers, sse } = wire;
    if let Err(rule) = http_url(&url) {
        check.refuse(format_args!("{field}.url"), rule);
    }
    let headers = secrets.take(check, &format!("{field}.headers"), headers, Keys::Headers, place);
    McpTransport::Http { url, headers, sse }
}

fn bundle(check: &mut Check, field: &str, wire: proto::McpBundle) -> McpTransport {
    let proto::McpBundle { project_path, install_command, start_command } = wire;
    // Whether it lies where the server's owner allows it is for the core to see.
    directory(check, &format!("{field}.project_path"), &project_path);
    McpTransport::Bundle {
        project_path,
        install_command: check.long_text(&format!("{field}.install_command"), install_command, MAX_WORD),
        start_command: check.required_text(&format!("{field}.start_command"), start_command, MAX_WORD),
    }
}

/// An address that a program can call; what it must not tell everybody goes into headers.
fn http_url(url: &str) -> Result<(), &'static str> {
    if url.is_empty() {
        return Err("required");
    }
    if url.len() > MAX_URL {
        return Err("at most 2048 bytes");
    }
    if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("must not contain white space or control characters");
    }
    let parsed: http::Uri = url.parse().map_err(|_| "must be http://HOST/PATH or https://HOST/PATH")?;
    let authority = parsed.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    if !matches!(parsed.scheme_str(), Some("http" | "https")) || parsed.host().is_none_or(str::is_empty) {
        return Err("must be http://HOST/PATH or https://HOST/PATH");
    }
    if authority.contains('@') {
        return Err("must not carry credentials, which everybody could read: put them into headers");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::http_url;

    #[test]
    fn an_address_is_http_and_carries_no_credentials() {
        for url in ["http://localhost:3000/mcp", "https://mcp.example/a?b=c", "https://[::1]:8080/", "HTTPS://h/a"] {
            assert_eq!(http_url(url), Ok(()), "{url}");
        }
        let long = format!("https://h/{}", "a".repeat(2040));
        for (url, why) in [
            ("", "required"),
            (long.as_str(), "at most"),
            ("https://h/a b", "white space"),
            ("https://h/a\n", "white space"),
            ("ftp://h/a", "must be http"),
            ("file:///etc/passwd", "must be http"),
            ("h/a", "must be http"),
            ("https://", "must be http"),
            ("https:///a", "must be http"),
            ("https://u:p@h/a", "credentials"),
            ("https://token@h/a", "credentials"),
        ] {
            let refused = http_url(url).expect_err(url);
            assert!(refused.contains(why), "{url}: {refused}");
        }
    }
}
