//! What a change makes of a profile: the fields it names are replaced as a whole, but for the secrets that it keeps.
//!
//! It knows neither the wire, whose masks become sets of [`ProfileField`]s, nor the store, where the result becomes the
//! next revision.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem::take,
};

use super::{
    Agent, Failure, McpServer, McpTransport, PermissionPolicy, PermissionRule, Profile, ProfileSetup, Reason, Secret,
    Violation,
};

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A field of a profile that can be changed, and is replaced as a whole then.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum ProfileField {
            $($(#[$doc])* $name,)*
        }

        impl ProfileField {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As the contract calls it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

fields! {
    /// For people.
    Name = "name",
    /// For people.
    Description = "description",
    /// Which agent.
    Agent = "agent",
    /// Added to the agent's own.
    SystemPrompt = "system_prompt",
    /// What the agent remembers.
    MemoryFile = "memory_file",
    /// What it may use.
    Tools = "tools",
    /// Folders with instructions.
    Skills = "skills",
    /// Whom it may call.
    Subagents = "subagents",
    /// Slash commands.
    Commands = "commands",
    /// Tool servers.
    McpServers = "mcp_servers",
    /// What sessions run with.
    DefaultOptions = "default_options",
    /// What is asked.
    PermissionPolicy = "permission_policy",
    /// Which sandbox.
    Sandbox = "sandbox",
    /// Of the agent.
    Environment = "environment",
    /// From npm.
    NpmDependencies = "npm_dependencies",
    /// From PyPI.
    PipDependencies = "pip_dependencies",
    /// Put into new workspaces.
    DefaultWorkspaceFiles = "default_workspace_files",
}

/// A change of a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileChange {
    /// What is replaced. All other values mean nothing.
    pub fields: BTreeSet<ProfileField>,
    /// For people.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
    /// `None`: the server's default.
    pub agent: Option<Agent>,
    /// What it sets up, without the secrets that are kept.
    pub setup: ProfileSetup,
    /// Secrets that stay as they are stored.
    pub keep: Vec<KeptSecret>,
}

/// A secret that is named without a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSecret {
    /// Where it belongs.
    pub place: SecretPlace,
    /// Its name there.
    pub name: String,
    /// Where the request names it.
    pub field: String,
}

/// Where secrets stand in a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretPlace {
    /// In the environment of the agent.
    Environment,
    /// In the environment or the headers of the tool server of that name.
    McpServer(String),
}

impl ProfileChange {
    /// The profile with the change, its revision, times and etag as they were: the caller sees whether there is any.
    ///
    /// # Errors
    /// [`Reason::InvalidField`] for a secret that is to be kept and is not there, and what [`ProfileSetup::check`] says.
    pub fn apply(self, profile: &Profile) -> Result<Profile, Failure> {
        let Self { fields, name, description, agent, mut setup, keep } = self;
        let mut changed = profile.clone();
        let (to, old) = (&mut changed.setup, &profile.setup);
        for field in fields {
            match field {
                ProfileField::Name => changed.name.clone_from(&name),
                ProfileField::Description => changed.description.clone_from(&description),
                ProfileField::Agent => changed.agent = agent,
                ProfileField::SystemPrompt => to.system_prompt = take(&mut setup.system_prompt),
                ProfileField::MemoryFile => to.memory_file = take(&mut setup.memory_file),
                ProfileField::Tools => to.tools = take(&mut setup.tools),
                ProfileField::Skills => to.skills = take(&mut setup.skills),
                ProfileField::Subagents => to.subagents = take(&mut setup.subagents),
                ProfileField::Commands => to.commands = take(&mut setup.commands),
                ProfileField::McpServers => to.mcp_servers = take(&mut setup.mcp_servers),
                ProfileField::DefaultOptions => to.default_options = take(&mut setup.default_options),
                ProfileField::PermissionPolicy => {
                    to.permission_policy = with_known_ids(take(&mut setup.permission_policy), &old.permission_policy);
                }
                ProfileField::Sandbox => to.sandbox = take(&mut setup.sandbox),
                ProfileField::Environment => to.environment = take(&mut setup.environment),
                ProfileField::NpmDependencies => to.npm_dependencies = take(&mut setup.npm_dependencies),
                ProfileField::PipDependencies => to.pip_dependencies = take(&mut setup.pip_dependencies),
                ProfileField::DefaultWorkspaceFiles => to.default_files = take(&mut setup.default_files),
            }
        }
        refused(keep.iter().filter_map(|kept| keep_secret(to, old, kept).err()).collect())?;
        to.check()?;
        Ok(changed)
    }
}

/// Puts a stored secret to where it is named.
fn keep_secret(to: &mut ProfileSetup, old: &ProfileSetup, kept: &KeptSecret) -> Result<(), Violation> {
    let KeptSecret { place, name, field } = kept;
    let (into, from) = match place {
        SecretPlace::Environment => (Some(&mut to.environment), Some(&old.environment)),
        SecretPlace::McpServer(server) => {
            let from = old.mcp_servers.iter().find(|known| known.name == *server).and_then(secrets);
            (to.mcp_servers.iter_mut().find(|known| known.name == *server).and_then(secrets_mut), from)
        }
    };
    let stored = from.and_then(|stored| stored.get(name));
    let Some((into, secret)) = into.zip(stored) else {
        let rule = "value or ref is required: nothing is stored under this name";
        return Err(Violation { field: field.clone(), rule: rule.to_owned() });
    };
    into.insert(name.clone(), secret.clone());
    Ok(())
}

fn secrets(server: &McpServer) -> Option<&BTreeMap<String, Secret>> {
    match &server.transport {
        McpTransport::Stdio { environment: secrets, .. } | McpTransport::Http { headers: secrets, .. } => Some(secrets),
        McpTransport::Bundle { .. } => None,
    }
}

fn secrets_mut(server: &mut McpServer) -> Option<&mut BTreeMap<String, Secret>> {
    match &mut server.transport {
        McpTransport::Stdio { environment: secrets, .. } | McpTransport::Http { headers: secrets, .. } => Some(secrets),
        McpTransport::Bundle { .. } => None,
    }
}

/// A rule that says what a stored one says is that one, also when it is written without its id: else the same policy,
/// written twice, were another one.
fn with_known_ids(mut policy: PermissionPolicy, old: &PermissionPolicy) -> PermissionPolicy {
    let same = |one: &PermissionRule, other: &PermissionRule| {
        (&one.tool_name, &one.pattern, one.effect) == (&other.tool_name, &other.pattern, other.effect)
    };
    let named: BTreeSet<String> = policy.rules.iter().map(|rule| rule.rule_id.clone()).collect();
    let mut free: Vec<&PermissionRule> = old.rules.iter().filter(|rule| !named.contains(&rule.rule_id)).collect();
    for rule in &mut policy.rules {
        if old.rules.iter().any(|known| known.rule_id == rule.rule_id) {
            continue;
        }
        if let Some(at) = free.iter().position(|known| same(known, rule)) {
            rule.rule_id.clone_from(&free.remove(at).rule_id);
        }
    }
    policy
}

/// All that is wrong, told at once.
fn refused(violations: Vec<Violation>) -> Result<(), Failure> {
    let Some(first) = violations.first() else { return Ok(()) };
    let mut failure = Failure::invalid(&first.field, &first.rule);
    failure.violations = violations;
    debug_assert_eq!(failure.reason, Reason::InvalidField);
    Err(failure)
}
