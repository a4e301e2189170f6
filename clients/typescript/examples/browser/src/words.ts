// What things of the contract are called on the page.

import {
  AgentRuntimeError,
  BlockState,
  Code,
  ExecutionStatus,
  SessionStatus,
  type Turn,
  TurnStatus,
} from "@agent-runtime/client/web";

// A value that is newer than this page has no word.
type Words<E extends number> = Readonly<Record<E, string>>;

const SESSION: Words<SessionStatus> = {
  [SessionStatus.UNSPECIFIED]: "",
  [SessionStatus.IDLE]: "idle",
  [SessionStatus.RUNNING]: "working",
  [SessionStatus.AWAITING_INPUT]: "needs you",
  [SessionStatus.STOPPED]: "stopped",
  [SessionStatus.FAILED]: "failed",
  [SessionStatus.DELETED]: "deleted",
};

const BLOCK: Words<BlockState> = {
  [BlockState.UNSPECIFIED]: "",
  [BlockState.STREAMING]: "streaming",
  [BlockState.COMPLETE]: "complete",
  [BlockState.INTERRUPTED]: "interrupted",
};

const EXECUTION: Words<ExecutionStatus> = {
  [ExecutionStatus.UNSPECIFIED]: "",
  [ExecutionStatus.PENDING]: "pending",
  [ExecutionStatus.RUNNING]: "running",
  [ExecutionStatus.SUCCEEDED]: "succeeded",
  [ExecutionStatus.FAILED]: "failed",
};

const TURN: Words<TurnStatus> = {
  [TurnStatus.UNSPECIFIED]: "",
  [TurnStatus.QUEUED]: "Waits its turn",
  [TurnStatus.RUNNING]: "Working",
  [TurnStatus.AWAITING_INPUT]: "Waits for your answer",
  [TurnStatus.PARKED]: "Waits for your answer; the agent starts again then",
  [TurnStatus.COMPLETED]: "Done",
  [TurnStatus.INTERRUPTED]: "Interrupted",
  [TurnStatus.CANCELLED]: "Cancelled",
  [TurnStatus.FAILED]: "Failed",
  [TurnStatus.BUDGET_EXHAUSTED]: "Its budget is used up",
  [TurnStatus.LOST]: "Lost",
};

export function ofSession(status: SessionStatus): string {
  return SESSION[status] ?? "";
}

export function ofBlock(state: BlockState): string {
  return BLOCK[state] ?? "";
}

export function ofExecution(status: ExecutionStatus): string {
  return EXECUTION[status] ?? "";
}

export function ofTurn(turn: Turn | undefined): string {
  const word = turn ? (TURN[turn.status] ?? "") : "Ready";
  return turn?.error?.message ? `${word}: ${turn.error.message}` : word;
}

/** Why something did not work, for the person before the page. */
export function ofFailure(failure: unknown): string {
  if (!(failure instanceof AgentRuntimeError)) {
    return String(failure);
  }
  // Browsers do not tell a page why it may not call, nor whether anybody is there.
  if (failure.reason === "" && failure.code !== Code.Aborted) {
    return `The server cannot be reached. Does it run, and was it started with --cors-origin ${location.origin}?`;
  }
  return failure.rawMessage;
}
