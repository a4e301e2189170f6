//! Which of the variables that the CLI is passed hold credentials, and where in them: what is secret of the server's own.

use std::collections::BTreeMap;

/// Variables that are credentials as they are.
const CREDENTIALS: [&str; 7] = [
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
];
/// Lines of `Name: value`, of which some are.
const HEADERS: &str = "ANTHROPIC_CUSTOM_HEADERS";
/// What the name of such a header contains.
const SECRET_HEADERS: [&str; 6] = ["auth", "key", "token", "secret", "cookie", "password"];
/// Addresses that may hold a password.
const ADDRESSES: [&str; 5] =
    ["ANTHROPIC_BASE_URL", "ANTHROPIC_BEDROCK_BASE_URL", "ANTHROPIC_VERTEX_BASE_URL", "HTTPS_PROXY", "HTTP_PROXY"];

/// The credentials among these variables, by name.
pub(in crate::agent) fn credentials(environment: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let whole = |name: &&'static str| Some((*name, environment.get(*name)?.as_str()));
    let headers = environment.get(HEADERS).into_iter().flat_map(|lines| lines.lines());
    let headers = headers.filter_map(|line| line.split_once(':')).filter(|(name, _)| {
        let name = name.to_ascii_lowercase();
        SECRET_HEADERS.iter().any(|word| name.contains(word))
    });
    let passwords = ADDRESSES.iter().filter_map(whole).filter_map(|(name, url)| Some((name, password(url)?)));
    let found = CREDENTIALS.iter().filter_map(whole).chain(headers.map(|(_, value)| (HEADERS, value.trim())));
    found.chain(passwords).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn password(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    let (_, password) = host.rsplit_once('@')?.0.split_once(':')?;
    Some(password)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{ADDRESSES, CREDENTIALS, HEADERS, credentials};
    use crate::agent::claude::PASS_ENV;

    #[test]
    fn credentials_are_told_from_what_anybody_may_know() {
        let of = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            credentials(&pairs.collect::<BTreeMap<_, _>>()).into_iter().map(|(_, value)| value).collect::<Vec<_>>()
        };
        assert_eq!(of(&[("ANTHROPIC_API_KEY", "a"), ("ANTHROPIC_MODEL", "b"), ("AWS_REGION", "c")]), ["a"]);
        let lines = "X-Team: blue\nAuthorization: Bearer d\nx-api-key:e\nno header";
        assert_eq!(of(&[("ANTHROPIC_CUSTOM_HEADERS", lines)]), ["Bearer d", "e"]);
        let proxies = [("HTTPS_PROXY", "http://me:f@proxy:1/x@y"), ("HTTP_PROXY", "http://proxy:80/a:b@c")];
        assert_eq!(of(&proxies), ["f"]);
    }

    #[test]
    fn every_credential_is_a_variable_that_is_passed() {
        for name in CREDENTIALS.iter().chain(&ADDRESSES).chain([&HEADERS]) {
            assert!(PASS_ENV.contains(name), "{name}");
        }
        // Whoever passes another one says here what it is.
        let secret = |name: &&&str| ["KEY", "TOKEN", "SECRET", "PASSWORD"].iter().any(|word| name.contains(word));
        let plain = ["CLAUDE_CODE_MAX_OUTPUT_TOKENS", "MAX_THINKING_TOKENS"];
        for name in PASS_ENV.iter().filter(secret).filter(|name| !plain.contains(name)) {
            assert!(CREDENTIALS.contains(name), "{name}");
        }
    }
}
