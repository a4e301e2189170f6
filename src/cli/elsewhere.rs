//! Flags of `serve` about sandboxes away from its machine. The account's token comes from the environment alone, in the words
//! of Modal's own tools: what stands in arguments can be read by all.

use std::ffi::OsString;

use clap::builder::FalseyValueParser;

use crate::server::ModalAccount;

/// See the module.
#[derive(Debug, clap::Args)]
pub(super) struct Elsewhere {
    /// Offer sandboxes at Modal, with the account of `MODAL_TOKEN_ID` and `MODAL_TOKEN_SECRET`; they alone do it too.
    #[arg(long, env = "AGENT_RUNTIME_MODAL", value_parser = FalseyValueParser::new())]
    modal: bool,
    /// Modal's app that holds this server's sandboxes.
    #[arg(long, env = "AGENT_RUNTIME_MODAL_APP", default_value = "agent-runtime", value_name = "NAME")]
    modal_app: String,
    /// Modal's environment; else the account's default.
    #[arg(long, env = "MODAL_ENVIRONMENT", default_value = "", value_name = "NAME")]
    modal_environment: String,
    /// Where Modal's API is.
    #[arg(long, env = "MODAL_SERVER_URL", default_value = "https://api.modal.com:443", value_name = "URL")]
    modal_server: String,
    /// Modal's id of an app in which nothing is any more, for example because its account was closed: what was made there is
    /// over, and sessions go on from their checkpoints. Can be said more than once.
    #[arg(long, env = "AGENT_RUNTIME_MODAL_GONE", value_delimiter = ',', value_name = "APP_ID")]
    modal_gone: Vec<String>,
    /// PEM file of the roots that alone vouch for the certificates of Modal's servers; else those of the web do, which are built in.
    #[arg(long, env = "SSL_CERT_FILE", value_name = "FILE")]
    modal_roots: Option<OsString>,
    /// Where sessions run that do not say it.
    #[arg(
        long,
        env = "AGENT_RUNTIME_DEFAULT_PROVIDER",
        default_value = "local",
        value_parser = ["local", "modal"],
        hide_possible_values = true,
        value_name = "local|modal"
    )]
    pub(super) default_provider: String,
}

impl Elsewhere {
    /// The account, where there is one.
    pub(super) fn account(self) -> Option<ModalAccount> {
        let Self { modal, modal_app, modal_environment, modal_server, modal_gone, modal_roots, default_provider: _ } =
            self;
        let said = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (id, secret) = (said("MODAL_TOKEN_ID"), said("MODAL_TOKEN_SECRET"));
        // Where it is asked for and half of it is missing, the server refuses to start, and names it.
        let wanted = modal || (id.is_some() && secret.is_some());
        let (token_id, token_secret) = (id.unwrap_or_default(), secret.unwrap_or_default());
        wanted.then_some(ModalAccount {
            server: modal_server,
            // Set to nothing is not set.
            roots: modal_roots.filter(|file| !file.is_empty()).map(Into::into),
            token_id,
            token_secret,
            environment: modal_environment,
            app: modal_app,
            given_up: modal_gone,
        })
    }
}
