import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { clone, equals, fromJson, type JsonValue, toJsonString } from "@bufbuild/protobuf";

import { type SessionEvent, SessionEventSchema, SessionStateSchema, State } from "../src/index.js";

// From build/test.
const folder = new URL("../../../../tests/vectors/", import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith(".json"));

test("there are vectors", () => assert.ok(files.length >= 15));

for (const name of files) {
  test(`vector ${name}`, () => {
    const vector = JSON.parse(readFileSync(new URL(name, folder), "utf8")) as {
      description: string;
      events: JsonValue[];
      state: JsonValue;
    };
    const state = new State();
    const events = vector.events.map((json) => fromJson(SessionEventSchema, json));
    const before = events.map((event) => clone(SessionEventSchema, event));
    events.forEach((event) => state.apply(event));
    events.forEach((event, at) => {
      assert.ok(equals(SessionEventSchema, event, before[at] as SessionEvent), `folding changed event ${at}`);
    });
    const expected = fromJson(SessionStateSchema, vector.state);
    const shown = `${vector.description}\n${toJsonString(SessionStateSchema, state.value)}`;
    assert.ok(equals(SessionStateSchema, state.value, expected), shown);
  });
}
