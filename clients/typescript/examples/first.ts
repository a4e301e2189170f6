import { BlockState } from "@agent-runtime/client";
import { connect } from "@agent-runtime/client/node";

const client = connect(process.env["ADDR"] ?? "127.0.0.1:50051", { key: process.env["KEY"] ?? "" });
const { session } = await client.sessions.createSession({ agent: "scripted" });
const sessionId = session?.sessionId ?? "";
console.log(await client.ask(sessionId, "hello"));

for await (const block of client.run(sessionId, '[{"say": "I look."}, {"run": "echo 1 > one.txt"}]')) {
  if (block.state === BlockState.COMPLETE) {
    console.log(block.content.case, block.blockId);
  }
}
for await (const file of client.files({ sessionId })) {
  console.log(file.path, file.sizeBytes);
}
client.close();
