//! How a history is changed where turns live through kills: what takeover must not do, as it would show.

use std::collections::BTreeMap;

use agent_runtime::proto::{SessionEvent, TurnStatus, session_event::Kind};

use crate::{
    history::{Answer, Line, What, Wire},
    mutate::History,
};

impl History {
    /// The first line that holds this comes once more, in every spool that has it.
    pub fn spool_line_twice(&mut self, of: &str, holds: &str) -> Option<()> {
        let mut of_spools = self.lines.iter().filter_map(|line| match &line.what {
            What::Spool { fd, data, .. } if fd == of => Some(data),
            _ => None,
        });
        let is_it = |line: &&str| line.contains(holds) && line.ends_with('\n');
        let line = of_spools.find_map(|data| data.split_inclusive('\n').find(is_it))?.to_owned();
        self.spooled(of, &line, &line)
    }

    /// Every line that holds this is gone, as if it never was.
    pub fn spools_without(&mut self, of: &str, holds: &str) -> Option<()> {
        self.in_spools(of, |data| data.split_inclusive('\n').filter(|line| !line.contains(holds)).collect())
    }

    /// What was allowed is told to be rejected.
    pub fn told_otherwise(&mut self) -> Option<()> {
        self.in_spools("stdin", |data| data.replace("\"allow\":true", "\"allow\":false"))
    }

    /// Changes every spool of a sort. `None`: nothing came out otherwise.
    fn in_spools(&mut self, of: &str, change: impl Fn(&str) -> String) -> Option<()> {
        let mut done = None;
        for held in &mut self.lines {
            if let What::Spool { fd, data, .. } = &mut held.what
                && fd == of
            {
                let changed = change(data);
                done = done.or((changed != *data).then_some(()));
                *data = changed;
            }
        }
        done
    }

    /// A permission is resolved once more at the end of the log.
    pub fn resolved_twice(&mut self) -> Option<()> {
        self.logs().into_iter().find_map(|events| {
            let is_it = |event: &&Wire<SessionEvent>| matches!(event.0.kind, Some(Kind::PermissionResolved(_)));
            let mut again = events.iter().find(is_it)?.clone();
            again.0.sequence = events.last()?.0.sequence + 1;
            events.push(again);
            Some(())
        })
    }

    /// The first permission that somebody was acknowledged for is resolved with another option.
    pub fn resolved_otherwise(&mut self) -> Option<()> {
        let acknowledged = self.lines.iter().any(
            |line| matches!(&line.what, What::Answer { answer: Answer::Ok { option, .. }, .. } if !option.is_empty()),
        );
        self.in_log(|event| match &mut event.kind {
            Some(Kind::PermissionResolved(resolved)) if acknowledged => {
                resolved.resolution.as_mut()?.option_id.push_str("_not");
                Some(())
            }
            _ => None,
        })
    }

    /// The first time that processes were counted, while servers ran or in the end.
    pub fn counted(&mut self, when: bool, change: impl Fn(&mut BTreeMap<String, usize>)) -> Option<()> {
        self.lines.iter_mut().find_map(|line| match &mut line.what {
            What::Processes { over, supervisors, .. } if *over == when => {
                change(supervisors);
                Some(())
            }
            _ => None,
        })
    }

    /// A turn that was accepted does not end, as far as whoever follows it can tell.
    pub fn stuck(&mut self) -> Option<()> {
        let (at, session, turn) = self.lines.iter().enumerate().find_map(|(at, line)| match &line.what {
            What::Answer { answer: Answer::Ok { session, turn, .. }, .. } if !turn.is_empty() => {
                Some((at, session.clone(), turn.clone()))
            }
            _ => None,
        })?;
        let stuck = Line { what: What::Stuck { session, turn }, ..self.lines[at].clone() };
        self.lines.insert(at + 1, stuck);
        Some(())
    }

    pub fn ask_twice(&mut self) -> Option<()> {
        let at = self.lines.iter().position(|line| matches!(line.what, What::Asked { .. }))?;
        self.lines.insert(at, self.lines[at].clone());
        Some(())
    }

    /// Every turn that was completed ends otherwise.
    pub fn end_as(&mut self, status: TurnStatus) -> Option<()> {
        let mut done = None;
        for event in self.logs().into_iter().flatten() {
            if let Some(Kind::TurnUpdated(updated)) = &mut event.0.kind
                && let Some(turn) = updated.turn.as_mut().filter(|turn| turn.status() == TurnStatus::Completed)
            {
                turn.set_status(status);
                done = Some(());
            }
        }
        done
    }
}
