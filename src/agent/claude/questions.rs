//! `AskUserQuestion`: the tool by which the CLI asks its user. Its call waits like one for permission; it is answered by
//! letting it run, with the answers put into its input.
//!
//! Seen of version 2.1.329: `answers` maps the text of each question to one text; several labels are joined by ", ", and
//! what was typed beside a choice goes into `annotations`. The model is told `Your questions have been answered:
//! "Which database?"="SQLite", …`, or the message of a rejection.

use std::{collections::HashSet, fmt::Write as _};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::domain::{PermissionAnswer, Question, QuestionAnswer, QuestionChoice, QuestionItem};

const TOOL: &str = "AskUserQuestion";

#[derive(Deserialize)]
struct Asked {
    questions: Vec<Item>,
}

/// As the tool has it; newer versions have more kinds, which all take a text.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    question: String,
    #[serde(default)]
    header: String,
    #[serde(default)]
    options: Vec<Choice>,
    #[serde(default)]
    multi_select: bool,
}

#[derive(Deserialize)]
struct Choice {
    label: String,
    #[serde(default)]
    description: String,
}

/// What a call asks the user; empty: it is none that does, or one that cannot be answered item by item.
pub(in crate::agent) fn items(tool_name: &str, input_json: &str) -> Vec<QuestionItem> {
    if tool_name != TOOL {
        return Vec::new();
    }
    let Ok(Asked { questions }) = serde_json::from_str(input_json) else { return Vec::new() };
    let mut texts = HashSet::new();
    // Answers are found by the text, so that two of the same have one.
    if !questions.iter().all(|item| texts.insert(item.question.clone())) {
        return Vec::new();
    }
    questions.into_iter().map(Item::into).collect()
}

impl From<Item> for QuestionItem {
    fn from(item: Item) -> Self {
        let Item { question: text, header, options, multi_select: multiple } = item;
        let choice = |Choice { label, description }| QuestionChoice { label, description };
        Self { header, text, choices: options.into_iter().map(choice).collect(), multiple }
    }
}

/// The answers, one for each item, as the tool takes them.
pub(in crate::agent) fn answered(question: &Question, answers: &[QuestionAnswer]) -> PermissionAnswer {
    let mut input: Map<String, Value> = serde_json::from_str(&question.input_json).unwrap_or_default();
    let (mut said, mut notes) = (Map::new(), Map::new());
    let mut told = String::new();
    for (item, QuestionAnswer { choices, text }) in question.items.iter().zip(answers) {
        let chosen = choices.join(", ");
        let answer = if choices.is_empty() { text } else { &chosen };
        let beside = if choices.is_empty() { "" } else { text };
        said.insert(item.text.clone(), Value::String(answer.clone()));
        let separator = if told.is_empty() { "" } else { ", " };
        // Writing into a text cannot fail.
        let _ = write!(told, "{separator}{:?}={answer:?}", item.text);
        if !beside.is_empty() {
            notes.insert(item.text.clone(), serde_json::json!({ "notes": beside }));
            let _ = write!(told, " notes: {beside:?}");
        }
    }
    input.insert("answers".to_owned(), Value::Object(said));
    if !notes.is_empty() {
        input.insert("annotations".to_owned(), Value::Object(notes));
    }
    PermissionAnswer::Answered { updated_input_json: Value::Object(input).to_string(), told }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{answered, items};
    use crate::domain::{ConversationId, PermissionAnswer, Question, QuestionAnswer, Timestamp, TurnId};

    fn question(input: &Value) -> Question {
        let text = String::new;
        Question {
            question_id: text(),
            conversation_id: ConversationId::main(),
            turn_id: TurnId::new(""),
            tool_use_id: text(),
            items: items("AskUserQuestion", &input.to_string()),
            create_time: Timestamp(0),
            expire_time: None,
            resolution: None,
            tool_name: "AskUserQuestion".into(),
            input_json: input.to_string(),
            asked: None,
        }
    }

    #[test]
    fn answers_go_into_the_input_by_the_text_of_their_question() {
        let input = json!({ "questions": [
            { "question": "Which?", "header": "Q", "options": [{ "label": "A", "description": "a" }, { "label": "B" }] },
            { "question": "What else?", "options": [{ "label": "C" }, { "label": "D" }], "multiSelect": true },
            { "question": "Name?", "kind": "text", "placeholder": "any" },
        ], "metadata": { "source": "x" } });
        let question = question(&input);
        let [which, what, name] = &question.items[..] else { panic!("{:?}", question.items) };
        assert_eq!((which.header.as_str(), which.choices[0].description.as_str()), ("Q", "a"));
        assert_eq!((which.multiple, what.multiple, name.choices.len()), (false, true, 0));
        let answer = |choices: &[&str], text: &str| QuestionAnswer {
            choices: choices.iter().map(|label| (*label).to_owned()).collect(),
            text: text.into(),
        };
        let answers = [answer(&["B"], "but \"gently\""), answer(&["C", "D"], ""), answer(&[], "Emil")];
        let PermissionAnswer::Answered { updated_input_json, told } = answered(&question, &answers) else { panic!() };
        let mut expected = input;
        expected["answers"] = json!({ "Which?": "B", "What else?": "C, D", "Name?": "Emil" });
        expected["annotations"] = json!({ "Which?": { "notes": "but \"gently\"" } });
        assert_eq!(serde_json::from_str::<Value>(&updated_input_json).expect("JSON"), expected);
        assert_eq!(told, r#""Which?"="B" notes: "but \"gently\"", "What else?"="C, D", "Name?"="Emil""#);
    }

    #[test]
    fn what_is_no_question_is_none() {
        let two = json!({ "questions": [{ "question": "Same?" }, { "question": "Same?" }] });
        assert_eq!(items("AskUserQuestion", &two.to_string()), []);
        assert_eq!(items("AskUserQuestion", "{}"), []);
        assert_eq!(items("AskUserQuestion", r#"{"questions":"?"}"#), []);
        assert_eq!(items("Bash", r#"{"questions":[{"question":"?"}]}"#), []);
    }
}
