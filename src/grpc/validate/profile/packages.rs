//! Packages to install. Only those of the registries, by name and version: an address or a path would let an installation
//! bring anything from anywhere, also from the machine it runs on.

use crate::grpc::validate::check::Check;

/// Packages of one list.
const MAX_PACKAGES: usize = 128;
/// Longest package with its version, in bytes.
const MAX_PACKAGE: usize = 256;

const NPM: &str = "a package of the npm registry, as in typescript@5.6 or @scope/name@^1.2: no address, path or alias";
const PIP: &str = "a package of the Python index, as in requests[socks]>=2.31,<3: no address, path or marker";

/// As npm takes them.
pub(super) fn npm(check: &mut Check, field: &str, packages: Vec<String>) -> Vec<String> {
    each(check, field, &packages, is_npm, NPM);
    packages
}

/// As pip takes them.
pub(super) fn pip(check: &mut Check, field: &str, packages: Vec<String>) -> Vec<String> {
    each(check, field, &packages, is_pip, PIP);
    packages
}

fn each(check: &mut Check, field: &str, packages: &[String], is_one: fn(&str) -> bool, rule: &str) {
    if packages.len() > MAX_PACKAGES {
        check.refuse(field, format!("at most {MAX_PACKAGES} packages"));
    }
    for (at, package) in packages.iter().enumerate() {
        if package.len() > MAX_PACKAGE || is_archive(package) || !is_one(package) {
            check.refuse(format_args!("{field}[{at}]"), rule);
        }
    }
}

/// What both take for a file of the folder they run in.
fn is_archive(package: &str) -> bool {
    let package = package.to_ascii_lowercase();
    [".tgz", ".tar", ".gz", ".bz2", ".xz", ".zip", ".whl"].iter().any(|end| package.ends_with(end))
}

/// `[@SCOPE/]NAME[@VERSION]`, where a version is a tag or a range without white space.
fn is_npm(package: &str) -> bool {
    let part = |text: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        text.bytes().all(allowed) && text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '~')
    };
    let (scope, rest) = match package.strip_prefix('@') {
        None => (None, package),
        Some(rest) => match rest.split_once('/') {
            None => return false,
            Some((scope, rest)) => (Some(scope), rest),
        },
    };
    let (name, version) = match rest.split_once('@') {
        None => (rest, None),
        Some((name, version)) => (name, Some(version)),
    };
    let range = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~^<>=|*+".contains(&byte);
    // "~" alone, and "~/" even more, is somebody's home.
    name != "~"
        && part(name)
        && scope.is_none_or(part)
        && version
            .is_none_or(|version| !version.is_empty() && !version.starts_with(['-', '.']) && version.bytes().all(range))
}

/// `NAME[[EXTRA,...]][OPERATOR VERSION,...]` of PEP 508, without white space.
fn is_pip(package: &str) -> bool {
    let name_end = package.find(['[', '<', '>', '=', '!', '~']).unwrap_or(package.len());
    let (name, rest) = package.split_at(name_end);
    let rest = match rest.strip_prefix('[') {
        None => rest,
        Some(extras) => match extras.split_once(']') {
            Some((extras, rest)) if extras.split(',').all(is_pip_name) => rest,
            Some(_) | None => return false,
        },
    };
    is_pip_name(name) && (rest.is_empty() || rest.split(',').all(is_pip_version))
}

fn is_pip_name(name: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(allowed)
}

fn is_pip_version(clause: &str) -> bool {
    let version =
        ["===", "==", "~=", "!=", "<=", ">=", "<", ">"].iter().find_map(|operator| clause.strip_prefix(operator));
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+!*".contains(&byte);
    version.is_some_and(|version| {
        version.starts_with(|first: char| first.is_ascii_alphanumeric()) && version.bytes().all(allowed)
    })
}

#[cfg(test)]
mod tests {
    use super::{is_archive, is_npm, is_pip};

    #[test]
    fn packages_of_the_npm_registry_are_taken() {
        for package in [
            "typescript",
            "typescript@5.6",
            "typescript@latest",
            "@scope/name",
            "@scope/name@^1.2.3",
            "a.b_c-d@~1",
            "a@>=1.2||2.x",
            "a@*",
            "a@1.0.0-beta.1+build",
            "JSONStream",
        ] {
            assert!(is_npm(package), "{package}");
        }
        for package in [
            "",
            "@",
            "@scope",
            "@/a",
            "@scope/",
            "a@",
            "a@-1",
            "-g",
            "--ignore-scripts=false",
            "a b",
            "a\n",
            "a@1 2",
            "a@npm:b",
            "a@file:../x",
            "a@https://h/x.tgz",
            "https://h/x.tgz",
            "git+ssh://h/x",
            "github:a/b",
            "a/b",
            "a#b",
            "./a",
            "../a",
            "/a",
            ".",
            "..",
            "~",
            "~/a",
            "a@../b",
            "@a/b/c",
            "a@b@c",
            "\u{e4}",
            "a;b",
            "a$b",
        ] {
            assert!(!is_npm(package), "{package:?}");
        }
    }

    #[test]
    fn packages_of_the_python_index_are_taken() {
        for package in [
            "requests",
            "requests==2.31.0",
            "requests>=2.31,<3",
            "requests[socks]",
            "requests[socks,use_chardet_on_py3]~=2.31",
            "zope.interface!=5.0",
            "a===1.0+local",
            "a==1.*",
            "a==1!2.0",
            "Flask",
        ] {
            assert!(is_pip(package), "{package}");
        }
        for package in [
            "",
            "-r",
            "--index-url=http://h",
            "-e.",
            "a b",
            "a ==1",
            "a==",
            "a=1",
            "a==1,",
            "a[]",
            "a[b",
            "a]b",
            "a[-b]",
            "a@https://h/x.whl",
            "a @ https://h",
            "git+https://h/x",
            "https://h/x.whl",
            "./a",
            "/a",
            "a/b",
            "a;python_version<'3'",
            "a==-1",
            "a-",
            "_a",
            "a\n",
            "\u{e4}",
        ] {
            assert!(!is_pip(package), "{package:?}");
        }
    }

    #[test]
    fn files_are_none() {
        for package in ["x.tgz", "X.TGZ", "a@1.tgz", "a.tar", "a.tar.gz", "a.tar.bz2", "a-1.whl", "a==1.zip"] {
            assert!(is_archive(package), "{package}");
        }
        for package in ["tar", "zip@1", "gz.js", "a==1.0"] {
            assert!(!is_archive(package), "{package}");
        }
    }
}
