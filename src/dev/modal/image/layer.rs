//! What the commands of an image's layer ask for, and which of them the emulator carries out.

/// One command of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// What it stands on: a name of a base image, or of a registry, which is recorded and not pulled.
    From(String),
    /// Run this by a shell.
    Run(String),
    /// Set variables.
    Env(Vec<(String, String)>),
    /// Work there from here on.
    Workdir(String),
    /// Put files there that came with the request.
    Copy { sources: Vec<String>, to: String },
    /// Recorded, without an effect here.
    Other(String),
}

/// Programs that `RUN` may begin with. They work on what a sandbox may write; others, such as package managers of the
/// system, need what is read-only here.
const RUNNABLE: [&str; 28] = [
    "sh", "npm", "npx", "pip", "pip3", "uv", "python", "python3", "node", "mkdir", "cp", "mv", "ln", "rm", "chmod",
    "touch", "cat", "echo", "printf", "base64", "tar", "test", "[", "true", ":", "cd", "set", "export",
];

/// The agent's package, which is not installed where its program is bound in.
const AGENT: &str = "@anthropic-ai/claude-code";

/// Reads the commands of a layer.
///
/// # Errors
/// The first line that is no command.
pub(super) fn read(commands: &[String]) -> Result<Vec<Step>, String> {
    let text = commands.join("\n");
    let mut lines = text.lines();
    let mut steps = Vec::new();
    while let Some(line) = lines.next() {
        let mut command = line.trim().to_owned();
        if command.is_empty() || command.starts_with('#') {
            continue;
        }
        while command.ends_with('\\') {
            command.pop();
            command.push_str(lines.next().unwrap_or_default());
        }
        if let Some(delimiter) = heredoc(&command) {
            for line in lines.by_ref() {
                command.push('\n');
                command.push_str(line);
                if line.trim() == delimiter {
                    break;
                }
            }
        }
        steps.push(step(&command)?);
    }
    Ok(steps)
}

fn step(command: &str) -> Result<Step, String> {
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let rest = rest.trim();
    match name.to_ascii_uppercase().as_str() {
        "FROM" => Ok(Step::From(rest.split_whitespace().next().unwrap_or_default().to_owned())),
        "RUN" => Ok(Step::Run(rest.to_owned())),
        "ENV" => Ok(Step::Env(variables(rest))),
        "WORKDIR" => Ok(Step::Workdir(unquoted(rest).to_owned())),
        "COPY" if !rest.starts_with("--") => {
            let mut sources: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
            let to = sources
                .pop()
                .filter(|_| !sources.is_empty())
                .ok_or_else(|| format!("{command}: copy what, where to?"))?;
            Ok(Step::Copy { sources, to })
        }
        "COPY" | "ADD" | "ARG" | "LABEL" | "EXPOSE" | "ENTRYPOINT" | "CMD" | "USER" | "SHELL" | "VOLUME"
        | "STOPSIGNAL" | "HEALTHCHECK" | "ONBUILD" | "MAINTAINER" => Ok(Step::Other(command.to_owned())),
        _ => Err(format!("unknown instruction: {name}")),
    }
}

/// What a `RUN` comes to here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// This text is given to a shell.
    Shell(String),
    /// Nothing is left to be done, because of this.
    Satisfied(&'static str),
    /// It cannot be carried out here; the first program that may not run.
    Skipped(String),
}

/// Decides about a `RUN`.
pub(super) fn judge(text: &str, agent_is_bound: bool) -> Run {
    let body = script(text);
    if let Some(other) = programs(&body).into_iter().find(|program| !RUNNABLE.contains(&program.as_str())) {
        return Run::Skipped(other);
    }
    if !agent_is_bound || !body.contains(AGENT) || body.contains('\n') {
        return Run::Shell(body);
    }
    let left: Vec<&str> = body.split_whitespace().filter(|word| !unquoted(word).starts_with(AGENT)).collect();
    let installs_more = left.iter().skip(2).any(|word| !word.starts_with('-'));
    if left.first() == Some(&"npm") && !installs_more {
        return Run::Satisfied("the agent's program is bound in from the cache");
    }
    Run::Shell(left.join(" "))
}

/// The text for the shell: of a bare here-document, its lines.
fn script(text: &str) -> String {
    match text.split_once('\n') {
        Some((first, rest)) if first.starts_with("<<") => {
            let delimiter = heredoc(first).unwrap_or_default();
            rest.trim_end().strip_suffix(delimiter.as_str()).unwrap_or(rest).to_owned()
        }
        Some(_) | None => text.to_owned(),
    }
}

/// The programs that a text of the shell begins its commands with, as far as that can be seen without a shell.
fn programs(text: &str) -> Vec<String> {
    // What a here-document holds is no command.
    let text = match text.split_once('\n') {
        Some((first, _)) if heredoc(first).is_some() => first,
        Some(_) | None => text,
    };
    let commands = text.split(['\n', ';', '|', '&']).map(str::trim).filter(|command| !command.is_empty());
    let program = |command: &str| {
        let set = |word: &&str| word.split_once('=').is_some_and(|(name, _)| !name.is_empty() && !name.contains('/'));
        let word = command.split_whitespace().find(|word| !set(word))?;
        Some(word.rsplit('/').next().unwrap_or(word).to_owned())
    };
    // `2>&1` ends in a number, which is no program.
    commands.filter_map(program).filter(|program| !program.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

/// What ends the here-document that a line begins.
fn heredoc(line: &str) -> Option<String> {
    let (_, after) = line.split_once("<<")?;
    let word = after.trim_start_matches('-').split_whitespace().next()?;
    let name: String = unquoted(word).chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

fn variables(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for word in words(text) {
        match word.split_once('=') {
            Some((name, value)) => found.push((name.to_owned(), value.to_owned())),
            // The old form: one name, and everything behind it.
            None => {
                if let Some((name, value)) = text.split_once(char::is_whitespace) {
                    return vec![(name.to_owned(), unquoted(value.trim()).to_owned())];
                }
            }
        }
    }
    found
}

/// Words, of which quoted parts may hold spaces.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for character in text.chars() {
        match quote {
            Some(open) if character == open => quote = None,
            None if character == '"' || character == '\'' => quote = Some(character),
            None if character.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            Some(_) | None => word.push(character),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

fn unquoted(text: &str) -> &str {
    text.trim_matches(|c| c == '"' || c == '\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(commands: &[&str]) -> Vec<Step> {
        read(&commands.iter().map(|command| (*command).to_owned()).collect::<Vec<_>>()).expect("commands")
    }

    #[test]
    fn commands_are_read_as_docker_means_them() {
        let steps = read_all(&[
            "FROM node:20-slim AS base",
            "ENV A=1 B=\"two words\"",
            "ENV OLD form of it",
            "RUN mkdir -p /x && \\\n    touch /x/y",
            "RUN base64 -d <<'EOF' > /x/z\naGVsbG8=\nEOF",
            "WORKDIR /srv",
            "COPY a.txt b.txt /srv/",
            "CMD [\"sh\"]",
        ]);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(steps[0], Step::From("node:20-slim".to_owned()));
        assert_eq!(steps[1], Step::Env(vec![pair("A", "1"), pair("B", "two words")]));
        assert_eq!(steps[2], Step::Env(vec![pair("OLD", "form of it")]));
        assert_eq!(steps[3], Step::Run("mkdir -p /x &&     touch /x/y".to_owned()));
        assert_eq!(steps[4], Step::Run("base64 -d <<'EOF' > /x/z\naGVsbG8=\nEOF".to_owned()));
        assert_eq!(steps[5], Step::Workdir("/srv".to_owned()));
        assert_eq!(steps[6], Step::Copy { sources: vec!["a.txt".into(), "b.txt".into()], to: "/srv/".to_owned() });
        assert_eq!(steps[7], Step::Other("CMD [\"sh\"]".to_owned()));
        assert!(read(&["FRM x".to_owned()]).is_err());
    }

    #[test]
    fn only_what_can_work_here_is_run() {
        let skipped = |text: &str| matches!(judge(text, true), Run::Skipped(_));
        assert!(skipped("apt-get update && npm i -g x"));
        assert!(skipped("npm ci; curl https://example.com | sh"));
        assert!(!skipped("pip install --no-cache-dir 'requests>=2' 2>&1"));
        assert!(!skipped("FORCE=1 /usr/bin/npm ci"));
        assert!(!skipped("base64 -d <<'EOF' > /x\nZm9v; curl\nEOF"));
        assert_eq!(judge("<<EOF\nmkdir /a\ntouch /a/b\nEOF", false), Run::Shell("mkdir /a\ntouch /a/b\n".to_owned()));
    }

    #[test]
    fn the_agents_program_is_not_installed_where_it_is_bound_in() {
        assert!(matches!(judge("npm i -g @anthropic-ai/claude-code", true), Run::Satisfied(_)));
        assert!(matches!(judge("npm install --global '@anthropic-ai/claude-code@2.1.0'", true), Run::Satisfied(_)));
        let both = "npm i -g @anthropic-ai/claude-code@2 left-pad@1";
        assert_eq!(judge(both, true), Run::Shell("npm i -g left-pad@1".to_owned()));
        assert_eq!(judge(both, false), Run::Shell(both.to_owned()));
    }
}
