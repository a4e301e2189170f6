//! The benchmarks: `make bench`. One line a figure, `name key=value …`, the machine first.
//!
//! What keeps them honest: the server is the release binary with the options of `serve`; deltas come from a real child's
//! standard output, one JSON line each, 20 characters with a running number, through parser, fold and SQLite with full
//! synchronisation; the load program is another process over TCP that decodes every response and counts the numbers in
//! order. `--addr ADDR --key KEY` measures a server that runs already.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use agent_runtime::proto::{self, session_event::Kind, session_service_client::SessionServiceClient};
use tonic::{Request, metadata::MetadataValue, transport::Endpoint};

/// Deltas of one saturating turn.
const SATURATE_DELTAS: usize = 400_000;
/// Deltas of one paced turn, and the pause between two.
const PACED_DELTAS: usize = 400;
const PACE_US: u64 = 10_000;
/// Deltas of one block.
const BLOCK_DELTAS: usize = 10_000;
/// Starts whose median is told.
const STARTS: usize = 11;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if args.first().is_some_and(|arg| arg == "load") {
        return tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(load(&args[1..]));
    }
    let binary = Path::new(env!("CARGO_BIN_EXE_agent-runtime"));
    let load_average = fs::read_to_string("/proc/loadavg")?;
    let cores = std::thread::available_parallelism()?;
    println!("machine cores={cores} load_average={}", load_average.split(' ').next().unwrap_or("?"));
    if let Some(addr) = option(&args, "--addr") {
        let key = option(&args, "--key").unwrap_or_default();
        for watchers in [1, 4] {
            fan("fan_saturate", &addr, &key, None, watchers, SATURATE_DELTAS, 0)?;
        }
        return Ok(());
    }
    start(binary)?;
    let data = tempfile::tempdir()?;
    let server = Server::start(binary, data.path())?;
    println!("server options=\"serve --listen 127.0.0.1:0 --data DIR\"");
    println!("idle rss_mb={:.1}", server.rss_mb()?);
    for watchers in [1, 4] {
        fan("fan_saturate", &server.addr, &server.key, Some(server.pid()), watchers, SATURATE_DELTAS, 0)?;
    }
    fan("fan_paced", &server.addr, &server.key, Some(server.pid()), 4, PACED_DELTAS, PACE_US)
}

fn option(args: &[String], name: &str) -> Option<String> {
    args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)).cloned()
}

/// A server of our own.
struct Server {
    process: Child,
    addr: String,
    key: String,
}

impl Server {
    fn start(binary: &Path, data: &Path) -> Result<Self, Failure> {
        let mut process = Command::new(binary)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .env("RUST_LOG", "error")
            .spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
        let addr = line.trim().strip_prefix("listening on ").ok_or("the server says where it listens")?.to_owned();
        let key = fs::read_to_string(data.join("key"))?.trim().to_owned();
        Ok(Self { process, addr, key })
    }

    fn pid(&self) -> u32 {
        self.process.id()
    }

    fn rss_mb(&self) -> Result<f64, Failure> {
        // Once everything that starting touched has settled.
        std::thread::sleep(Duration::from_millis(500));
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
        let kib: f64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw);
        let _ = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM));
        let _ = self.process.wait();
    }
}

/// From the start of the process to the first answer, on an empty data folder and on one that exists.
fn start(binary: &Path) -> Result<(), Failure> {
    // With a thread of its own, so that a connection that was dropped is closed while the server stops.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    for (name, fresh) in [("start_existing", false), ("start_fresh", true)] {
        let mut millis = Vec::new();
        let kept = tempfile::tempdir()?;
        for _ in 0..=STARTS {
            let own = tempfile::tempdir()?;
            let data = if fresh { own.path() } else { kept.path() };
            let began = Instant::now();
            let server = Server::start(binary, data)?;
            runtime.block_on(first_answer(&server.addr, &server.key))?;
            millis.push(began.elapsed().as_secs_f64() * 1e3);
        }
        // The first one warms the page cache.
        millis.remove(0);
        millis.sort_by(f64::total_cmp);
        println!("{name} median_ms={:.1} max_ms={:.1} runs={STARTS}", millis[STARTS / 2], millis[STARTS - 1]);
    }
    Ok(())
}

async fn first_answer(addr: &str, key: &str) -> Result<(), Failure> {
    let mut sessions = client(addr, key).await?;
    sessions.list_sessions(proto::ListSessionsRequest::default()).await?;
    Ok(())
}

/// One session, so many watchers in another process, each of which must see every number in order.
fn fan(
    name: &str,
    addr: &str,
    key: &str,
    server: Option<u32>,
    watchers: usize,
    deltas: usize,
    pace_us: u64,
) -> Result<(), Failure> {
    let before = server.map(cpu_seconds).transpose()?;
    let output = Command::new(env::current_exe()?)
        .args(["load", addr, &watchers.to_string(), &deltas.to_string(), &pace_us.to_string()])
        .env("AGENT_RUNTIME_KEY", key)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err("the load program failed".into());
    }
    let told = String::from_utf8(output.stdout)?;
    let carried = deltas * watchers;
    let cpu = match (before, server.map(cpu_seconds).transpose()?) {
        (Some(before), Some(after)) => {
            let millions = f64::from(u32::try_from(carried)?) / 1e6;
            format!(" server_cpu_s_per_million={:.2}", (after - before) / millions)
        }
        _ => String::new(),
    };
    println!("{name} sessions=1 watchers={watchers} deltas={deltas} {}{cpu}", told.trim());
    Ok(())
}

/// CPU time of a process so far, its children not counted.
fn cpu_seconds(pid: u32) -> Result<f64, Failure> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().ok_or("no stat")?.split_whitespace().collect();
    let ticks = fields[11].parse::<u32>()? + fields[12].parse::<u32>()?;
    Ok(f64::from(ticks) / 100.0)
}

type Client = SessionServiceClient<
    tonic::service::interceptor::InterceptedService<
        tonic::transport::Channel,
        Box<dyn FnMut(Request<()>) -> Result<Request<()>, tonic::Status> + Send>,
    >,
>;

async fn client(addr: &str, key: &str) -> Result<Client, Failure> {
    let channel = Endpoint::from_shared(format!("http://{addr}"))?.connect().await?;
    let bearer = MetadataValue::try_from(format!("Bearer {key}"))?;
    Ok(SessionServiceClient::with_interceptor(
        channel,
        Box::new(move |mut request: Request<()>| {
            request.metadata_mut().insert("authorization", bearer.clone());
            Ok(request)
        }),
    ))
}

/// The load program: opens the watches, sends the script, counts the numbers.
async fn load(args: &[String]) -> Result<(), Failure> {
    let [addr, watchers, deltas, pace_us] = args else { return Err("load ADDR WATCHERS DELTAS PACE_US".into()) };
    let key = env::var("AGENT_RUNTIME_KEY").unwrap_or_default();
    let (watchers, deltas): (usize, usize) = (watchers.parse()?, deltas.parse()?);
    let mut sessions = client(addr, &key).await?;
    let request = proto::CreateSessionRequest { agent: "scripted".into(), ..Default::default() };
    let session = sessions.create_session(request).await?.into_inner().session.ok_or("no session")?;
    let session_id = session.session_id;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..watchers {
        let mut client = client(addr, &key).await?;
        let request = proto::WatchSessionRequest {
            session_id: session_id.clone(),
            after_sequence: Some(0),
            ..Default::default()
        };
        let stream = client.watch_session(request).await?.into_inner();
        tasks.spawn(count(stream, deltas));
    }
    // The agent's start is not what is measured: one turn warms it.
    run(&mut sessions, &session_id, r#"[{"say":"warm"}]"#).await?;
    // A block keeps 256 KiB of text, so the numbers run on through many.
    let blocks = deltas.div_ceil(BLOCK_DELTAS);
    let script =
        format!(r#"[{{"repeat":{blocks},"steps":[{{"count":{},"size":20,"pace_us":{pace_us}}}]}}]"#, deltas / blocks);
    let began = Instant::now();
    let request = proto::SendMessageRequest { session_id, text: script, ..Default::default() };
    sessions.send_message(request).await?;
    let mut lost = 0;
    while let Some(counted) = tasks.join_next().await {
        lost += deltas - counted??;
    }
    let seconds = began.elapsed().as_secs_f64();
    let carried = f64::from(u32::try_from(deltas * watchers - lost)?);
    println!("carried_per_s={:.0} seconds={seconds:.2} lost={lost}", carried / seconds);
    Ok(())
}

async fn run(sessions: &mut Client, session_id: &str, text: &str) -> Result<(), Failure> {
    let request = proto::RunTurnRequest { session_id: session_id.into(), text: text.into(), ..Default::default() };
    let mut stream = sessions.run_turn(request).await?.into_inner();
    while stream.message().await?.is_some() {}
    Ok(())
}

/// Counts the numbers that come in order, until the second turn ends.
async fn count(mut stream: tonic::Streaming<proto::WatchSessionResponse>, deltas: usize) -> Result<usize, Failure> {
    let (mut text, mut next, mut turns) = (String::new(), 0_usize, 0);
    loop {
        let response = stream.message().await?.ok_or("the watch ended")?;
        for event in response.events {
            match event.kind {
                Some(Kind::BlockDelta(delta)) if turns == 1 => {
                    text.push_str(&delta.delta);
                    next += numbers(&mut text, next);
                }
                Some(Kind::TurnUpdated(update))
                    if update.turn.as_ref().is_some_and(|turn| turn.status() == proto::TurnStatus::Completed) =>
                {
                    turns += 1;
                    if turns == 2 {
                        return Ok(next.min(deltas));
                    }
                }
                _ => {}
            }
        }
    }
}

/// Takes whole numbers of 20 characters from the front and says how many are the ones that come next.
fn numbers(text: &mut String, next: usize) -> usize {
    let whole = text.len() / 20;
    let mut good = 0;
    for chunk in 0..whole {
        let digits: String = text[chunk * 20..(chunk + 1) * 20].chars().filter(char::is_ascii_digit).collect();
        if digits.parse::<usize>().ok() == Some(next + good + 1) {
            good += 1;
        }
    }
    text.drain(..whole * 20);
    good
}
