//! What stands in the image of a sandbox: a base, the agent's program, the packages of the profile, and the projects of its tool
//! servers, each a layer, so that what changes seldom is built seldom.
//!
//! It must not know how images are built.

use bytes::Bytes;

use crate::sandbox::{ImageContents, ImageProject};

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

/// Names that the files of a project have in the request that builds its layer, spelled as the official clients spell theirs.
const ARCHIVE: &str = "/.agent-runtime-project.tar";
const INSTALL: &str = "/.agent-runtime-install.sh";

/// A layer.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    /// They say all that is in it: files by the hash in the name that they get.
    pub(super) commands: Vec<String>,
    /// What travels with them, by name.
    pub(super) files: Vec<(&'static str, Bytes)>,
    /// Whose project it is: what goes wrong in it is its owner's to mend.
    pub(super) project: Option<ImageProject>,
}

impl Layer {
    fn plain(commands: Vec<String>) -> Self {
        Self { commands, ..Self::default() }
    }
}

/// The layers, lowest first; the first one names the base.
pub(super) fn of(base: &str, workspace: &str, contents: &ImageContents) -> Vec<Layer> {
    let ImageContents { agent: _, program, npm, pip, projects } = contents;
    let base = if base.is_empty() { BASE } else { base };
    let mut layers = vec![Layer::plain(vec![
        format!("FROM {base}"),
        format!("RUN {SYSTEM}"),
        format!("RUN mkdir -p {workspace}"),
        format!("WORKDIR {workspace}"),
    ])];
    if !program.is_empty() {
        layers.push(Layer::plain(vec![format!("RUN npm install --global --no-audit --no-fund {}", quoted(program))]));
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
        layers.push(Layer::plain(packages));
    }
    // In an order of their own: the same ones are the same image, whatever their servers are called and in whichever order.
    let mut sorted: Vec<&ImageProject> = projects.iter().collect();
    sorted.sort_by_key(|project| project.folder());
    sorted.dedup_by_key(|project| project.folder());
    layers.extend(sorted.into_iter().map(self::project));
    if !projects.is_empty() {
        layers.push(Layer::plain(vec![notes(projects)]));
    }
    layers
}

/// A project in its folder, installed as its owner says: by a script, so that no word of it is a word of the build file's.
fn project(project: &ImageProject) -> Layer {
    let folder = project.folder();
    let (archive, script) = (format!("{folder}.tar"), format!("{folder}.sh"));
    let mut files = vec![(ARCHIVE, project.archive().clone())];
    let mut commands = vec![
        format!("COPY {ARCHIVE} {archive}"),
        format!("RUN mkdir -p {folder} && tar -x --no-same-owner -f {archive} -C {folder} && rm {archive}"),
    ];
    if !project.install().is_empty() {
        files.push((INSTALL, Bytes::from(format!("{}\n", project.install()))));
        commands.push(format!("COPY {INSTALL} {script}"));
        // As in sandboxes, programs of the profile's packages are found first.
        commands.push(format!("RUN cd {folder} && PATH={MODULES}:$PATH sh {script}"));
    }
    Layer { commands, files, project: Some(project.clone()) }
}

/// Says for each tool server where its project lies.
fn notes(projects: &[ImageProject]) -> String {
    let mut sorted: Vec<&ImageProject> = projects.iter().collect();
    sorted.sort_by_key(|project| project.name());
    let note = |project: &&ImageProject| {
        format!(" && echo {} > {}", project.folder(), quoted(&ImageProject::note(project.name())))
    };
    let written: String = sorted.iter().map(note).collect();
    let above = ImageProject::note("");
    format!("RUN mkdir -p {}{written}", above.trim_end_matches('/'))
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
        ImageContents { npm: all(npm), pip: all(pip), ..ImageContents::of(Agent::ClaudeCode, program.to_owned()) }
    }

    fn commands(base: &str, contents: &ImageContents) -> Vec<Vec<String>> {
        of(base, "/workspace", contents).into_iter().map(|layer| layer.commands).collect()
    }

    #[test]
    fn each_kind_of_content_is_a_layer() {
        let layers = commands("", &contents("claude@1", &["a@1", "b@2"], &["c==3"]));
        assert_eq!(layers.len(), 3);
        assert_eq!(layers[0][0], format!("FROM {BASE}"));
        assert_eq!(layers[0].last().unwrap(), "WORKDIR /workspace");
        assert!(layers[1][0].ends_with(" 'claude@1'"));
        assert!(layers[2][0].ends_with(" 'a@1' 'b@2'") && layers[2][0].contains("--ignore-scripts"));
        assert!(layers[2][1].ends_with(" 'c==3'") && layers[2][1].contains("--only-binary=:all:"));
        assert_eq!(commands("debian:12", &contents("", &[], &[])).len(), 1);
        assert_eq!(commands("debian:12", &contents("", &[], &[]))[0][0], "FROM debian:12");
    }

    #[test]
    fn a_project_is_one_layer_whatever_its_servers_are_called() {
        let project = |name, install| ImageProject::new(name, install, "tar".into());
        let with = |projects| ImageContents { projects, ..contents("", &[], &[]) };
        let one = of("", "/workspace", &with(vec![project("a", "npm ci\n#"), project("b", "")]));
        let other = with(vec![project("b", ""), project("z", "npm ci\n#"), project("a", "npm ci\n#")]);
        let other = of("", "/workspace", &other);
        assert_eq!((one.len(), other.len()), (4, 4));
        for (one, other) in one.iter().zip(&other).take(3) {
            assert_eq!(one.commands, other.commands);
        }
        assert_ne!(one[3].commands, other[3].commands, "only the names differ");
        // No word of the command is a word of the build file's.
        let installs = one.iter().find(|layer| layer.files.len() == 2).expect("one is installed");
        assert!(installs.commands.iter().all(|command| !command.contains(['\n', '#'])), "{:?}", installs.commands);
        assert_eq!(installs.files[1].1, "npm ci\n#\n");
    }

    #[test]
    fn a_package_is_one_word() {
        assert_eq!(quoted("a'; rm -rf /\n#"), r"'a'\''; rm -rf / #'");
    }
}
