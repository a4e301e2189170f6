//! Where wire and domain meet, and nowhere else: requests become what the core works with (`validate`), what the core
//! knows becomes messages (`convert`), and its failures become statuses (`status`).
//!
//! It knows no SQL and no sandbox. Handlers are thin: validate, one call into the core, convert.

pub mod convert;
pub mod fields;
pub mod page;
pub mod status;
pub mod validate;
