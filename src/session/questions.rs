//! Questions, as events: what the agent asks its user, and what is an answer.

use std::time::Duration;

use super::{
    bounds::MAX_INLINE_BLOCK_BYTES,
    pending::Pending,
    waiting::{Over, after, mint},
};
use crate::{
    agent::{self, Ask},
    domain::{
        Asked, ExecId, Failure, InputOutcome, InputResolution, PermissionAnswer, Principal, Question, QuestionAnswer,
        QuestionItem, SILENCE, TurnId,
    },
};

/// Questions that are asked together.
const MAX_ITEMS: usize = 16;

/// What a caller answers to a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reaction {
    /// One for each item; none: the question is declined.
    pub answers: Vec<QuestionAnswer>,
    /// Told to the agent when it is declined; may be empty.
    pub message: String,
}

impl Pending {
    /// The record of a question; `None`: it asks for permission, or asks what cannot be shown as questions.
    pub(super) fn question(
        &self,
        ask: &Ask,
        exec_id: &ExecId,
        turn_id: &TurnId,
        patience: Duration,
    ) -> Option<Question> {
        // What it takes to answer is kept whole.
        let fits = ask.input_json.len() <= MAX_INLINE_BLOCK_BYTES && ask.questions.len() <= MAX_ITEMS;
        if ask.questions.is_empty() || !fits {
            return None;
        }
        let now = self.time();
        let question = Question {
            question_id: mint("ques"),
            conversation_id: ask.conversation_id.clone(),
            turn_id: turn_id.clone(),
            tool_use_id: ask.tool_use_id.clone(),
            items: ask.questions.clone(),
            create_time: now,
            expire_time: Some(after(now, patience)),
            resolution: None,
            tool_name: ask.tool_name.clone(),
            input_json: ask.input_json.clone(),
            asked: Some(Asked {
                exec_id: exec_id.clone(),
                agent_request_id: ask.agent_request_id.clone(),
                input_sha256: ask.input_sha256(),
            }),
        };
        tracing::info!(question = %question.question_id, "the agent asks a question");
        Some(question)
    }

    /// A question that waits for an answer.
    pub(super) fn open_question(&self, question_id: &str) -> Option<&Question> {
        let mut open = self.state().questions.iter().filter(|held| held.resolution.is_none());
        open.find(|open| open.question_id == question_id)
    }

    /// One that was answered, before that is submitted.
    pub(super) fn held_question(&self, question_id: &str) -> Option<&Question> {
        self.state().questions.iter().find(|held| held.question_id == question_id)
    }

    /// What a caller's answers mean, if they are answers to this question.
    pub(super) fn reacted(
        &self,
        open: &Question,
        reaction: &Reaction,
        by: &Principal,
    ) -> Result<InputResolution, Failure> {
        let Reaction { answers, message } = reaction.clone();
        let outcome = if answers.is_empty() {
            InputOutcome::Rejected
        } else {
            fits(&open.items, &answers)?;
            if !message.is_empty() {
                return Err(Failure::invalid("message", "only without answers, to decline"));
            }
            InputOutcome::Answered
        };
        let resolved_by = Some(by.clone());
        let itself = InputResolution::by_itself(outcome, self.time());
        Ok(InputResolution { message, answers, resolved_by, ..itself })
    }

    /// What the end of a question means for its agent.
    pub(super) fn question_over(&self, question_id: &str, resolution: &InputResolution) -> Option<Over> {
        let question = self.open_question(question_id)?;
        let reject = |message: &str| Some(PermissionAnswer::Reject { message: message.to_owned() });
        let answer = match resolution.outcome {
            InputOutcome::Answered => Some(agent::answered(self.state().session.agent, question, &resolution.answers)),
            InputOutcome::Rejected if resolution.message.is_empty() => reject("The user declined to answer."),
            InputOutcome::Rejected => reject(&resolution.message),
            InputOutcome::Expired => reject(SILENCE),
            InputOutcome::Allowed | InputOutcome::Withdrawn | InputOutcome::Interrupted => None,
        };
        let Question { conversation_id, tool_use_id, tool_name, input_json, asked, .. } = question.clone();
        Some(Over { tool_use_id, asked, answer, conversation_id, tool_name, input_json })
    }
}

/// One answer for each item, of its choices.
fn fits(items: &[QuestionItem], answers: &[QuestionAnswer]) -> Result<(), Failure> {
    if items.len() != answers.len() {
        let rule = format!("one for each of the {} questions, or none at all to decline", items.len());
        return Err(Failure::invalid("answers", rule));
    }
    for (at, (item, QuestionAnswer { choices, text })) in items.iter().zip(answers).enumerate() {
        let field = format!("answers[{at}].choices");
        let mut offered = item.choices.iter().map(|choice| &choice.label);
        for (index, chosen) in choices.iter().enumerate() {
            if !offered.clone().any(|label| label == chosen) {
                let labels: Vec<_> = offered.clone().map(String::as_str).collect();
                let rule = if labels.is_empty() {
                    "this question has no choices; answer with text".to_owned()
                } else {
                    format!("must be of {}", labels.join(", "))
                };
                return Err(Failure::invalid(field, rule));
            }
            if choices[..index].contains(chosen) {
                return Err(Failure::invalid(field, format!("{chosen} stands there twice")));
            }
        }
        if choices.len() > 1 && !item.multiple {
            return Err(Failure::invalid(field, "at most one: the question does not take more"));
        }
        if choices.is_empty() && text.trim().is_empty() {
            let some = if offered.next().is_some() { "a choice or a text" } else { "a text" };
            return Err(Failure::invalid(format!("answers[{at}]"), some));
        }
    }
    Ok(())
}
