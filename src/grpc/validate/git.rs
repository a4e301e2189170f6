//! Addresses of repositories.
//!
//! They become an argument of the git program, which understands far more than is allowed here: files of the server,
//! programs to run, and hosts that pass for options of ssh.

use std::net::IpAddr;

/// Longest address, in bytes.
const MAX_URL: usize = 2048;

/// The parts of an address that have rules.
struct Parts<'a> {
    user: Option<&'a str>,
    host: &'a str,
}

/// Refuses an address that is not allowed, and says why.
pub(super) fn git_url(url: &str) -> Result<(), String> {
    if url.is_empty() {
        return Err("required".into());
    }
    if url.len() > MAX_URL {
        return Err(format!("at most {MAX_URL} bytes"));
    }
    if url.starts_with('-') || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("must not begin with - or contain white space or control characters".into());
    }
    let Some((scheme, rest)) = url.split_once("://") else { return scp(url) };
    let parts = parts(rest).ok_or("must name a host and a path, as in https://HOST/PATH")?;
    match scheme {
        "https" | "http" if parts.user.is_some() => {
            Err("must not carry credentials: they come from the server's configuration".into())
        }
        "http" if !is_loopback(parts.host) => Err("must be https or ssh: plain http is for this machine only".into()),
        "https" | "ssh" | "http" => plain(&parts),
        _ => Err("must be https://HOST/PATH, ssh://USER@HOST/PATH or USER@HOST:PATH".into()),
    }
}

/// The short form of an ssh address.
fn scp(url: &str) -> Result<(), String> {
    let form = "must be https://HOST/PATH, ssh://USER@HOST/PATH or USER@HOST:PATH";
    let (user, rest) = url.split_once('@').ok_or(form)?;
    let (host, path) = rest.split_once(':').ok_or(form)?;
    // A second colon, or a slash before the first, is how git spells programs to run, and files.
    if path.is_empty() || path.starts_with([':', '-']) || user.contains('/') {
        return Err(form.into());
    }
    plain(&Parts { user: Some(user), host })
}

fn parts(rest: &str) -> Option<Parts<'_>> {
    let (authority, path) = rest.split_once('/')?;
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let host = match host.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            port.parse::<u16>().ok()?;
            host
        }
        _ => host,
    };
    (!path.is_empty()).then_some(Parts { user, host })
}

/// A user without a password, and a host that is nothing else.
fn plain(Parts { user, host }: &Parts<'_>) -> Result<(), String> {
    let name = |name: &str| {
        !name.is_empty()
            && !name.starts_with('-')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    if user.is_some_and(|user| user.contains(':')) {
        return Err("must not carry a password: credentials come from the server's configuration".into());
    }
    if user.is_some_and(|user| !name(user)) {
        return Err("the user is one or more of [A-Za-z0-9._-], and does not begin with -".into());
    }
    if !name(host) && address(host).is_none() {
        return Err("the host is a name or an address, and does not begin with -".into());
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || address(host).is_some_and(|address| address.is_loopback())
}

/// An address as it stands in a URL: in brackets, where it has colons.
fn address(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use super::git_url;

    #[test]
    fn repositories_of_hosts_are_taken() {
        for url in [
            "https://github.com/org/repo.git",
            "https://git.example:8443/a/b",
            "https://[2001:db8::1]:8443/a",
            "https://h/a?x=1",
            "ssh://git@github.com/org/repo.git",
            "ssh://github.com:22/org/repo",
            "git@github.com:org/repo.git",
            "deploy-1@10.0.0.1:/srv/git/a",
            "http://localhost:3000/a.git",
            "http://127.0.0.1/a",
            "http://127.9.9.9:1/a",
            "http://[::1]:8080/a",
        ] {
            assert_eq!(git_url(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn all_else_is_refused() {
        let long = format!("https://h/{}", "a".repeat(2040));
        for (url, why) in [
            ("", "required"),
            (long.as_str(), "at most"),
            ("--upload-pack=touch /tmp/x", "begin with -"),
            ("https://h/a\nb", "control"),
            ("https://h/a b", "white space"),
            ("http://github.com/a", "plain http"),
            ("http://localhost.evil.com/a", "plain http"),
            ("http://127.0.0.1.evil.com/a", "plain http"),
            ("http://127.0.0.1@evil.com/a", "credentials"),
            ("https://token@h/a", "credentials"),
            ("https://u:p@h/a", "credentials"),
            ("ssh://u:p@h/a", "password"),
            ("u:p@h:a", "password"),
            ("ssh://-oProxyCommand=x/a", "host"),
            ("ssh://-oProxyCommand=x@h/a", "user"),
            ("ssh://git@-oProxyCommand=x/a", "host"),
            ("git@-oProxyCommand=x:a", "host"),
            ("git@h:-x", "must be"),
            ("git@h::x", "must be"),
            ("git@h:", "must be"),
            ("ext::sh -c x", "white space"),
            ("ext::sh", "must be"),
            ("a/ext@h:x", "must be"),
            ("file:///etc", "must be"),
            ("file://h/etc", "must be"),
            ("git://h/a", "must be"),
            ("HTTPS://h/a", "must be"),
            ("/srv/a", "must be"),
            ("../a", "must be"),
            ("h:a", "must be"),
            ("https://h", "a host and a path"),
            ("https://h/", "a host and a path"),
            ("https:///a", "host"),
            ("https://h:99999/a", "a host and a path"),
            ("https://h:/a", "a host and a path"),
            ("https://h%2f/a", "host"),
            ("https://\u{e4}.de/a", "host"),
        ] {
            let refused = git_url(url).expect_err(url);
            assert!(refused.contains(why), "{url}: {refused}");
        }
    }
}
