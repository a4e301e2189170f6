//! What must be true of a profile as a whole, whichever of its fields came when.

use std::collections::BTreeMap;

use super::{
    Failure, McpServer, McpTransport, Profile, ProfileFile, ProfileSetup, Reason, Secret, Skill, SlashCommand,
    SubagentDefinition,
};

/// All that a profile sets up, in bytes: what every client can read in one message, whose default limit is 4 MiB.
pub const MAX_PROFILE_BYTES: usize = 7 << 19;

impl ProfileSetup {
    /// Refuses a whole that cannot be, though each of its parts can.
    ///
    /// # Errors
    /// [`Reason::MessageTooLarge`], [`Reason::InvalidField`].
    pub fn check(&self) -> Result<(), Failure> {
        let size = self.size_bytes();
        if size > MAX_PROFILE_BYTES {
            let message = format!("the profile has {size} bytes, and {MAX_PROFILE_BYTES} is the limit");
            return Err(Failure::new(Reason::MessageTooLarge, message)
                .with("field", "profile")
                .with("size_bytes", size)
                .with("limit_bytes", MAX_PROFILE_BYTES));
        }
        // Agents call both by a slash and the name, and would never find the command.
        let taken = |command: &SlashCommand| self.skills.iter().any(|skill| skill.name == command.name);
        match self.commands.iter().position(taken) {
            Some(at) => Err(Failure::invalid(format!("profile.commands[{at}].name"), "is the name of a skill too")),
            None => Ok(()),
        }
    }

    /// Bytes of all its texts and files.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let Self {
            system_prompt,
            memory_file,
            tools,
            skills,
            subagents,
            commands,
            mcp_servers,
            // What bounds these stands at them.
            default_options: _,
            permission_policy,
            sandbox: _,
            environment,
            npm_dependencies,
            pip_dependencies,
            default_files,
        } = self;
        let rules = permission_policy.rules.iter().map(|rule| rule.tool_name.len() + rule.pattern.len());
        system_prompt.len()
            + memory_file.len()
            + texts(tools)
            + skills.iter().map(skill).sum::<usize>()
            + subagents.iter().map(subagent).sum::<usize>()
            + commands.iter().map(|command| command.name.len() + command.prompt.len()).sum::<usize>()
            + mcp_servers.iter().map(mcp_server).sum::<usize>()
            + rules.sum::<usize>()
            + secrets(environment)
            + texts(npm_dependencies)
            + texts(pip_dependencies)
            + files(default_files)
    }
}

impl Profile {
    /// The same without the values of its secrets: what is remembered of a call that stored it.
    #[must_use]
    pub fn without_values(mut self) -> Self {
        let hide = |secrets: &mut BTreeMap<String, Secret>| {
            for secret in secrets.values_mut() {
                match secret {
                    Secret::Value(value) => value.clear(),
                    Secret::Ref(_) => {}
                }
            }
        };
        hide(&mut self.setup.environment);
        for server in &mut self.setup.mcp_servers {
            match &mut server.transport {
                McpTransport::Stdio { environment, .. } => hide(environment),
                McpTransport::Http { headers, .. } => hide(headers),
                McpTransport::Bundle { .. } => {}
            }
        }
        self
    }
}

fn texts(texts: &[String]) -> usize {
    texts.iter().map(String::len).sum()
}

fn files(files: &[ProfileFile]) -> usize {
    files.iter().map(|file| file.path.len() + file.content.len()).sum()
}

fn secrets(secrets: &BTreeMap<String, Secret>) -> usize {
    let one = |(name, secret): (&String, &Secret)| match secret {
        Secret::Value(text) | Secret::Ref(text) => name.len() + text.len(),
    };
    secrets.iter().map(one).sum()
}

fn skill(skill: &Skill) -> usize {
    let Skill { name, description, body, supporting_files, npm_dependencies, pip_dependencies } = skill;
    name.len()
        + description.len()
        + body.len()
        + files(supporting_files)
        + texts(npm_dependencies)
        + texts(pip_dependencies)
}

fn subagent(subagent: &SubagentDefinition) -> usize {
    let SubagentDefinition { name, description, prompt, model, tools } = subagent;
    name.len() + description.len() + prompt.len() + model.len() + texts(tools)
}

fn mcp_server(server: &McpServer) -> usize {
    let McpServer { name, description, transport } = server;
    let transport = match transport {
        McpTransport::Stdio { command, args, environment } => command.len() + texts(args) + secrets(environment),
        McpTransport::Http { url, headers, sse: _ } => url.len() + secrets(headers),
        McpTransport::Bundle { project_path, install_command, start_command } => {
            project_path.len() + install_command.len() + start_command.len()
        }
    };
    name.len() + description.len() + transport
}
