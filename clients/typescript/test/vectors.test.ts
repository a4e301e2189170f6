import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { clone, equals, fromJson, type JsonValue, toJsonString } from "@bufbuild/protobuf";

import { SessionEventSchema, SessionStateSchema, State } from "../src/index.js";

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
    for (const json of vector.events) {
      const event = fromJson(SessionEventSchema, json);
      const before = clone(SessionEventSchema, event);
      state.apply(event);
      assert.ok(equals(SessionEventSchema, event, before), "folding changed the event");
    }
    const expected = fromJson(SessionStateSchema, vector.state);
    const shown = `${vector.description}\n${toJsonString(SessionStateSchema, state.value)}`;
    assert.ok(equals(SessionStateSchema, state.value, expected), shown);
  });
}
