//! The Anthropic Messages API, as far as an agent uses it: what a request asks, and an answer in its events.

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use ulid::Ulid;

use super::{
    answer::{self, End, Frame},
    script::{Answer, Ask, Broken, Part, Reply},
    server::{Kind, Outcome, Shared},
};

/// Texts that an agent program puts between the user's: they are no prompts.
const HIDDEN: [&str; 6] = [
    "<system-reminder>",
    "<task-notification>",
    "<command-",
    "<local-command",
    "[Request interrupted by user",
    "Tool loaded.",
];

/// A stream's content type.
const EVENTS: &str = "text/event-stream; charset=utf-8";

/// So an agent program asks its model to go on with an answer that broke off: what it has of that stands before.
const BROKEN_OFF: &str = "Your response above was cut off mid-stream";

/// `POST /v1/messages`.
pub(super) fn messages(shared: &Shared, headers: &HeaderMap, body: &[u8]) -> Outcome {
    let Some(request) = Request::read(headers, body) else { return unreadable() };
    let ask = request.ask();
    let (kind, reply) = match request.side_answer() {
        Some(text) => (Kind::Side, Reply::Answer(Answer::plain(text))),
        None => (Kind::Call, shared.reply(&ask)),
    };
    let response = match reply {
        Reply::Refuse(refusal) => {
            let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            error(status, &refusal.message, refusal.retry_after)
        }
        Reply::Answer(answer) => {
            let message = Message::new(&request, &answer);
            if request.is_streamed() {
                let frames = Box::new(message.frames(answer));
                let body = answer::body(frames, End::Whole, shared.stop.clone());
                respond(StatusCode::OK, EVENTS, &message.id, body)
            } else {
                let whole = message.whole(answer);
                respond(StatusCode::OK, "application/json", &message.id, Body::from(whole.to_string()))
            }
        }
        Reply::Break(broken) => breaking(shared, &request, broken),
    };
    Outcome { kind, ask, model: request.model(), response }
}

/// An answer that breaks off: by an error in its place in the stream, or by a cut. One that is not streamed has no middle.
fn breaking(shared: &Shared, request: &Request, Broken { answer, after, error }: Broken) -> Response {
    let message = Message::new(request, &answer);
    if !request.is_streamed() {
        let body = answer::body(Box::new(std::iter::empty()), End::Cut, shared.stop.clone());
        return respond(StatusCode::OK, "application/json", &message.id, body);
    }
    let end = if error.is_some() { End::Whole } else { End::Cut };
    let error = error.map(|(kind, message)| {
        event(0, &json!({ "type": "error", "error": { "type": kind, "message": message }, "request_id": id("req") }))
    });
    let frames = Box::new(message.frames(answer).take(after).chain(error));
    respond(StatusCode::OK, EVENTS, &message.id, answer::body(frames, end, shared.stop.clone()))
}

/// `POST /v1/messages/count_tokens`.
pub(super) fn count_tokens(headers: &HeaderMap, body: &[u8]) -> Outcome {
    let Some(request) = Request::read(headers, body) else { return unreadable() };
    let count = json!({ "input_tokens": tokens(request.size) });
    let response = respond(StatusCode::OK, "application/json", &id("req"), Body::from(count.to_string()));
    Outcome { kind: Kind::Count, ask: request.ask(), model: request.model(), response }
}

/// An error in the API's form.
pub(super) fn error(status: StatusCode, message: &str, retry_after: Option<u64>) -> Response {
    let kind = match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    let request_id = id("req");
    let body = json!({ "type": "error", "error": { "type": kind, "message": message }, "request_id": request_id });
    let mut response = respond(status, "application/json", &request_id, Body::from(body.to_string()));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn unreadable() -> Outcome {
    let response = error(StatusCode::BAD_REQUEST, "the body is no JSON object with \"messages\"", None);
    Outcome { kind: Kind::Other, ask: Ask::default(), model: String::new(), response }
}

fn respond(status: StatusCode, content_type: &'static str, request_id: &str, body: Body) -> Response {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, content_type)
        .header(header::CACHE_CONTROL, "no-cache")
        .header("request-id", request_id)
        .body(body)
        .expect("fixed headers and an id of letters and digits are valid")
}

fn id(prefix: &str) -> String {
    format!("{prefix}_{}", Ulid::new())
}

/// About as many tokens as a text of this length has; never none.
fn tokens(bytes: usize) -> u64 {
    bytes as u64 / 4 + 1
}

struct Request {
    body: Value,
    size: usize,
    session: String,
}

impl Request {
    fn read(headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let size = body.len();
        let body: Value = serde_json::from_slice(body).ok()?;
        body["messages"].as_array()?;
        let header = headers.get("x-claude-code-session-id").and_then(|value| value.to_str().ok());
        let session = header.or(body["metadata"]["user_id"].as_str()).unwrap_or_default().to_owned();
        Some(Self { body, size, session })
    }

    fn model(&self) -> String {
        self.body["model"].as_str().unwrap_or_default().to_owned()
    }

    fn is_streamed(&self) -> bool {
        self.body["stream"] == Value::Bool(true)
    }

    fn ask(&self) -> Ask {
        let mut ask = Ask { session: self.session.clone(), ..Ask::default() };
        let mut directory = texts(&self.body["system"]).find_map(working_directory);
        for message in self.body["messages"].as_array().into_iter().flatten() {
            let content = &message["content"];
            match message["role"].as_str() {
                Some("user") => {
                    for result in
                        content.as_array().into_iter().flatten().filter(|block| block["type"] == "tool_result")
                    {
                        ask.result = texts(&result["content"]).collect();
                    }
                    ask.shown.extend(content.as_array().into_iter().flatten().filter_map(shown));
                    for text in texts(content) {
                        if text.starts_with(BROKEN_OFF) {
                            ask.answers = ask.answers.saturating_sub(1);
                        } else if HIDDEN.iter().any(|hidden| text.trim_start().starts_with(hidden)) {
                            directory = directory.or_else(|| working_directory(text));
                        } else {
                            ask.prompts.push(text.to_owned());
                            ask.answers = 0;
                        }
                    }
                }
                Some("assistant") => ask.answers += 1,
                // The environment stands in a message of its own here, and is told again when it changes.
                Some("system") => directory = texts(content).find_map(working_directory).or(directory),
                Some(_) | None => {}
            }
        }
        ask.cwd = directory.map(str::to_owned);
        ask
    }

    /// An answer to a request beside the agent's work: one that wants JSON of a given form, or just a sign of life, or
    /// that an agent program makes without offering a single tool.
    fn side_answer(&self) -> Option<String> {
        let format = &self.body["output_config"]["format"];
        if format["type"] == "json_schema" {
            return Some(sample(&format["schema"]).to_string());
        }
        let tools = self.body["tools"].as_array().map_or(0, Vec::len);
        let from_agent = texts(&self.body["system"]).any(|text| text.starts_with("x-anthropic-billing-header"));
        (self.body["max_tokens"] == 1 || (from_agent && tools == 0)).then(|| "Scripted session".to_owned())
    }
}

/// The texts of a content, which is a text or a list of blocks.
fn texts(content: &Value) -> impl Iterator<Item = &str> {
    let blocks = content.as_array().into_iter().flatten();
    content
        .as_str()
        .into_iter()
        .chain(blocks.filter(|block| block["type"] == "text").filter_map(|block| block["text"].as_str()))
}

/// What an image or a document is, by its media type and the hash of its bytes.
fn shown(block: &Value) -> Option<String> {
    let source = &block["source"];
    if !matches!(block["type"].as_str(), Some("image" | "document")) || source["type"] != "base64" {
        return None;
    }
    let data = STANDARD.decode(source["data"].as_str()?).ok()?;
    Some(format!("{} {:x}", source["media_type"].as_str()?, Sha256::digest(&data)))
}

/// The agent tells its model where it works, in a line of its own.
fn working_directory(text: &str) -> Option<&str> {
    text.lines().find_map(|line| {
        let (before, path) = line.split_once("orking directory: ")?;
        let known = before.trim_start_matches([' ', '-']);
        (matches!(known, "W" | "Primary w") && !path.is_empty()).then(|| path.trim_end())
    })
}

/// A small value of the form that a JSON schema asks for.
fn sample(schema: &Value) -> Value {
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("string") => json!("Scripted session"),
        Some("integer" | "number") => json!(0),
        Some("boolean") => json!(false),
        Some("array") => json!([]),
        Some("null") => Value::Null,
        Some(_) | None => schema["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, property)| (name.clone(), sample(property)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}

/// What all events of one answer share.
struct Message {
    id: String,
    model: String,
    input_tokens: u64,
    output_tokens: u64,
    cache_read: u64,
    cache_write: u64,
    stop_reason: String,
}

impl Message {
    fn new(request: &Request, answer: &Answer) -> Self {
        let said: usize = answer.parts.iter().map(length).sum();
        let calls = answer.parts.iter().any(|part| matches!(part, Part::Tool { .. }));
        Self {
            id: id("msg"),
            model: request.model(),
            input_tokens: answer.usage.input.unwrap_or_else(|| tokens(request.size)),
            output_tokens: answer.usage.output.unwrap_or_else(|| tokens(said)),
            cache_read: answer.usage.cache_read,
            cache_write: answer.usage.cache_write,
            stop_reason: answer.stop.clone().unwrap_or_else(|| if calls { "tool_use" } else { "end_turn" }.to_owned()),
        }
    }

    fn usage(&self, output_tokens: u64) -> Value {
        json!({
            "input_tokens": self.input_tokens,
            "cache_creation_input_tokens": self.cache_write,
            "cache_read_input_tokens": self.cache_read,
            "output_tokens": output_tokens,
        })
    }

    fn json(&self, content: &[Value], stop_reason: Option<&str>, output_tokens: u64) -> Value {
        json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": content,
            "stop_reason": stop_reason, "stop_sequence": null, "usage": self.usage(output_tokens),
        })
    }

    fn whole(&self, answer: Answer) -> Value {
        let content: Vec<Value> = answer
            .parts
            .into_iter()
            .map(|part| match part {
                Part::Tool { name, input, pace: _ } => {
                    json!({ "type": "tool_use", "id": id("toolu"), "name": name, "input": input })
                }
                Part::Thinking { text, pace: _ } => {
                    json!({ "type": "thinking", "thinking": text, "signature": SIGNATURE })
                }
                Part::Text { text, pace: _ } => json!({ "type": "text", "text": text }),
                Part::Block { block, deltas: _ } => block,
                Part::Numbers { .. } => {
                    let text: String = answer::deltas(part).map(|(_, number)| number).collect();
                    json!({ "type": "text", "text": text })
                }
            })
            .collect();
        self.json(&content, Some(&self.stop_reason), self.output_tokens)
    }

    fn frames(&self, answer: Answer) -> impl Iterator<Item = Frame> + Send + use<> {
        let start = json!({ "type": "message_start", "message": self.json(&[], None, 1) });
        let end = json!({
            "type": "message_delta",
            "delta": { "stop_reason": self.stop_reason, "stop_sequence": null },
            "usage": self.usage(self.output_tokens),
        });
        [event(0, &start), event(0, &json!({ "type": "ping" }))]
            .into_iter()
            .chain(answer.parts.into_iter().enumerate().flat_map(|(index, part)| block(index, part)))
            .chain([event(0, &end), event(0, &json!({ "type": "message_stop" }))])
    }
}

/// Stands for what proves to the API that a thought is its own; agents send it back as it is.
const SIGNATURE: &str = "bG9vcGJhY2s=";

fn block(index: usize, part: Part) -> impl Iterator<Item = Frame> + Send {
    let (begin, grows): (Value, Option<(&str, &str)>) = match &part {
        Part::Text { .. } | Part::Numbers { .. } => {
            (json!({ "type": "text", "text": "" }), Some(("text_delta", "text")))
        }
        Part::Thinking { .. } => {
            (json!({ "type": "thinking", "thinking": "", "signature": "" }), Some(("thinking_delta", "thinking")))
        }
        Part::Tool { name, .. } => (
            json!({ "type": "tool_use", "id": id("toolu"), "name": name, "input": {} }),
            Some(("input_json_delta", "partial_json")),
        ),
        Part::Block { block, .. } => (block.clone(), None),
    };
    let signed = matches!(part, Part::Thinking { .. }).then(|| {
        let delta = json!({ "type": "signature_delta", "signature": SIGNATURE });
        event(0, &json!({ "type": "content_block_delta", "index": index, "delta": delta }))
    });
    let deltas = answer::deltas(part).map(move |(wait_us, text)| {
        let delta = match grows {
            Some((kind, field)) => {
                let text = serde_json::to_string(&text).expect("a text is JSON");
                format!(r#"{{"type":"{kind}","{field}":{text}}}"#)
            }
            None => text,
        };
        let data = format!(r#"{{"type":"content_block_delta","index":{index},"delta":{delta}}}"#);
        (wait_us, format!("event: content_block_delta\ndata: {data}\n\n"))
    });
    std::iter::once(event(0, &json!({ "type": "content_block_start", "index": index, "content_block": begin })))
        .chain(deltas)
        .chain(signed)
        .chain(std::iter::once(event(0, &json!({ "type": "content_block_stop", "index": index }))))
}

fn event(wait_us: u64, data: &Value) -> Frame {
    (wait_us, format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or_default()))
}

fn length(part: &Part) -> usize {
    match part {
        Part::Text { text, .. } | Part::Thinking { text, .. } => text.len(),
        Part::Tool { input, .. } => input.to_string().len(),
        Part::Block { block, .. } => block.to_string().len(),
        Part::Numbers { count, size, .. } => usize::try_from(*count).unwrap_or(usize::MAX).saturating_mul(*size),
    }
}
