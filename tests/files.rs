//! Trees of files: looks, changes, manifests, restores, confined operations, archives, sources and hints, on a real file
//! system; and the files of a local sandbox.

#[path = "files/alike.rs"]
mod alike;
#[path = "files/archives.rs"]
mod archives;
#[path = "files/change.rs"]
mod change;
#[path = "files/confined.rs"]
mod confined;
#[path = "files/ground.rs"]
mod ground;
#[path = "files/here.rs"]
mod here;
#[path = "files/hint.rs"]
mod hint;
#[path = "files/look.rs"]
mod look;
#[path = "files/operate.rs"]
mod operate;
#[path = "files/put_back.rs"]
mod put_back;
#[path = "files/sandboxed.rs"]
mod sandboxed;
#[path = "files/sources.rs"]
mod sources;
#[path = "files/trees.rs"]
mod trees;
