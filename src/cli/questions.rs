//! `questions`: what agents ask their users, and the answers.

use super::{
    connect::Common,
    error::Error,
    output::{self, one_line, print_json, word},
};
use crate::{
    client::Client,
    proto::{AnswerQuestionRequest, GetSessionRequest, Question, QuestionAnswer, QuestionItem},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the questions that a session waits with for an answer.
    List {
        /// Which session.
        session: String,
    },
    /// Answer a question. The first answer counts.
    Answer {
        /// Of which session.
        session: String,
        /// Which question.
        question: String,
        /// One for each part of the question, in order: a label, its number, several with commas between them, or any text.
        #[arg(required_unless_present = "decline", conflicts_with = "decline")]
        answers: Vec<String>,
        /// Do not answer, and tell the agent this.
        #[arg(long, value_name = "TEXT", num_args = 0..=1, default_missing_value = "")]
        decline: Option<String>,
    },
}

pub(super) async fn run(common: &Common, command: Command) -> Result<(), Error> {
    let client = common.connect().await?.client;
    match command {
        Command::List { session } => {
            let open = open(&client, &session).await?;
            if common.json {
                return Ok(open.iter().try_for_each(|question| print_json("Question", question))?);
            }
            let mut rows = vec![["ID", "QUESTION", "CHOICES"].map(str::to_owned)];
            for question in &open {
                for item in &question.items {
                    let labels: Vec<_> = item.choices.iter().map(|choice| choice.label.as_str()).collect();
                    let id = question.question_id.clone();
                    rows.push([id, one_line(&item.text, 100), one_line(&labels.join(", "), 100)]);
                }
            }
            output::table(&mut anstream::stdout(), &rows)?;
        }
        Command::Answer { session, question, answers, decline } => {
            let open = open(&client, &session).await?;
            let found = open.iter().find(|open| open.question_id == question);
            // One that is over is refused by the server, which says how it ended.
            let items = found.map(|open| open.items.as_slice()).unwrap_or_default();
            let answers = answers.iter().enumerate().map(|(at, said)| answer(items.get(at), said)).collect();
            let request = AnswerQuestionRequest {
                session_id: session,
                question_id: question,
                answers,
                message: decline.unwrap_or_default(),
                ..AnswerQuestionRequest::default()
            };
            let answered = client.answer_question(request).await?;
            if common.json {
                print_json("AnswerQuestionResponse", &answered)?;
            } else {
                let resolution = answered.question.and_then(|question| question.resolution).unwrap_or_default();
                anstream::println!("{}", word(resolution.outcome().as_str_name(), "INPUT_OUTCOME_"));
            }
        }
    }
    Ok(())
}

/// What a person says to a part of a question: its choices, where all that is said are some, by label or by number; else
/// text.
pub(super) fn answer(item: Option<&QuestionItem>, said: &str) -> QuestionAnswer {
    let choices = item.map(|item| item.choices.as_slice()).unwrap_or_default();
    let chosen = |word: &str| {
        let by_number = || word.parse::<usize>().ok().and_then(|number| choices.get(number.checked_sub(1)?));
        let by_label = choices.iter().find(|choice| choice.label.eq_ignore_ascii_case(word));
        by_label.or_else(by_number).map(|choice| choice.label.clone())
    };
    let said = said.trim();
    let words = if item.is_some_and(|item| item.multiple) { said.split(',').collect() } else { vec![said] };
    let whole = chosen(said).map(|label| vec![label]);
    match whole.or_else(|| words.into_iter().map(|word| chosen(word.trim())).collect()) {
        Some(choices) => QuestionAnswer { choices, text: String::new() },
        None => QuestionAnswer { choices: Vec::new(), text: said.to_owned() },
    }
}

async fn open(client: &Client, session: &str) -> Result<Vec<Question>, Error> {
    let request = GetSessionRequest { session_id: session.to_owned() };
    Ok(client.get_session(request).await?.open_questions)
}

#[cfg(test)]
mod tests {
    use super::answer;
    use crate::proto::{QuestionChoice, QuestionItem};

    #[test]
    fn an_answer_is_labels_numbers_or_a_text() {
        let choice = |label: &str| QuestionChoice { label: label.into(), description: String::new() };
        let one = QuestionItem { choices: vec![choice("Red, bright"), choice("Blue")], ..Default::default() };
        let many = QuestionItem { multiple: true, ..one.clone() };
        for (item, said, choices, text) in [
            (Some(&one), "blue", &["Blue"][..], ""),
            (Some(&one), " 1 ", &["Red, bright"], ""),
            (Some(&one), "red, bright", &["Red, bright"], ""),
            (Some(&one), "1, 2", &[], "1, 2"),
            (Some(&one), "3", &[], "3"),
            (Some(&many), "2,1", &["Blue", "Red, bright"], ""),
            (Some(&many), "Blue, green", &[], "Blue, green"),
            (None, "1", &[], "1"),
        ] {
            let given = answer(item, said);
            assert_eq!(
                (given.choices.iter().map(String::as_str).collect::<Vec<_>>(), &*given.text),
                (choices.to_vec(), text)
            );
        }
    }
}
