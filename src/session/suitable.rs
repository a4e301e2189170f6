//! Whether the sandbox that is asked for can be had, told when the session is created, and by name.

use crate::{
    domain::{Failure, Isolation, Reason, SandboxSpec},
    sandbox::Providers,
};

/// Settles which provider the session keeps to; refuses what that one cannot give.
pub(super) fn settle(providers: &Providers, spec: &mut SandboxSpec) -> Result<(), Failure> {
    let Some(provider) = providers.get(&spec.provider) else {
        let names: Vec<String> = providers.all().map(|provider| format!("\"{}\"", provider.name())).collect();
        return Err(Failure::invalid("sandbox.provider", format!("this server offers only {}", names.join(" and "))));
    };
    let (name, given) = (provider.name(), provider.isolation());
    name.clone_into(&mut spec.provider);
    let not_applied = if spec.strict { provider.not_applied(spec).join(", ") } else { String::new() };
    let too_weak = spec.min_isolation.is_some_and(|least| given < least);
    let message = if too_weak {
        format!("the provider \"{name}\" gives weaker isolation here than min_isolation asks for")
    } else if not_applied.is_empty() {
        return Ok(());
    } else {
        format!("the provider \"{name}\" does not apply {not_applied}; leave it out, or do without strict")
    };
    let given = match given {
        Isolation::Process => "ISOLATION_PROCESS",
        Isolation::Namespace => "ISOLATION_NAMESPACE",
        Isolation::Remote => "ISOLATION_REMOTE",
    };
    let failure = Failure::new(Reason::SandboxUnsuitable, message).with("provider", name).with("isolation", given);
    Err(failure.with("not_applied", not_applied))
}
