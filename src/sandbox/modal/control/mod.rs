//! The control plane's client: each call with who we are, made again where that helps, under one key for all its attempts
//! (but for the token, which each attempt asks for anew: it changes nothing).
//!
//! It must not know what the calls are for.

mod metadata;
mod token;

use std::{sync::Arc, time::Duration};

use tokio::{sync::OnceCell, time::sleep};
use tonic::{Request, Response, Status, Streaming, transport::Channel};
use uuid::Uuid;

pub use self::metadata::Credentials;
use self::{metadata::Identity, token::Tokens};
use super::{
    address::{self, Address},
    attempts::{self, Attempts},
};
use crate::{
    modal_wire::{ControlClient, MESSAGE_LIMIT, client::AuthTokenGetRequest},
    sandbox::lease::Lease,
};

/// How long a token may take to come.
const TOKEN_WITHIN: Duration = Duration::from_secs(5);

/// Why nothing is changed any more.
const LOST: &str = "this server does not own its database any more, so it changes nothing there; use the one that does";

/// The control plane, as one account sees it.
#[derive(Debug)]
pub(super) struct Control {
    account: Arc<Account>,
    tokens: Tokens,
    lease: Arc<dyn Lease>,
}

/// Where it is, who asks, and the connection.
#[derive(Debug)]
struct Account {
    address: Address,
    identity: Identity,
    channel: OnceCell<Channel>,
}

impl Control {
    /// Nothing is asked yet.
    pub(super) fn new(address: Address, credentials: &Credentials, lease: Arc<dyn Lease>) -> Result<Self, String> {
        let identity = Identity::new(credentials, address.host())?;
        let account = Arc::new(Account { address, identity, channel: OnceCell::new() });
        Ok(Self { account, tokens: Tokens::default(), lease })
    }

    /// Where it is: routers are judged by that.
    pub(super) fn address(&self) -> &Address {
        &self.account.address
    }

    /// Refuses where another process may have taken over: asked right before each attempt at a call that changes something,
    /// since between two of them there is time for that. The refusal is not one that passes.
    pub(super) fn may_change(&self) -> Result<(), Status> {
        if self.lease.held() { Ok(()) } else { Err(Status::permission_denied(LOST)) }
    }

    /// Makes a call that only asks, again where it failed in a way that passes.
    pub(super) async fn call<Q, A, F>(
        &self,
        query: Q,
        send: impl Fn(ControlClient<Channel>, Request<Q>) -> F,
    ) -> Result<A, Status>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.attempt(query, || Ok(()), send).await
    }

    /// The same for a call that changes something.
    pub(super) async fn change<Q, A, F>(
        &self,
        query: Q,
        send: impl Fn(ControlClient<Channel>, Request<Q>) -> F,
    ) -> Result<A, Status>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.attempt(query, || self.may_change(), send).await
    }

    async fn attempt<Q, A, F>(
        &self,
        query: Q,
        may: impl Fn() -> Result<(), Status>,
        send: impl Fn(ControlClient<Channel>, Request<Q>) -> F,
    ) -> Result<A, Status>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let (key, mut attempts) = (Uuid::new_v4(), Attempts::new(attempts::CONTROL));
        loop {
            let token = self.tokens.current(|| Arc::clone(&self.account).fetch_token()).await?;
            let answered = async {
                let mut request = Request::new(query.clone());
                self.account.identity.say(request.metadata_mut());
                metadata::say_token(request.metadata_mut(), &token)?;
                metadata::say_attempt(request.metadata_mut(), key, &attempts)?;
                let client = self.account.client().await?;
                may()?;
                send(client, request).await
            };
            let failure = match answered.await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(failure) => failure,
            };
            if attempts.renews(&failure) {
                // It ended before its time, or our clock is not theirs.
                self.tokens.refused(&token);
                continue;
            }
            match attempts.after(&failure) {
                Some(wait) => sleep(wait).await,
                None => return Err(failure),
            }
        }
    }

    /// Opens a stream of answers. It is not opened again here: only who reads it knows where it stood. But for a token that
    /// is refused, which is exchanged, whenever that is told.
    pub(super) async fn stream<Q, A, F>(
        &self,
        query: Q,
        send: impl Fn(ControlClient<Channel>, Request<Q>) -> F,
    ) -> Result<Streaming<A>, Status>
    where
        F: Future<Output = Result<Response<Streaming<A>>, Status>>,
        Q: Clone,
    {
        let mut attempts = Attempts::new(attempts::CONTROL);
        loop {
            let token = self.tokens.current(|| Arc::clone(&self.account).fetch_token()).await?;
            let mut request = Request::new(query.clone());
            self.account.identity.say(request.metadata_mut());
            metadata::say_token(request.metadata_mut(), &token)?;
            match send(self.account.client().await?, request).await {
                Err(failure) if attempts.renews(&failure) => self.tokens.refused(&token),
                answered => return Ok(answered?.into_inner()),
            }
        }
    }
}

impl Account {
    async fn client(&self) -> Result<ControlClient<Channel>, Status> {
        let connect = || self.address.connect(address::CONTROL, || async { Ok(()) });
        let channel = self.channel.get_or_try_init(connect).await?;
        Ok(ControlClient::new(channel.clone())
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT))
    }

    async fn fetch_token(self: Arc<Self>) -> Result<String, Status> {
        let mut request = Request::new(AuthTokenGetRequest {});
        request.set_timeout(TOKEN_WITHIN);
        self.identity.say(request.metadata_mut());
        metadata::say_attempt(request.metadata_mut(), Uuid::new_v4(), &Attempts::new(attempts::CONTROL))?;
        Ok(self.client().await?.auth_token_get(request).await?.into_inner().token)
    }
}
