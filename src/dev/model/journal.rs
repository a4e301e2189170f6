//! What agents asked a model, whole, for those who want to see what reached it. The newest are kept, within bounds.

use std::collections::VecDeque;

use axum::body::Bytes;
use serde_json::Value;

/// Bytes that are kept.
const KEPT: usize = 32 * 1024 * 1024;

/// Bodies of requests, oldest first.
#[derive(Debug, Default)]
pub(super) struct Journal {
    bodies: VecDeque<Bytes>,
    size: usize,
}

impl Journal {
    pub(super) fn keep(&mut self, body: Bytes) {
        self.size += body.len();
        self.bodies.push_back(body);
        while self.size > KEPT
            && let Some(oldest) = self.bodies.pop_front()
        {
            self.size -= oldest.len();
        }
    }

    pub(super) fn read(&self) -> Vec<Value> {
        self.bodies.iter().filter_map(|body| serde_json::from_slice(body).ok()).collect()
    }
}
