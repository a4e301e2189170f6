//! Who did something.

use crate::{
    domain::{Principal, PrincipalKind, Scope},
    proto,
};

impl From<Principal> for proto::Principal {
    fn from(principal: Principal) -> Self {
        let Principal { subject, display_name, kind } = principal;
        Self { subject, display_name, kind: super::number::<_, proto::PrincipalKind>(kind) }
    }
}

impl From<PrincipalKind> for proto::PrincipalKind {
    fn from(kind: PrincipalKind) -> Self {
        match kind {
            PrincipalKind::User => Self::User,
            PrincipalKind::Service => Self::Service,
            PrincipalKind::Agent => Self::Agent,
            PrincipalKind::System => Self::System,
        }
    }
}

impl From<Scope> for proto::Scope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Read => Self::Read,
            Scope::Write => Self::Write,
            Scope::Approve => Self::Approve,
            Scope::Admin => Self::Admin,
        }
    }
}
