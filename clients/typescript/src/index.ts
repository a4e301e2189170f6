// What is the same everywhere. `connect` comes from "@agent-runtime/client/node" or "@agent-runtime/client/web".

export { Code } from "@connectrpc/connect";

export { Client, pages } from "./client.js";
export { AgentRuntimeError, type FieldViolation } from "./error.js";
export { bytesOf } from "./files.js";
export type { Options } from "./resume.js";
export { kindOf, wordsOf } from "./show.js";
export { State } from "./state.js";

export * from "./gen/agentruntime/v1/block_pb.js";
export * from "./gen/agentruntime/v1/error_reason_pb.js";
export * from "./gen/agentruntime/v1/event_pb.js";
export * from "./gen/agentruntime/v1/permission_pb.js";
export * from "./gen/agentruntime/v1/principal_pb.js";
export * from "./gen/agentruntime/v1/profile_pb.js";
export * from "./gen/agentruntime/v1/profile_service_pb.js";
export * from "./gen/agentruntime/v1/runtime_service_pb.js";
export * from "./gen/agentruntime/v1/sandbox_pb.js";
export * from "./gen/agentruntime/v1/sandbox_record_pb.js";
export * from "./gen/agentruntime/v1/session_pb.js";
export * from "./gen/agentruntime/v1/session_service_pb.js";
export * from "./gen/agentruntime/v1/state_pb.js";
export * from "./gen/agentruntime/v1/workspace_pb.js";
export * from "./gen/agentruntime/v1/workspace_service_pb.js";
