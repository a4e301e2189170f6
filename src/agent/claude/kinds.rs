//! The kinds of lines, events and blocks that the CLI prints, each a closed set with one way out: unknown.
//!
//! What a kind does stands where it is matched, without a wildcard.

macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($text:literal = $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $name {
            $($variant,)*
            /// None that this build knows.
            Unknown,
        }

        impl $name {
            /// What each kind is called; `table` shows what becomes of it.
            #[cfg(test)]
            pub(super) const NAMES: &[&str] = &[$($text,)*];

            pub(super) fn parse(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)*
                    _ => Self::Unknown,
                }
            }
        }
    };
}

kinds! {
    /// `type` of a line.
    LineKind {
        "stream_event" = StreamEvent,
        "assistant" = Assistant,
        "user" = User,
        "system" = System,
        "result" = Result,
        "command_lifecycle" = CommandLifecycle,
        "control_request" = ControlRequest,
        "control_response" = ControlResponse,
        "control_cancel_request" = ControlCancelRequest,
        "auth_status" = AuthStatus,
        "rate_limit_event" = RateLimitEvent,
        "tool_progress" = ToolProgress,
        "tool_use_summary" = ToolUseSummary,
        "prompt_suggestion" = PromptSuggestion,
        "keep_alive" = KeepAlive,
        "transcript_mirror" = TranscriptMirror,
        "conversation_reset" = ConversationReset,
        "active_goal" = ActiveGoal,
        "autocompact_state" = AutocompactState,
    }
}

kinds! {
    /// `subtype` of a `system` line.
    SystemKind {
        "init" = Init,
        "status" = Status,
        "api_retry" = ApiRetry,
        "compact_boundary" = CompactBoundary,
        "hook_started" = HookStarted,
        "hook_progress" = HookProgress,
        "hook_response" = HookResponse,
        "local_command_output" = LocalCommandOutput,
        "informational" = Informational,
        "notification" = Notification,
        "thinking_tokens" = ThinkingTokens,
        "task_started" = TaskStarted,
        "task_progress" = TaskProgress,
        "task_updated" = TaskUpdated,
        "task_notification" = TaskNotification,
        "background_tasks_changed" = BackgroundTasksChanged,
        "session_state_changed" = SessionStateChanged,
        "commands_changed" = CommandsChanged,
        "files_persisted" = FilesPersisted,
        "elicitation_complete" = ElicitationComplete,
        "model_fallback" = ModelFallback,
        "model_refusal_fallback" = ModelRefusalFallback,
        "model_refusal_no_fallback" = ModelRefusalNoFallback,
        "model_consent_fallback" = ModelConsentFallback,
        "permission_denied" = PermissionDenied,
        "session_writes_lost" = SessionWritesLost,
        "mirror_error" = MirrorError,
        "instruction_size_warning" = InstructionSizeWarning,
        "file_attachments_missing" = FileAttachmentsMissing,
        "late_allow_not_run" = LateAllowNotRun,
        "worker_shutting_down" = WorkerShuttingDown,
        "api_error" = ApiError,
        "agents_killed" = AgentsKilled,
        "task_summary" = TaskSummary,
        "task_list_statuses" = TaskListStatuses,
        "thinking" = Thinking,
        "turn_starting" = TurnStarting,
        "turn_began_before_init" = TurnBeganBeforeInit,
        "turn_duration" = TurnDuration,
        "turn_preempted" = TurnPreempted,
        "turn_handoff_available" = TurnHandoffAvailable,
        "post_turn_summary" = PostTurnSummary,
        "away_summary" = AwaySummary,
        "stop_hook_summary" = StopHookSummary,
        "control_request_progress" = ControlRequestProgress,
        "permission_check_status" = PermissionCheckStatus,
        "permission_retry" = PermissionRetry,
        "inherited_asks_settled" = InheritedAsksSettled,
        "memory_recall" = MemoryRecall,
        "memory_saved" = MemorySaved,
        "file_snapshot" = FileSnapshot,
        "shell_cwd" = ShellCwd,
        "session_metadata" = SessionMetadata,
        "session_title_changed" = SessionTitleChanged,
        "plugin_install" = PluginInstall,
        "scheduled_task_fire" = ScheduledTaskFire,
        "per_turn_effort_changed" = PerTurnEffortChanged,
        "vcs_state_changed" = VcsStateChanged,
        "code_change_published" = CodeChangePublished,
        "dev_intent" = DevIntent,
        "feedback_draft_queued" = FeedbackDraftQueued,
        "peer_message_hold" = PeerMessageHold,
        "tool_host_result" = ToolHostResult,
        "bridge_state" = BridgeState,
        "cloud_session_delta" = CloudSessionDelta,
        "ui_invalidate" = UiInvalidate,
        "ui_log" = UiLog,
        "ui_toast" = UiToast,
        "ui_notify" = UiNotify,
        "ui_notify_cancel" = UiNotifyCancel,
        "ui_status" = UiStatus,
        "ui_panes" = UiPanes,
        "ui_placed" = UiPlaced,
        "ui_scroll" = UiScroll,
        "ui_focus" = UiFocus,
    }
}

kinds! {
    /// `event.type` of a `stream_event` line.
    EventKind {
        "content_block_delta" = BlockDelta,
        "content_block_start" = BlockStart,
        "content_block_stop" = BlockStop,
        "message_start" = MessageStart,
        "message_delta" = MessageDelta,
        "message_stop" = MessageStop,
        "ping" = Ping,
        "error" = Error,
    }
}

kinds! {
    /// `type` of a content block.
    BlockKind {
        "text" = Text,
        "thinking" = Thinking,
        "tool_use" = ToolUse,
        "server_tool_use" = ServerToolUse,
        "mcp_tool_use" = McpToolUse,
        "tool_result" = ToolResult,
        "web_search_tool_result" = WebSearchToolResult,
        "web_fetch_tool_result" = WebFetchToolResult,
        "mcp_tool_result" = McpToolResult,
        "code_execution_tool_result" = CodeExecutionToolResult,
        "bash_code_execution_tool_result" = BashCodeExecutionToolResult,
        "text_editor_code_execution_tool_result" = TextEditorCodeExecutionToolResult,
        "tool_search_tool_result" = ToolSearchToolResult,
        "advisor_tool_result" = AdvisorToolResult,
        "redacted_thinking" = RedactedThinking,
        "image" = Image,
        "document" = Document,
        "search_result" = SearchResult,
        "container_upload" = ContainerUpload,
        "mcp_tool_listing" = McpToolListing,
        "compaction" = Compaction,
        "fallback" = Fallback,
    }
}

kinds! {
    /// `delta.type` of a `content_block_delta`.
    DeltaKind {
        "text_delta" = Text,
        "thinking_delta" = Thinking,
        "input_json_delta" = InputJson,
        "signature_delta" = Signature,
        "citations_delta" = Citations,
        "compaction_delta" = Compaction,
    }
}

kinds! {
    /// `request.subtype` of a `control_request` line.
    ControlKind {
        "can_use_tool" = CanUseTool,
        "elicitation" = Elicitation,
        "hook_callback" = HookCallback,
        "mcp_message" = McpMessage,
        "request_user_dialog" = RequestUserDialog,
        "oauth_token_refresh" = OauthTokenRefresh,
        "host_auth_token_refresh" = HostAuthTokenRefresh,
        "remote_tool_call" = RemoteToolCall,
        "remote_tools_probe" = RemoteToolsProbe,
        "remote_tools_reannounce" = RemoteToolsReannounce,
        "remote_plumbing_call" = RemotePlumbingCall,
        "remote_control_work_secret" = RemoteControlWorkSecret,
        "ui_copy" = UiCopy,
        "ui_prompt_read" = UiPromptRead,
        "ui_prompt_fill" = UiPromptFill,
        "ui_prompt_paint" = UiPromptPaint,
        "ui_prompt_suggest" = UiPromptSuggest,
        "ui_read_selection" = UiReadSelection,
    }
}

kinds! {
    /// `state` of an agent in the progress of a workflow.
    WorkflowState {
        "start" = Start,
        "progress" = Progress,
        "done" = Done,
        "error" = Error,
    }
}

kinds! {
    /// `state` of a `command_lifecycle` line.
    CommandState {
        "queued" = Queued,
        "started" = Started,
        "completed" = Completed,
        "cancelled" = Cancelled,
        "discarded" = Discarded,
        "refused" = Refused,
    }
}
