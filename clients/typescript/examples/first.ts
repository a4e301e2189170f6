import { BlockState, kindOf, pages, wordsOf } from "@agent-runtime/client";
import { connect } from "@agent-runtime/client/node";

const { ADDR = "127.0.0.1:50051", KEY = "", SCRIPT = "hello again" } = process.env;
const client = connect(ADDR, { key: KEY });
const { session } = await client.sessions.createSession({ agent: "scripted" });
const sessionId = session?.sessionId ?? "";
console.log(`answer: ${await client.ask(sessionId, "hello")}`);

for await (const block of client.run(sessionId, SCRIPT)) {
  if (block.state === BlockState.COMPLETE) {
    console.log(`${kindOf(block)}: ${wordsOf(block)}`);
  }
}
for await (const { files } of pages(client.workspaces.listFiles, { sessionId })) {
  files.forEach(({ path }) => console.log(`file: ${path}`));
}
client.close();
