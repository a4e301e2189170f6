// What the real server never does: a server that is played here breaks rules, and forgets, and hangs up.

import assert from "node:assert/strict";
import { createServer } from "node:http2";
import { test, type TestContext } from "node:test";

import type { MessageInitShape } from "@bufbuild/protobuf";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";

import {
  type RunTurnResponseSchema,
  SessionService,
  type WatchSessionResponseSchema,
} from "../src/gen/agentruntime/v1/session_service_pb.js";
import {
  type Client,
  type RunTurnRequest,
  type SessionEventSchema,
  SessionStatus,
  type WatchSessionRequest,
} from "../src/index.js";
import { all, failure, to } from "./sessions.js";

type Response = MessageInitShape<typeof WatchSessionResponseSchema>;

type Watches = (asked: WatchSessionRequest, times: number) => Iterable<Response>;
type Turns = (asked: RunTurnRequest) => Iterable<MessageInitShape<typeof RunTurnResponseSchema>>;

/** A client of a server that answers the watches of a session one after the other so, and plays turns so. */
async function played(t: TestContext, watches: Watches, turns: Turns = () => []): Promise<Client> {
  let times = 0;
  const server = createServer(
    connectNodeAdapter({
      routes: (router) =>
        router.service(SessionService, {
          async *watchSession(asked) {
            yield* watches(asked, ++times);
          },
          async *runTurn(asked) {
            yield* turns(asked);
          },
        }),
    }),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const address = server.address();
  return to(t, `127.0.0.1:${address && typeof address === "object" ? address.port : 0}`, {});
}

/** A response with one event. */
function one(sequence: bigint, kind: MessageInitShape<typeof SessionEventSchema>["kind"], firstSequence = 0n): Response {
  return { uid: "log", events: [{ sequence, firstSequence, kind: kind ?? { case: undefined } }] };
}

const LOG = { case: "log", value: {} } as const;
const BOOKMARK = { case: "bookmark", value: {} } as const;
const START = { case: "snapshotStart", value: {} } as const;
const COMPLETE = { case: "snapshotComplete", value: {} } as const;
const DELETED = { case: "statusChanged", value: { status: SessionStatus.DELETED } } as const;

/** A piece of a text, in a block. */
function delta(sequence: bigint, blockId: string): Response {
  return one(sequence, { case: "blockDelta", value: { blockId, delta: "." } });
}

function started(sequence: bigint, blockId: string, turnId: string): Response {
  return one(sequence, { case: "blockStart", value: { block: { blockId, turnId } } });
}

function ended(sequence: bigint, turnId: string): Response {
  return one(sequence, { case: "turnUpdated", value: { turn: { turnId, endTime: { seconds: 1n } } } });
}

/** How the server says that its log does not reach back so far. */
function truncated(): ConnectError {
  const error = new ConnectError("it is gone", Code.OutOfRange);
  error.details = [{ type: "google.rpc.ErrorInfo", value: first("SEQUENCE_TRUNCATED") }];
  return error;
}

/** How the server refuses a field. */
function refused(field: string): ConnectError {
  const error = new ConnectError("it is wrong", Code.InvalidArgument);
  const violation = new BinaryWriter().tag(1, 2).bytes(first(field)).finish();
  error.details = [
    { type: "google.rpc.ErrorInfo", value: first("INVALID_FIELD") },
    { type: "google.rpc.BadRequest", value: violation },
  ];
  return error;
}

/** A message whose first field is this text. */
function first(text: string): Uint8Array {
  return new BinaryWriter().tag(1, 2).string(text).finish();
}

test("every event follows the one before", async (t) => {
  const right = [one(6n, LOG), one(9n, LOG, 7n), one(9n, BOOKMARK, 10n), one(12n, BOOKMARK, 10n), one(13n, DELETED)];
  const over = await played(t, () => right);
  const events = await all(over.watch({ sessionId: "ses_1", afterSequence: 5n }));
  assert.deepEqual(events.map(({ sequence }) => sequence), [6n, 9n, 9n, 12n, 13n]);
  const [again, gap, overlap, wideGap] = [one(5n, LOG), one(7n, LOG), one(7n, LOG, 5n), one(8n, LOG, 7n)];
  const [backwards, bookmarkBack, bookmarkGap] = [one(5n, LOG, 6n), one(4n, BOOKMARK, 6n), one(8n, BOOKMARK, 7n)];
  for (const wrong of [again, gap, overlap, wideGap, backwards, bookmarkBack, bookmarkGap]) {
    const breaks = await played(t, () => [wrong]);
    const broken = await failure(all(breaks.watch({ sessionId: "ses_1", afterSequence: 5n })));
    assert.deepEqual([broken.code, broken.rawMessage.includes("range rule")], [Code.DataLoss, true]);
  }
});

test("a log that was cut away is replaced by a snapshot, which may be cut, too", async (t) => {
  const asked: [bigint | undefined, string][] = [];
  const over = await played(t, function* ({ afterSequence, expectedUid }, times) {
    asked.push([afterSequence, expectedUid]);
    if (times === 1) {
      yield* [one(6n, LOG), one(7n, LOG)];
    } else if (times === 2) {
      throw truncated();
    } else if (times === 3) {
      yield one(20n, START);
    } else {
      yield* [one(20n, START), one(20n, COMPLETE), one(21n, DELETED)];
    }
  });
  const events = await all(over.watch({ sessionId: "ses_1", afterSequence: 5n }));
  assert.deepEqual(asked, [[5n, ""], [7n, "log"], [undefined, ""], [undefined, ""]]);
  assert.deepEqual(
    events.map(({ kind }) => kind.case),
    ["log", "log", "snapshotStart", "snapshotStart", "snapshotComplete", "statusChanged"],
  );
});

test("a turn is followed to its end after its request id was forgotten", async (t) => {
  const watches = function* ({ sessionId, afterSequence, omitDeltas }: WatchSessionRequest, times: number): Generator<Response> {
    assert.deepEqual([sessionId, omitDeltas], ["ses_1", true]);
    if (times === 1) {
      assert.equal(afterSequence, 6n);
      yield* [started(7n, "other", "before"), delta(8n, "other"), ended(9n, "before"), started(10n, "mine", "turn")];
      return;
    }
    assert.equal(afterSequence, 10n);
    yield* [delta(11n, "mine"), one(12n, LOG), delta(13n, "other"), ended(14n, "turn"), one(15n, LOG)];
  };
  const asked: (bigint | undefined)[] = [];
  const over = await played(t, watches, function* ({ afterSequence }) {
    asked.push(afterSequence);
    if (afterSequence !== undefined) {
      throw refused("after_sequence");
    }
    yield { turn: { turnId: "turn" }, sequence: 5n };
    yield { events: one(6n, { case: "turnQueued", value: { turn: { turnId: "turn" } } }).events ?? [] };
  });
  const events = await all(over.runTurn({ sessionId: "ses_1", text: "hello", omitDeltas: true }));
  assert.deepEqual(asked, [undefined, 6n]);
  assert.deepEqual(events.map(({ sequence }) => sequence), [6n, 10n, 11n, 12n, 14n]);
  // A caller who asks for what comes after a sequence without a known turn is told that this is wrong.
  const wrong = await failure(all(over.runTurn({ sessionId: "ses_1", text: "hello", afterSequence: 6n })));
  assert.equal(wrong.reason, "INVALID_FIELD");
});

test("streams that bring nothing new are opened less and less often", async (t) => {
  const over = await played(t, (_, times) => [times <= 5 ? one(5n, BOOKMARK, 6n) : one(6n, DELETED)]);
  const began = Date.now();
  assert.equal((await all(over.watch({ sessionId: "ses_1", afterSequence: 5n }))).length, 6);
  // Half of 0.1, 0.2, 0.4, 0.8 and 1.6 s at least.
  assert.ok(Date.now() - began > 1500);
});
