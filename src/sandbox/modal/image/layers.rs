//! What stands in the image of a sandbox: a base, the agent's program, and the packages of the profile, each a layer, so that
//! what changes seldom is built seldom.
//!
//! It must not know how images are built.

use crate::sandbox::ImageContents;

/// Where nothing else is asked for: Node.js for the agent and for npm packages, and what the system layer adds.
const BASE: &str = "node:22-bookworm-slim";

/// What agents, their tools and the provider itself need of the system. An image without apt has it already, or a build that
/// needs it says so.
const SYSTEM: &str = "if command -v apt-get >/dev/null; then apt-get update && apt-get install -y --no-install-recommends \
                      ca-certificates curl git openssh-client procps python3 python3-pip ripgrep util-linux && \
                      (command -v npm >/dev/null || apt-get install -y --no-install-recommends nodejs npm) && \
                      rm -rf /var/lib/apt/lists/*; fi";

/// Folder of npm packages: the one that modules are looked for in from everywhere, and its programs.
const MODULES: &str = "/node_modules/.bin";

/// The commands of each layer, lowest first; the first one names the base.
pub(super) fn of(base: &str, workspace: &str, contents: &ImageContents) -> Vec<Vec<String>> {
    let ImageContents { agent: _, program, npm, pip } = contents;
    let base = if base.is_empty() { BASE } else { base };
    let mut layers = vec![vec![
        format!("FROM {base}"),
        format!("RUN {SYSTEM}"),
        format!("RUN mkdir -p {workspace}"),
        format!("WORKDIR {workspace}"),
    ]];
    if !program.is_empty() {
        layers.push(vec![format!("RUN npm install --global --no-audit --no-fund {}", quoted(program))]);
    }
    let mut packages = Vec::new();
    if !npm.is_empty() {
        // Scripts of packages are not run, here as elsewhere.
        packages.push(format!(
            "RUN npm install --prefix / --no-save --no-package-lock --ignore-scripts --no-audit --no-fund {}",
            all(npm)
        ));
    }
    if !pip.is_empty() {
        // Wheels only: those run nothing when they are installed.
        packages.push(format!(
            "RUN PIP_BREAK_SYSTEM_PACKAGES=1 pip install --no-cache-dir --only-binary=:all: {}",
            all(pip)
        ));
    }
    if !packages.is_empty() {
        layers.push(packages);
    }
    layers
}

/// Where programs are looked for in it.
pub(in super::super) fn search_path() -> String {
    format!("{MODULES}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
}

fn all(packages: &[String]) -> String {
    packages.iter().map(|package| quoted(package)).collect::<Vec<_>>().join(" ")
}

/// As one word of a shell, and of one line.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace(['\n', '\r'], " ").replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Agent;

    fn contents(program: &str, npm: &[&str], pip: &[&str]) -> ImageContents {
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        ImageContents { agent: Agent::ClaudeCode, program: program.to_owned(), npm: all(npm), pip: all(pip) }
    }

    #[test]
    fn each_kind_of_content_is_a_layer() {
        let layers = of("", "/workspace", &contents("claude@1", &["a@1", "b@2"], &["c==3"]));
        assert_eq!(layers.len(), 3);
        assert_eq!(layers[0][0], format!("FROM {BASE}"));
        assert_eq!(layers[0].last().unwrap(), "WORKDIR /workspace");
        assert!(layers[1][0].ends_with(" 'claude@1'"));
        assert!(layers[2][0].ends_with(" 'a@1' 'b@2'") && layers[2][0].contains("--ignore-scripts"));
        assert!(layers[2][1].ends_with(" 'c==3'") && layers[2][1].contains("--only-binary=:all:"));
        assert_eq!(of("debian:12", "/workspace", &contents("", &[], &[])).len(), 1);
        assert_eq!(of("debian:12", "/workspace", &contents("", &[], &[]))[0][0], "FROM debian:12");
    }

    #[test]
    fn a_package_is_one_word() {
        assert_eq!(quoted("a'; rm -rf /\n#"), r"'a'\''; rm -rf / #'");
    }
}
