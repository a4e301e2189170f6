//! What a server and a supervisor say to each other, over the socket in the sandbox's folder.
//!
//! **Frozen and additive.** A server that was upgraded meets supervisors of the version before it, and must drive them to
//! their end. So a tag is never given another meaning and never used again, nothing that is here goes away, and what is
//! new is a request or a field that an older supervisor can do without; [`VERSION`] tells who knows what:
//!
//! | version | adds |
//! |---|---|
//! | 1 | everything without a remark |
//!
//! Each message is a [`Request`] or a [`Reply`] behind its length as a varint. A connection begins with [`Hello`], which
//! is answered by [`Welcome`]; the first request may be sent along with it. Then come requests, one after the other, each
//! answered before the next one counts. That a connection is open says that a server is here.
//!
//! Whoever gets no `Welcome` knows that nothing was done. A supervisor that is asked what it does not know answers
//! [`Unsupported`](Refusal::Unsupported).

use bytes::Bytes;
use prost::{Message, Oneof};

/// The newest version that this build speaks.
pub const VERSION: u32 = 1;

/// Longest message: the longest command line that Linux runs fits, and input is given in smaller pieces.
pub const MESSAGE_MAX: usize = 4 << 20;

/// Most bytes of output in one [`Reply::Chunk`].
pub const CHUNK_MAX: usize = 64 << 10;

/// From the server.
#[derive(Clone, PartialEq, Message)]
pub struct Ask {
    /// What it wants; empty is something newer than this build.
    #[prost(oneof = "Request", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11")]
    pub request: Option<Request>,
}

/// What a server wants.
#[derive(Clone, PartialEq, Oneof)]
pub enum Request {
    /// The first on every connection.
    #[prost(message, tag = "1")]
    Hello(Hello),
    /// To be here without wanting anything more. Answered by [`Attached`]; nothing may follow. A command.
    #[prost(message, tag = "2")]
    Attach(Attach),
    /// To run a program. Answered by `Done` when it runs; again for the same id it changes nothing. A command.
    #[prost(message, tag = "3")]
    Start(Start),
    /// Output from an offset on. Answered by `Done`; the bytes come after [`Go`].
    #[prost(message, tag = "4")]
    Read(Read),
    /// Begins the output that the `Read` before it asked for: `Chunk`s, then `End`, then the connection is closed.
    #[prost(message, tag = "5")]
    Go(Go),
    /// To give a program input. Answered by [`Given`]. A command.
    #[prost(message, tag = "6")]
    WriteStdin(WriteStdin),
    /// How much input a program was given. Answered by [`Given`].
    #[prost(message, tag = "7")]
    StdinStatus(Exec),
    /// The end of a program. Answered by [`Exited`] when it is there.
    #[prost(message, tag = "8")]
    Wait(Exec),
    /// To signal a program and its group. Answered by `Done`. A command.
    #[prost(message, tag = "9")]
    Signal(Signal),
    /// That output before an offset is not needed again. Answered by `Done`. A command.
    #[prost(message, tag = "10")]
    Release(Release),
    /// To end all programs. Answered by `Done` when they have ended. A command.
    #[prost(message, tag = "11")]
    Terminate(Terminate),
}

/// Who a server is, and whom it wants.
#[derive(Clone, PartialEq, Message)]
pub struct Hello {
    /// The newest version that the server speaks, from 1.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Of the sandbox, as its folder tells it.
    #[prost(string, tag = "2")]
    pub nonce: String,
    /// Of the machine's kernel.
    #[prost(string, tag = "3")]
    pub boot_id: String,
    /// Epoch of the owner that gives the commands on this connection.
    #[prost(int64, tag = "4")]
    pub epoch: i64,
}

/// See [`Request::Attach`].
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Attach {}

/// See [`Request::Start`].
#[derive(Clone, PartialEq, Message)]
pub struct Start {
    /// Names the run, and its folder.
    #[prost(string, tag = "1")]
    pub exec_id: String,
    /// Program and arguments, with the wall around them.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub argv: Vec<Vec<u8>>,
    /// The whole environment.
    #[prost(message, repeated, tag = "3")]
    pub env: Vec<Variable>,
    /// Working directory.
    #[prost(bytes = "vec", tag = "4")]
    pub directory: Vec<u8>,
    /// `argv` is bubblewrap, and the program its grandchild.
    #[prost(bool, tag = "5")]
    pub bubblewrap: bool,
}

/// One variable of an environment.
#[derive(Clone, PartialEq, Message)]
pub struct Variable {
    /// Its name.
    #[prost(bytes = "vec", tag = "1")]
    pub name: Vec<u8>,
    /// Its value.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// See [`Request::Read`].
#[derive(Clone, PartialEq, Message)]
pub struct Read {
    /// Whose.
    #[prost(string, tag = "1")]
    pub exec_id: String,
    /// 1 or 2.
    #[prost(uint32, tag = "2")]
    pub fd: u32,
    /// From here on.
    #[prost(uint64, tag = "3")]
    pub offset: u64,
}

/// See [`Request::Go`].
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Go {}

/// See [`Request::WriteStdin`].
#[derive(Clone, PartialEq, Message)]
pub struct WriteStdin {
    /// Whose.
    #[prost(string, tag = "1")]
    pub exec_id: String,
    /// Where `data` stands in all that the program is given.
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    /// The bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub data: Bytes,
    /// Nothing follows.
    #[prost(bool, tag = "4")]
    pub eof: bool,
}

/// One program.
#[derive(Clone, PartialEq, Message)]
pub struct Exec {
    /// Which.
    #[prost(string, tag = "1")]
    pub exec_id: String,
}

/// See [`Request::Signal`].
#[derive(Clone, PartialEq, Message)]
pub struct Signal {
    /// Whom.
    #[prost(string, tag = "1")]
    pub exec_id: String,
    /// Number of the signal: 2, 9 or 15.
    #[prost(int32, tag = "2")]
    pub number: i32,
}

/// See [`Request::Release`].
#[derive(Clone, PartialEq, Message)]
pub struct Release {
    /// Whose.
    #[prost(string, tag = "1")]
    pub exec_id: String,
    /// 1 or 2.
    #[prost(uint32, tag = "2")]
    pub fd: u32,
    /// Up to here.
    #[prost(uint64, tag = "3")]
    pub offset: u64,
}

/// See [`Request::Terminate`].
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Terminate {
    /// How long programs get between a request to end and being killed.
    #[prost(uint64, tag = "1")]
    pub grace_ms: u64,
    /// The supervisor exits afterwards whoever is connected, and starts nothing more.
    #[prost(bool, tag = "2")]
    pub leave: bool,
}

/// From the supervisor.
#[derive(Clone, PartialEq, Message)]
pub struct Answer {
    /// What it says; empty is something newer than this build.
    #[prost(oneof = "Reply", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub reply: Option<Reply>,
}

/// What a supervisor says.
#[derive(Clone, PartialEq, Oneof)]
pub enum Reply {
    /// To `Hello`.
    #[prost(message, tag = "1")]
    Welcome(Welcome),
    /// No.
    #[prost(message, tag = "2")]
    Refused(Refused),
    /// It is done, or stays true.
    #[prost(message, tag = "3")]
    Done(Done),
    /// To `Attach`.
    #[prost(message, tag = "4")]
    Attached(Attached),
    /// Output: 1 to [`CHUNK_MAX`] bytes.
    #[prost(bytes = "bytes", tag = "5")]
    Chunk(Bytes),
    /// All output was sent.
    #[prost(message, tag = "6")]
    End(End),
    /// To `WriteStdin` and `StdinStatus`.
    #[prost(message, tag = "7")]
    Given(Given),
    /// To `Wait`.
    #[prost(message, tag = "8")]
    Exited(Exited),
}

/// Who a supervisor is.
#[derive(Clone, PartialEq, Message)]
pub struct Welcome {
    /// The version that both speak: the lower of the two.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Of its sandbox.
    #[prost(string, tag = "2")]
    pub nonce: String,
    /// Of the machine's kernel.
    #[prost(string, tag = "3")]
    pub boot_id: String,
    /// The highest that the sandbox has seen.
    #[prost(int64, tag = "4")]
    pub epoch: i64,
    /// What it and its programs are kept from beside the wall, for people.
    #[prost(string, repeated, tag = "5")]
    pub hardening: Vec<String>,
}

/// See [`Reply::Done`].
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Done {}

/// How things stand in the sandbox.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Attached {
    /// Programs that run.
    #[prost(uint32, tag = "1")]
    pub running: u32,
    /// How long they may run on without a server.
    #[prost(uint64, tag = "2")]
    pub limit_ms: u64,
}

/// See [`Reply::End`].
#[derive(Clone, Copy, PartialEq, Message)]
pub struct End {}

/// The input that a program was given.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Given {
    /// Bytes.
    #[prost(uint64, tag = "1")]
    pub accepted: u64,
    /// Nothing may follow.
    #[prost(bool, tag = "2")]
    pub closed: bool,
}

/// How a program ended.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Exited {
    /// By itself or not.
    #[prost(oneof = "Exit", tags = "1, 2")]
    pub exit: Option<Exit>,
}

/// See [`Exited`].
#[derive(Clone, Copy, PartialEq, Eq, Oneof, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// With this code.
    #[prost(int32, tag = "1")]
    Code(i32),
    /// By this signal.
    #[prost(int32, tag = "2")]
    Signal(i32),
}

/// See [`Reply::Refused`].
#[derive(Clone, PartialEq, Message)]
pub struct Refused {
    /// Why; empty is something newer than this build.
    #[prost(oneof = "Refusal", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9")]
    pub refusal: Option<Refusal>,
}

/// Why not.
#[derive(Clone, PartialEq, Eq, Oneof)]
pub enum Refusal {
    /// A newer owner has taken over; this is the highest epoch seen.
    #[prost(int64, tag = "1")]
    Stale(i64),
    /// No such program was started here.
    #[prost(string, tag = "2")]
    UnknownExec(String),
    /// The offset cannot be had.
    #[prost(message, tag = "3")]
    Outside(Outside),
    /// Other bytes were given from this offset on.
    #[prost(uint64, tag = "4")]
    StdinConflict(u64),
    /// The program cannot be run, and why.
    #[prost(string, tag = "5")]
    Start(String),
    /// What is asked for can never be had again, and why.
    #[prost(string, tag = "6")]
    Gone(String),
    /// It cannot be had now, and why.
    #[prost(string, tag = "7")]
    Unavailable(String),
    /// The supervisor does not know what it is asked.
    #[prost(string, tag = "8")]
    Unsupported(String),
    /// The `Hello` is not for this sandbox, and why.
    #[prost(string, tag = "9")]
    Stranger(String),
}

/// What can be had instead of the offset.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Outside {
    /// Asked for.
    #[prost(uint64, tag = "1")]
    pub offset: u64,
    /// First that can be had.
    #[prost(uint64, tag = "2")]
    pub from: u64,
    /// Last that can be had.
    #[prost(uint64, tag = "3")]
    pub to: u64,
}
